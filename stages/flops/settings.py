"""The settings of counting costs."""

from typing import Any

from ...pipeline.costs.conventions import find_convention
from ...pipeline.costs.sizes import RANGES, check_sizes
from ...pipeline.errors import SettingsError, named
from ...pipeline.settings import check_fields, setting, settings

BACKBONE, AGGREGATOR, SETTING = "backbone", "aggregator", "setting"


# What is counted -> the fields that apply to it.
SIZES = ("num_frames", "num_clips", "crop", "num_classes")


_FIELDS = {
    BACKBONE: ("backbone", *SIZES),
    AGGREGATOR: ("aggregator", "channels", "grid", "num_clips", "num_classes", "reduction"),
    SETTING: ("preset", "expensive", "cheap", "aggregator", "pattern", *SIZES, "reduction"),
}


ALONE = {
    BACKBONE: f"{named('backbone')} counts one network; for a whole setting, give {named('expensive')} and "
    f"{named('cheap')} in its place",
    AGGREGATOR: f"{named('channels')} and {named('grid')} count an aggregator by itself; in a setting, its backbones "
    "make the maps",
}


@settings
class FlopsSettings:
    """What to count; None: not given."""

    backbone: str | None = setting(default=None, help="Count this backbone alone.")
    preset: str | None = setting(
        default=None, help="A setting of the paper; options beside it win.", metavar="faster16|faster32"
    )
    expensive: str | None = setting(default=None, help="Backbone of the expensive clips.")
    cheap: str | None = setting(default=None, help="Backbone of the cheap clips.")
    aggregator: str | None = setting(
        default=None, help="Aggregator over them; alone with channels and grid.", unset="fast-gru"
    )
    pattern: str | None = setting(
        default=None, help="Which clips are expensive: E:C (as 1:3), first, all-expensive or all-cheap."
    )
    num_frames: int | None = setting(
        default=None,
        help="Frames in a clip.",
        unset="the preset's, or what its backbone is known for, as 8",
        **RANGES["num_frames"],
    )
    num_clips: int | None = setting(
        default=None, help="Clips of a video.", unset="32; 1 for a backbone alone", **RANGES["num_clips"]
    )
    crop: int | None = setting(default=None, help="Side of the square input, pixels.", unset="224", **RANGES["crop"])
    num_classes: int | None = setting(default=None, help="Classes to tell apart.", unset="400", **RANGES["num_classes"])
    channels: int | None = setting(default=None, help="Of the maps, for an aggregator alone.", **RANGES["channels"])
    grid: tuple[int, int, int] | None = setting(
        default=None, help="(T', H', W') of these maps, as 1x7x7.", metavar="TxHxW"
    )
    reduction: int | None = setting(
        default=None, help="C over the width of FAST-GRU's bottleneck, or of a memory.", at_least=1, unset="4"
    )
    convention: str = setting(
        default="mac",
        help="mac: a multiply-accumulate is 1; mac+bn: and an element through a batch norm is 2; flop: the former "
        "is 2.",
        metavar="mac|mac+bn|flop",
    )

    def __post_init__(self) -> None:
        """Check that the given fields fit each other.

        Raises:
            SettingsError: the message says what to leave out or to add.
        """
        check_fields(self)
        if self.grid is not None:
            check_sizes(grid=min(self.grid))
            check_sizes(grid=max(self.grid))
        find_convention(self.convention)
        foreign = [named(name) for name in self.given if name not in _FIELDS[self.kind]]
        if foreign:
            raise SettingsError(f"leave out {', '.join(foreign)}: {ALONE[self.kind]}")
        if self.kind == AGGREGATOR:
            missing = [named(name) for name in ("aggregator", "channels", "grid") if name not in self.given]
            if missing:
                raise SettingsError(
                    f"an aggregator by itself needs {' and '.join(missing)} too, "
                    f"as {named('aggregator')} fast-gru {named('channels')} 2048 {named('grid')} 1x7x7"
                )
        if self.kind == SETTING:
            self._check_backbones()

    def _check_backbones(self) -> None:
        if not {"preset", "expensive", "cheap"} & self.given.keys():
            raise SettingsError(
                f"say what to count: {named('preset')}, {named('backbone')}, {named('expensive')} and "
                f"{named('cheap')} with {named('pattern')}, {named('aggregator')} with "
                f"{named('channels')} and {named('grid')}, or {named('paper_table')}"
            )
        if {"expensive", "cheap"} <= self.given.keys() and not {"preset", "pattern"} & self.given.keys():
            raise SettingsError(
                f"{named('expensive')} and {named('cheap')} need {named('pattern')} to say which clips are "
                "expensive, as 1:3"
            )

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are given, by name, without the convention."""
        said = {name: getattr(self, name) for names in _FIELDS.values() for name in names}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def kind(self) -> str:
        """What is counted: a backbone, an aggregator or a setting."""
        # An aggregator's name alone does not decide: it may belong to a setting.
        if self.backbone is not None:
            return BACKBONE
        return SETTING if self.channels is None and self.grid is None else AGGREGATOR
