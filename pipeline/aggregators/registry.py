"""Aggregators: from the feature maps and scores of a video's clips to the scores of the video."""

from collections.abc import Callable
from dataclasses import replace

from ..registry import Registry
from .base import REDUCTION, Aggregator, AggregatorEntry, AggregatorSpec, reduced_width
from .concat import ConcatUnit
from .contexts import AssociativeMemory, AverageContext, Context, MaxContext
from .fast_gru import FastGRUUnit
from .gru import GRUUnit
from .lstm import LSTMUnit
from .memory import ContextAggregator, FeatureGate, Infusion, MultiClip, Residual
from .options import complete
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
    """Return a builder of aggregators with this context and this infusion; both are made from C and C'."""

    def build(spec: AggregatorSpec) -> Aggregator:
        sizes = spec.channels, reduced_width(spec.channels, reduction=spec.reduction)
        return ContextAggregator(context(*sizes), infusion=infusion(*sizes), spec=spec)

    return build


FASTER = "Zhu et al., FASTER Recurrent Networks (AAAI 2020)"
MEMORY = "Yang et al., Beyond Short Clips (CVPR 2021)"
_COMPRESSED = {"reduction": REDUCTION}

# In the order of tables and legends.
AGGREGATORS: Registry[AggregatorEntry] = Registry("aggregator")
for _name, _entry in {
    "average": AggregatorEntry(
        build=AveragePooling,
        title="Avg. pool",
        summary="the mean of the clips' own probabilities; nothing to train",
        source=f"{FASTER}, Table 3",
    ),
    "max": AggregatorEntry(
        build=MaxPooling,
        title="Max. pool",
        summary="the maximum of the clips' own probabilities; nothing to train",
        source="as PySlowFast's ENSEMBLE_METHOD: max",
    ),
    "concat": AggregatorEntry(
        build=_concat,
        title="Concat",
        summary="in order: clip and state joined, ReLU(BN(W o + U x)), at every position of the maps",
        source=f"{FASTER}, eq. 5",
    ),
    "lstm": AggregatorEntry(
        build=_lstm,
        title="LSTM",
        summary="in order: an LSTM on maps averaged over their positions",
        source=f"{FASTER}, Table 3",
    ),
    "gru": AggregatorEntry(
        build=_gru,
        title="GRU",
        summary="in order: a GRU on maps averaged over their positions",
        source=f"{FASTER}, eq. 2 and 3",
    ),
    "conv-gru": AggregatorEntry(
        build=_conv_gru,
        title="Conv. GRU",
        summary="in order: a GRU at every position of the maps, without the bottleneck",
        source=f"{FASTER}, Fig. 2, ablation",
    ),
    "fast-gru-pooled": AggregatorEntry(
        build=_fast_gru_pooled,
        title="FAST-GRU, pooled",
        summary="in order: FAST-GRU on maps averaged over their positions",
        source=f"{FASTER}, Fig. 2, ablation",
        options=_COMPRESSED,
    ),
    "fast-gru": AggregatorEntry(
        build=_fast_gru,
        title="FAST-GRU",
        summary="in order: a GRU at every position of the maps, its gates through a bottleneck",
        source=f"{FASTER}, eq. 3 and 4",
        options=_COMPRESSED,
    ),
    "multi-clip": AggregatorEntry(
        build=MultiClip,
        title="Multi-clip",
        summary="in no order: each clip classified from its own map, logits averaged; no memory",
        source=f"{MEMORY}, the baseline",
    ),
    "context-average": AggregatorEntry(
        build=_in_context(AverageContext, FeatureGate),
        title="Average context",
        summary="in no order: each clip gated by the mean over the video; two clips or more",
        source="ours, to compare",
        options=_COMPRESSED,
    ),
    "context-max": AggregatorEntry(
        build=_in_context(MaxContext, FeatureGate),
        title="Max. context",
        summary="in no order: each clip gated by the maximum over the video; two clips or more",
        source="ours, to compare",
        options=_COMPRESSED,
    ),
    "memory-residual": AggregatorEntry(
        build=_in_context(AssociativeMemory, Residual),
        title="Memory, residual",
        summary="in no order: the memory added to each clip instead of gating it; two clips or more",
        source="ours, to compare",
        options=_COMPRESSED,
    ),
    "memory": AggregatorEntry(
        build=_in_context(AssociativeMemory, FeatureGate),
        title="Memory",
        summary="in no order: each clip gated by what the whole video has seen; two clips or more",
        source=MEMORY,
        options=_COMPRESSED,
    ),
}.items():
    AGGREGATORS.add(_name, _entry)


def complete_spec(spec: AggregatorSpec) -> AggregatorSpec:
    """Return ``spec`` with a value for each option that its aggregator declares: as given, else the default.

    What goes to disk must be complete, so that it means the same after a default has changed.

    Raises:
        SettingsError: if there is no such aggregator, it has no such option, or a value is not allowed.
    """
    declared = AGGREGATORS[spec.name].options
    given = {name: value for name, value in (("reduction", spec.reduction),) if name in declared} | dict(spec.options)
    values = complete(given, declared=declared, owner=spec.name)
    reduction = values.pop("reduction", spec.reduction)
    return replace(spec, reduction=int(reduction), options=values)


def build_aggregator(spec: AggregatorSpec) -> Aggregator:
    """Return the aggregator of ``spec``, with fresh weights.

    Raises:
        SettingsError: if there is none of that name, or the width or an option does not suit it.
    """
    return AGGREGATORS[spec.name].build(complete_spec(spec))
