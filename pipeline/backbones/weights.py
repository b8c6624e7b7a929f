"""Backbone weights as a safetensors file with what is needed to use them: classes, preprocessing, a digest."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ..errors import SettingsError, WeightsError
from ..files import write_atomically
from ..videos.clip_rules import STRIDE
from ..videos.preprocessing import Preprocessing, parse_preprocessing
from .interface import Backbone, HeadRule
from .layers import BATCH_NORMS
from .places import HOW, near_by, weights_file, what_it_is
from .registry import BACKBONES, averaged_name, build_backbone

FORMAT_VERSION = 1
_METADATA_KEY = "vidpipe"  # one key, because safetensors writes several in no fixed order
_PLAIN_FIELDS = (
    "backbone",
    "num_frames",
    "sampling_rate",
    "fps",
    "digest",
)  # of `Weights`, as metadata have them


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipKind:
    """A kind of clips; the fields are those of `ClipSampling`, which says what they mean."""

    num_frames: int
    sampling_rate: int
    fps: float | None
    clip_rule: str = STRIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """A trained backbone, as a file holds it.

    Attributes:
        backbone: its registered name.
        classes: K class names, in the order of the scores.
        preprocessing: what to do to the pixels.
        num_frames: L of the clips it was trained on.
        sampling_rate: their stride in frames.
        fps: the rate in frames/s to which videos were resampled; None for their own.
        state: the state dict, on the CPU; shapes and dtypes are the backbone's.
        digest: sha256, hexadecimal, over the tensors, name, classes and preprocessing: what determines the results.
        origin: where published weights come from, as texts: their file, its sha256, dialect, licence; else empty.
    """

    backbone: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    num_frames: int
    sampling_rate: int
    fps: float | None
    state: dict[str, Tensor]
    digest: str
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def clip(self) -> "ClipKind":
        """The clips that it was trained on."""
        return ClipKind(
            num_frames=self.num_frames,
            sampling_rate=self.sampling_rate,
            fps=self.fps,
            clip_rule=self.preprocessing.clip_rule,
        )


def collect_weights(
    backbone: Backbone,
    *,
    classes: Iterable[str],
    preprocessing: Preprocessing,
    num_frames: int,
    sampling_rate: int = 1,
    fps: float | None = None,
) -> Weights:
    """Return a snapshot of a live backbone, on the CPU; later training does not change it.

    Raises:
        WeightsError: if the number of class names is not that of the backbone's scores.
    """
    classes = tuple(classes)
    if len(classes) != backbone.num_classes:
        raise WeightsError(f"{backbone.name} scores {backbone.num_classes} classes, but {len(classes)} are named")
    return weights_from_state(
        {key: value.detach().cpu().clone().contiguous() for key, value in backbone.state_dict().items()},
        backbone=backbone.name,
        classes=classes,
        preprocessing=preprocessing,
        num_frames=num_frames,
        sampling_rate=sampling_rate,
        fps=fps,
    )


def weights_from_state(
    state: dict[str, Tensor],
    *,
    backbone: str,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    num_frames: int,
    sampling_rate: int,
    fps: float | None,
    origin: Mapping[str, str] | None = None,
) -> Weights:
    """Return weights of tensors that are the backbone's own, by name, shape and dtype, on the CPU.

    Args:
        state: the backbone's state dict.
        backbone: its registered name.
        classes: K class names, in the order of the scores.
        preprocessing: what to do to the pixels.
        num_frames: L of the clips it was trained on.
        sampling_rate: their stride in frames.
        fps: the rate in frames/s to which videos were resampled; None for their own.
        origin: where the weights come from.
    """
    return Weights(
        backbone=backbone,
        classes=classes,
        preprocessing=preprocessing,
        num_frames=num_frames,
        sampling_rate=sampling_rate,
        fps=fps,
        state=state,
        digest=_weights_digest(state, backbone=backbone, classes=classes, preprocessing=preprocessing),
        origin=dict(origin or {}),
    )


def _weights_digest(
    state: Mapping[str, Tensor], *, backbone: str, classes: Iterable[str], preprocessing: Preprocessing
) -> str:
    """Return the sha256 (hexadecimal) of everything that determines a backbone's results.

    It covers name, dtype, shape and bytes of each tensor, in the order of the names, and the metadata that matters; not
    how the weights were trained.

    Args:
        state: the tensors by name, of any shape, dtype and device.
        backbone: the registered name.
        classes: K class names, in the order of the scores.
        preprocessing: what is done to the pixels.
    """
    header = {"backbone": backbone, "classes": list(classes), "preprocessing": preprocessing.record()}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"\n{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because NumPy has no bfloat16; flat, because a tensor without axes cannot be viewed as another
        # dtype.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_weights(path: Path | str, weights: Weights) -> None:
    """Write the weights to ``path`` (safetensors), whole or not at all; the same weights give the same bytes.

    Raises:
        OutOfSpaceError: if the disk is full; a file that stood there before is kept.
        FileError: if the file cannot be written for another reason.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "classes": list(weights.classes),
        "preprocessing": weights.preprocessing.record(),
        **{name: getattr(weights, name) for name in _PLAIN_FIELDS},
        **({"origin": weights.origin} if weights.origin else {}),
    }
    content = to_safetensors(weights.state, {_METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    write_atomically(Path(path), lambda draft: draft.write_bytes(content))


def load_weights(path: Path | str) -> Weights:
    """Read a weights file, and check it against its digest and against the backbone it names.

    Args:
        path: of the file, or of the folder of the run that left it.

    Raises:
        WeightsError: if the file is missing, no safetensors file, not one of vidpipe's, of another format version,
            damaged, or does not fit its backbone; the message says which and what to do.
    """
    path = weights_file(Path(path))
    metadata, state = _read(path)
    version = metadata.get("format_version")
    if version is None:
        raise WeightsError(f"{path} does not say its format version; make it anew with vidpipe train-backbone.")
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {version}, this vidpipe reads {FORMAT_VERSION}. Use the vidpipe that wrote it."
        )
    weights = _parse(path, metadata, state)
    _check_fit(path, weights)
    _check_digest(path, weights)
    return weights


def is_own_file(path: Path) -> bool:
    """Return whether a file is one of vidpipe's weights files, by its head alone; also if what follows is damaged."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return _METADATA_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What a weights file says of itself before its tensors.

    Attributes:
        backbone: its registered name.
        clip: what it was trained on.
        crop: side of the square input, pixels.
        is_published: whether another program's file was converted to it.
    """

    backbone: str
    clip: ClipKind
    crop: int
    is_published: bool = False


def read_head(path: Path | str, *, role: str | None = None) -> Head:
    """Return what the weights at ``path`` say of themselves; only the file's head is read, and nothing else is checked.

    Args:
        path: of the file, or of the folder of the run that left it.
        role: which of its backbones an end-to-end run is to give.

    Raises:
        WeightsError: if it does not say so, or holds no backbone.
    """
    path = weights_file(Path(path), role=role)
    with _opened(path) as file:
        metadata = _metadata(path, file)
    try:
        clip = ClipKind(
            num_frames=int(metadata["num_frames"]),
            sampling_rate=int(metadata["sampling_rate"]),
            fps=metadata["fps"],
            clip_rule=metadata["preprocessing"].get("clip_rule", STRIDE),
        )
        return Head(
            backbone=str(metadata["backbone"]),
            clip=clip,
            crop=int(metadata["preprocessing"]["crop"]),
            is_published="origin" in metadata,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} does not say which clips it was trained on ({error}); make it anew") from error


def load_backbone(weights: Weights) -> Backbone:
    """Return the backbone with these weights, strictly loaded, on the CPU, in evaluation mode, without dropout.

    It has memory of its own: training it does not change ``weights``.

    Raises:
        SettingsError: if there is no backbone of that name.
        WeightsError: if keys or shapes differ.
    """
    backbone = _unfilled(weights.backbone, num_classes=len(weights.classes))
    try:
        backbone.load_state_dict(weights.state, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"these weights do not fit {weights.backbone}: {error}") from error
    follow_recipe(backbone, weights.preprocessing)
    return backbone.eval()


def averaged(weights: Weights, pool_time: int | None) -> Weights:
    """Return the weights of an image network that averages the maps of every ``pool_time`` frames; None: as they are.

    The tensors are the same, and so is the digest: it says which file the network is of.

    Raises:
        SettingsError: if it is no image network.
    """
    if pool_time is None:
        return weights
    return replace(weights, backbone=averaged_name(weights.backbone, every=pool_time))


def sealed(weights: Weights) -> Weights:
    """Return the weights with the digest of what they are now, for a file of their own."""
    digest = _weights_digest(
        weights.state, backbone=weights.backbone, classes=weights.classes, preprocessing=weights.preprocessing
    )
    return replace(weights, digest=digest)


def _unfilled(name: str, *, num_classes: int) -> Backbone:
    """Return a backbone on the CPU whose state dict is yet to be filled."""
    with torch.device("meta"):  # no initialisation that would be overwritten at once
        backbone = build_backbone(name, num_classes=num_classes)
    if {key for key, _ in backbone.named_buffers()} <= backbone.state_dict().keys():
        return backbone.to_empty(device="cpu")
    # Buffers that are in no state dict (positions, windows of attention) are as the network makes them.
    with torch.random.fork_rng(devices=[]):
        return build_backbone(name, num_classes=num_classes)


def follow_recipe(backbone: Backbone, preprocessing: Preprocessing) -> None:
    """Give a network what its source sets beside its weights: eps, how its head averages, which frames are slow."""
    if preprocessing.bn_eps is not None:
        for module in backbone.modules():
            if isinstance(module, BATCH_NORMS):
                module.eps = preprocessing.bn_eps
    backbone.slow_frames = preprocessing.slow_frames
    backbone.head_rule = HeadRule(window=preprocessing.head_window, softmax=preprocessing.head_activation == "softmax")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return vidpipe's metadata and the tensors of a safetensors file."""
    with _opened(path) as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
        return _metadata(path, file), state


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file, and explain what may go wrong in the block."""
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}{near_by(path)}") from error
    except (SafetensorError, OSError) as error:
        found = what_it_is(path)
        if found:
            raise WeightsError(f"{path} is no weights file: it is {found}. Give {HOW}") from error
        raise WeightsError(
            f"{path} cannot be read as a safetensors file ({error}). Give {HOW}; if it is that one, it is damaged."
        ) from error


def _metadata(path: Path, file: Any) -> dict[str, Any]:
    """Return vidpipe's metadata of an open safetensors file."""
    raw = (file.metadata() or {}).get(_METADATA_KEY)
    if raw is None:
        raise WeightsError(
            f"{path} is a safetensors file of another program, without vidpipe's metadata: which network it is, its "
            f"classes and its preprocessing are unknown. Give {HOW}"
        )
    metadata = _parse_json(path, raw)
    if "spec" in metadata and "backbone" not in metadata:
        raise WeightsError(
            f"{path} holds the weights of an aggregator, where a backbone's are needed. Give {HOW}, or the file of a "
            "role (expensive or cheap) in a run of vidpipe finetune"
        )
    return metadata


def _parse_json(path: Path, raw: str) -> dict[str, Any]:
    try:
        metadata = json.loads(raw)
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path} has damaged metadata ({error}); make it anew") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path} has damaged metadata (a mapping is expected); make it anew")
    return metadata


def _parse(path: Path, metadata: dict[str, Any], state: dict[str, Tensor]) -> Weights:
    """Return the weights that the metadata and tensors make, or say what is missing."""
    try:
        return Weights(
            classes=tuple(metadata["classes"]),
            preprocessing=parse_preprocessing(metadata["preprocessing"]),
            state=state,
            origin=dict(metadata.get("origin", {})),
            **{name: metadata[name] for name in _PLAIN_FIELDS},
        )
    except KeyError as error:
        raise WeightsError(f"{path} lacks {error} in its metadata; make it anew with vidpipe train-backbone") from error
    except (TypeError, SettingsError) as error:
        raise WeightsError(f"{path} has metadata that make no sense ({error}); make it anew") from error


def _check_fit(path: Path, weights: Weights) -> None:
    """Raise unless keys, shapes and dtypes are those of the backbone that the file names."""
    if weights.backbone not in BACKBONES:
        raise WeightsError(
            f"{path} holds weights of {weights.backbone!r}, which this vidpipe lacks; known: {', '.join(BACKBONES)}"
        )
    with torch.device("meta"):
        backbone = build_backbone(weights.backbone, num_classes=len(weights.classes))
    expected = backbone.state_dict()
    # A wrong number of classes gets a message of its own, clearer than two shapes that differ.
    classifier = next(f"{name}.weight" for name, module in backbone.named_modules() if module is backbone.classifier)
    num_scores = weights.state[classifier].shape[0] if classifier in weights.state else len(weights.classes)
    if num_scores != len(weights.classes):
        raise WeightsError(
            f"{path} names {len(weights.classes)} classes but its classifier scores {num_scores}; make it anew"
        )
    missing = [key for key in expected if key not in weights.state]
    foreign = [key for key in weights.state if key not in expected]
    other = [
        f"{key} is {weights.state[key].dtype} {tuple(weights.state[key].shape)}, not {value.dtype} {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights.state and (weights.state[key].shape, weights.state[key].dtype) != (value.shape, value.dtype)
    ]
    for what, keys in (("lacks", missing), ("has unknown", foreign), ("has tensors of another kind:", other)):
        if keys:
            raise WeightsError(f"{path} does not fit {weights.backbone}: it {what} {_first(keys)}. Make it anew.")


def _check_digest(path: Path, weights: Weights) -> None:
    found = _weights_digest(
        weights.state, backbone=weights.backbone, classes=weights.classes, preprocessing=weights.preprocessing
    )
    if found != weights.digest:
        raise WeightsError(
            f"{path} is damaged or was edited: its content has digest {found[:12]}, recorded is {weights.digest[:12]}. "
            "Copy or make it anew."
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
