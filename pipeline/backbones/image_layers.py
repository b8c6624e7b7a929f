"""What networks of single pictures share: a normalised 2D convolution, padded evenly or as TensorFlow does; a row."""

from torch import Tensor, nn
from torch.nn import functional as F


class PlaneConvNorm(nn.Module):
    """A 2D convolution without bias, its batch norm and an activation.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: side of the kernel, odd.
        stride: in both directions.
        groups: of channels that do not mix.
        uneven: whether pictures are padded as TensorFlow's "same" does: just so much that the output's side is the
            input's over the stride, rounded up, and where that is odd, one row more below and one column more on the
            right. Otherwise half the kernel, rounded down, is added on every side.
        eps: what the norm adds to variances.
        activation: what follows; None for nothing.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        uneven: bool = False,
        eps: float = 1e-5,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self._pads_by_size = uneven and stride > 1  # at stride 1 both paddings are the same
        padding = 0 if self._pads_by_size else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=eps)
        self.activation = activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        if self._pads_by_size:
            kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
            (top, bottom), (left, right) = (_same_padding(side, kernel, stride) for side in x.shape[2:])
            x = F.pad(x, (left, right, top, bottom))
        return self.activation(self.norm(self.conv(x)))


class Row(nn.Sequential):
    """Blocks in a row, each of which is told how many frames a clip has."""

    def forward(self, input: Tensor, frames: int = 1) -> Tensor:  # noqa: A002 (torch's name)
        """Map (B · L, C, H, W), with L ``frames`` a clip, to what the last block makes of it."""
        for block in self:
            input = block(input, frames)  # noqa: A001
        return input


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many pixels TensorFlow's "same" puts before and after ``side`` of them."""
    outputs = -(-side // stride)
    total = max((outputs - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
