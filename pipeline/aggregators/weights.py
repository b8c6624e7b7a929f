"""Aggregators on disk: safetensors that carry what the network is and which classes it tells apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import SettingsError, WeightsError
from ..run_directory import write_atomically
from . import Aggregator, AggregatorSpec, build_aggregator

FORMAT = "vidpipe aggregator 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatorWeights:
    """What a weights file holds.

    Attributes:
        spec: what to build.
        classes: K names, in the order of the scores.
        state: the weights by name, on the CPU.
    """

    spec: AggregatorSpec
    classes: tuple[str, ...]
    state: dict[str, Tensor]


def save_aggregator(path: Path, *, spec: AggregatorSpec, classes: Sequence[str], state: Mapping[str, Tensor]) -> None:
    """Write an aggregator's weights, whole or not at all; equal weights make equal files."""
    content = {"format": FORMAT, "spec": asdict(spec), "classes": list(classes)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    # One key: safetensors writes several in an order that changes from process to process.
    data = save(tensors, metadata={"vidpipe": json.dumps(content, sort_keys=True)})
    write_atomically(path, lambda partial: partial.write_bytes(data))


def load_aggregator(path: Path) -> tuple[Aggregator, AggregatorWeights]:
    """Return the aggregator of a weights file, in evaluation mode on the CPU, and what else the file says.

    Raises:
        WeightsError: if the file is damaged or none of ours.
    """
    weights = _read(path)
    try:
        model = build_aggregator(weights.spec)
        model.load_state_dict(weights.state)
    except (SettingsError, RuntimeError) as error:
        raise WeightsError(f"{path} does not fit its aggregator {weights.spec.name!r}: {error}") from error
    return model.eval(), weights


def _read(path: Path) -> AggregatorWeights:
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})["vidpipe"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file is no mapping)
        if content["format"] != FORMAT:
            raise WeightsError(f"{path} has the format {content['format']!r}; this version reads {FORMAT!r}")
        spec = AggregatorSpec(**content["spec"])
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. Train the aggregator again") from error
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path} is no aggregator's weights file of vidpipe: {error!r}") from error
    return AggregatorWeights(spec=spec, classes=tuple(content["classes"]), state=state)
