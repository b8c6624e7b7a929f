"""Aggregators: from the feature maps and scores of a video's clips to the scores of the video."""

from collections.abc import Callable

from ..registry import Registry
from .base import Aggregator, AggregatorSpec
from .concat import ConcatUnit
from .fast_gru import FastGRUUnit
from .gru import GRUUnit
from .lstm import LSTMUnit
from .pooling import AveragePooling, MaxPooling
from .recurrent import Recurrent

__all__ = ["AGGREGATORS", "Aggregator", "AggregatorSpec", "build_aggregator"]


def _concat(spec: AggregatorSpec) -> Aggregator:
    return Recurrent(ConcatUnit(spec.channels), spec, pools_clips=False)


def _lstm(spec: AggregatorSpec) -> Aggregator:
    return Recurrent(LSTMUnit(spec.channels), spec, pools_clips=True)


def _gru(spec: AggregatorSpec) -> Aggregator:
    return Recurrent(GRUUnit(spec.channels), spec, pools_clips=True)


def _conv_gru(spec: AggregatorSpec) -> Aggregator:
    return Recurrent(GRUUnit(spec.channels), spec, pools_clips=False)


def _fast_gru(spec: AggregatorSpec) -> Aggregator:
    return Recurrent(FastGRUUnit(spec.channels, reduction=spec.reduction), spec, pools_clips=False)


def _fast_gru_pooled(spec: AggregatorSpec) -> Aggregator:
    return Recurrent(FastGRUUnit(spec.channels, reduction=spec.reduction), spec, pools_clips=True)


AGGREGATORS: Registry[Callable[[AggregatorSpec], Aggregator]] = Registry("aggregator")
AGGREGATORS.add("average", AveragePooling)
AGGREGATORS.add("max", MaxPooling)
AGGREGATORS.add("concat", _concat)
AGGREGATORS.add("lstm", _lstm)
AGGREGATORS.add("gru", _gru)
AGGREGATORS.add("conv-gru", _conv_gru)
AGGREGATORS.add("fast-gru", _fast_gru)
AGGREGATORS.add("fast-gru-pooled", _fast_gru_pooled)


def build_aggregator(spec: AggregatorSpec) -> Aggregator:
    """Return the aggregator of ``spec``, with fresh weights.

    Raises:
        SettingsError: if there is none of that name.
    """
    return AGGREGATORS[spec.name](spec)
