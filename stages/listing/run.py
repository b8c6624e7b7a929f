"""List backbones and aggregators with their sizes and costs, by running shapes on the meta device."""

import re
from dataclasses import dataclass

import torch
from torch import nn

from ...pipeline.aggregators.base import AggregatorSpec
from ...pipeline.aggregators.registry import AGGREGATORS, build_aggregator
from ...pipeline.backbones.registry import BACKBONES, build_backbone
from ...pipeline.costs.flops import aggregator_macs, count_macs
from ...pipeline.errors import SettingsError
from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.features.patterns import CHEAP
from ...pipeline.registry import nearest
from .settings import AggregatorsSettings, BackbonesSettings

_NARROW = re.compile(r"(.+)_w[0-9]+")  # a name that says the width is that of a narrower variant


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneEntry:
    """What a backbone is, and what a clip costs.

    Attributes:
        name: as registered.
        summary: one line of what it is.
        num_frames: of the clip that is counted.
        sampling_rate: the stride that the backbone is known for.
        parameters: how many weights it has, the classifier's too.
        gmacs: 10^9 multiply-accumulates for the clip; None if it cannot take such clips.
        feature_shape: (T', H', W', C) of the clip's map; likewise.
        refused: why it cannot take them.
        narrower: names of its narrower variants.
    """

    name: str
    summary: str
    num_frames: int
    sampling_rate: int
    parameters: int
    gmacs: float | None = None
    feature_shape: tuple[int, int, int, int] | None = None
    refused: str = ""
    narrower: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatorEntry:
    """What an aggregator is, and what a video costs beside its backbones.

    Attributes:
        name: as registered.
        title: as papers write it.
        summary: one line of what it does.
        source: where it comes from.
        options: names of its own hyper-parameters.
        parameters: how many weights it has; None if it cannot be built for such maps.
        gmacs: 10^9 multiply-accumulates for all clips of a video; likewise.
        refused: why it cannot be.
    """

    name: str
    title: str
    summary: str
    source: str
    options: tuple[str, ...]
    parameters: int | None = None
    gmacs: float | None = None
    refused: str = ""


def list_backbones(settings: BackbonesSettings, *, progress: Progress = SILENT) -> list[BackboneEntry]:
    """Return the backbones that are asked for, in the order in which they are registered.

    Raises:
        SettingsError: if a name is part of none.
    """
    names = _asked_for(settings)
    found = []
    with under_way(progress, "counting", total=len(names), unit="network"):
        for name in names:
            found.append(_backbone(name, settings))
            progress.advance()
    return found


def _asked_for(settings: BackbonesSettings) -> list[str]:
    known = BACKBONES.in_order()
    others = [name for name in settings.names if ":" in name and name in BACKBONES]  # of other libraries
    for part in settings.names:
        if part not in others and not any(part in name for name in known):
            _ = BACKBONES[part] if nearest(part, known) else None  # says which are near
            raise SettingsError(f"no backbone has {part!r} in its name")
    some = [name for name in known if not settings.names or any(part in name for part in settings.names)]
    # Whoever says which width is meant, by a whole name or by a part of it, gets it.
    asked = {name for name in some for part in settings.names if "_w" in part}
    return [name for name in some if settings.narrow or name in asked or not _variant_of(name)] + others


def _variant_of(name: str) -> str | None:
    """Return the full-width network of which ``name`` is a narrower variant, if it is one."""
    match = _NARROW.fullmatch(name)
    return match[1] if match and match[1] in BACKBONES else None


def _backbone(name: str, settings: BackbonesSettings) -> BackboneEntry:
    spec, crop = BACKBONES[name], settings.crop
    num_frames = settings.num_frames or spec.usual_clip[0]
    with torch.device("meta"):  # built once: a hundred networks take a while
        backbone = build_backbone(name, num_classes=settings.num_classes)
        clip = torch.empty(1, 3, num_frames, crop, crop)
    own = {
        "name": name,
        "summary": spec.summary,
        "num_frames": num_frames,
        "sampling_rate": spec.usual_clip[1],
        "parameters": _parameters(backbone),
        "narrower": tuple(other for other in BACKBONES.in_order() if _variant_of(other) == name),
    }
    try:
        shape = backbone.feature_shape(num_frames, crop)
    except SettingsError as error:
        return BackboneEntry(**own, refused=error.marked)
    return BackboneEntry(**own, gmacs=count_macs(backbone, clip) / 1e9, feature_shape=shape)


def list_aggregators(settings: AggregatorsSettings) -> list[AggregatorEntry]:
    """Return all aggregators, in the order of tables."""
    return [_aggregator(name, settings) for name in AGGREGATORS.in_order()]


def _aggregator(name: str, settings: AggregatorsSettings) -> AggregatorEntry:
    entry = AGGREGATORS[name]
    own = {
        "name": name,
        "title": entry.title,
        "summary": entry.summary,
        "source": entry.source,
        "options": tuple(entry.options),
    }
    spec = AggregatorSpec(name=name, channels=settings.channels, num_classes=settings.num_classes)
    try:
        with torch.device("meta"):
            parameters = _parameters(build_aggregator(spec))
        macs = aggregator_macs(spec, shapes={CHEAP: settings.shape}, roles=(CHEAP,) * settings.num_clips)
    except SettingsError as error:
        return AggregatorEntry(**own, refused=error.marked)
    return AggregatorEntry(**own, parameters=parameters, gmacs=macs / 1e9)


def _parameters(module: nn.Module) -> int:
    return sum(own.numel() for own in module.parameters())
