"""Count what a backbone, an aggregator or a whole setting costs; reads no file and computes nothing."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ...pipeline.aggregators.base import AggregatorSpec
from ...pipeline.backbones.registry import feature_shape, usual_clip
from ...pipeline.costs.flops import find_convention
from ...pipeline.costs.paper_tables import Comparison, PaperTable, compare, paper_table
from ...pipeline.costs.presets import find_setting
from ...pipeline.costs.video_cost import Cost, Setting, aggregator_cost, backbone_cost, setting_cost
from ...pipeline.errors import SettingsError
from ...pipeline.features.patterns import Pattern

BACKBONE, AGGREGATOR, SETTING = "backbone", "aggregator", "setting"

# What is counted -> the fields that mean something to it.
SIZES = ("num_frames", "num_clips", "crop", "num_classes")
FIELDS = {
    BACKBONE: ("backbone", *SIZES),
    AGGREGATOR: ("aggregator", "channels", "grid", "num_clips", "num_classes", "reduction"),
    SETTING: ("preset", "expensive", "cheap", "aggregator", "pattern", *SIZES, "reduction"),
}
OPTIONS = {"num_frames": "--frames", "num_clips": "--clips", "num_classes": "--classes"}  # the others are named alike
ALONE = {
    BACKBONE: "--backbone counts one network; for a whole setting, give --expensive and --cheap in its place",
    AGGREGATOR: "--channels and --grid count an aggregator by itself; in a setting, its backbones make the maps",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FlopsSettings:
    """What to count; None = not said.

    Attributes:
        backbone: count this backbone by itself.
        preset: begin from this setting of the paper; what else is said goes before it.
        expensive: backbone of the expensive clips.
        cheap: backbone of the cheap clips.
        aggregator: a registered name; with ``channels`` and ``grid`` it is counted by itself.
        pattern: which clips are expensive.
        num_frames: L; None = the preset's, or the usual of the backbone, the expensive one where there are two.
        num_clips: N.
        crop: side of the square clip in pixels.
        num_classes: K.
        channels: C of the maps.
        grid: (T', H', W') of the maps.
        reduction: r of the bottleneck in FAST-GRU's gates, and of a memory's width.
        convention: what counts as an operation.
    """

    backbone: str | None = None
    preset: str | None = None
    expensive: str | None = None
    cheap: str | None = None
    aggregator: str | None = None
    pattern: str | None = None
    num_frames: int | None = None
    num_clips: int | None = None
    crop: int | None = None
    num_classes: int | None = None
    channels: int | None = None
    grid: tuple[int, int, int] | None = None
    reduction: int | None = None
    convention: str = "mac"

    def __post_init__(self) -> None:
        """Check that what is given makes one whole.

        Raises:
            SettingsError: saying what to leave out or to add.
        """
        find_convention(self.convention)
        foreign = [_option(name) for name in self.given if name not in FIELDS[self.kind]]
        if foreign:
            raise SettingsError(f"leave out {', '.join(foreign)}: {ALONE[self.kind]}")
        if self.kind == AGGREGATOR:
            missing = [_option(name) for name in ("aggregator", "channels", "grid") if name not in self.given]
            if missing:
                raise SettingsError(
                    f"an aggregator by itself needs {' and '.join(missing)} too, "
                    "as --aggregator fast-gru --channels 2048 --grid 1x7x7"
                )
        if self.kind == SETTING:
            self._check_backbones()

    def _check_backbones(self) -> None:
        if not {"preset", "expensive", "cheap"} & self.given.keys():
            raise SettingsError(
                "say what to count: --preset, --backbone, --expensive and --cheap with --pattern, --aggregator with "
                "--channels and --grid, or --paper-table"
            )
        if {"expensive", "cheap"} <= self.given.keys() and not {"preset", "pattern"} & self.given.keys():
            raise SettingsError("--expensive and --cheap need --pattern to say which clips are expensive, as 1:3")

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are said, by name, without the convention."""
        said = {name: getattr(self, name) for names in FIELDS.values() for name in names}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def kind(self) -> str:
        """What is counted: a backbone, an aggregator or a setting."""
        if self.backbone is not None:
            return BACKBONE
        return SETTING if self.channels is None and self.grid is None else AGGREGATOR


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
    """Count what is asked for, by running shapes on the meta device.

    Raises:
        SettingsError: for an unknown name, or sizes that a network cannot take.
    """
    return {BACKBONE: _backbone, AGGREGATOR: _aggregator, SETTING: _setting}[settings.kind](settings)


def compare_with_paper(name: str) -> tuple[PaperTable, tuple[Comparison, ...]]:
    """Return a table in print, and each of its figures beside ours.

    Args:
        name: the number of a table of the FASTER paper, or "peers".

    Raises:
        SettingsError: if it is none that prints costs of ours.
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
    setting = resolve_setting(settings)
    counted = {"preset": settings.preset, **asdict(setting), "pattern": str(setting.pattern)}
    return FlopsReport(kind=SETTING, counted=counted, cost=setting_cost(setting, convention=settings.convention))


def resolve_setting(settings: FlopsSettings) -> Setting:
    """Return the setting to count: the preset's, or one of defaults, with what is said beside it in place.

    Raises:
        SettingsError: for an unknown preset, a pattern that is none, or clips that no backbone sees.
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
    """Return the frames of the clips that the first of the setting's backbones is known for."""
    return usual_clip(next(iter(setting.backbones.values())))[0]


def _option(name: str) -> str:
    return OPTIONS.get(name, f"--{name}")
