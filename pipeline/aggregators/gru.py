"""GRU: read and update gates straight from clip and state; on pooled clips, or at every position of the grid."""

import torch
from torch import Tensor, nn

from .recurrent import RecurrentUnit


class GRUUnit(RecurrentUnit):
    """A gated recurrent unit.

    Source: Zhu et al., FASTER (AAAI 2020), eq. 2 and 3, without biases as printed. On pooled clips it is the "GRU" of
    Table 3; at every position of the grid it is the convolutional GRU without the bottleneck.
    Differs from the source: eq. 3 gives the candidate's two matrices the same name; here they are two. torch's own GRU
    is no substitute: it applies the read gate after its matrix, not before, and its update gate is the other way round.

    Args:
        channels: c.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(channels, 3 * channels, bias=False)  # rows: G_rx, G_zx, the candidate's on x_t
        self.from_state = nn.Linear(channels, 2 * channels, bias=False)  # rows: G_ro, G_zo
        self.candidate = nn.Linear(channels, channels, bias=False)  # the candidate's matrix on r_t * o_{t-1}

    def project(self, clips: Tensor) -> Tensor:
        """Return (…, 3C) of ``clips`` (…, C)."""
        return self.from_input(clips)

    def recur(self, state: Tensor, projected: Tensor) -> Tensor:
        """Return o_t of o_{t-1} (B, P, C) and the projections (B, P, 3C) of x_t."""
        channels = state.shape[-1]
        # `projected` holds the terms in x_t: those of both gates side by side, then the candidate's.
        gates, candidate = projected.split([2 * channels, channels], dim=-1)
        read, update = torch.sigmoid(gates + self.from_state(state)).chunk(2, dim=-1)  # (B, P, C) each
        candidate = torch.tanh(candidate + self.candidate(read * state))
        return state + update * (candidate - state)
