"""S3D: Inception over clips, each 3D convolution factorised into space and time."""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from ..errors import SettingsError, named
from .interface import Backbone, initialise
from .layers import ConvNorm

_EPS = 1e-3
_LEAST_FRAMES, _LEAST_PIXELS = 14, 17  # as torchvision says; what leaves a position after the last pool
# Channels of each block's four branches: the plain one; of the two factorised ones, before and after; the pooled one.
_BLOCKS = {
    "mixed3": ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    "mixed4": (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    "mixed5": ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
}
_CONV2 = 192  # channels before the first block

Channels = tuple[int, int, int, int, int, int]


class SeparableInception(nn.Module):
    """Four branches over one map, joined: 1×1×1; twice 1×1×1, 1×3×3 and 3×1×1; a pool and 1×1×1.

    Args:
        inputs: channels that come in.
        channels: of the branches, as in ``_BLOCKS``.
    """

    def __init__(self, inputs: int, channels: Channels) -> None:
        super().__init__()
        plain, before_first, first, before_second, second, pooled = channels
        self.branches = nn.ModuleList(
            [
                nn.Sequential(ConvNorm(inputs, plain, kernel=(1, 1, 1))),
                nn.Sequential(ConvNorm(inputs, before_first, kernel=(1, 1, 1)), *_separable(before_first, first)),
                nn.Sequential(ConvNorm(inputs, before_second, kernel=(1, 1, 1)), *_separable(before_second, second)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), ConvNorm(inputs, pooled, kernel=(1, 1, 1))),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, the branches' channels together, T, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class S3D(Backbone):
    """Xie et al., Rethinking Spatiotemporal Feature Learning (ECCV 2018), without gates, as torchvision has it.

    Its own head averages 2×7×7 positions of the map at a time, and then the scores: a matter of the weights' recipe.
    The last pool rounds down, so that a remainder of frames or pixels is dropped, as in torchvision.

    Differs from the source: batch norms' momentum is 0.1, not 0.001; it matters in training alone.
    """

    def __init__(self, *, num_classes: int, dropout: float) -> None:
        super().__init__(name="s3d", num_classes=num_classes, channels=_outputs(_BLOCKS["mixed5"][-1]), dropout=dropout)
        self.conv1 = nn.Sequential(*_separable(3, 64, side=7, stride=2))
        self.pool1 = _flat_pool()
        self.conv2 = nn.Sequential(ConvNorm(64, 64, kernel=(1, 1, 1)), *_separable(64, _CONV2))
        self.pool2 = _flat_pool()
        self.mixed3 = _row(_CONV2, _BLOCKS["mixed3"])
        self.pool3 = nn.MaxPool3d(3, 2, 1)
        self.mixed4 = _row(_outputs(_BLOCKS["mixed3"][-1]), _BLOCKS["mixed4"])
        self.pool4 = nn.MaxPool3d(2, 2)
        self.mixed5 = _row(_outputs(_BLOCKS["mixed4"][-1]), _BLOCKS["mixed5"])
        initialise(self)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps = _EPS

    def features(self, clip: Tensor) -> Tensor:
        """Return the last block's map: (B, 3, L, H, W) float -> (B, 1024, T', H', W') as in `feature_shape`."""
        self.check_frames(clip.shape[2])
        x = self.pool2(self.conv2(self.pool1(self.conv1(clip))))
        return self.mixed5(self.pool4(self.mixed4(self.pool3(self.mixed3(x)))))

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): a quarter of the frames and a 16th of the side, rounded up; half of these, down."""
        self.check_frames(frames)
        self.check_size(size)
        side = ceil(size / 16) // 2
        return ceil(frames / 4) // 2, side, side, self.channels

    def check_frames(self, frames: int) -> None:
        """Raise SettingsError unless there are at least 14 frames."""
        if frames < _LEAST_FRAMES:
            raise SettingsError(
                f"{self.name} needs clips of at least {_LEAST_FRAMES} frames; got {frames}. "
                f"Set {named('num_frames')} accordingly."
            )

    def check_size(self, size: int) -> None:
        """Raise SettingsError unless a position is left after the last pool."""
        if size < _LEAST_PIXELS:
            raise SettingsError(f"{self.name} needs clips of at least {_LEAST_PIXELS} pixels; got size={size}")

    def stages(self) -> dict[str, nn.Module]:
        """Return conv1, conv2 and the three rows of blocks."""
        return {"conv1": self.conv1, "conv2": self.conv2, **self._rows()}

    def blocks(self) -> dict[str, nn.Module]:
        """Return conv1, conv2 and each block."""
        rows = self._rows().items()
        blocks = {f"{name}.{own}": block for name, row in rows for own, block in row.named_children()}
        return {"conv1": self.conv1, "conv2": self.conv2, **blocks}

    def _rows(self) -> dict[str, nn.Sequential]:
        return {"mixed3": self.mixed3, "mixed4": self.mixed4, "mixed5": self.mixed5}


@dataclass(frozen=True, kw_only=True, slots=True)
class S3DSpec:
    """The one network of its family; ``usual_clip`` is that of torchvision's accuracy."""

    name: str = "s3d"
    summary: str = "S3D of torchvision: Inception, each 3D convolution factorised"
    usual_clip: tuple[int, int] = (128, 1)

    def build(self, *, num_classes: int, dropout: float) -> S3D:
        """Return a freshly initialised network, on torch's default device."""
        return S3D(num_classes=num_classes, dropout=dropout)


def _separable(inputs: int, outputs: int, *, side: int = 3, stride: int = 1) -> tuple[ConvNorm, ConvNorm]:
    """Return 1×side×side and side×1×1, each with as many planes as come out."""
    return (
        ConvNorm(inputs, outputs, kernel=(1, side, side), stride=(1, stride, stride)),
        ConvNorm(outputs, outputs, kernel=(side, 1, 1), stride=(stride, 1, 1)),
    )


def _flat_pool() -> nn.MaxPool3d:
    """Return a 1×3×3 max pool that halves the picture."""
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


def _outputs(channels: Channels) -> int:
    """Return how many channels the branches have together."""
    plain, _, first, _, second, pooled = channels
    return plain + first + second + pooled


def _row(inputs: int, blocks: tuple[Channels, ...]) -> nn.Sequential:
    """Return blocks in a row."""
    inputs_of = (inputs, *(_outputs(channels) for channels in blocks[:-1]))
    return nn.Sequential(*(SeparableInception(own, channels) for own, channels in zip(inputs_of, blocks, strict=True)))
