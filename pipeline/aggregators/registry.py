"""Aggregators: from the feature maps and scores of a video's clips to the scores of the video."""

from collections.abc import Callable

from ..registry import Registry
from .base import Aggregator, AggregatorSpec, reduced_width
from .concat import ConcatUnit
from .contexts import AssociativeMemory, AverageContext, Context, MaxContext
from .fast_gru import FastGRUUnit
from .gru import GRUUnit
from .lstm import LSTMUnit
from .memory import ContextAggregator, FeatureGate, Infusion, MultiClip, Residual
from .pooling import AveragePooling, MaxPooling
from .recurrent import Recurrent


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


def _in_context(
    context: Callable[[int, int], Context], infusion: Callable[[int, int], Infusion]
) -> Callable[[AggregatorSpec], Aggregator]:
    """Return what builds an aggregator of this context and this infusion, both made of C and C'."""

    def build(spec: AggregatorSpec) -> Aggregator:
        sizes = spec.channels, reduced_width(spec.channels, reduction=spec.reduction)
        return ContextAggregator(context(*sizes), infusion=infusion(*sizes), spec=spec)

    return build


AGGREGATORS: Registry[Callable[[AggregatorSpec], Aggregator]] = Registry("aggregator")
AGGREGATORS.add("average", AveragePooling)
AGGREGATORS.add("max", MaxPooling)
AGGREGATORS.add("concat", _concat)
AGGREGATORS.add("lstm", _lstm)
AGGREGATORS.add("gru", _gru)
AGGREGATORS.add("conv-gru", _conv_gru)
AGGREGATORS.add("fast-gru", _fast_gru)
AGGREGATORS.add("fast-gru-pooled", _fast_gru_pooled)
AGGREGATORS.add("multi-clip", MultiClip)
AGGREGATORS.add("context-average", _in_context(AverageContext, FeatureGate))
AGGREGATORS.add("context-max", _in_context(MaxContext, FeatureGate))
AGGREGATORS.add("memory-residual", _in_context(AssociativeMemory, Residual))
AGGREGATORS.add("memory", _in_context(AssociativeMemory, FeatureGate))


def build_aggregator(spec: AggregatorSpec) -> Aggregator:
    """Return the aggregator of ``spec``, with fresh weights.

    Raises:
        SettingsError: if there is none of that name.
    """
    return AGGREGATORS[spec.name](spec)
