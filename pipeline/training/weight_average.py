"""An exponential moving average of the weights, beside the weights that are trained."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def build_average(model: nn.Module, *, decay: float) -> AveragedModel | None:
    """Return the average of ``model``'s weights and statistics, to be updated after each step; None for a decay of 0.

    Source: Polyak and Juditsky (1992); in the exponential form that EfficientNet and its followers use.
    """
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


@contextmanager
def averaged_weights(model: nn.Module, average: AveragedModel | None) -> Iterator[None]:
    """Within, ``model`` has the averaged weights; none where there is no average."""
    if average is None:
        yield
        return
    _swap(model, average.module)
    try:
        yield
    finally:
        _swap(model, average.module)


def _swap(one: nn.Module, other: nn.Module) -> None:
    tensors = (itertools.chain(module.parameters(), module.buffers()) for module in (one, other))
    for first, second in zip(*tensors, strict=True):
        first.data, second.data = second.data, first.data
