"""What lets an image network see the other frames of its clip: channels that move along time."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SHIFTED = 8  # TSM takes an eighth of the channels from the next frame, and an eighth from the one before


class FrameMixing(nn.Module, ABC):
    """Mixes the maps of a clip's frames; stands before the first convolution of a residual branch."""

    @abstractmethod
    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Return mixed maps of the same shape.

        Args:
            maps: (B · L, C, H, W) float, clip by clip.
            frames: L.
        """


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


def shift_for(channels: int) -> TemporalShift:  # noqa: ARG001 (it moves a share of any number)
    """Return the shift of maps with so many channels."""
    return TemporalShift()


def _channels_last(maps: Tensor, frames: int) -> Tensor:
    """Return maps (B · L, C, H, W) as (B, L, H, W, C): of channels-last memory a view."""
    return maps.unflatten(0, (-1, frames)).movedim(2, -1)


def _as_maps(clips: Tensor) -> Tensor:
    """Return (B, L, H, W, C) as maps (B · L, C, H, W), in channels-last memory."""
    return clips.movedim(-1, 2).flatten(0, 1)
