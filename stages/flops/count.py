"""Count what a backbone, an aggregator or a whole setting costs; reads no file and computes nothing."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ...pipeline.aggregators.base import AggregatorSpec
from ...pipeline.backbones.registry import feature_shape, usual_clip
from ...pipeline.costs.paper_tables import Comparison, PaperTable, compare, paper_table
from ...pipeline.costs.presets import find_setting
from ...pipeline.costs.video_cost import Cost, Setting, aggregator_cost, backbone_cost, setting_cost
from ...pipeline.features.patterns import Pattern
from .settings import AGGREGATOR, BACKBONE, SETTING, FlopsSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class FlopsReport:
    """A count.

    Attributes:
        kind: what was counted: "backbone", "aggregator" or "setting".
        counted: its settings, as JSON values, defaults filled in.
        cost: of a video, by part.
    """

    kind: str
    counted: dict[str, Any]
    cost: Cost


def run(settings: FlopsSettings) -> FlopsReport:
    """Count the cost, by running shapes on the meta device.

    Raises:
        SettingsError: for an unknown name, or sizes that a network cannot take.
    """
    return {BACKBONE: _backbone, AGGREGATOR: _aggregator, SETTING: _setting}[settings.kind](settings)


def compare_with_paper(name: str) -> tuple[PaperTable, tuple[Comparison, ...]]:
    """Return a published table, and each of its figures beside ours.

    Args:
        name: the number of a table of the FASTER paper, or "peers".

    Raises:
        SettingsError: if there is no such table.
    """
    table = paper_table(name)
    return table, compare(table)


def _backbone(settings: FlopsSettings) -> FlopsReport:
    given = settings.given
    name = given.pop("backbone")
    own = {"num_frames": usual_clip(name)[0], "crop": 224, "num_clips": 1, "num_classes": 400} | given
    cost = backbone_cost(name, **own, convention=settings.convention)
    shape = feature_shape(name, num_frames=own["num_frames"], size=own["crop"])
    return FlopsReport(kind=BACKBONE, counted={"backbone": name, **own, "feature_shape": list(shape)}, cost=cost)


def _aggregator(settings: FlopsSettings) -> FlopsReport:
    own: dict[str, Any] = {"num_clips": 32, "num_classes": 400, "reduction": 4} | settings.given
    spec = AggregatorSpec(
        name=own["aggregator"],
        channels=own["channels"],
        num_classes=own["num_classes"],
        reduction=own["reduction"],
    )
    shape = (*own["grid"], own["channels"])
    cost = aggregator_cost(spec, shape=shape, num_clips=own["num_clips"], convention=settings.convention)
    return FlopsReport(kind=AGGREGATOR, counted=own | {"grid": list(own["grid"])}, cost=cost)


def _setting(settings: FlopsSettings) -> FlopsReport:
    setting = _resolve_setting(settings)
    counted = {"preset": settings.preset, **asdict(setting), "pattern": str(setting.pattern)}
    return FlopsReport(kind=SETTING, counted=counted, cost=setting_cost(setting, convention=settings.convention))


def _resolve_setting(settings: FlopsSettings) -> Setting:
    """Return the setting to count: the preset's or the default one, changed by the other fields that are given.

    Raises:
        SettingsError: for an unknown preset, a malformed pattern, or clips that no backbone sees.
    """
    said = settings.given
    preset = said.pop("preset", None)
    if preset is None:
        only = "all-expensive" if settings.cheap is None else "all-cheap"
        said["pattern"] = Pattern.parse(said.get("pattern", only))
        setting = Setting(**said)
        return setting if "num_frames" in said else replace(setting, num_frames=_usual_frames(setting))
    if "pattern" in said:
        said["pattern"] = Pattern.parse(said["pattern"])
    return replace(find_setting(preset), **said)


def _usual_frames(setting: Setting) -> int:
    """Return the usual frames of a clip for the first of the setting's backbones."""
    return usual_clip(next(iter(setting.backbones.values())))[0]
