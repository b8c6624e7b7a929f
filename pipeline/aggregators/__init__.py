"""Aggregators: from the feature maps and scores of a video's clips to the scores of the video."""

from collections.abc import Callable

from ..registry import Registry
from .average import AveragePooling
from .base import Aggregator, AggregatorSpec
from .fast_gru import FastGRU

__all__ = ["AGGREGATORS", "Aggregator", "AggregatorSpec", "AveragePooling", "FastGRU", "build_aggregator"]

AGGREGATORS: Registry[Callable[[AggregatorSpec], Aggregator]] = Registry("aggregator")
AGGREGATORS.add("average", AveragePooling)
AGGREGATORS.add("fast-gru", FastGRU)


def build_aggregator(spec: AggregatorSpec) -> Aggregator:
    """Return the aggregator of ``spec``, with fresh weights.

    Raises:
        SettingsError: if there is none of that name.
    """
    return AGGREGATORS[spec.name](spec)
