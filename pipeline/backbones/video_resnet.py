"""The video ResNets of torchvision, VMZ and mmaction2: basic blocks at depths 18 and 34, bottlenecks at 152.

Sources: torchvision's ``models/video/resnet.py``; VMZ's ``pt/vmz/models`` and ``c2/lib/models``, whose R(2+1)D-34
ig65m-pytorch has too; mmaction2's ``ResNet2Plus1d``. All follow Tran et al., A Closer Look at Spatiotemporal
Convolutions (CVPR 2018). FASTER's R(2+1)D and R3D (``r2plus1d_50``, ``r3d_50``) are in `families`.

Three networks are called R(2+1)D. Each 3×3×3 is a 1×3×3 to some middle planes and a 3×1×1, and how many planes these
are tells them apart: VMZ and mmaction2 take what keeps the parameters of each whole convolution; torchvision takes, for
both convolutions of a block, those of the first. mmaction2 also factorises conv1 and the shortcuts by that rule, where
the others have the paper's 45 planes and one 1×1×1, and has a pool after conv1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod

from torch import Tensor, nn

from .families import Stages, factorised_stem, full_stem
from .interface import Backbone, initialise
from .layers import EXPANSION, WIDTHS, Bottleneck, ConvNorm, stem_pool, zero_residual_norms

Maker = Callable[[int, int, int, int], nn.Module]  # channels in, planes, temporal stride, spatial stride -> a block

_CAFFE2_EPS = 1e-3  # of VMZ's batch norms, in both of its codebases; mmaction2's outer ones follow it
_INNER_EPS = 1e-5  # of mmaction2's norms inside a pair, to which its configuration does not reach
_HALVED = (1, 2, 2, 2)  # strides of res2 to res5


class BasicBlock(nn.Module):
    """Two convolutions, the second without ReLU, and the shortcut around them.

    Args:
        first: with the block's strides.
        second: without strides; its last norm is the block's.
        shortcut: what gives the input the output's shape.
    """

    def __init__(self, first: nn.Sequential, second: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.shortcut = shortcut
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, planes, T / time, H / space, W / space), rounded up."""
        out = self.second(self.first(x))
        out += self.shortcut(x)  # in place: one large map less to keep
        return self.activation(out)


class VideoResNet(Backbone):
    """One of the networks of this module; clips may have any number of frames, since each temporal stride rounds up."""

    def __init__(self, spec: "VideoResNetSpec", *, num_classes: int, dropout: float) -> None:
        super().__init__(
            name=spec.name, num_classes=num_classes, channels=spec.width * 8 * spec.expansion, dropout=dropout
        )
        self._frames_per_map = prod(spec.time_strides)
        self._pixels_per_map = 2 * (2 if spec.pool else 1) * prod(_HALVED)
        self.conv1 = spec.stem(spec.width)
        self.pool1 = stem_pool() if spec.pool else nn.Identity()
        self.res2, self.res3, self.res4, self.res5 = (_stage(spec, index=index) for index in range(4))
        initialise(self)
        if spec.eps is not None:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eps = spec.eps

    def features(self, clip: Tensor) -> Tensor:
        """Return res5: (B, 3, L, H, W) float -> (B, C, T', H', W') as in `feature_shape`."""
        self.check_frames(clip.shape[2])
        return self.res5(self.res4(self.res3(self.res2(self.pool1(self.conv1(clip))))))

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): frames over the temporal stride, the side over 16 (32 with a pool), rounded up."""
        self.check_frames(frames)
        self.check_size(size)
        side = ceil(size / self._pixels_per_map)
        return ceil(frames / self._frames_per_map), side, side, self.channels

    def stages(self) -> dict[str, nn.Module]:
        """Return conv1 and res2 to res5."""
        return {"conv1": self.conv1, **self._residual_stages()}

    def blocks(self) -> dict[str, nn.Module]:
        """Return conv1 and each residual block."""
        rows = self._residual_stages().items()
        return {"conv1": self.conv1} | {
            f"{name}.{own}": block for name, row in rows for own, block in row.named_children()
        }

    def begin_as_identity(self) -> None:
        """Make every residual block begin as the identity."""
        zero_residual_norms(self)  # of bottlenecks
        for module in self.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(_convolution(module.second, -1).norm.weight)

    def _residual_stages(self) -> dict[str, nn.Sequential]:
        return {"res2": self.res2, "res3": self.res3, "res4": self.res4, "res5": self.res5}


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoResNetSpec:
    """What sets one of the networks apart.

    Attributes:
        name: as registered.
        summary: one line of what it is.
        usual_clip: (L, stride in frames) of the clips in the source's figures.
        stem: width -> conv1.
        blocks: how many are in res2 to res5.
        makers: of the blocks of res2 to res5, four.
        time_strides: of the first blocks of res2 to res5.
        pool: whether a 1×3×3 max pool that halves the picture follows conv1.
        expansion: a block's outputs over its planes.
        eps: of all batch norms; None: as the makers have them.
        width: of conv1; all others follow.
    """

    name: str
    summary: str
    usual_clip: tuple[int, int]
    stem: Callable[[int], nn.Sequential]
    blocks: Stages
    makers: tuple[Maker, ...]
    time_strides: Stages = _HALVED
    pool: bool = False
    expansion: int = 1
    eps: float | None = None
    width: int = WIDTHS[0]

    def build(self, *, num_classes: int, dropout: float) -> VideoResNet:
        """Return a freshly initialised network, on torch's default device."""
        return VideoResNet(self, num_classes=num_classes, dropout=dropout)


def middle_planes(inputs: int, outputs: int, *, side: int = 3) -> int:
    """Return how many planes between a 1×side×side and a 3×1×1 give them the parameters of one 3×side×side.

    Source: Tran et al., section 3.5; rounded down.
    """
    area = side * side
    return 3 * area * inputs * outputs // (area * inputs + 3 * outputs)


def _stage(spec: VideoResNetSpec, *, index: int) -> nn.Sequential:
    """Return res2 (``index`` 0) to res5 (3)."""
    make, planes = spec.makers[index], spec.width * 2**index
    inputs = spec.width if index == 0 else planes // 2 * spec.expansion
    first = make(inputs, planes, spec.time_strides[index], _HALVED[index])
    others = (make(planes * spec.expansion, planes, 1, 1) for _ in range(spec.blocks[index] - 1))
    return nn.Sequential(first, *others)


def _convolution(row: nn.Sequential, index: int) -> ConvNorm:
    """Return one of a row of convolutions."""
    found = row[index]
    assert isinstance(found, ConvNorm)  # for type checkers
    return found


def _pair(inputs: int, outputs: int, *, middle: int, time: int = 1, space: int = 1, relu: bool = True) -> nn.Sequential:
    """Return 1×3×3 to ``middle`` planes, which strides in space, and 3×1×1, which strides in time."""
    return nn.Sequential(
        ConvNorm(inputs, middle, kernel=(1, 3, 3), stride=(1, space, space)),
        ConvNorm(middle, outputs, kernel=(3, 1, 1), stride=(time, 1, 1), relu=relu),
    )


def _shortcut(inputs: int, outputs: int, time: int, space: int) -> nn.Module:
    """Return 1×1×1 with the block's strides where it must change the shape."""
    if inputs == outputs and time == space == 1:
        return nn.Identity()
    return ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=(time, space, space), relu=False)


def _mm_stem(width: int) -> nn.Sequential:
    return _with_mms_eps(factorised_stem(width, middle=middle_planes(3, width, side=7)))  # 83 planes


def _plain_block(inputs: int, planes: int, time: int, space: int, *, frames: int) -> BasicBlock:
    """Return a block of two convolutions over ``frames`` frames and 3×3 pixels."""
    first = ConvNorm(inputs, planes, kernel=(frames, 3, 3), stride=(time, space, space))
    second = ConvNorm(planes, planes, kernel=(frames, 3, 3), relu=False)
    return BasicBlock(nn.Sequential(first), nn.Sequential(second), _shortcut(inputs, planes, time, space))


_whole_block, _flat_block = partial(_plain_block, frames=3), partial(_plain_block, frames=1)


def _torchvision_block(inputs: int, planes: int, time: int, space: int) -> BasicBlock:
    """Return a block of two pairs, both with the middle planes of the first."""
    middle = middle_planes(inputs, planes)
    return BasicBlock(
        _pair(inputs, planes, middle=middle, time=time, space=space),
        _pair(planes, planes, middle=middle, relu=False),
        _shortcut(inputs, planes, time, space),
    )


def _vmz_block(inputs: int, planes: int, time: int, space: int) -> BasicBlock:
    """Return a block of two pairs, each with middle planes of its own."""
    return BasicBlock(
        _pair(inputs, planes, middle=middle_planes(inputs, planes), time=time, space=space),
        _pair(planes, planes, middle=middle_planes(planes, planes), relu=False),
        _shortcut(inputs, planes, time, space),
    )


def _vmz_bottleneck(inputs: int, planes: int, time: int, space: int) -> Bottleneck:
    """Return a bottleneck around a pair."""

    def middle(planes: int, time: int, space: int) -> nn.Sequential:
        return _pair(planes, planes, middle=middle_planes(planes, planes), time=time, space=space)

    return Bottleneck(inputs, planes, middle=middle, time=time, space=space)


def _mm_block(inputs: int, planes: int, time: int, space: int) -> BasicBlock:
    """Return VMZ's block, with a shortcut of two 1×1×1, a norm and a ReLU between them, and mmaction2's eps."""
    own = _vmz_block(inputs, planes, time, space)
    shortcut = own.shortcut
    if isinstance(shortcut, ConvNorm):
        middle = middle_planes(inputs, planes, side=1)
        shortcut = _with_mms_eps(
            nn.Sequential(
                ConvNorm(inputs, middle, kernel=(1, 1, 1), stride=(1, space, space)),
                ConvNorm(middle, planes, kernel=(1, 1, 1), stride=(time, 1, 1), relu=False),
            )
        )
    return BasicBlock(_with_mms_eps(own.first), _with_mms_eps(own.second), shortcut)


def _with_mms_eps(pair: nn.Sequential) -> nn.Sequential:
    _convolution(pair, 0).norm.eps, _convolution(pair, 1).norm.eps = _INNER_EPS, _CAFFE2_EPS
    return pair


_18, _34, _152 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 8, 36, 3)  # blocks of res2 to res5, by depth

R2PLUS1D_18 = VideoResNetSpec(
    name="r2plus1d_18",
    summary="R(2+1)D-18 of torchvision",
    usual_clip=(16, 1),
    stem=factorised_stem,
    blocks=_18,
    makers=(_torchvision_block,) * 4,
)
R3D_18 = VideoResNetSpec(
    name="r3d_18",
    summary="R3D-18 of torchvision and VMZ: whole 3×3×3 convolutions",
    usual_clip=(16, 1),
    stem=full_stem,
    blocks=_18,
    makers=(_whole_block,) * 4,
)
MC3_18 = VideoResNetSpec(
    name="mc3_18",
    summary="MC3-18 of torchvision and VMZ: 3D in conv1 and res2, 2D from there on, no stride in time",
    usual_clip=(16, 1),
    stem=full_stem,
    blocks=_18,
    makers=(_whole_block, _flat_block, _flat_block, _flat_block),
    time_strides=(1, 1, 1, 1),
)
# VMZ published it for Caffe2 alone; torchvision's has other middle planes.
R2PLUS1D_18_VMZ = VideoResNetSpec(
    name="r2plus1d_18_vmz",
    summary="R(2+1)D-18 of VMZ",
    usual_clip=(16, 1),
    stem=factorised_stem,
    blocks=_18,
    makers=(_vmz_block,) * 4,
    eps=_CAFFE2_EPS,
)
R2PLUS1D_34_VMZ = VideoResNetSpec(
    name="r2plus1d_34_vmz",
    summary="R(2+1)D-34 of VMZ and ig65m",
    usual_clip=(32, 1),
    stem=factorised_stem,
    blocks=_34,
    makers=(_vmz_block,) * 4,
    eps=_CAFFE2_EPS,
)
# VMZ's ``r2plus1d_152`` has a pool after conv1. The networks that it published, of which its figures are, had none: the
# converter of their Caffe2 files builds the stem without, 329.1 GMACs are those without (at 128 pixels), and Caffe2's
# last average takes 7×7 positions at 112 pixels.
R2PLUS1D_152_VMZ = VideoResNetSpec(
    name="r2plus1d_152_vmz",
    summary="R(2+1)D-152 as VMZ's PyTorch code builds it: bottlenecks, and a pool after conv1",
    usual_clip=(32, 1),
    stem=factorised_stem,
    blocks=_152,
    makers=(_vmz_bottleneck,) * 4,
    pool=True,
    expansion=EXPANSION,
    eps=_CAFFE2_EPS,
)
R2PLUS1D_152_VMZ_NOPOOL = replace(
    R2PLUS1D_152_VMZ,
    name="r2plus1d_152_vmz_nopool",
    summary="R(2+1)D-152 of VMZ as it was trained and published: bottlenecks, no pool after conv1",
    pool=False,
)
R2PLUS1D_34_MM = VideoResNetSpec(
    name="r2plus1d_34_mm",
    summary="R(2+1)D-34 of mmaction2: shortcuts factorised too, and a pool after conv1",
    usual_clip=(8, 8),
    stem=_mm_stem,
    blocks=_34,
    makers=(_mm_block,) * 4,
    pool=True,
)

VIDEO_RESNETS = (
    R2PLUS1D_18,
    R3D_18,
    MC3_18,
    R2PLUS1D_18_VMZ,
    R2PLUS1D_34_VMZ,
    R2PLUS1D_152_VMZ,
    R2PLUS1D_152_VMZ_NOPOOL,
    R2PLUS1D_34_MM,
)
