"""ResNets of single pictures, native in two dimensions.

Source: He et al., Deep Residual Learning for Image Recognition (CVPR 2016), Table 1. As in torchvision and after Goyal
et al. (2017), a bottleneck's stride lies on its 3×3.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from .frame_mixing import FrameMixing, TemporalInterlace, shift_for
from .frames import IMAGE_CLIP, FrameSpec, ImageNetwork
from .image_layers import PlaneConvNorm, Row

_WIDTH = 64
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # depth -> of res2 to res5
_EXPANSIONS = {18: 1, 34: 1, 50: 4, 101: 4}


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


class _Block(nn.Module):
    """A residual branch and the shortcut around it, a convolution where it must change the shape.

    Args:
        branch: the convolutions by name; the last has no activation.
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the branch.
        mixing: what the branch begins with, if frames see each other.
    """

    def __init__(
        self,
        branch: "OrderedDict[str, nn.Module]",
        *,
        inputs: int,
        outputs: int,
        stride: int,
        mixing: FrameMixing | None,
    ) -> None:
        super().__init__()
        self.mixing = mixing
        self.branch = nn.Sequential(branch)
        self.activation = _relu()
        self.shortcut = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = PlaneConvNorm(inputs, outputs, stride=stride)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Map (B · L, inputs, H, W), L ``frames`` a clip, to (B · L, outputs, H / stride, W / stride), rounded up."""
        out = self.branch(x if self.mixing is None else self.mixing(x, frames))
        out += self.shortcut(x)  # in place: one large map less to keep
        return self.activation(out)


def _branch(inputs: int, planes: int, *, expansion: int, stride: int) -> "OrderedDict[str, nn.Module]":
    """Return two 3×3, or for an expansion 1×1, 3×3 and 1×1."""
    if expansion == 1:
        return OrderedDict(
            first=PlaneConvNorm(inputs, planes, kernel=3, stride=stride, activation=_relu()),
            last=PlaneConvNorm(planes, planes, kernel=3),
        )
    return OrderedDict(
        reduce=PlaneConvNorm(inputs, planes, activation=_relu()),
        middle=PlaneConvNorm(planes, planes, kernel=3, stride=stride, activation=_relu()),
        last=PlaneConvNorm(planes, planes * expansion),
    )


class ImageResNet(ImageNetwork):
    """A ResNet of depth 18, 34, 50 or 101, up to res5.

    Args:
        depth: one of these.
        mixing: makes, of a number of channels, what lets frames see each other; None for none.
        mixed: the blocks of each stage that begin with it: 1 for all, 2 for the first, the third and so on.
        width: channels of conv1.
    """

    def __init__(
        self,
        depth: int,
        *,
        mixing: Callable[[int], FrameMixing] | None = None,
        mixed: int = 1,
        width: int = _WIDTH,
    ) -> None:
        super().__init__()
        expansion = _EXPANSIONS[depth]
        self.channels = width * 8 * expansion
        self.conv1 = PlaneConvNorm(3, width, kernel=7, stride=2, activation=_relu())
        self.pool1 = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for index, num_blocks in enumerate(_BLOCKS[depth]):
            planes, stage = width * 2**index, Row()
            for place in range(num_blocks):
                stride = 2 if place == 0 and index > 0 else 1
                branch = _branch(inputs, planes, expansion=expansion, stride=stride)
                own = mixing(inputs) if mixing and place % mixed == 0 else None
                stage.append(_Block(branch, inputs=inputs, outputs=planes * expansion, stride=stride, mixing=own))
                inputs = planes * expansion
            self.add_module(f"res{index + 2}", stage)

    def forward(self, pictures: Tensor, frames: int) -> Tensor:
        """Return res5: (B · L, 3, H, W) float, L ``frames`` a clip -> (B · L, C, ceil(H / 32), ceil(W / 32))."""
        conv1, *stages = self.stages().values()
        x = self.pool1(conv1(pictures))
        for stage in stages:
            x = stage(x, frames)
        return x

    def stages(self) -> dict[str, nn.Module]:
        """Return conv1 and res2 to res5."""
        return {name: self.get_submodule(name) for name in ("conv1", "res2", "res3", "res4", "res5")}

    def blocks(self) -> dict[str, nn.Module]:
        """Return conv1 and each block."""
        rows = {name: stage for name, stage in self.stages().items() if name != "conv1"}
        blocks = {f"{name}.{place}": block for name, row in rows.items() for place, block in row.named_children()}
        return {"conv1": self.conv1, **blocks}

    def begin_as_identity(self) -> None:
        """Zero the last norm of each branch, as Goyal et al. (2017) do."""
        for module in self.modules():
            if isinstance(module, _Block):
                nn.init.zeros_(module.get_parameter("branch.last.norm.weight"))


_MIXED = {50: 1, 101: 2}  # depth -> of how many successive blocks the first is shifted, in the code of TSM's authors
# Name -> depth and frames, of those that TIN's authors have published weights of.
_INTERLACED = {"tin_resnet_50": (50, 8), "tin_resnet_50_16f": (50, 16), "tin_resnet_101": (101, 8)}

RESNET_SPECS = (
    *(
        FrameSpec(
            name=f"resnet_{depth}",
            summary="ResNet of single pictures, on each frame",
            image=partial(ImageResNet, depth),
        )
        for depth in _BLOCKS
    ),
    *(
        FrameSpec(
            name=f"tsm_resnet_{depth}",
            summary="TSM: a ResNet on each frame, with a quarter of its channels from the frames beside it",
            image=partial(ImageResNet, depth, mixing=shift_for, mixed=mixed),
            mixes_frames=True,
        )
        for depth, mixed in _MIXED.items()
    ),
    *(
        FrameSpec(
            name=name,
            summary="TIN: a ResNet on each frame, with a quarter of its channels from where it has learnt to look",
            image=partial(ImageResNet, depth, mixing=partial(TemporalInterlace, frames=frames)),
            mixes_frames=True,
            only_frames=frames,
            usual_clip=(frames, IMAGE_CLIP[1]),
        )
        for name, (depth, frames) in _INTERLACED.items()
    ),
)
