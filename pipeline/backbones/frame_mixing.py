"""What lets an image network see the other frames of its clip: channels that move along time."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SHIFTED = 8  # TSM takes an eighth of the channels from the next frame, and an eighth from the one before
_INTERLACED, _GROUPS = 4, 4  # TIN moves a quarter of the channels, in four groups
_MOST = 2.0  # frames that a channel moves at most
_FIRST_BIAS = 0.5108  # of the offsets' last layer: they begin at half a frame


class FrameMixing(nn.Module, ABC):
    """Mixes the maps of a clip's frames; stands before the first convolution of a residual branch."""

    @abstractmethod
    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Return mixed maps of the same shape.

        Args:
            maps: (B · L, C, H, W) float, clip by clip.
            frames: L.
        """

    def begin(self) -> None:
        """Initialise in place as the source does, what a network's own initialisation would make otherwise."""


class TemporalShift(FrameMixing):
    """An eighth of the channels comes from the next frame, the next eighth from the one before; zeros at the ends.

    Source: Lin et al., TSM: Temporal Shift Module for Efficient Video Understanding (ICCV 2019), section 3.2; the
    shares, and which of them moves which way, are those of its authors' code.
    """

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Map (B · L, C, H, W) to the same shape."""
        clips = _channels_last(maps, frames)  # (B, L, H, W, C)
        share = clips.shape[-1] // _SHIFTED
        later, earlier, own = clips.split([share, share, clips.shape[-1] - 2 * share], dim=-1)
        later = F.pad(later[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
        earlier = F.pad(earlier[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        return _as_maps(torch.cat([later, earlier, own], dim=-1))


class TemporalInterlace(FrameMixing):
    """A quarter of the channels, in four groups, moves along time by learnt offsets, and is weighted by frame.

    An offset is a fraction of frames within ±2, and what it points between is interpolated; beyond the ends are zeros.
    The third group moves against the first, the fourth against the second. Offsets and weights follow from the clip
    itself: from the moving channels, averaged over space. Offsets are of all frames at once, by layers of just so many,
    so that a network suits clips of one length.

    Source: Shao et al., Temporal Interlacing Network (AAAI 2020), section 3; what it leaves open is as in its authors'
    code.

    Differs from the source: frames move by a product with a small matrix, which any device can do, instead of an
    operator for CUDA; the values are the same.

    Args:
        channels: C of the maps.
        frames: L of the clips.
    """

    def __init__(self, channels: int, *, frames: int) -> None:
        super().__init__()
        self.moving = channels // _INTERLACED
        self.offset_conv = nn.Conv1d(self.moving, 1, 3, padding=1)
        self.offset_hidden = nn.Linear(frames, frames)
        self.offset_last = nn.Linear(frames, _GROUPS // 2)
        self.weight_conv = nn.Conv1d(self.moving, _GROUPS // 2, 3, padding=1)

    def begin(self) -> None:
        """Let offsets begin at half a frame or about, and weights at 1."""
        for layer in (self.offset_conv, self.offset_hidden, self.offset_last, self.weight_conv):
            layer.reset_parameters()
        nn.init.constant_(self.offset_last.bias, _FIRST_BIAS)
        nn.init.zeros_(self.weight_conv.get_parameter("bias"))

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Map (B · L, C, H, W) to the same shape."""
        clips = _channels_last(maps, frames)  # (B, L, H, W, C)
        moving, own = clips.split([self.moving, clips.shape[-1] - self.moving], dim=-1)
        groups = moving.unflatten(-1, (_GROUPS, -1))  # (B, L, H, W, G, C / 16)
        matrix = self._moves(moving.mean(dim=(2, 3)).transpose(1, 2))  # (B, G, L, L)
        moved = torch.einsum("bgtu,buhwgc->bthwgc", matrix, groups).flatten(-2)
        return _as_maps(torch.cat([moved, own], dim=-1))

    def _moves(self, averages: Tensor) -> Tensor:
        """Return (B, G, L, L): how much of each group's frame, last, goes into each, of averages (B, C / 4, L)."""
        # With σ(x) = (1 + tanh(x / 2)) / 2; torch's sigmoid rounds the same value otherwise at other places of a batch.
        offsets = self.offset_last(self.offset_hidden(self.offset_conv(averages)[:, 0]).relu())
        offsets = _MOST * (offsets / 2).tanh()  # (B, G / 2)
        offsets = torch.cat([offsets, -offsets], dim=1)[:, :, None, None]  # (B, G, 1, 1)
        weights = 1.0 + (self.weight_conv(averages) / 2).tanh()  # (B, G / 2, L), in (0, 2)
        places = torch.arange(averages.shape[2], device=averages.device, dtype=averages.dtype)
        distances = places[:, None] - places - offsets  # of frames from where they move to
        return (1.0 - distances.abs()).clamp(min=0.0) * weights.repeat(1, 2, 1)[..., None]


def shift_for(channels: int) -> TemporalShift:  # noqa: ARG001 (it moves a share of any number)
    """Return the shift of maps with so many channels."""
    return TemporalShift()


def _channels_last(maps: Tensor, frames: int) -> Tensor:
    """Return maps (B · L, C, H, W) as (B, L, H, W, C): of channels-last memory a view."""
    return maps.unflatten(0, (-1, frames)).movedim(2, -1)


def _as_maps(clips: Tensor) -> Tensor:
    """Return (B, L, H, W, C) as maps (B · L, C, H, W), in channels-last memory."""
    return clips.movedim(-1, 2).flatten(0, 1)
