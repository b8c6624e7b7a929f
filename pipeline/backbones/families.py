"""The one-path families: their first convolutions, the middles of their bottlenecks, and where their strides lie.

R2D, R(2+1)D and R3D are FASTER's: Zhu et al., FASTER Recurrent Networks for Efficient Video Classification (AAAI 2020),
Table 1, after Tran et al., A Closer Look at Spatiotemporal Convolutions (CVPR 2018). R3D is R(2+1)D with 3×3×3 in place
of the factorised pair and 3×7×7 as conv1. Slow-only, I3D and the other R(2+1)D are those of the model zoos, the ones
in the table of collaborative memory (Yang et al., CVPR 2021). Their further forms are here because weights of them are
published.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from .layers import BLOCKS, WIDTHS, ConvNorm, Middle, flat_middle
from .non_local import MMACTION2_DOT, PSF_DOT, PSF_SOFTMAX, NonLocalForm

_R2D_FRAMES = 8  # conv1 of R2D spans and strides this many frames
_NARROWEST = 8  # of R2D alone: beside a network of width 16 it is as cheap as the paper's R2D-26 beside R(2+1)D-50

Stages = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What sets one family apart.

    Attributes:
        name: of the family, which a network's name begins with.
        summary: one line of what it is.
        variant: what follows the depth in its name; empty for the first family of that name.
        stem: width -> conv1.
        middle: of each bottleneck.
        frames_multiple: clips must have a multiple of this many frames.
        usual_clip: (L, stride in frames) of the clips in the source's figures.
        pool1_time: temporal stride of the max pool after conv1; None for no pool.
        pool2_time: the same for a max pool over time between res2 and res3.
        time_strides: of the first blocks of res2 to res5.
        space_strides: likewise.
        temporal_kernels: frames that the first convolutions of the blocks span, by stage; repeated along a stage.
        pool1_padding: in height and width of the max pool after conv1.
        non_local: of the non-local blocks in res3 and res4; None for none.
        depths: in which the family is registered.
        widths: of conv1, likewise.
    """

    name: str
    summary: str
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
    pool1_padding: int = 1
    non_local: NonLocalForm | None = None
    depths: tuple[int, ...] = tuple(BLOCKS)
    widths: tuple[int, ...] = WIDTHS


def stem_planes(width: int) -> int:
    """Return how many planes stand between the two convolutions of R(2+1)D's conv1.

    45 at width 64, as in Table 1. Below that the share of 45 is rounded up to a multiple of 16 (16 and 32 rather than
    11 and 22): channels-last batch norm is 4 to 15 times slower on this large map with other counts, a fifth of a whole
    training step.
    """
    return 45 if width == WIDTHS[0] else -(-45 * width // (64 * 16)) * 16


def _grouping_stem(width: int) -> nn.Sequential:
    """Return R2D's conv1: 8×7×7, temporal stride 8 and no padding in time, so that one map stands for eight frames."""
    return nn.Sequential(ConvNorm(3, width, kernel=(_R2D_FRAMES, 7, 7), stride=(_R2D_FRAMES, 2, 2), padding=(0, 3, 3)))


def factorised_stem(width: int, *, middle: int | None = None) -> nn.Sequential:
    """Return R(2+1)D's conv1: 1×7×7 to ``middle`` planes, by default `stem_planes`, then 3×1×1."""
    middle = middle or stem_planes(width)
    return nn.Sequential(
        ConvNorm(3, middle, kernel=(1, 7, 7), stride=(1, 2, 2)), ConvNorm(middle, width, kernel=(3, 1, 1))
    )


def full_stem(width: int) -> nn.Sequential:
    """Return R3D's conv1: 3×7×7."""
    return nn.Sequential(ConvNorm(3, width, kernel=(3, 7, 7), stride=(1, 2, 2)))


def _flat_stem(width: int) -> nn.Sequential:
    """Return a conv1 that reads each frame alone: 1×7×7."""
    return nn.Sequential(ConvNorm(3, width, kernel=(1, 7, 7), stride=(1, 2, 2)))


def _inflated_stem(width: int) -> nn.Sequential:
    """Return I3D's conv1: 5×7×7, temporal stride 2."""
    return nn.Sequential(ConvNorm(3, width, kernel=(5, 7, 7), stride=(2, 2, 2)))


def _whole_rate_stem(width: int) -> nn.Sequential:
    """Return the conv1 of I3D for few frames: 5×7×7, which keeps them all."""
    return nn.Sequential(ConvNorm(3, width, kernel=(5, 7, 7), stride=(1, 2, 2)))


def _factorised_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return R(2+1)D's pair: 1×3×3 to 2.25 times the planes (144 for 64) and 3×1×1 back; the latter strides in time."""
    middle = planes * 9 // 4
    return nn.Sequential(
        ConvNorm(planes, middle, kernel=(1, 3, 3), stride=(1, space, space)),
        ConvNorm(middle, planes, kernel=(3, 1, 1), stride=(time, 1, 1)),
    )


def _time_first_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return pytorchvideo's pair: 3×1×1, which strides in time, then 1×3×3, both with as many planes as their input."""
    return nn.Sequential(
        ConvNorm(planes, planes, kernel=(3, 1, 1), stride=(time, 1, 1)),
        ConvNorm(planes, planes, kernel=(1, 3, 3), stride=(1, space, space)),
    )


def _full_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return R3D's 3×3×3."""
    return nn.Sequential(ConvNorm(planes, planes, kernel=(3, 3, 3), stride=(time, space, space)))


R2D = Family(
    name="r2d",
    summary="R2D of FASTER: eight frames at once in conv1, 2D from there on; the cheap one",
    stem=_grouping_stem,
    frames_multiple=_R2D_FRAMES,
    widths=(*WIDTHS, _NARROWEST),
)
_R2PLUS1D = Family(
    name="r2plus1d",
    summary="R(2+1)D of FASTER: each 3D convolution factorised into space and time; the expensive one",
    stem=factorised_stem,
    middle=_factorised_middle,
    time_strides=(1, 2, 2, 2),
)
R3D = Family(
    name="r3d",
    summary="R3D: as R(2+1)D, with whole 3×3×3 convolutions",
    stem=full_stem,
    middle=_full_middle,
    time_strides=(1, 2, 2, 2),
)

# pytorchvideo's R(2+1)D, used for the 16×2 of collaborative memory's table. It differs from `_R2PLUS1D` (FASTER's
# Table 1): conv1 is not factorised and no pool follows, res2 halves the picture in its place; the temporal convolution
# comes before the spatial one; the pair has as many planes as the block, not 2.25 times; res3 keeps the frames, so that
# a map has a quarter of them. It has 28.11 million parameters with 400 classes, against 46.98.
_R2PLUS1D_PTV = Family(
    name="r2plus1d",
    summary="R(2+1)D of pytorchvideo: factorised in the blocks alone, time before space",
    variant="ptv",
    stem=_flat_stem,
    pool1_time=None,
    middle=_time_first_middle,
    time_strides=(1, 1, 2, 2),
    space_strides=(2, 2, 2, 2),
    usual_clip=(16, 2),
)

# Source: Feichtenhofer et al., SlowFast Networks for Video Recognition (ICCV 2019), Table 1, the slow path alone.
# One network for clips of 4 frames (4×16) and of 8 (8×8, that of collaborative memory's table); no stride in time.
_SLOW_ONLY = Family(
    name="slow_only",
    summary="Slow-only: the slow path of SlowFast alone",
    stem=_flat_stem,
    temporal_kernels=((1,), (1,), (3,), (3,)),
    usual_clip=(8, 8),
)

# Source: mmaction2's I3D-50 for clips of 32 frames: from res3 on every second block is inflated, and time is halved by
# conv1, the pool after it and a pool after res2. It goes back to Wang et al., Non-local Neural Networks (CVPR 2018),
# whose own code halves time by the pool after res2 alone.
I3D = Family(
    name="i3d",
    summary="I3D of mmaction2: every second block inflated over time",
    stem=_inflated_stem,
    pool1_time=2,
    pool2_time=2,
    temporal_kernels=((3,), (3, 1), (3, 1), (1, 3)),
    frames_multiple=8,
    usual_clip=(32, 2),
)
_I3D_NL = replace(
    I3D,
    summary="I3D with non-local blocks in res3 and res4",
    variant="nl",
    non_local=MMACTION2_DOT,
)
_PUBLISHED = WIDTHS[:1]  # of the networks that stand here for the sake of published weights

# The other forms of mmaction2's non-local I3D; `_I3D_NL` is its dot product, but for odd sides of maps.
_I3D_NL_EMBEDDED = replace(
    I3D,
    summary="I3D with non-local blocks by softmax (embedded Gaussian)",
    variant="nl_embedded",
    non_local=NonLocalForm(affinity="softmax"),
    depths=(50,),
    widths=_PUBLISHED,
)
_I3D_NL_GAUSSIAN = replace(
    _I3D_NL_EMBEDDED,
    summary="I3D with non-local blocks without embeddings (Gaussian)",
    variant="nl_gaussian",
    non_local=NonLocalForm(affinity="gaussian"),
)
# Source: mmaction2's "heavy" I3D: every block inflated, and time halved after res2 alone.
_I3D_HEAVY = replace(
    I3D,
    summary="I3D of mmaction2 with every block inflated, at half the clip's rate",
    variant="heavy",
    stem=_whole_rate_stem,
    pool1_time=1,
    temporal_kernels=((3,), (3,), (3,), (3,)),
    frames_multiple=2,
    depths=(50,),
    widths=_PUBLISHED,
)

# Source: PySlowFast's and pytorchvideo's I3D for 8 frames of stride 8. It has the tensors of `I3D`, which takes a
# fourth of its frames: conv1 and the pool after it keep them all, a pool after res2 halves them.
_I3D_8X8 = replace(
    I3D,
    summary="I3D of PySlowFast and pytorchvideo: time halved once, after res2",
    variant="8x8",
    stem=_whole_rate_stem,
    pool1_time=1,
    frames_multiple=2,
    usual_clip=(8, 8),
    depths=(50, 101),
    widths=_PUBLISHED,
)
_I3D_8X8_NL = replace(
    _I3D_8X8,
    summary="I3D of PySlowFast with non-local blocks by softmax",
    variant="8x8_nl_softmax",
    non_local=PSF_SOFTMAX,
)
_I3D_8X8_NL_DOT = replace(
    _I3D_8X8,
    summary="I3D of PySlowFast with non-local blocks by dot product",
    variant="8x8_nl_dot",
    non_local=PSF_DOT,
)

# Source: PySlowFast's and pytorchvideo's C2D: a ResNet on each frame, and one pool over time after res2.
_C2D_8X8 = Family(
    name="c2d",
    summary="C2D of PySlowFast and pytorchvideo: a ResNet on each frame, time halved by a pool after res2",
    variant="8x8",
    stem=_flat_stem,
    pool2_time=2,
    frames_multiple=2,
    usual_clip=(8, 8),
    depths=(50,),
    widths=_PUBLISHED,
)
_C2D_8X8_NL = replace(
    _C2D_8X8,
    summary="C2D of PySlowFast with non-local blocks by softmax",
    variant="8x8_nl_softmax",
    non_local=PSF_SOFTMAX,
)
# Without that pool nothing joins the frames but the average of the head: TSN, and mmaction2's "C2D nopool".
_C2D_NOPOOL = replace(
    _C2D_8X8,
    summary="C2D without a pool over time: a ResNet on each frame, which is TSN",
    variant="nopool",
    pool2_time=1,
    frames_multiple=1,
    depths=(50, 101),
)
# Source: mmaction2's C2D, after the authors' code of non-local networks: its first pool has no padding, 112 -> 55.
_C2D_MM = replace(
    _C2D_8X8,
    summary="C2D of mmaction2: as C2D 8×8, with no padding of the pool after conv1",
    variant="mm",
    pool1_padding=0,
)

_SLOW_ONLY_NL_DOT = replace(
    _SLOW_ONLY,
    summary="Slow-only of PySlowFast with non-local blocks by dot product",
    variant="nl_dot",
    non_local=PSF_DOT,
    depths=(50,),
    widths=_PUBLISHED,
)
# Source: mmaction2's, whose blocks follow others than its I3D's, and whose products are scaled.
_SLOW_ONLY_NL_EMBEDDED = replace(
    _SLOW_ONLY_NL_DOT,
    summary="Slow-only of mmaction2 with non-local blocks by softmax (embedded Gaussian)",
    variant="nl_embedded",
    non_local=NonLocalForm(res3=(0, 2), res4=(0, 2, 4), affinity="softmax", scaled=True),
)

FAMILIES = (
    R2D,
    _R2PLUS1D,
    R3D,
    _R2PLUS1D_PTV,
    _SLOW_ONLY,
    _SLOW_ONLY_NL_DOT,
    _SLOW_ONLY_NL_EMBEDDED,
    I3D,
    _I3D_NL,
    _I3D_NL_EMBEDDED,
    _I3D_NL_GAUSSIAN,
    _I3D_HEAVY,
    _I3D_8X8,
    _I3D_8X8_NL,
    _I3D_8X8_NL_DOT,
    _C2D_8X8,
    _C2D_8X8_NL,
    _C2D_NOPOOL,
    _C2D_MM,
)
