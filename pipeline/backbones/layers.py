"""What the families share: a normalised convolution, the bottleneck block, a stage of them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # depth -> of res2 to res5
SMALLEST_UNPADDED = 5  # pixels of which conv1 and a pool without padding leave one
WIDTHS = (64, 32, 16)  # of conv1; the first is the papers'
EXPANSION = 4
PUBLISHED_BLOCKS = BLOCKS | {152: (3, 8, 36, 3)}  # with the depths that stand only for the sake of published weights

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

Size = tuple[int, int, int]
Middle = Callable[[int, int, int], nn.Sequential]  # planes, temporal stride, spatial stride


class ConvNorm(nn.Module):
    """A convolution, its batch norm and, unless ``relu`` is false, a ReLU.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: (time, height, width).
        stride: likewise.
        padding: likewise; by default half the kernel, rounded down.
        relu: whether a ReLU follows.
        bias: whether the convolution has a bias, which the norm makes needless.
        groups: into which channels are parted; as many as ``inputs`` make it depthwise.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: Size,
        stride: Size = (1, 1, 1),
        padding: Size | None = None,
        relu: bool = True,
        bias: bool = False,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.padding = padding or (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, self.padding, groups=groups, bias=bias)
        self.norm = nn.BatchNorm3d(outputs)
        self.activation = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T', H', W')."""
        return self.activation(self.norm(self._convolve(x)))

    def _convolve(self, x: Tensor) -> Tensor:
        """Return the convolution; padded by hand in time where torch's gradient would be garbage.

        In bfloat16 on a CPU, oneDNN 3.12 (torch 2.13) leaves parts of the weights' gradient unwritten if the kernel is
        longer than the clip and has several positions: the gradient is noise or NaN, and there is no error.
        """
        conv, frames, (time, height, width) = self.conv, x.shape[2], self.padding
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        short = frames < kernel and frames + 2 * time - kernel >= stride
        if not (short and x.device.type == "cpu" and torch.is_grad_enabled() and _is_bfloat16(x)):
            return conv(x)
        padded = F.pad(x, (0, 0, 0, 0, time, time))
        return F.conv3d(padded, conv.weight, conv.bias, conv.stride, (0, height, width), groups=conv.groups)


def _is_bfloat16(x: Tensor) -> bool:
    """Return whether a convolution of ``x`` would be computed in bfloat16."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16


def stem_pool(time: int = 1, *, padding: int = 1) -> nn.MaxPool3d:
    """Return the max pool after conv1: 1×3×3, which halves the picture and takes every ``time``-th frame."""
    return nn.MaxPool3d((1, 3, 3), (time, 2, 2), (0, padding, padding))


def flat_middle(planes: int, time: int, space: int) -> nn.Sequential:
    """Return the 1×3×3 of bottlenecks that span time elsewhere, or not at all; it has both strides."""
    return nn.Sequential(ConvNorm(planes, planes, kernel=(1, 3, 3), stride=(time, space, space)))


class Bottleneck(nn.Module):
    """K×1×1, the family's middle, 1×1×1 to four times the planes, and the shortcut around them.

    The strides lie in the middle and on the shortcut, which is a convolution where it must change the shape.

    Args:
        inputs: channels that come in.
        planes: channels of the middle.
        middle: what makes the middle.
        time: temporal stride.
        space: spatial stride.
        temporal_kernel: K, the frames that the first convolution spans.
    """

    def __init__(
        self, inputs: int, planes: int, *, middle: Middle, time: int = 1, space: int = 1, temporal_kernel: int = 1
    ) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.reduce = ConvNorm(inputs, planes, kernel=(temporal_kernel, 1, 1))
        self.middle = middle(planes, time, space)
        self.expand = ConvNorm(planes, outputs, kernel=(1, 1, 1), relu=False)
        self.activation = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if inputs != outputs or (time, space) != (1, 1):
            stride = (time, space, space)
            self.shortcut = ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, 4 × planes, T / time, H / space, W / space), rounded up."""
        out = self.expand(self.middle(self.reduce(x)))
        out += self.shortcut(x)  # in place: one large map less to keep
        return self.activation(out)


def stage_inputs(width: int, *, index: int) -> int:
    """Return the channels that enter res2 (``index`` 0) to res5 (3) of a network whose conv1 has ``width``."""
    return width if index == 0 else width * 2 ** (index - 1) * EXPANSION


def residual_stage(
    inputs: int, planes: int, *, middle: Middle, time: int, space: int, temporal_kernels: Sequence[int]
) -> nn.Sequential:
    """Return bottlenecks in a row, one for each of ``temporal_kernels``; the first has the strides."""
    first, *others = temporal_kernels
    blocks = [Bottleneck(inputs, planes, middle=middle, time=time, space=space, temporal_kernel=first)]
    blocks += [Bottleneck(planes * EXPANSION, planes, middle=middle, temporal_kernel=kernel) for kernel in others]
    return nn.Sequential(*blocks)


def grid_side(size: int, *, pads: bool = True) -> int:
    """Return H' = W' of a network that halves a picture of ``size``² pixels five times, rounding up each time.

    Where the pool after conv1, the second of the five, has no padding, it leaves (n - 1) // 2 of n pixels.
    """
    if pads:
        return -(-size // 2**5)
    return -(-((-(-size // 2) - 1) // 2) // 2**3)


def blocks_of(stages: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return the blocks of stages that are rows of bottlenecks, by name, and the other stages whole.

    What lies between the bottlenecks of a row (non-local blocks) counts as a block too.
    """
    blocks: dict[str, nn.Module] = {}
    for name, stage in stages.items():
        is_row = isinstance(stage, nn.Sequential) and any(isinstance(child, Bottleneck) for child in stage)
        blocks |= {f"{name}.{own}": block for own, block in stage.named_children()} if is_row else {name: stage}
    return blocks


def zero_residual_norms(network: nn.Module) -> None:
    """Zero the last norm of each bottleneck's residual branch, in place, so that the bottleneck begins as the identity.

    Source: Goyal et al., Accurate, Large Minibatch SGD (2017), section 5.1.
    """
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.expand.norm.weight)


def width_suffix(width: int) -> str:
    """Return what a network's name ends with: nothing for the papers' width, ``_w16`` for one of 16."""
    return "" if width == WIDTHS[0] else f"_w{width}"
