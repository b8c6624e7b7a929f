"""FAST-GRU: a recurrent unit over whole feature maps, its gates computed through a bottleneck."""

import torch
from torch import Tensor, nn

from .base import reduced_width
from .recurrent import RecurrentUnit


class FastGRUUnit(RecurrentUnit):
    """A GRU whose two gates come from a compressed, rectified mixture of clip and state.

    Source: Zhu et al., FASTER (AAAI 2020), eq. 3 and 4, Fig. 2 (b). As printed, no term has a bias: 3.5 c^2 weights at
    r = 4, 14.68 M at c = 2048.
    Differs from the source: eq. 3 gives the candidate's two matrices the same name; here they are two, as in any GRU.

    Args:
        channels: c.
        reduction: r, the factor by which the gates' bottleneck compresses the channels.

    Raises:
        SettingsError: if r does not divide c.
    """

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        self.bottleneck = reduced_width(channels, reduction=reduction)
        # Rows: U_rx, U_zx (c/r each), and the candidate's matrix on x_t (c).
        self.from_input = nn.Linear(channels, 2 * self.bottleneck + channels, bias=False)
        self.from_state = nn.Linear(channels, 2 * self.bottleneck, bias=False)  # rows: U_ro, U_zo
        self.read = nn.Linear(self.bottleneck, channels, bias=False)  # W_r'
        self.update = nn.Linear(self.bottleneck, channels, bias=False)  # W_z'
        self.candidate = nn.Linear(channels, channels, bias=False)  # the candidate's matrix on r_t * o_{t-1}

    def project(self, clips: Tensor) -> Tensor:
        """Return (…, 2C/r + C) of ``clips`` (…, C)."""
        return self.from_input(clips)

    def recur(self, state: Tensor, projected: Tensor) -> Tensor:
        """Return o_t of o_{t-1} (B, P, C) and the projections (B, P, 2C/r + C) of x_t."""
        gates, candidate = projected.split([2 * self.bottleneck, state.shape[-1]], dim=-1)
        read, update = torch.relu(gates + self.from_state(state)).chunk(2, dim=-1)  # (B, P, C/r) each
        read, update = torch.sigmoid(self.read(read)), torch.sigmoid(self.update(update))  # (B, P, C) each
        candidate = torch.tanh(candidate + self.candidate(read * state))
        # The same as (1 - z) * o + z * candidate, with one product less.
        return state + update * (candidate - state)
