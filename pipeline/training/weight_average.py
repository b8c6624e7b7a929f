"""An exponential moving average of the weights, beside the trained weights themselves."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def build_average(model: nn.Module, *, decay: float) -> AveragedModel | None:
    """Return the average of ``model``'s weights and statistics, to be updated after each step; None for a decay of 0.

    Source: Polyak and Juditsky (1992); in its exponential form, as for EfficientNet and later networks.
    """
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


@contextmanager
def averaged_weights(model: nn.Module, average: AveragedModel | None) -> Iterator[None]:
    """Within the block ``model`` has the averaged weights; its own if there is no average."""
    if average is None:
        yield
        return
    _swap(model, average.module)
    try:
        yield
    finally:
        _swap(model, average.module)


def _swap(one: nn.Module, other: nn.Module) -> None:
    # Exchanged rather than copied: no third set of weights, and the optimizer keeps its parameters.
    tensors = (itertools.chain(module.parameters(), module.buffers()) for module in (one, other))
    for first, second in zip(*tensors, strict=True):
        first.data, second.data = second.data, first.data
