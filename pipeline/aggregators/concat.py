"""Concat: clip and state side by side, projected to one feature space."""

import torch
from torch import Tensor, nn

from .recurrent import RecurrentUnit


class ConcatUnit(RecurrentUnit):
    """Project clip and state together, normalise, rectify; there are no gates.

    Source: Yang et al., FASTER Recurrent Networks (2019), eq. 5 and Fig. 2 (a), at every position of the grid. One
    batch norm serves all steps, as one W and one U do; its statistics are over videos and positions of a step.

    Args:
        channels: c.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(channels, channels, bias=False)  # U
        self.from_state = nn.Linear(channels, channels, bias=False)  # W
        self.norm = nn.BatchNorm1d(channels)

    def project(self, clips: Tensor) -> Tensor:
        """Return (…, C) of ``clips`` (…, C)."""
        return self.from_input(clips)

    def recur(self, state: Tensor, projected: Tensor) -> Tensor:
        """Return o_t of o_{t-1} and the projection of x_t, (B, P, C) each."""
        mixed = self.from_state(state) + projected
        return torch.relu(self.norm(mixed.flatten(0, 1))).view_as(mixed)
