"""SlowFast: two paths over one clip, the fast one joining the slow one."""

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .interface import Backbone
from .layers import (
    BLOCKS,
    EXPANSION,
    ConvNorm,
    blocks_of,
    flat_middle,
    grid_side,
    residual_stage,
    stage_inputs,
    stem_pool,
    zero_residual_norms,
)
from .non_local import initialise_with_non_local, with_non_local

if TYPE_CHECKING:
    from .slowfast import SlowFastSpec

_BETA_INVERSE = 8  # the fast path has an eighth of the channels
_LATERAL_RATIO = 2  # what joins the slow path has twice the fast one's
_SLOW_KERNELS, _FAST_KERNELS = (1, 1, 1, 3, 3), (5, 3, 3, 3, 3)  # frames that conv1 and the bottlenecks span
_JOINED = ("stem", "res2", "res3", "res4")  # the fast path joins the slow one after these


class SlowFast(Backbone):
    """Two residual networks over one clip, the fast one joining the slow one four times on the way.

    The clip has the fast path's frames (32 of stride 2, in the paper); the slow path takes one in alpha of them. Both
    paths' last maps are given on the slow path's grid: the fast path's is averaged over every alpha frames, and its
    channels follow the slow path's. Averaging that grid averages each path, so the head is SlowFast's own.

    Source: Feichtenhofer et al., SlowFast Networks for Video Recognition (ICCV 2019), Table 1 and section 3.3
    (time-strided convolution, joined by concatenation). As in PySlowFast and pytorchvideo, the bottlenecks' strides lie
    on the 1×3×3. Their convolutions between the paths have a norm and a ReLU; those of mmaction2 and X-Temporal have
    neither, and are other networks here.
    Differs from PySlowFast, unless the weights' recipe says so: its slow path takes frames spread from the first to the
    last, which drift against those that the lateral convolutions are centred on; here they are the same, as in the
    paper and mmaction2.
    """

    def __init__(self, spec: "SlowFastSpec", *, num_classes: int, dropout: float) -> None:
        width, fast_width = spec.width, spec.width // _BETA_INVERSE
        super().__init__(
            name=spec.name,
            num_classes=num_classes,
            channels=(width + fast_width) * 8 * EXPANSION,
            dropout=dropout,
            frames_multiple=spec.alpha,
            classifier_bias=spec.classifier_bias,
        )
        self.alpha = spec.alpha
        lateral_width = _LATERAL_RATIO * fast_width
        self.slow = _path(spec, width, depth=spec.depth, kernels=_SLOW_KERNELS, lateral_width=lateral_width)
        self.fast = _path(spec, fast_width, depth=spec.fast_depth or spec.depth, kernels=_FAST_KERNELS)
        self.laterals = _laterals(spec, fast_width)
        initialise_with_non_local(self)

    def features(self, clip: Tensor) -> Tensor:
        """Return both paths' res5: (B, 3, L, H, W) float -> (B, C, L / alpha, ceil(H / 32), ceil(W / 32))."""
        self.check_frames(clip.shape[2])
        slow, fast = self._slow_clip(clip), clip
        for (name, slow_part), fast_part in zip(self.slow.named_children(), self.fast.children(), strict=True):
            slow, fast = slow_part(slow), fast_part(fast)
            if name in _JOINED:
                slow = torch.cat([slow, self.laterals[name](fast)], dim=1)
        fast = fast.unflatten(2, (-1, self.alpha)).mean(dim=3)  # (B, C of the fast path, L / alpha, H', W')
        return torch.cat([slow, fast], dim=1)

    def _slow_clip(self, clip: Tensor) -> Tensor:
        """Return the frames of the slow path: (B, 3, L, H, W) -> (B, 3, L / alpha, H, W)."""
        if self.slow_frames == "every":
            return clip[:, :, :: self.alpha]
        return clip[:, :, spread_frames(clip.shape[2], count=clip.shape[2] // self.alpha)]

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): a frame in alpha and a 32nd of the side, rounded up."""
        self.check_frames(frames)
        self.check_size(size)
        side = grid_side(size)
        return frames // self.alpha, side, side, self.channels

    def stages(self) -> dict[str, nn.Module]:
        """Return the stem and res2 to res5 of the slow path, then of the fast one, and what joins them."""
        paths = {"slow": self.slow, "fast": self.fast, "laterals": self.laterals}
        return {f"{name}.{own}": part for name, path in paths.items() for own, part in path.named_children()}

    def blocks(self) -> dict[str, nn.Module]:
        """Return the same, with each bottleneck apart."""
        return blocks_of(self.stages())

    def begin_as_identity(self) -> None:
        """Make every bottleneck of both paths begin as the identity."""
        zero_residual_norms(self)


def spread_frames(frames: int, *, count: int) -> list[int]:
    """Return ``count`` places of a clip of ``frames``, spread from the first to the last and rounded down.

    Source: PySlowFast's and pytorchvideo's linspace, in the same arithmetic, since rounding down turns on its last bit.
    """
    return torch.linspace(0, frames - 1, count, device="cpu").long().tolist()


def _path(
    spec: "SlowFastSpec", width: int, *, depth: int, kernels: tuple[int, ...], lateral_width: int = 0
) -> nn.Sequential:
    """Return stem (conv1 and its pool) and res2 to res5 of one path.

    Args:
        spec: of the network.
        width: channels of conv1.
        depth: 14, 26, 50 or 101.
        kernels: frames that conv1 and the bottlenecks of each stage span.
        lateral_width: channels that join those of conv1 before res2, and in proportion before res3 to res5; none join
            the fast path.
    """
    stem_kernel, *stage_kernels = kernels
    conv1 = ConvNorm(3, width, kernel=(stem_kernel, 7, 7), stride=(1, 2, 2))
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(conv1, stem_pool()))
    for index, (num_blocks, kernel) in enumerate(zip(BLOCKS[depth], stage_kernels, strict=True)):
        spanning = num_blocks if index != 2 or spec.spanning is None else spec.spanning
        stage = residual_stage(
            stage_inputs(width + lateral_width, index=index),
            width * 2**index,
            middle=flat_middle,
            time=1,
            space=1 if index == 0 else 2,
            temporal_kernels=[kernel] * spanning + [1] * (num_blocks - spanning),
        )
        if lateral_width and spec.non_local and spec.non_local.after(index):
            stage = with_non_local(
                stage,
                channels=width * 2**index * EXPANSION,
                form=spec.non_local,
                after=spec.non_local.after(index),
            )
        parts[f"res{index + 2}"] = stage
    return nn.Sequential(parts)


def _laterals(spec: "SlowFastSpec", fast_width: int) -> nn.ModuleDict:
    """Return the convolutions that bring the fast path's maps to the slow path's frames, by the part they follow."""
    laterals = nn.ModuleDict()
    kernel, stride = (spec.lateral_kernel, 1, 1), (spec.alpha, 1, 1)
    for index, name in enumerate(_JOINED):
        channels = stage_inputs(fast_width, index=index)
        outputs = _LATERAL_RATIO * channels
        if spec.lateral_norm:
            laterals[name] = ConvNorm(channels, outputs, kernel=kernel, stride=stride)
        else:
            padding = (spec.lateral_kernel // 2, 0, 0)
            laterals[name] = nn.Conv3d(channels, outputs, kernel, stride, padding, bias=False)
    return laterals
