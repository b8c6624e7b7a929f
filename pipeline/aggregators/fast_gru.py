"""FAST-GRU: a recurrent unit over whole feature maps, its gates computed through a bottleneck."""

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from .base import Aggregator, AggregatorSpec


class FastGRU(Aggregator):
    """Run a GRU over the clips at every position of the feature map, then pool and classify.

    A position's channels never meet another's, so each 1x1x1 convolution is a linear layer over the last axis, and what
    depends on the clips alone (the first terms of both gates and of the candidate) is one matrix product over all of
    them; the recurrence keeps only what depends on o_{t-1}.

    Source: Yang et al., FASTER Recurrent Networks (2019), eq. 3 and 4, Fig. 2 (b): o_0 = x_0, the resolution is kept,
    o_{N-1} is averaged over its positions and goes through dropout and a linear layer. As printed, no term of the unit
    has a bias: 3.5 c^2 weights at r = 4, 14.68 M at c = 2048.
    Differs from the source: eq. 3 prints one name for the candidate's two matrices; they are two here, as in any GRU.

    Args:
        spec: channels (c), num_classes, dropout and reduction (r).

    Raises:
        SettingsError: if r does not divide c.
    """

    needs_features = True
    needs_scores = False

    def __init__(self, spec: AggregatorSpec) -> None:
        super().__init__()
        if spec.channels % spec.reduction:
            raise SettingsError(f"reduction must divide the {spec.channels} channels; got {spec.reduction}")
        channels, self.bottleneck = spec.channels, spec.channels // spec.reduction
        # Rows: U_rx, U_zx (c/r each), and the candidate's matrix on x_t (c).
        self.from_input = nn.Linear(channels, 2 * self.bottleneck + channels, bias=False)
        self.from_state = nn.Linear(channels, 2 * self.bottleneck, bias=False)  # rows: U_ro, U_zo
        self.read = nn.Linear(self.bottleneck, channels, bias=False)  # W_r'
        self.update = nn.Linear(self.bottleneck, channels, bias=False)  # W_z'
        self.candidate = nn.Linear(channels, channels, bias=False)  # the candidate's matrix on r_t * o_{t-1}
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(channels, spec.num_classes)

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return (B, K) logits for ``features`` (B, N, T', H', W', C); scores are not read."""
        del scores
        clips = features.flatten(2, -2)  # (B, N, P, C), P = T'H'W'
        state = clips[:, 0]  # (B, P, C)
        if clips.shape[1] > 1:
            for projected in self.from_input(clips[:, 1:]).unbind(dim=1):
                state = self._recur(state, projected)
        return self._classify(state)

    def step(self, state: Tensor | None, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Take one more clip; the state is o_t (B, P, C)."""
        del scores
        clip = features.flatten(1, -2)  # (B, P, C)
        state = clip if state is None else self._recur(state, self.from_input(clip))
        return state, self._classify(state)

    def _recur(self, state: Tensor, projected: Tensor) -> Tensor:
        """Return o_t of o_{t-1} (B, P, C) and the projections (B, P, 2C/r + C) of x_t."""
        gates, candidate = projected.split([2 * self.bottleneck, state.shape[-1]], dim=-1)
        read, update = torch.relu(gates + self.from_state(state)).chunk(2, dim=-1)  # (B, P, C/r) each
        read, update = torch.sigmoid(self.read(read)), torch.sigmoid(self.update(update))  # (B, P, C) each
        candidate = torch.tanh(candidate + self.candidate(read * state))
        return state + update * (candidate - state)

    def _classify(self, state: Tensor) -> Tensor:
        return self.classifier(self.dropout(state.mean(dim=1)))
