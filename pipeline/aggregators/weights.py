"""Aggregators on disk: safetensors that also say what the network is and which classes it tells apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..backbones.places import WEIGHTS_FILE, what_it_is
from ..errors import SettingsError, WeightsError
from ..files import write_atomically
from .base import AggregatorSpec
from .registry import complete_spec
from .video_model import Shape, VideoModel, build_video_model

_FORMAT = "vidpipe aggregator 2"
_HOW = "Give the weights.safetensors of a run of vidpipe train-aggregator or vidpipe finetune"


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatorWeights:
    """What a weights file holds.

    Attributes:
        spec: what to build.
        shapes: role -> (T', H', W', C) of the maps that it reads.
        classes: K names, in the order of the scores.
        state: the weights by name, on the CPU.
    """

    spec: AggregatorSpec
    shapes: dict[str, Shape]
    classes: tuple[str, ...]
    state: dict[str, Tensor]


def save_aggregator(
    path: Path,
    *,
    spec: AggregatorSpec,
    shapes: Mapping[str, Shape],
    classes: Sequence[str],
    state: Mapping[str, Tensor],
) -> None:
    """Write an aggregator's weights, whole or not at all; equal weights make equal files.

    Args:
        path: of the file.
        spec: what to build.
        shapes: role -> (T', H', W', C) of the maps that it reads.
        classes: K names, in the order of the scores.
        state: the weights by name, of any shape, dtype and device; they are kept in their dtype.

    Raises:
        OutOfSpaceError: if the disk is full; a file that stood there before is kept.
        FileError: if the file cannot be written for another reason.
    """
    content = {
        "format": _FORMAT,
        "spec": complete_spec(spec).record(),
        "shapes": dict(shapes),
        "classes": list(classes),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    # All metadata under one key: safetensors writes several in an order that changes from process to process.
    data = save(tensors, metadata={"vidpipe": json.dumps(content, sort_keys=True)})
    write_atomically(path, lambda partial: partial.write_bytes(data))


def load_aggregator(path: Path | str) -> tuple[VideoModel, AggregatorWeights]:
    """Return the aggregator of a weights file, in evaluation mode on the CPU, and what else the file says.

    Args:
        path: of the file, or of the folder of the run that left it.

    Raises:
        WeightsError: if the file is damaged, or not one of vidpipe's.
    """
    path = Path(path)
    weights = _read(path / WEIGHTS_FILE if path.is_dir() else path)
    try:
        model = build_video_model(weights.spec, shapes=weights.shapes)
        model.load_state_dict(weights.state)
    except (SettingsError, RuntimeError) as error:
        raise WeightsError(f"{path} does not fit its aggregator {weights.spec.name!r}: {error}") from error
    return model.eval(), weights


def _read(path: Path) -> AggregatorWeights:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "vidpipe" not in metadata:
                raise WeightsError(f"{path} is a safetensors file of another program. {_HOW}")
            content = json.loads(metadata["vidpipe"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file is no mapping)
        if "backbone" in content and "format" not in content:
            raise WeightsError(f"{path} holds the weights of a backbone, where an aggregator's are needed. {_HOW}")
        if content["format"] != _FORMAT:
            raise WeightsError(f"{path} has the format {content['format']!r}; this version reads {_FORMAT!r}")
        spec = AggregatorSpec(**content["spec"])
        shapes = {role: (int(t), int(h), int(w), int(c)) for role, (t, h, w, c) in content["shapes"].items()}
    except (OSError, SafetensorError) as error:
        if found := what_it_is(path):
            raise WeightsError(f"{path} is no weights file: it is {found}. {_HOW}") from error
        raise WeightsError(f"{path} cannot be read: {error}. Train the aggregator again") from error
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is no aggregator's weights file of vidpipe: {error!r}") from error
    return AggregatorWeights(spec=spec, shapes=shapes, classes=tuple(content["classes"]), state=state)
