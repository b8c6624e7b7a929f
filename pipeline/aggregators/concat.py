"""Concat: clip and state side by side, projected to one feature space."""

import torch
from torch import Tensor, nn

from ..errors import SettingsError, named
from .recurrent import RecurrentUnit

_MOMENTUM = 0.1  # of the running statistics, a batch; torch's default


class ConcatUnit(RecurrentUnit):
    """Project clip and state together, normalise, rectify; there are no gates.

    Source: Zhu et al., FASTER Recurrent Networks (AAAI 2020), eq. 5 and Fig. 2 (a), at every position of the grid. One
    batch norm serves all steps, as one W and one U do; its statistics are taken over the videos and positions of a
    step. The usual momentum is shared evenly among the steps of a batch: if each step had all of it, the running
    statistics would remember little but the last steps of a long video.

    Args:
        channels: c.

    Raises:
        SettingsError: in training, if a step holds a single vector, which has no variance to normalise by.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(channels, channels, bias=False)  # U
        self.from_state = nn.Linear(channels, channels, bias=False)  # W
        self.norm = nn.BatchNorm1d(channels)

    def project(self, clips: Tensor) -> Tensor:
        """Return (B, N - 1, P, C) of ``clips`` (B, N - 1, P, C), or (B, P, C) of a single one (B, P, C)."""
        # Set here because only here the number of steps is known; `recur` follows once for each of them.
        self.norm.momentum = _MOMENTUM / (clips.shape[1] if clips.dim() == 4 else 1)
        return self.from_input(clips)

    def recur(self, state: Tensor, projected: Tensor) -> Tensor:
        """Return o_t of o_{t-1} and the projection of x_t, (B, P, C) each."""
        mixed = self.from_state(state) + projected
        if self.training and mixed.shape[:-1].numel() == 1:
            raise SettingsError(f"concat normalises over videos and positions: give {named('batch_size')} 2 or more")
        return torch.relu(self.norm(mixed.flatten(0, 1))).view_as(mixed)
