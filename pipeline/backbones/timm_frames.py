"""Any image network of timm as a clip backbone, as ``timm:convnext_tiny``: it runs on each frame of the clip."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..errors import SettingsError, WeightsError
from ..registry import did_you_mean
from ..videos.preprocessing import INTERPOLATIONS, Preprocessing
from .frames import IMAGE_CLIP, frames_of, maps_in_order, pooled_name
from .interface import Backbone

PREFIX = "timm:"
_POOLED = re.compile(r"(.+)_t([1-9]\d*)")


class TimmBackbone(Backbone):
    """A network of timm that runs on each frame; its last map, or its grid of tokens, is the frame's map.

    Tokens beside the grid (of the class, registers) are left out of the map. The scores are the network's own, which
    may read them: the average over frames of what its own head and a linear classifier make.

    Its tensors are ``image.`` before timm's names, and the classifier ``fc``.
    """

    folds: ClassVar[bool] = False

    def __init__(self, spec: "TimmSpec", *, num_classes: int, dropout: float) -> None:
        image = _create(spec.model)
        super().__init__(
            name=spec.name,
            num_classes=num_classes,
            channels=image.num_features,
            dropout=dropout,
            frames_multiple=spec.pool_time,
            neck_channels=getattr(image, "head_hidden_size", None) or image.num_features,
        )
        self.spec = spec
        self.image = image
        self.renew_classifier(num_classes)

    def features(self, clip: Tensor) -> Tensor:
        """Return the frames' maps: (B, 3, L, H, W) float -> (B, C, L / K, H', W')."""
        self.check_frames(clip.shape[2])
        return self._maps(self.image.forward_features(frames_of(clip)), clips=len(clip))

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps (B, C, T', H', W') and scores (B, K) of clips (B, 3, L, H, W)."""
        self.check_frames(clip.shape[2])
        outputs = self.image.forward_features(frames_of(clip))
        pooled = self.image.forward_head(outputs, pre_logits=True).to(self.classifier.weight.dtype)  # (B · L, D)
        logits = self.classifier(self.dropout(pooled)).unflatten(0, (len(clip), -1))
        return self._maps(outputs, clips=len(clip)), logits.mean(dim=1)

    def scores(self, features: Tensor) -> Tensor:
        """Refuse: the head of a network of timm may read more than the map.

        Raises:
            TypeError: always; ``forward`` gives the scores.
        """
        raise TypeError(
            f"the scores of {self.name} are no function of its map {tuple(features.shape)}; call the network itself"
        )

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): the frames over K, and the network's own grid."""
        self.check_frames(frames)
        self.check_size(size)
        height, width = _grid(self.spec.model, size)
        return frames // self.spec.pool_time, height, width, self.channels

    def _maps(self, outputs: Tensor, *, clips: int) -> Tensor:
        maps = _as_maps(self.image, outputs)
        return maps_in_order(maps, clips=clips, pool_time=self.spec.pool_time)


@dataclass(frozen=True, kw_only=True, slots=True)
class TimmSpec:
    """A network of timm: its name there, and of how many successive frames the maps are averaged."""

    model: str
    pool_time: int = 1

    @property
    def plain(self) -> str:
        """The name without an average in time."""
        return PREFIX + self.model

    @property
    def name(self) -> str:
        """As ``timm:resnet18``, with an average in time ``timm:resnet18_t4``."""
        return self.plain if self.pool_time == 1 else pooled_name(self.plain, self.pool_time)

    @property
    def summary(self) -> str:
        """The same for all."""
        return "a network of timm on each frame"

    @property
    def usual_clip(self) -> tuple[int, int]:
        """That of all image networks."""
        return IMAGE_CLIP

    def pooled(self, every: int) -> "TimmSpec":
        """Return the same that averages the maps of ``every`` successive frames."""
        return replace(self, pool_time=every)

    def build(self, *, num_classes: int, dropout: float) -> TimmBackbone:
        """Return a freshly initialised network, on torch's default device."""
        return TimmBackbone(self, num_classes=num_classes, dropout=dropout)


def timm_spec(name: str) -> TimmSpec | None:
    """Return the spec of a name that begins with ``timm:``; None for other names.

    Raises:
        SettingsError: if timm is not installed, or has no such network.
    """
    if not name.startswith(PREFIX):
        return None
    model, timm = name.removeprefix(PREFIX), _timm()
    match = _POOLED.fullmatch(model)
    for own, pool_time in ((model, 1), (match[1], int(match[2])) if match else ("", 1)):
        if own and timm.is_model(own) and ("." not in own or timm.is_model_pretrained(own)):
            return TimmSpec(model=own, pool_time=pool_time)
    plain, _, tag = (match[1] if match else model).partition(".")
    if tag and timm.is_model(plain):
        known = timm.list_pretrained(f"{plain}.*")
        told = f"; it has {', '.join(known)}" if known else ", nor any others"
        raise SettingsError(f"timm has no weights {tag!r} of {plain}{told}")
    question = did_you_mean(plain, timm.list_models())
    raise SettingsError(f"timm has no network {plain!r}{question or '; its function list_models names them all'}")


def timm_preprocessing(name: str) -> Preprocessing:
    """Return how timm prepares pictures for a network at its tests, from timm's own record of it.

    Raises:
        SettingsError: if there is no such network.
    """
    own = timm_record(name)
    crop = own["input_size"][-1]
    short_side = max(crop, int(crop / (own.get("crop_pct") or 1.0)))
    interpolation = own.get("interpolation")
    return Preprocessing(
        short_side=short_side,
        crop=crop,
        mean=tuple(own["mean"]),
        std=tuple(own["std"]),
        squash=(short_side, short_side) if own.get("crop_mode") == "squash" else None,
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
        rounding="down",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimmClassifier:
    """The last layer of a network of timm.

    Attributes:
        name: there, as ``head.fc``; of several layers the first.
        num_classes: of the weights that timm publishes; 0 if these have no such layer.
    """

    name: str
    num_classes: int


def timm_classifier(name: str) -> TimmClassifier:
    """Return what timm records of the last layer of a network.

    Raises:
        SettingsError: if there is no such network.
    """
    own = timm_record(name)
    layer = own.get("classifier") or "fc"
    return TimmClassifier(name=layer if isinstance(layer, str) else layer[0], num_classes=own.get("num_classes", 0))


def timm_record(name: str) -> dict[str, Any]:
    """Return timm's record of a network's weights: where they are, their licence, classes, mean, std, sizes.

    Raises:
        SettingsError: if there is no such network.
    """
    spec = timm_spec(name)
    return _record(spec.model if spec else name)


def timm_version() -> str:
    """Return the version of timm.

    Raises:
        SettingsError: if it is not installed.
    """
    return _timm().__version__


def timm_state(name: str, *, file: Path | None = None) -> dict[str, Tensor]:
    """Return the tensors of a network as timm has trained it, by timm's names.

    Args:
        name: of the network, as ``timm:resnet18``.
        file: that timm is to read; None for one that timm finds or fetches by itself.

    Raises:
        SettingsError: if there is no such network.
        WeightsError: if timm cannot read the weights, or cannot bring them.
    """
    spec = timm_spec(name)
    model = spec.model if spec else name
    # A file in the hub is in timm's own spelling, whatever the original was.
    overlay = {"file": str(file), "custom_load": False} if file else None
    try:
        return _timm().create_model(model, pretrained=True, pretrained_cfg_overlay=overlay).state_dict()
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise WeightsError(
            f"timm cannot read the weights of {model}{f' in {file}' if file else ''}: {lines[0]}"
        ) from error


def _timm() -> ModuleType:
    try:
        return import_module("timm")
    except ImportError as error:
        raise SettingsError(
            f"{PREFIX}NAME needs the package timm ({error}); install it with pip install 'vidpipe[timm]'"
        ) from error
    except RuntimeError as error:  # a torchvision of another build than torch's
        raise SettingsError(f"{PREFIX}NAME needs timm, which fails to import here: {error}") from error


def _record(model: str) -> dict[str, Any]:
    """Return timm's record of a network: mean, std, sizes, the classifier's name."""
    return _timm().get_pretrained_cfg(model).to_dict()


def _create(model: str) -> Any:
    """Return a network of timm without a classifier, which takes pictures of any size if it can."""
    create = _timm().create_model
    try:
        return create(model, num_classes=0, dynamic_img_size=True)
    except TypeError:  # not one of those whose positions can be interpolated
        return create(model, num_classes=0)


def _as_maps(image: nn.Module, outputs: Tensor) -> Tensor:
    """Return what a network's ``forward_features`` gives as maps (N, C, H', W').

    Raises:
        SettingsError: if it is neither a map nor tokens that make a square.
    """
    channels = image.num_features
    if isinstance(outputs, Tensor) and outputs.ndim == 4:
        is_last = getattr(image, "output_fmt", "") == "NHWC" or outputs.shape[1] != channels
        maps = outputs.permute(0, 3, 1, 2) if is_last else outputs
        if maps.shape[1] == channels:
            return maps
    if isinstance(outputs, Tensor) and outputs.ndim == 3:
        tokens = outputs[:, getattr(image, "num_prefix_tokens", 0) or 0 :]  # (N, H' · W', C)
        side = round(tokens.shape[1] ** 0.5)
        if side * side == tokens.shape[1] and tokens.shape[2] == channels:
            return tokens.transpose(1, 2).unflatten(2, (side, side))
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise SettingsError(
        f"the last output of {PREFIX}{type(image).__name__} is neither a map nor a square of tokens: it is {shape}. "
        "Such a network cannot be a clip backbone; take another"
    )


@lru_cache(maxsize=64)
def _grid(model: str, size: int) -> tuple[int, int]:
    """Return (H', W') of a network's map, worked out on shapes alone."""
    with torch.device("meta"), torch.no_grad():
        image = _create(model).eval()
        try:
            maps = _as_maps(image, image.forward_features(torch.empty(1, 3, size, size)))
        except (AssertionError, RuntimeError, ValueError) as error:
            if isinstance(error, SettingsError):
                raise
            own = _record(model)["input_size"][-1]
            raise SettingsError(
                f"{PREFIX}{model} cannot take pictures of {size} pixels ({error}); its own size is {own}"
            ) from error
    return maps.shape[2], maps.shape[3]
