"""The sizes that are counted: their ranges. Values beyond these are typing errors, or give shapes that overflow."""

from typing import TypedDict

from ..errors import SettingsError, named


class Range(TypedDict):
    """The smallest and the largest value, as `vidpipe.pipeline.settings.setting` takes them."""

    at_least: int
    at_most: int


RANGES: dict[str, Range] = {
    "num_frames": {"at_least": 1, "at_most": 4096},
    "num_clips": {"at_least": 1, "at_most": 4096},
    "crop": {"at_least": 16, "at_most": 8192},
    "num_classes": {"at_least": 1, "at_most": 1_000_000},
    "channels": {"at_least": 1, "at_most": 65_536},
    "grid": {"at_least": 1, "at_most": 512},
}


def check_sizes(**sizes: int) -> None:
    """Refuse sizes that no network has.

    Args:
        sizes: by the names of `RANGES`.

    Raises:
        SettingsError: with the option and its range.
    """
    for name, size in sizes.items():
        least, greatest = RANGES[name]["at_least"], RANGES[name]["at_most"]
        if not least <= size <= greatest:
            raise SettingsError(f"{named(name)} must be from {least} to {greatest}; got {size}")
