"""The settings of listing networks."""

from ...pipeline.costs.sizes import RANGES, check_sizes
from ...pipeline.settings import check_fields, setting, settings

_GRID = 1, 7, 7  # of r2d and r2plus1d at 224 pixels


@settings
class BackbonesSettings:
    """Which backbones to list, and the clips for which their costs are counted."""

    names: tuple[str, ...] = setting(default=(), help="List those whose name has one of these in it.")
    narrow: bool = setting(default=False, help="List the narrower variants of each network as well.")
    num_frames: int | None = setting(
        default=None, help="Frames in a clip.", unset="what each is known for", **RANGES["num_frames"]
    )
    crop: int = setting(default=224, help="Side of the square input, pixels.", **RANGES["crop"])
    num_classes: int = setting(default=400, help="Classes to tell apart.", **RANGES["num_classes"])

    def __post_init__(self) -> None:
        check_fields(self)


@settings
class AggregatorsSettings:
    """The maps and clips for which the costs of aggregators are counted."""

    channels: int = setting(default=2048, help="Of the maps.", **RANGES["channels"])
    grid: tuple[int, int, int] | None = setting(
        default=None, help="(T', H', W') of the maps, as 1x7x7.", metavar="TxHxW", unset="1x7x7"
    )
    num_clips: int = setting(default=8, help="Clips of a video.", **RANGES["num_clips"])
    num_classes: int = setting(default=400, help="Classes to tell apart.", **RANGES["num_classes"])

    def __post_init__(self) -> None:
        check_fields(self)
        if self.grid is not None:
            check_sizes(grid=min(self.grid))
            check_sizes(grid=max(self.grid))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T', H', W', C)."""
        time, height, width = self.grid or _GRID
        return time, height, width, self.channels
