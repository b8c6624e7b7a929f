"""LSTM: three gates, and a cell beside the output."""

import torch
from torch import Tensor, nn

from .recurrent import RecurrentUnit

State = tuple[Tensor, Tensor]


class LSTMUnit(RecurrentUnit):
    """A long short-term memory with input, forget and output gate, as torch's `LSTMCell`.

    Source: Zhu et al., FASTER Recurrent Networks (AAAI 2020), "LSTM" of Table 3, after Graves (2013), eq. 7 to 11.
    Differs from the source: Graves' peepholes (the cell seen by the gates) are left out, as in today's LSTMs. The paper
    sets o_0 = x_0 and says nothing about the cell; here it begins as x_0 too, so that the first clip is not lost. The
    forget gate's bias begins at 1 (Gers et al., 2000).

    Args:
        channels: c.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(channels, 4 * channels)  # rows: input, forget, candidate, output, as in torch
        self.from_state = nn.Linear(channels, 4 * channels, bias=False)
        # An open forget gate lets gradients through the cell from the first step.
        with torch.no_grad():
            self.from_input.bias[channels : 2 * channels] = 1.0

    def project(self, clips: Tensor) -> Tensor:
        """Return (…, 4C) of ``clips`` (…, C)."""
        return self.from_input(clips)

    def begin(self, clip: Tensor) -> State:
        """Return o_0 and the cell after the first clip (B, P, C): that clip, twice."""
        return clip, clip

    def recur(self, state: State, projected: Tensor) -> State:
        """Return o_t and the cell, (B, P, C) each, of those before and the projections (B, P, 4C) of x_t."""
        output, cell = state
        into, forget, candidate, out = (projected + self.from_state(output)).chunk(4, dim=-1)  # (B, P, C) each
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(candidate)
        return torch.sigmoid(out) * torch.tanh(cell), cell

    def output(self, state: State) -> Tensor:
        """Return o_t (B, P, C)."""
        return state[0]
