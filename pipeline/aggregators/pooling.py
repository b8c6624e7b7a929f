"""Pooling: the video's prediction is the mean, or the maximum, of its clips'; nothing is trained."""

from torch import Tensor

from ..training.tasks import SINGLE_LABEL, TASKS
from .base import Aggregator, AggregatorSpec

TASK = TASKS[SINGLE_LABEL]  # its probabilities are what is pooled


class AveragePooling(Aggregator):
    """The mean of the clips' class probabilities.

    Source: FASTER, Table 2 and the "Avg. pool" row of Table 3: the classification scores of all clips are averaged.
    Differs from the source: it does not say whether scores are taken before or after the softmax. Here it is after, so
    that backbones whose logits differ in scale, as an expensive and a cheap one do, count the same.
    """

    needs_features = False
    needs_scores = True

    def __init__(self, spec: AggregatorSpec) -> None:
        del spec  # every aggregator is built from one; here nothing depends on it
        super().__init__()

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return (B, K) float32 log-probabilities of the mean over ``scores`` (B, N, K); features are not read."""
        del features
        return TASK.scores(TASK.probabilities(scores).mean(dim=1))

    def step(
        self, state: tuple[Tensor, int] | None, features: Tensor, scores: Tensor
    ) -> tuple[tuple[Tensor, int], Tensor]:
        """Take one more clip; the state is the sum of probabilities (B, K) and the number of clips."""
        del features
        total, count = state if state is not None else (scores.new_zeros(scores.shape).float(), 0)
        total, count = total + TASK.probabilities(scores), count + 1
        return (total, count), TASK.scores(total / count)


class MaxPooling(Aggregator):
    """The highest probability that any clip gives each class; their softmax brings the sum back to 1.

    The other usual way to combine the scores of views and clips (PySlowFast's ``ENSEMBLE_METHOD: max``).
    """

    needs_features = False
    needs_scores = True

    def __init__(self, spec: AggregatorSpec) -> None:
        del spec
        super().__init__()

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return (B, K) float32 logarithms of the maximum over ``scores`` (B, N, K); features are not read."""
        del features
        return TASK.scores(TASK.probabilities(scores).amax(dim=1))

    def step(self, state: Tensor | None, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Take one more clip; the state is the highest probabilities (B, K) so far."""
        del features
        own = TASK.probabilities(scores)
        state = own if state is None else state.maximum(own)
        return state, TASK.scores(state)
