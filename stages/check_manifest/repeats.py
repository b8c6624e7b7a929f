"""Files that stand in several rows at odds with each other: in two splits, or under two labels, at the same time."""

import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...pipeline.manifests.cells import LABEL_SEPARATOR
from ...pipeline.manifests.videos import Videos
from .plan import FilesToProbe

_Row = tuple[float, float, str]  # start and end in seconds, and a split or labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """Files whose rows are at odds; rows whose intervals only touch, or lie apart, never are.

    Attributes:
        splits: path as first written -> splits, for files of which the same seconds are in more than one.
        labels: path as first written -> labels (joined by "|"), for files of which the same seconds have different
            ones; rows without a label do not count.
    """

    splits: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, tuple[str, ...]]


def repeats(videos: Videos, files: FilesToProbe) -> Repeats:
    """Return the files that stand in several rows at odds with each other, in the manifest's order."""
    rows_of = _rows_of_repeated(files)
    labels = [LABEL_SEPARATOR.join(own) for own in videos.label_sets]
    intervals = videos.intervals

    def at_odds(name_of: Callable[[int], str]) -> dict[str, tuple[str, ...]]:
        found = {}
        for number, rows in rows_of.items():
            if names := _at_odds([(*_edges(*intervals[row]), name_of(row)) for row in rows]):
                found[files.names[number]] = names
        return found

    return Repeats(
        splits=at_odds(lambda row: videos.split_names[videos.split_codes[row]]),
        labels=at_odds(lambda row: labels[videos.label_codes[row]]),
    )


def _rows_of_repeated(files: FilesToProbe) -> "dict[int, array[int]]":
    """Return file -> its rows, for the files that several rows name."""
    numbers = np.asarray(files.of_rows, np.int64)
    repeated = np.bincount(numbers, minlength=len(files)) > 1
    found: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
    for row in np.flatnonzero(repeated[numbers]).tolist():
        found[files.of_rows[row]].append(row)
    return found


def _edges(start: float, end: float) -> tuple[float, float]:
    return (0.0 if math.isnan(start) else float(start)), (math.inf if math.isnan(end) else float(end))


def _at_odds(rows: Sequence[_Row]) -> tuple[str, ...]:
    """Return the names, sorted, that overlap in time with another name; "" is none."""
    last: dict[str, float] = {}  # name -> the latest end so far
    found: set[str] = set()
    for start, end, name in sorted(row for row in rows if row[2]):
        if others := [other for other, until in last.items() if other != name and until > start]:
            found.update(others, (name,))
        last[name] = max(last.get(name, 0.0), end)
    return tuple(sorted(found))
