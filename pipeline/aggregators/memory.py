"""Collaborative memory: every clip is read in the light of the whole video, in whatever order the clips come.

A *context* remembers all clips together and tells each one about them; an *infusion* brings that into the clip's
features. The gate is one vector a clip, and classifier and projections are linear, so that each clip is remembered
position by position but read, gated and classified pooled: Pool((X W_q) M) = (Pool(X) W_q) M, and
Pool(g * X + X) = (g + 1) * Pool(X). No position ever interacts with another.
"""

from abc import ABC, abstractmethod
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from .base import Aggregator, AggregatorSpec, reduced_width
from .contexts import AssociativeMemory, Context, projection

State = tuple[Tensor, Tensor]
START = 0.01  # of W_O: on maps of unit size the gates begin within 0.01 of one half, on maps of size 3 within 0.2


class Infusion(nn.Module, ABC):
    """How a clip's features take in what the context says, once W_O has brought that to their width.

    The source does not say how W_O is initialised. Here it is small, so that no gate is saturated, and not 0, so that
    the memory learns from the first step.

    Args:
        channels: C.
        width: C'.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.output = projection(width, channels, scale=START)  # W_O

    @abstractmethod
    def forward(self, pooled: Tensor, context: Tensor) -> Tensor:
        """Return Pool(X̂_n) (B, N, C) of Pool(X_n) (B, N, C) and Pool(M_n) (B, N, C')."""

    def told(self, context: Tensor) -> Tensor:
        """Return Pool(M_n) W_O (B, N, C) of Pool(M_n) (B, N, C'), in the weights' precision even under autocast.

        A fresh memory moves a gate by less than 0.01, and between 1 and 2 bfloat16 has steps of 1/128: it would be
        lost.
        """
        device = context.device.type
        exact = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with exact:
            return self.output(context.to(self.output.weight.dtype))


class FeatureGate(Infusion):
    """X̂_n = σ(Pool(M_n) W_O) ⊙ X_n + X_n.

    Source: Yang et al., Beyond Short Clips (CVPR 2021), feature gating.
    """

    def factor(self, context: Tensor) -> Tensor:
        """Return σ(Pool(M_n) W_O) + 1 (B, N, C) of Pool(M_n) (B, N, C')."""
        return 1 + torch.sigmoid(self.told(context))

    def forward(self, pooled: Tensor, context: Tensor) -> Tensor:
        """Return Pool(X̂_n) (B, N, C): the gate is the same at every position."""
        return pooled * self.factor(context)


class Residual(Infusion):
    """X̂_n = X_n + M_n W_O: the memory without a gate.

    Source: ours, for comparison with the gate. The poster of Yang et al. (CVPR 2021) says only that feature gating can
    prevent over-fitting; it prints neither the alternative nor its figures.
    """

    def forward(self, pooled: Tensor, context: Tensor) -> Tensor:
        """Return Pool(X̂_n) (B, N, C)."""
        return pooled + self.told(context)


class CollaborativeMemory(nn.Module):
    """Mix each clip's features with what the whole video has seen; for uses that need the maps, such as detection.

    Its weights are those of the aggregator ``memory``, under the same names, without the classifier.

    Source: Yang et al., Beyond Short Clips (CVPR 2021), memory push and pop, feature gating.
    Differs from the source: see `AssociativeMemory`.

    Args:
        channels: C.
        reduction: r; the memory has C' = C / r channels.

    Raises:
        SettingsError: if r does not divide C.
    """

    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        width = reduced_width(channels, reduction=reduction)
        self.channels = channels
        self.context = AssociativeMemory(channels, width)
        self.infusion = FeatureGate(channels, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return the maps, gated by the video's memory.

        Args:
            features: (B, N, T', H', W', C) float, one feature map per clip, of any number of clips in any order.

        Returns:
            (B, N, T', H', W', C), X̂_n; under autocast too in the weights' precision, like the gates.

        Raises:
            ValueError: if C differs from the module's channels.
        """
        if features.shape[-1] != self.channels:
            raise ValueError(f"the memory is of {self.channels} channels; the maps have {features.shape[-1]}")
        context = self.context.pop(self.context.push(_positions(features)), _pooled(features))  # (B, N, C')
        return features * self.infusion.factor(context)[:, :, None, None, None]


class ContextAggregator(Aggregator):
    """Infuse each clip with the context of the video, classify it, and average over the clips.

    Source: Yang et al., Beyond Short Clips (CVPR 2021).
    Differs from the source: dropout before the classifier, drawn for each clip; and see `AssociativeMemory`.

    Args:
        context: what the clips share with one another.
        infusion: how a clip takes it in.
        spec: channels, num_classes and dropout.
    """

    needs_features = True
    needs_scores = False
    min_clips = 2

    def __init__(self, context: Context, *, infusion: Infusion, spec: AggregatorSpec) -> None:
        super().__init__()
        self.context = context
        self.infusion = infusion
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.channels, spec.num_classes)

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return (B, K) logits for ``features`` (B, N, T', H', W', C); scores are not read."""
        del scores
        return self._classify(self.context.push(_positions(features)), _pooled(features))

    def step(self, state: State | None, features: Tensor, scores: Tensor) -> tuple[State, Tensor]:
        """Take one more clip (B, T', H', W', C); the state is the memory (B, …) and the clips so far (B, N, C)."""
        del scores
        clip = features[:, None]  # (B, 1, T', H', W', C)
        memory, pooled = self.context.push(_positions(clip)), _pooled(clip)
        if state is not None:
            # Every earlier clip must be gated again, by the memory that now has one clip more: hence all are kept.
            pooled = torch.cat([state[1], pooled], dim=1)
            memory = self.context.join(state[0], memory, count=pooled.shape[1])
        return (memory, pooled), self._classify(memory, pooled)

    def _classify(self, memory: Tensor, pooled: Tensor) -> Tensor:
        clips = self.dropout(self.infusion(pooled, self.context.pop(memory, pooled)))  # (B, N, C)
        return self.classifier(clips.mean(dim=1))  # the mean of the clips' logits, by one product


class MultiClip(Aggregator):
    """Classify each clip alone, from its pooled map, and average over the clips: no memory.

    Source: Yang et al., Beyond Short Clips (CVPR 2021), the first row of the ablation.

    Args:
        spec: channels, num_classes and dropout.
    """

    needs_features = True
    needs_scores = False

    def __init__(self, spec: AggregatorSpec) -> None:
        super().__init__()
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.channels, spec.num_classes)

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return (B, K) logits for ``features`` (B, N, T', H', W', C); scores are not read."""
        del scores
        return self.classifier(self.dropout(_pooled(features)).mean(dim=1))

    def step(
        self, state: tuple[Tensor, int] | None, features: Tensor, scores: Tensor
    ) -> tuple[tuple[Tensor, int], Tensor]:
        """Take one more clip (B, T', H', W', C); the state is the sum of pooled clips (B, C) and their number."""
        del scores
        clip = self.dropout(_pooled(features[:, None])[:, 0])
        total, count = (clip, 1) if state is None else (state[0] + clip, state[1] + 1)
        return (total, count), self.classifier(total / count)


def _positions(features: Tensor) -> Tensor:
    """Return (B, N · T'H'W', C), the positions of all clips, of (B, N, T', H', W', C)."""
    return features.flatten(1, -2)


def _pooled(features: Tensor) -> Tensor:
    """Return (B, N, C), each clip averaged over its positions, of (B, N, T', H', W', C)."""
    return features.flatten(2, -2).mean(dim=2)
