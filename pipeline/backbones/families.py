"""The one-path families: their first convolutions, the middles of their bottlenecks, and where their strides lie.

R2D, R(2+1)D and R3D are FASTER's: Zhu et al., FASTER Recurrent Networks for Efficient Video Classification (AAAI 2020),
Table 1, after Tran et al., A Closer Look at Spatiotemporal Convolutions (CVPR 2018). R3D is R(2+1)D with 3×3×3 in place
of the factorised pair and 3×7×7 as conv1. Slow-only, I3D and the other R(2+1)D are those of the model zoos, whose
figures the table of collaborative memory has (Yang et al., CVPR 2021).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from .layers import WIDTHS, ConvNorm, Middle, flat_middle

R2D_FRAMES = 8  # conv1 of R2D spans and strides this many frames
NARROWEST = 8  # of R2D alone: beside a network of width 16 it is as cheap as the paper's R2D-26 beside R(2+1)D-50

Stages = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What sets one family apart.

    Attributes:
        name: of the family, which a network's name begins with.
        variant: what its name has after the depth; empty for the first of the name.
        stem: width -> conv1.
        middle: of each bottleneck.
        frames_multiple: clips must have a multiple of this many frames.
        usual_clip: (L, every how many frames one is taken) of the clips that the source's figures are of.
        pool1_time: temporal stride of the max pool after conv1; None for no pool.
        pool2_time: that of a max pool over time between res2 and res3.
        time_strides: of the first blocks of res2 to res5.
        space_strides: likewise.
        temporal_kernels: frames that the first convolutions of the blocks span, by stage; repeated along a stage.
        non_local: whether non-local blocks stand in res3 and res4.
        widths: of conv1, in which the family is registered.
    """

    name: str
    variant: str = ""
    stem: Callable[[int], nn.Sequential]
    middle: Middle = flat_middle
    frames_multiple: int = 1
    usual_clip: tuple[int, int] = (8, 1)
    pool1_time: int | None = 1
    pool2_time: int = 1
    time_strides: Stages = (1, 1, 1, 1)
    space_strides: Stages = (1, 2, 2, 2)
    temporal_kernels: tuple[tuple[int, ...], ...] = ((1,), (1,), (1,), (1,))
    non_local: bool = False
    widths: tuple[int, ...] = WIDTHS


def stem_planes(width: int) -> int:
    """Return how many planes stand between the two convolutions of R(2+1)D's conv1.

    45 at width 64, as in Table 1. Below that the share of 45 is rounded up to a multiple of 16 (16 and 32 rather than
    11 and 22): channels-last batch norm is 4 to 15 times slower on this large map with other counts, a fifth of a whole
    training step.
    """
    return 45 if width == WIDTHS[0] else -(-45 * width // (64 * 16)) * 16


def grouping_stem(width: int) -> nn.Sequential:
    """Return R2D's conv1: 8×7×7, temporal stride 8 and no padding in time, so that one map stands for eight frames."""
    return nn.Sequential(ConvNorm(3, width, kernel=(R2D_FRAMES, 7, 7), stride=(R2D_FRAMES, 2, 2), padding=(0, 3, 3)))


def factorised_stem(width: int) -> nn.Sequential:
    """Return R(2+1)D's conv1: 1×7×7 to ``stem_planes``, then 3×1×1."""
    middle = stem_planes(width)
    return nn.Sequential(
        ConvNorm(3, middle, kernel=(1, 7, 7), stride=(1, 2, 2)), ConvNorm(middle, width, kernel=(3, 1, 1))
    )


def full_stem(width: int) -> nn.Sequential:
    """Return R3D's conv1: 3×7×7."""
    return nn.Sequential(ConvNorm(3, width, kernel=(3, 7, 7), stride=(1, 2, 2)))


def flat_stem(width: int) -> nn.Sequential:
    """Return the conv1 of networks that take each frame by itself there: 1×7×7."""
    return nn.Sequential(ConvNorm(3, width, kernel=(1, 7, 7), stride=(1, 2, 2)))


def inflated_stem(width: int) -> nn.Sequential:
    """Return I3D's conv1: 5×7×7, temporal stride 2."""
    return nn.Sequential(ConvNorm(3, width, kernel=(5, 7, 7), stride=(2, 2, 2)))


def factorised_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return R(2+1)D's pair: 1×3×3 to 2.25 times the planes (144 for 64) and 3×1×1 back; the latter strides in time."""
    middle = planes * 9 // 4
    return nn.Sequential(
        ConvNorm(planes, middle, kernel=(1, 3, 3), stride=(1, space, space)),
        ConvNorm(middle, planes, kernel=(3, 1, 1), stride=(time, 1, 1)),
    )


def time_first_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return pytorchvideo's pair: 3×1×1, which strides in time, then 1×3×3, both of as many planes as come in."""
    return nn.Sequential(
        ConvNorm(planes, planes, kernel=(3, 1, 1), stride=(time, 1, 1)),
        ConvNorm(planes, planes, kernel=(1, 3, 3), stride=(1, space, space)),
    )


def full_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return R3D's 3×3×3."""
    return nn.Sequential(ConvNorm(planes, planes, kernel=(3, 3, 3), stride=(time, space, space)))


R2D = Family(name="r2d", stem=grouping_stem, frames_multiple=R2D_FRAMES, widths=(*WIDTHS, NARROWEST))
R2PLUS1D = Family(name="r2plus1d", stem=factorised_stem, middle=factorised_middle, time_strides=(1, 2, 2, 2))
R3D = Family(name="r3d", stem=full_stem, middle=full_middle, time_strides=(1, 2, 2, 2))

# pytorchvideo's R(2+1)D, taken for the 16×2 of collaborative memory's table. It differs from `R2PLUS1D` (FASTER's
# Table 1): conv1 is not factorised and no pool follows, res2 halves the picture in its place; the temporal convolution
# comes before the spatial one; the pair has as many planes as the block, not 2.25 times; res3 keeps the frames, so that
# a map has a quarter of them. 28.11 million parameters with 400 classes, for 46.98.
R2PLUS1D_PTV = Family(
    name="r2plus1d",
    variant="ptv",
    stem=flat_stem,
    pool1_time=None,
    middle=time_first_middle,
    time_strides=(1, 1, 2, 2),
    space_strides=(2, 2, 2, 2),
    usual_clip=(16, 2),
)

# Source: Feichtenhofer et al., SlowFast Networks for Video Recognition (ICCV 2019), Table 1, the slow path by itself.
# One network for clips of 4 frames (4×16) and of 8 (8×8, that of collaborative memory's table); no stride in time.
SLOW_ONLY = Family(name="slow_only", stem=flat_stem, temporal_kernels=((1,), (1,), (3,), (3,)), usual_clip=(8, 8))

# Source: mmaction2's I3D-50 for clips of 32 frames: from res3 on every second block is inflated, and time is halved by
# conv1, the pool after it and a pool after res2. It goes back to Wang et al., Non-local Neural Networks (CVPR 2018),
# whose own code halves time by the pool after res2 alone.
I3D = Family(
    name="i3d",
    stem=inflated_stem,
    pool1_time=2,
    pool2_time=2,
    temporal_kernels=((3,), (3, 1), (3, 1), (1, 3)),
    frames_multiple=8,
    usual_clip=(32, 2),
)
I3D_NL = replace(I3D, variant="nl", non_local=True)

FAMILIES = (R2D, R2PLUS1D, R3D, R2PLUS1D_PTV, SLOW_ONLY, I3D, I3D_NL)
