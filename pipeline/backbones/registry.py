"""Clip backbones, by name."""

import re
from importlib import import_module

import torch

from ..errors import SettingsError, named
from ..registry import Registry
from .csn import CSNS
from .frames import FrameSpec
from .image_resnet import RESNET_SPECS
from .interface import Backbone, BackboneSpec
from .inverted import INVERTED_SPECS
from .resnet import resnet_specs
from .s3d import S3DSpec
from .slowfast import slowfast_specs
from .timm_frames import TimmSpec, timm_spec
from .video_resnet import VIDEO_RESNETS
from .x3d import X3DS

BACKBONES: Registry[BackboneSpec] = Registry("backbone")
for _spec in (
    *resnet_specs(),
    *slowfast_specs(),
    *VIDEO_RESNETS,
    S3DSpec(),
    *X3DS,
    *CSNS,
):
    BACKBONES.add(_spec.name, _spec)
for _spec in (*RESNET_SPECS, *INVERTED_SPECS):
    BACKBONES.add(_spec.name, _spec)

_POOLED = re.compile(r"(.+)_t([1-9]\d*)")  # an image network that averages maps in time, as resnet_50_t4


def _pooled(name: str) -> BackboneSpec | None:
    """Return the image network of a name that ends in ``_tK``, with maps averaged over K frames."""
    match = _POOLED.fullmatch(name)
    plain = BACKBONES[match[1]] if match and match[1] in BACKBONES.names() else None
    return plain.pooled(int(match[2])) if match and isinstance(plain, FrameSpec) else None


BACKBONES.resolve(_pooled)
BACKBONES.resolve(timm_spec)


def plain_name(name: str) -> str:
    """Return the name of the network whose tensors ``name`` has: of image networks that without an average in time.

    Raises:
        SettingsError: if there is no such backbone.
    """
    spec = BACKBONES[name]
    return spec.plain if isinstance(spec, (FrameSpec, TimmSpec)) else name


def averaged_name(name: str, *, every: int) -> str:
    """Return the name of an image network that averages the maps of ``every`` successive frames.

    Raises:
        SettingsError: if there is no such backbone, or it is not an image network.
    """
    spec = BACKBONES[name]
    if not isinstance(spec, (FrameSpec, TimmSpec)):
        raise SettingsError(
            f"{named('pool_time')} averages the maps of single frames, and {name} has none: it mixes frames itself. "
            f"Leave {named('pool_time')} out"
        )
    plain = BACKBONES[spec.plain]
    return plain.pooled(every).name if every > 1 and isinstance(plain, (FrameSpec, TimmSpec)) else spec.plain


# How names of another library's networks begin -> the module that finds them, imported when such a name is asked for.
PREFIXES = {"hf:": "transformers_hub"}


def _prefixed(name: str) -> BackboneSpec | None:
    """Return the network of another library that a name with one of the prefixes means."""
    module = next((own for prefix, own in PREFIXES.items() if name.startswith(prefix)), None)
    return import_module(f".{module}", __package__).find_spec(name) if module else None


BACKBONES.resolve(_prefixed)


def build_backbone(name: str, *, num_classes: int, dropout: float = 0.0) -> Backbone:
    """Return the backbone called ``name``, freshly initialised from torch's global random state.

    Under ``with torch.device("meta")`` it has shapes and keys only, and costs nothing.

    Args:
        name: a name of ``BACKBONES``.
        num_classes: K, the length of its score vectors.
        dropout: probability of dropping a pooled feature before the classifier, in [0, 1).

    Raises:
        SettingsError: if there is no such backbone (the message lists them), or a setting is out of range.
    """
    return BACKBONES[name].build(num_classes=num_classes, dropout=dropout)


def usual_clip(name: str) -> tuple[int, int]:
    """Return (L, stride in frames) of the clips that the backbone called ``name`` is known for.

    It is a default; the backbone takes other clips too.

    Raises:
        SettingsError: if there is no such backbone.
    """
    return BACKBONES[name].usual_clip


def feature_shape(name: str, *, num_frames: int, size: int) -> tuple[int, int, int, int]:
    """Return (T', H', W', C) of the map that the backbone called ``name`` makes from ``num_frames`` × ``size``² pixels.

    Raises:
        SettingsError: if there is no such backbone, or it cannot take such clips.
    """
    # The network itself knows its shapes; on "meta" building it takes no memory and draws no random numbers.
    with torch.device("meta"):
        return build_backbone(name, num_classes=1).feature_shape(num_frames, size)


def sees_single_frames(name: str) -> bool:
    """Return whether the backbone called ``name`` looks at each frame of a clip alone, so that any clip suits it."""
    if name not in BACKBONES:
        return False
    spec = BACKBONES[name]
    return isinstance(spec, FrameSpec) and not spec.mixes_frames
