"""SlowFast: a slow path that sees few frames with many channels, and a fast one that sees all with few."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .interface import Backbone, initialise
from .layers import (
    BLOCKS,
    EXPANSION,
    WIDTHS,
    ConvNorm,
    blocks_of,
    flat_middle,
    grid_side,
    residual_stage,
    stage_inputs,
    stem_pool,
    width_suffix,
    zero_residual_norms,
)

_BETA_INVERSE = 8  # the fast path has an eighth of the channels
_LATERAL_RATIO = 2  # what joins the slow path has twice the fast one's
_SLOW_KERNELS, _FAST_KERNELS = (1, 1, 1, 3, 3), (5, 3, 3, 3, 3)  # frames that conv1 and the bottlenecks span
_JOINED = ("stem", "res2", "res3", "res4")  # the fast path joins the slow one after these

_SUMMARY = "SlowFast: a slow path of few frames and many channels, and a fast one of all frames and few channels"
_USUAL_CLIP = (32, 2)  # frames of the fast path, which are the clip's, and their stride
# Frames and stride of the slow path in such a clip -> alpha: the slow path takes every alpha-th frame.
_ALPHAS = {"4x16": 8, "8x8": 4}
# (depth, rates) -> frames that the convolutions between the paths span, where these are not the paper's 5. Source: the
# networks of PySlowFast and pytorchvideo; mmaction2 also has 7 for its SlowFast-101. Depths 14 and 26 follow 50.
_LATERAL_KERNELS = {(depth, "8x8"): 7 for depth in (14, 26, 50)}


class SlowFast(Backbone):
    """Two residual networks over one clip, the fast one joining the slow one four times on the way.

    The clip has the fast path's frames (32 of stride 2, in the paper); the slow path takes every alpha-th of them. Both
    paths' last maps are given on the slow path's grid: the fast path's is averaged over every alpha frames, and its
    channels follow the slow path's. Averaging that grid averages each path, so the head is SlowFast's own.

    Source: Feichtenhofer et al., SlowFast Networks for Video Recognition (ICCV 2019), Table 1 and section 3.3
    (time-strided convolution, joined by concatenation). As in PySlowFast and pytorchvideo, the bottlenecks' strides lie
    on the 1×3×3 and the convolutions between the paths have a norm and a ReLU (mmaction2's have neither).
    Differs from PySlowFast: its slow path takes frames spread from the first to the last, which drift against those
    that the lateral convolutions are centred on; here they are the same, as in the paper and mmaction2.
    """

    def __init__(self, spec: "SlowFastSpec", *, num_classes: int, dropout: float) -> None:
        width, fast_width = spec.width, spec.width // _BETA_INVERSE
        super().__init__(
            name=spec.name,
            num_classes=num_classes,
            channels=(width + fast_width) * 8 * EXPANSION,
            dropout=dropout,
            frames_multiple=_ALPHAS[spec.rates],
        )
        self.alpha = _ALPHAS[spec.rates]
        lateral_width, lateral_kernel = _LATERAL_RATIO * fast_width, _LATERAL_KERNELS.get((spec.depth, spec.rates), 5)
        self.slow = _path(width, depth=spec.depth, kernels=_SLOW_KERNELS, lateral_width=lateral_width)
        self.fast = _path(fast_width, depth=spec.depth, kernels=_FAST_KERNELS, lateral_width=0)
        self.laterals = _laterals(fast_width, alpha=self.alpha, kernel=lateral_kernel)
        initialise(self)

    def features(self, clip: Tensor) -> Tensor:
        """Return both paths' res5: (B, 3, L, H, W) float -> (B, C, L / alpha, ceil(H / 32), ceil(W / 32))."""
        self.check_frames(clip.shape[2])
        slow, fast = clip[:, :, :: self.alpha], clip
        for (name, slow_part), fast_part in zip(self.slow.named_children(), self.fast.children(), strict=True):
            slow, fast = slow_part(slow), fast_part(fast)
            if name in _JOINED:
                slow = torch.cat([slow, self.laterals[name](fast)], dim=1)
        fast = fast.unflatten(2, (-1, self.alpha)).mean(dim=3)  # (B, C of the fast path, L / alpha, H', W')
        return torch.cat([slow, fast], dim=1)

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): every alpha-th frame and a 32nd of the side, rounded up."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowFastSpec:
    """A depth of both paths (14, 26, 50, 101), rates (4x16, 8x8), and the slow path's width (64, 32, 16)."""

    depth: int
    rates: str
    width: int

    @property
    def name(self) -> str:
        """As ``slowfast_50_8x8``; with another width than the paper's, as ``slowfast_14_8x8_w16``."""
        return f"slowfast_{self.depth}_{self.rates}{width_suffix(self.width)}"

    @property
    def summary(self) -> str:
        """The same for all."""
        return _SUMMARY

    @property
    def usual_clip(self) -> tuple[int, int]:
        """The same for both rates, which say only what the slow path takes from it."""
        return _USUAL_CLIP

    def build(self, *, num_classes: int, dropout: float) -> SlowFast:
        """Return a freshly initialised network, on torch's default device."""
        return SlowFast(self, num_classes=num_classes, dropout=dropout)


def slowfast_specs() -> list[SlowFastSpec]:
    """Return every combination of depth, rates and width."""
    return [
        SlowFastSpec(depth=depth, rates=rates, width=width) for rates in _ALPHAS for depth in BLOCKS for width in WIDTHS
    ]


def _path(width: int, *, depth: int, kernels: tuple[int, ...], lateral_width: int) -> nn.Sequential:
    """Return stem (conv1 and its pool) and res2 to res5 of one path.

    Args:
        width: channels of conv1.
        depth: 14, 26, 50 or 101.
        kernels: frames that conv1 and the bottlenecks of each stage span.
        lateral_width: channels that join those of conv1 before res2, and in proportion before res3 to res5.
    """
    stem_kernel, *stage_kernels = kernels
    conv1 = ConvNorm(3, width, kernel=(stem_kernel, 7, 7), stride=(1, 2, 2))
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(conv1, stem_pool()))
    for index, (num_blocks, kernel) in enumerate(zip(BLOCKS[depth], stage_kernels, strict=True)):
        parts[f"res{index + 2}"] = residual_stage(
            stage_inputs(width + lateral_width, index=index),
            width * 2**index,
            middle=flat_middle,
            time=1,
            space=1 if index == 0 else 2,
            temporal_kernels=[kernel] * num_blocks,
        )
    return nn.Sequential(parts)


def _laterals(fast_width: int, *, alpha: int, kernel: int) -> nn.ModuleDict:
    """Return the convolutions that bring the fast path's maps to the slow path's frames, by the part they follow."""
    laterals = nn.ModuleDict()
    for index, name in enumerate(_JOINED):
        channels = stage_inputs(fast_width, index=index)
        laterals[name] = ConvNorm(channels, _LATERAL_RATIO * channels, kernel=(kernel, 1, 1), stride=(alpha, 1, 1))
    return laterals
