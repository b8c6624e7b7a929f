"""R2D, R(2+1)D and R3D with bottlenecks.

Source: Zhu et al., FASTER Recurrent Networks for Efficient Video Classification (AAAI 2020), Table 1, after
Tran et al., A Closer Look at Spatiotemporal Convolutions (CVPR 2018). R3D is R(2+1)D with 3×3×3 in place of the
factorised pair and 3×7×7 as conv1. A name without a width is the paper's network (width 64); a width of w scales every
layer by w/64.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import SettingsError
from .interface import Backbone, initialise

BLOCKS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
WIDTHS = (64, 32, 16)
EXPANSION = 4
R2D_FRAMES = 8  # conv1 of R2D spans and strides this many frames

Size = tuple[int, int, int]


class ConvNorm(nn.Module):
    """A convolution without bias, its batch norm and, unless ``relu`` is false, a ReLU.

    Padding is half the kernel, rounded down, except along an axis whose kernel equals its stride, which needs none
    (R2D's conv1 along time).
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: Size, stride: Size = (1, 1, 1), relu: bool = True) -> None:
        super().__init__()
        time, height, width = (0 if k == s else k // 2 for k, s in zip(kernel, stride, strict=True))
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, (time, height, width), bias=False)
        self.norm = nn.BatchNorm3d(outputs)
        self.activation = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T', H', W')."""
        return self.activation(self.norm(self.conv(x)))


def flat_stem(width: int) -> nn.Sequential:
    """Return R2D's conv1: 8×7×7, temporal stride 8, so that one map stands for eight frames."""
    return nn.Sequential(ConvNorm(3, width, kernel=(R2D_FRAMES, 7, 7), stride=(R2D_FRAMES, 2, 2)))


def stem_planes(width: int) -> int:
    """Return how many planes stand between the two convolutions of R(2+1)D's conv1.

    45 at width 64, as in Table 1. Below that the share of 45 is rounded up to a multiple of 16 (16 and 32 rather than
    11 and 22): channels-last batch norm is 4 to 15 times slower on this large map with other counts, a fifth of a whole
    training step.
    """
    return 45 if width == WIDTHS[0] else -(-45 * width // (64 * 16)) * 16


def factorised_stem(width: int) -> nn.Sequential:
    """Return R(2+1)D's conv1: 1×7×7 to ``stem_planes``, then 3×1×1."""
    middle = stem_planes(width)
    return nn.Sequential(
        ConvNorm(3, middle, kernel=(1, 7, 7), stride=(1, 2, 2)), ConvNorm(middle, width, kernel=(3, 1, 1))
    )


def full_stem(width: int) -> nn.Sequential:
    """Return R3D's conv1: 3×7×7."""
    return nn.Sequential(ConvNorm(3, width, kernel=(3, 7, 7), stride=(1, 2, 2)))


def flat_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return R2D's 1×3×3."""
    return nn.Sequential(ConvNorm(planes, planes, kernel=(1, 3, 3), stride=(time, space, space)))


def factorised_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return R(2+1)D's pair: 1×3×3 to 2.25 times the planes (144 for 64) and 3×1×1 back; the latter strides in time."""
    middle = planes * 9 // 4
    return nn.Sequential(
        ConvNorm(planes, middle, kernel=(1, 3, 3), stride=(1, space, space)),
        ConvNorm(middle, planes, kernel=(3, 1, 1), stride=(time, 1, 1)),
    )


def full_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return R3D's 3×3×3."""
    return nn.Sequential(ConvNorm(planes, planes, kernel=(3, 3, 3), stride=(time, space, space)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What sets one family apart.

    Attributes:
        stem: width -> conv1.
        middle: (planes, temporal stride, spatial stride) -> what stands between a bottleneck's two 1×1×1.
        stage_time_stride: temporal stride of the first block of res3, res4 and res5.
        frames_multiple: clips must have a multiple of this many frames.
    """

    stem: Callable[[int], nn.Sequential]
    middle: Callable[[int, int, int], nn.Sequential]
    stage_time_stride: int
    frames_multiple: int


FAMILIES = {
    "r2d": Family(stem=flat_stem, middle=flat_middle, stage_time_stride=1, frames_multiple=R2D_FRAMES),
    "r2plus1d": Family(stem=factorised_stem, middle=factorised_middle, stage_time_stride=2, frames_multiple=1),
    "r3d": Family(stem=full_stem, middle=full_middle, stage_time_stride=2, frames_multiple=1),
}


class Bottleneck(nn.Module):
    """1×1×1, the family's middle, 1×1×1 to four times the planes, and the shortcut around them."""

    def __init__(self, family: Family, *, inputs: int, planes: int, time: int, space: int) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.reduce = ConvNorm(inputs, planes, kernel=(1, 1, 1))
        self.middle = family.middle(planes, time, space)
        self.expand = ConvNorm(planes, outputs, kernel=(1, 1, 1), relu=False)
        self.activation = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if inputs != outputs or (time, space) != (1, 1):
            stride = (time, space, space)
            self.shortcut = ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, 4 × planes, T / time, H / space, W / space), rounded up."""
        out = self.expand(self.middle(self.reduce(x)))
        out += self.shortcut(x)
        return self.activation(out)


class ResNet(Backbone):
    """One of the three families at a given depth and width.

    Differs from the source: nothing known at width 64. The paper has no depths 14 and 101 and no other widths.

    Clips of R(2+1)D and R3D may have any number of frames (each temporal stride rounds up, so T' = ceil(L / 8));
    R2D's conv1 reads whole groups of eight and refuses what is left over, rather than dropping frames.
    """

    def __init__(self, spec: "ResNetSpec", *, num_classes: int, dropout: float, zero_init_residual: bool) -> None:
        channels = spec.width * 8 * EXPANSION
        super().__init__(name=spec.name, num_classes=num_classes, channels=channels, dropout=dropout)
        family = FAMILIES[spec.family]
        self.frames_multiple = family.frames_multiple
        self.conv1 = family.stem(spec.width)
        self.pool1 = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        stages = [_stage(family, spec, index) for index in range(4)]
        self.res2, self.res3, self.res4, self.res5 = stages
        blocks = [module for module in self.modules() if isinstance(module, Bottleneck)]
        initialise(self, residual_norms=[block.expand.norm for block in blocks] if zero_init_residual else [])

    def features(self, clip: Tensor) -> Tensor:
        """Return res5: (B, 3, L, H, W) -> (B, C, ceil(L / 8), ceil(H / 32), ceil(W / 32))."""
        self._check_frames(clip.shape[2])
        x = self.pool1(self.conv1(clip))
        return self.res5(self.res4(self.res3(self.res2(x))))

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): an eighth of the frames and a thirty-second of the side, each rounded up."""
        self._check_frames(frames)
        if size < 1:
            raise SettingsError(f"{self.name} needs clips of at least 1 pixel; got size={size}")
        side = -(-size // 32)
        return -(-frames // 8), side, side, self.channels

    def _check_frames(self, frames: int) -> None:
        if frames < 1 or frames % self.frames_multiple:
            wanted = (
                f"a multiple of {self.frames_multiple} frames" if self.frames_multiple > 1 else "at least one frame"
            )
            raise SettingsError(f"{self.name} needs clips of {wanted}; got {frames}. Set --frames accordingly.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetSpec:
    """A family at a depth (14, 26, 50, 101) and a width (64, 32, 16)."""

    family: str
    depth: int
    width: int

    @property
    def name(self) -> str:
        """``r2d_26``, or with another width than the paper's ``r2d_26_w16``."""
        suffix = "" if self.width == WIDTHS[0] else f"_w{self.width}"
        return f"{self.family}_{self.depth}{suffix}"

    def build(self, *, num_classes: int, dropout: float, zero_init_residual: bool) -> ResNet:
        """Return a freshly initialised network, on torch's default device."""
        return ResNet(self, num_classes=num_classes, dropout=dropout, zero_init_residual=zero_init_residual)


def resnet_specs() -> list[ResNetSpec]:
    """Return every combination of family, depth and width."""
    return [
        ResNetSpec(family=family, depth=depth, width=width)
        for family in FAMILIES
        for depth in BLOCKS
        for width in WIDTHS
    ]


def _stage(family: Family, spec: ResNetSpec, index: int) -> nn.Sequential:
    """Return res2 (``index`` 0) to res5 (3); all but res2 halve the picture and, if the family does so, time."""
    planes = spec.width * 2**index
    inputs = spec.width if index == 0 else planes // 2 * EXPANSION
    time, space = (1, 1) if index == 0 else (family.stage_time_stride, 2)
    blocks = [Bottleneck(family, inputs=inputs, planes=planes, time=time, space=space)]
    for _ in range(BLOCKS[spec.depth][index] - 1):
        blocks += [Bottleneck(family, inputs=planes * EXPANSION, planes=planes, time=1, space=1)]
    return nn.Sequential(*blocks)
