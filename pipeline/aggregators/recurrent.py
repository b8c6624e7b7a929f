"""Recurrent aggregation: a unit mixes each clip into a state left by the clips before it; then pool and classify."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from .base import Aggregator, AggregatorSpec


class RecurrentUnit(nn.Module, ABC):
    """One step of eq. 1, o_t = f(o_{t-1}, x_t), at each position separately.

    Positions never mix, so a 1x1x1 convolution is a linear layer over the last axis. `project`
    does what depends on x_t alone, in one call for all clips together; `recur` does what depends on o_{t-1}.
    """

    @abstractmethod
    def project(self, clips: Tensor) -> Tensor:
        """Return the terms in x_t of every gate, (…, any), for ``clips`` (…, C)."""

    @abstractmethod
    def recur(self, state: Any, projected: Tensor) -> Any:
        """Return the next state; o_t and ``projected``, of one clip, are (B, P, …)."""

    def begin(self, clip: Tensor) -> Any:
        """Return the state after the first clip (B, P, C): o_0 = x_0."""
        return clip

    def output(self, state: Any) -> Tensor:
        """Return o_t (B, P, C)."""
        return state


class Recurrent(Aggregator):
    """Run a unit over the clips, average o_{N-1} over its positions, and classify.

    Source: Zhu et al., FASTER (AAAI 2020), "Problem Formulation": o_0 = x_0; global average pooling of o_{N-1}; a fully
    connected layer. N clips take N - 1 steps.
    Differs from the source: dropout before the fully connected layer.

    Args:
        unit: what a step does.
        spec: channels, num_classes and dropout.
        pools_clips: average each clip over its positions first, as ordinary RNNs do; else the grid is kept.
    """

    needs_features = True
    needs_scores = False

    def __init__(self, unit: RecurrentUnit, spec: AggregatorSpec, *, pools_clips: bool) -> None:
        super().__init__()
        self.unit = unit
        self.pools_clips = pools_clips
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.channels, spec.num_classes)

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return (B, K) logits for ``features`` (B, N, T', H', W', C); scores are not read."""
        del scores
        clips = self._positions(features)  # (B, N, P, C)
        state = self.unit.begin(clips[:, 0])
        if clips.shape[1] > 1:
            # One large matrix product for all clips instead of N - 1 small ones: about twice as fast on a CPU.
            for projected in self.unit.project(clips[:, 1:]).unbind(dim=1):
                state = self.unit.recur(state, projected)
        return self._classify(state)

    def step(self, state: Any, features: Tensor, scores: Tensor) -> tuple[Any, Tensor]:
        """Take one more clip (B, T', H', W', C); the state is the unit's."""
        del scores
        clip = self._positions(features)  # (B, P, C)
        state = self.unit.begin(clip) if state is None else self.unit.recur(state, self.unit.project(clip))
        return state, self._classify(state)

    def _positions(self, features: Tensor) -> Tensor:
        """Return (…, P, C) of (…, T', H', W', C): P = T'H'W', or 1 where clips are pooled."""
        positions = features.flatten(-4, -2)
        return positions.mean(dim=-2, keepdim=True) if self.pools_clips else positions

    def _classify(self, state: Any) -> Tensor:
        return self.classifier(self.dropout(self.unit.output(state).mean(dim=1)))
