"""Networks of one path with bottlenecks: any of the families at a depth and a width.

A name without a width is the paper's network (width 64); a width of w scales every layer by w/64.
"""

from dataclasses import dataclass
from itertools import cycle, islice
from math import prod

from torch import Tensor, nn

from ..errors import SettingsError
from .families import FAMILIES, Family
from .interface import Backbone
from .layers import (
    EXPANSION,
    PUBLISHED_BLOCKS,
    SMALLEST_UNPADDED,
    ConvNorm,
    blocks_of,
    grid_side,
    residual_stage,
    stage_inputs,
    stem_pool,
    width_suffix,
    zero_residual_norms,
)
from .non_local import initialise_with_non_local, with_non_local


class ResNet(Backbone):
    """One of the one-path families at a given depth and width.

    Differs from the sources, which `families` names: in nothing known, at width 64. They have no depths 14 and 26
    (except R2D-26) and no other widths. At depth 14 a family with non-local blocks has one after the only block of a
    stage.

    Clips may have any number of frames, since each temporal stride rounds up, except in families that would drop the
    last ones: R2D reads whole groups of eight, and I3D's pool after res2 takes pairs. These refuse other clips.
    """

    def __init__(self, spec: "ResNetSpec", *, num_classes: int, dropout: float) -> None:
        family = spec.family
        super().__init__(
            name=spec.name,
            num_classes=num_classes,
            channels=spec.width * 8 * EXPANSION,
            dropout=dropout,
            frames_multiple=family.frames_multiple,
        )
        pool2 = (family.pool2_time, 1, 1)
        self._pads = family.pool1_padding > 0
        self.conv1 = family.stem(spec.width)
        self._frames_per_map = _frames_per_map(family, conv1=self.conv1)
        self.pool1 = (
            nn.Identity() if family.pool1_time is None else stem_pool(family.pool1_time, padding=family.pool1_padding)
        )
        self.res2, self.res3, self.res4, self.res5 = (_stage(spec, index=index) for index in range(4))
        self.pool2 = nn.Identity() if family.pool2_time == 1 else nn.MaxPool3d(pool2)
        initialise_with_non_local(self)

    def features(self, clip: Tensor) -> Tensor:
        """Return res5: (B, 3, L, H, W) float -> (B, C, T', H', W'), the sides as in `feature_shape`."""
        self.check_frames(clip.shape[2])
        x = self.pool1(self.conv1(clip))
        return self.res5(self.res4(self.res3(self.pool2(self.res2(x)))))

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): the frames over the temporal stride and the side over 32, each rounded up.

        A first pool without padding has rounded down before.
        """
        self.check_frames(frames)
        self.check_size(size)
        side = grid_side(size, pads=self._pads)
        return -(-frames // self._frames_per_map), side, side, self.channels

    def check_size(self, size: int) -> None:
        """Raise SettingsError unless there is a picture, of which a first pool without padding leaves something."""
        super().check_size(size)
        if grid_side(size, pads=self._pads) < 1:
            raise SettingsError(f"{self.name} needs clips of at least {SMALLEST_UNPADDED} pixels; got size={size}")

    def stages(self) -> dict[str, nn.Module]:
        """Return conv1 and res2 to res5; the pools between them need little memory."""
        return {"conv1": self.conv1, "res2": self.res2, "res3": self.res3, "res4": self.res4, "res5": self.res5}

    def blocks(self) -> dict[str, nn.Module]:
        """Return conv1, and each bottleneck and non-local block."""
        return blocks_of(self.stages())

    def begin_as_identity(self) -> None:
        """Make every bottleneck begin as the identity, as the non-local blocks always do."""
        zero_residual_norms(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetSpec:
    """A family at one of its depths (of 14, 26, 50, 101) and widths (of 64, 32, 16; of R2D also 8)."""

    family: Family
    depth: int
    width: int

    @property
    def name(self) -> str:
        """As ``r2d_26``; with a variant, as ``i3d_50_nl``; with another width than the paper's, as ``r2d_26_w16``."""
        variant = f"_{self.family.variant}" if self.family.variant else ""
        return f"{self.family.name}_{self.depth}{variant}{width_suffix(self.width)}"

    @property
    def summary(self) -> str:
        """The family's."""
        return self.family.summary

    @property
    def usual_clip(self) -> tuple[int, int]:
        """The family's."""
        return self.family.usual_clip

    def build(self, *, num_classes: int, dropout: float) -> ResNet:
        """Return a freshly initialised network, on torch's default device."""
        return ResNet(self, num_classes=num_classes, dropout=dropout)


def resnet_specs() -> list[ResNetSpec]:
    """Return every combination of family, depth and width."""
    return [
        ResNetSpec(family=family, depth=depth, width=width)
        for family in FAMILIES
        for depth in family.depths
        for width in family.widths
    ]


def _frames_per_map(family: Family, *, conv1: nn.Sequential) -> int:
    """Return the temporal stride of the whole network: T' is the number of frames over this, rounded up."""
    stem = prod(part.conv.stride[0] for part in conv1 if isinstance(part, ConvNorm))
    return stem * (family.pool1_time or 1) * family.pool2_time * prod(family.time_strides)


def _stage(spec: ResNetSpec, *, index: int) -> nn.Sequential:
    """Return res2 (``index`` 0) to res5 (3)."""
    family, num_blocks = spec.family, PUBLISHED_BLOCKS[spec.depth][index]
    planes = spec.width * 2**index
    stage = residual_stage(
        stage_inputs(spec.width, index=index),
        planes,
        middle=family.middle,
        time=family.time_strides[index],
        space=family.space_strides[index],
        temporal_kernels=list(islice(cycle(family.temporal_kernels[index]), num_blocks)),
    )
    followed = family.non_local.after(index) if family.non_local else ()
    if not (family.non_local and followed):
        return stage
    followed = followed if num_blocks > 1 else (0,)
    return with_non_local(stage, channels=planes * EXPANSION, form=family.non_local, after=followed)
