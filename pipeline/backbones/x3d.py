"""X3D: one narrow network whose convolutions over space and time are all depthwise.

Source: Feichtenhofer, X3D: Expanding Architectures for Efficient Video Recognition (CVPR 2020), Table 3; where it is
silent (roundings of widths, where squeeze-and-excitation stands), PySlowFast's ``X3D``. pytorchvideo's, mmaction2's and
EfficientX3D compute the same.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from .families import Stages
from .interface import Backbone, initialise
from .layers import ConvNorm, grid_side

_WIDTHS = (24, 48, 96, 192)  # of res2 to res5; conv1 has the first
_SQUEEZE, _DIVISOR = 16, 8  # squeezed channels: a sixteenth, in eights
_NECK_CHANNELS = 2048


class X3D(Backbone):
    """X3D at one of its depths.

    The map is that of conv5, the 1×1×1 convolution to 432 channels after the last stage, since the head's average
    follows it: average, neck (432 -> 2048, ReLU), classifier.

    Differs from pytorchvideo's: the shortcut of the first block has a norm, as all others have; with weights from there
    it is one that changes nothing.

    Clips may have any number of frames: there is no stride in time.
    """

    def __init__(self, spec: "X3DSpec", *, num_classes: int, dropout: float) -> None:
        channels = _inner(_WIDTHS[-1])
        neck = nn.Linear(channels, _NECK_CHANNELS, bias=False)
        super().__init__(
            name=spec.name,
            num_classes=num_classes,
            channels=channels,
            dropout=dropout,
            neck=nn.Sequential(neck, nn.ReLU(inplace=True)),
            neck_channels=_NECK_CHANNELS,
        )
        width = _WIDTHS[0]
        self.conv1 = nn.Sequential(
            nn.Conv3d(3, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
            ConvNorm(width, width, kernel=(5, 1, 1), groups=width),
        )
        self.res2, self.res3, self.res4, self.res5 = (_stage(spec, index=index) for index in range(4))
        self.conv5 = ConvNorm(_WIDTHS[-1], channels, kernel=(1, 1, 1))
        initialise(self)
        nn.init.kaiming_normal_(neck.weight, mode="fan_out", nonlinearity="relu")  # it is no classifier

    def features(self, clip: Tensor) -> Tensor:
        """Return conv5: (B, 3, L, H, W) float -> (B, 432, L, ceil(H / 32), ceil(W / 32))."""
        self.check_frames(clip.shape[2])
        return self.conv5(self.res5(self.res4(self.res3(self.res2(self.conv1(clip))))))

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): all frames and a 32nd of the side, rounded up."""
        self.check_frames(frames)
        self.check_size(size)
        side = grid_side(size)
        return frames, side, side, self.channels

    def stages(self) -> dict[str, nn.Module]:
        """Return conv1, res2 to res5 and conv5."""
        return {"conv1": self.conv1, **self._rows(), "conv5": self.conv5}

    def blocks(self) -> dict[str, nn.Module]:
        """Return conv1, each bottleneck and conv5."""
        rows = {f"{name}.{own}": block for name, row in self._rows().items() for own, block in row.named_children()}
        return {"conv1": self.conv1, **rows, "conv5": self.conv5}

    def begin_as_identity(self) -> None:
        """Make every bottleneck begin as the identity."""
        for module in self.modules():
            if isinstance(module, X3DBlock):
                nn.init.zeros_(module.expand.norm.weight)

    def _rows(self) -> dict[str, nn.Sequential]:
        return {"res2": self.res2, "res3": self.res3, "res4": self.res4, "res5": self.res5}


class X3DBlock(nn.Module):
    """1×1×1 to more channels, a depthwise 3×3×3, 1×1×1 back, and the shortcut around them.

    Args:
        inputs: channels that come in.
        outputs: channels that go out; 2.25 times as many are between.
        space: spatial stride, of the 3×3×3 and of the shortcut.
        squeezes: whether squeeze-and-excitation follows the norm of the 3×3×3.
    """

    def __init__(self, inputs: int, outputs: int, *, space: int, squeezes: bool) -> None:
        super().__init__()
        inner, stride = _inner(outputs), (1, space, space)
        self.widen = ConvNorm(inputs, inner, kernel=(1, 1, 1))
        self.depthwise = ConvNorm(inner, inner, kernel=(3, 3, 3), stride=stride, groups=inner, relu=False)
        self.squeeze = SqueezeExcite(inner) if squeezes else nn.Identity()
        self.swish = nn.SiLU(inplace=True)
        self.expand = ConvNorm(inner, outputs, kernel=(1, 1, 1), relu=False)
        self.activation = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if inputs != outputs or space != 1:
            self.shortcut = ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T, H / space, W / space), rounded up."""
        out = self.expand(self.swish(self.squeeze(self.depthwise(self.widen(x)))))
        out += self.shortcut(x)  # in place: one large map less to keep
        return self.activation(out)


class SqueezeExcite(nn.Module):
    """Weight each channel by a number in (0, 1) that two small layers make from the averages of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _squeezed(channels)
        self.reduce = nn.Conv3d(channels, squeezed, 1)
        self.restore = nn.Conv3d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        averages = x.mean(dim=(2, 3, 4), keepdim=True)  # (B, C, 1, 1, 1)
        return x * self.restore(self.reduce(averages).relu()).sigmoid()


@dataclass(frozen=True, kw_only=True, slots=True)
class X3DSpec:
    """One of the published sizes.

    Attributes:
        name: as registered.
        blocks: how many bottlenecks res2 to res5 have.
        usual_clip: (L, stride in frames) of the clips in the source's figures.
        pixels: side of the pictures in the source's figures.
    """

    name: str
    blocks: Stages
    usual_clip: tuple[int, int]
    pixels: int

    @property
    def summary(self) -> str:
        """The same for all but the clip that it is for."""
        return f"X3D: depthwise in space and time, narrow; for clips of {self.pixels} pixels"

    def build(self, *, num_classes: int, dropout: float) -> X3D:
        """Return a freshly initialised network, on torch's default device."""
        return X3D(self, num_classes=num_classes, dropout=dropout)


# One network for the first three: their clips alone differ.
_SHALLOW, _DEEP = (3, 5, 11, 7), (5, 10, 25, 15)
X3DS = (
    X3DSpec(name="x3d_xs", blocks=_SHALLOW, usual_clip=(4, 12), pixels=160),
    X3DSpec(name="x3d_s", blocks=_SHALLOW, usual_clip=(13, 6), pixels=160),
    X3DSpec(name="x3d_m", blocks=_SHALLOW, usual_clip=(16, 5), pixels=224),
    X3DSpec(name="x3d_l", blocks=_DEEP, usual_clip=(16, 5), pixels=312),
)


def _stage(spec: X3DSpec, *, index: int) -> nn.Sequential:
    """Return res2 (``index`` 0) to res5 (3): each halves the picture; every other block squeezes, the first too."""
    outputs = _WIDTHS[index]
    inputs = _WIDTHS[max(index - 1, 0)]
    return nn.Sequential(
        *(
            X3DBlock(outputs if place else inputs, outputs, space=1 if place else 2, squeezes=place % 2 == 0)
            for place in range(spec.blocks[index])
        )
    )


def _inner(width: int) -> int:
    """Return the channels between, 2.25 times as many: 54, 108, 216, 432."""
    return width * 9 // 4


def _squeezed(channels: int) -> int:
    """Return the channels between squeeze and excitation: 8, 8, 16, 32.

    Source: PySlowFast's rounding of a sixteenth to eights, upwards where that would take off more than a tenth.
    """
    wanted = channels / _SQUEEZE
    rounded = max(_DIVISOR, int(wanted + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded + _DIVISOR if rounded < 0.9 * wanted else rounded
