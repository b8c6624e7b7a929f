"""Networks of inverted residuals for single pictures: MobileNetV2, and EfficientNet-Lite 0 to 4.

Sources: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks (CVPR 2018), Table 2. Tan and Le,
EfficientNet (ICML 2019), Table 1 and equation 3, and the Lite builder beside TensorFlow's models: no squeeze and
excitation, ReLU6 for Swish, and neither the first convolution, the first and last row's depths nor the last
convolution grow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import ceil

from torch import Tensor, nn

from .frame_mixing import FrameMixing, shift_for
from .frames import FrameSpec, ImageNetwork
from .image_layers import PlaneConvNorm, Row

_STEM, _LAST = 32, 1280  # channels of the first convolution and of the last


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """Inverted residuals in a row; the first has the stride."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int = 3


def _rows(*rows: tuple[int, int, int, int, int]) -> tuple[_Row, ...]:
    return tuple(_Row(expansion=t, channels=c, repeats=n, stride=s, kernel=k) for t, c, n, s, k in rows)


# Expansion, channels, repeats, stride, kernel.
_MOBILE_ROWS = _rows(
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 32, 3, 2, 3),
    (6, 64, 4, 2, 3),
    (6, 96, 3, 1, 3),
    (6, 160, 3, 2, 3),
    (6, 320, 1, 1, 3),
)
_EFFICIENT_ROWS = _rows(
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_LITE_FACTORS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))  # of width and depth, for Lite 0 to 4


class _InvertedResidual(nn.Module):
    """1×1 to more channels, a depthwise K×K, 1×1 back without activation, and a shortcut where shapes allow it.

    With a shortcut the branch begins with ``mixing``, if frames see each other.
    """

    def __init__(
        self,
        inputs: int,
        row: _Row,
        *,
        stride: int,
        uneven: bool,
        eps: float,
        mixing: Callable[[int], FrameMixing] | None,
    ) -> None:
        super().__init__()
        inner = inputs * row.expansion
        self.expand = nn.Identity()
        if row.expansion > 1:
            self.expand = PlaneConvNorm(inputs, inner, eps=eps, activation=nn.ReLU6(inplace=True))
        self.depthwise = PlaneConvNorm(
            inner,
            inner,
            kernel=row.kernel,
            stride=stride,
            groups=inner,
            uneven=uneven,
            eps=eps,
            activation=nn.ReLU6(inplace=True),
        )
        self.project = PlaneConvNorm(inner, row.channels, eps=eps)
        self.is_residual = stride == 1 and inputs == row.channels
        self.mixing = mixing(inputs) if mixing and self.is_residual else None

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Map (B · L, inputs, H, W), L ``frames`` a clip, to (B · L, C, H / stride, W / stride), rounded up."""
        mixed = x if self.mixing is None else self.mixing(x, frames)
        out = self.project(self.depthwise(self.expand(mixed)))
        return x + out if self.is_residual else out


class InvertedNetwork(ImageNetwork):
    """A stem, rows of inverted residuals, and a 1×1 to 1280 channels, whose output is the map."""

    def __init__(
        self,
        rows: tuple[_Row, ...],
        *,
        uneven: bool,
        eps: float,
        mixing: Callable[[int], FrameMixing] | None = None,
    ) -> None:
        super().__init__()
        self.channels = _LAST
        self.stem = PlaneConvNorm(
            3, _STEM, kernel=3, stride=2, uneven=uneven, eps=eps, activation=nn.ReLU6(inplace=True)
        )
        self.rows = Row()
        inputs, number = _STEM, count()  # blocks are numbered through, as the sources do
        for row in rows:
            blocks = Row()
            for place in range(row.repeats):
                stride = row.stride if place == 0 else 1
                block = _InvertedResidual(inputs, row, stride=stride, uneven=uneven, eps=eps, mixing=mixing)
                blocks.add_module(str(next(number)), block)
                inputs = row.channels
            self.rows.append(blocks)
        self.last = PlaneConvNorm(inputs, _LAST, eps=eps, activation=nn.ReLU6(inplace=True))

    def forward(self, pictures: Tensor, frames: int) -> Tensor:
        """Return the last map: (B · L, 3, H, W) float -> (B · L, 1280, ceil(H / 32), ceil(W / 32))."""
        return self.last(self.rows(self.stem(pictures), frames))

    def stages(self) -> dict[str, nn.Module]:
        """Return the stem, the rows, and the last convolution."""
        rows = {f"rows.{place}": row for place, row in self.rows.named_children()}
        return {"stem": self.stem, **rows, "last": self.last}

    def blocks(self) -> dict[str, nn.Module]:
        """Return the stem, each inverted residual, and the last convolution."""
        blocks = {
            f"rows.{place}.{own}": block
            for place, row in self.rows.named_children()
            for own, block in row.named_children()
        }
        return {"stem": self.stem, **blocks, "last": self.last}

    def begin_as_identity(self) -> None:
        """Zero the last norm of each branch that has a shortcut."""
        for module in self.modules():
            if isinstance(module, _InvertedResidual) and module.is_residual:
                nn.init.zeros_(module.project.norm.weight)


def _mobile(mixing: Callable[[int], FrameMixing] | None = None) -> InvertedNetwork:
    return InvertedNetwork(_MOBILE_ROWS, uneven=False, eps=1e-5, mixing=mixing)


def _lite(width: float, depth: float) -> InvertedNetwork:
    """Return an EfficientNet-Lite whose rows have so many times the channels and blocks of Lite 0."""
    last = len(_EFFICIENT_ROWS) - 1
    rows = tuple(
        _Row(
            expansion=row.expansion,
            channels=_eighths(row.channels * width),
            repeats=row.repeats if place in (0, last) else ceil(row.repeats * depth),
            stride=row.stride,
            kernel=row.kernel,
        )
        for place, row in enumerate(_EFFICIENT_ROWS)
    )
    return InvertedNetwork(rows, uneven=True, eps=1e-3)


def _eighths(channels: float) -> int:
    """Return the nearest multiple of 8, but not less than 90 % of ``channels``."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


INVERTED_SPECS = (
    FrameSpec(name="mobilenet_v2", summary="MobileNetV2 of single pictures, on each frame", image=_mobile),
    FrameSpec(
        name="tsm_mobilenet_v2",
        summary="TSM: MobileNetV2 on each frame, with a quarter of its channels from the frames beside it",
        image=partial(_mobile, shift_for),
        mixes_frames=True,
    ),
    *(
        FrameSpec(
            name=f"efficientnet_lite{size}",
            summary="EfficientNet-Lite of single pictures, on each frame",
            image=partial(_lite, *factors),
        )
        for size, factors in enumerate(_LITE_FACTORS)
    ),
)
