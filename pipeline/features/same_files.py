"""Which rows of a store are the files of a manifest, whichever way either of them writes the paths."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import isnan
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from ..manifests.locations import located
from ..manifests.manifest import Videos
from .columns import VideoTable

_Stretch = tuple[float | None, float | None]


def rows_by_file(table: VideoTable, videos: Videos) -> list[tuple[int, ...]]:
    """Return for each video the rows of the same file and interval, whatever their ids.

    A store keeps paths as its first manifest wrote them, and not the folder that relative ones start from. That is
    taken for the one in which the most of the videos with absolute paths find their rows, for none if two do equally
    well, and for the manifest's own where none of these finds any.

    Links are followed, since they make one file of two paths. Files need not be there.
    """

    @cache
    def real(place: str) -> str:
        return os.path.realpath(place)

    stretches, wanted = _stretches(table.intervals), _stretches(videos.intervals)
    stored = [(*_parts(written), stretch) for written, stretch in zip(table.texts["path"], stretches, strict=True)]
    base = str(videos.folder or Path.cwd())
    absolute = [(place, own) for place, own in zip(videos.places(), wanted, strict=True) if _parts(place)[0] is None]
    folders = _folders(stored, absolute, base=base, real=real)
    rows: defaultdict[tuple[str, _Stretch], list[int]] = defaultdict(list)
    for row, (ups, tail, stretch) in enumerate(stored):
        if ups is None or ups in folders:
            place = tail if ups is None else os.path.join(folders[ups], tail)  # noqa: PTH118
            rows[real(place), stretch].append(row)
    places = [real(os.path.join(base, place)) for place in videos.places()]  # noqa: PTH118
    return [tuple(rows.get(key, ())) for key in zip(places, wanted, strict=True)]


def _folders(
    stored: Sequence[tuple[int | None, str, _Stretch]],
    videos: Sequence[tuple[str, _Stretch]],
    *,
    base: str,
    real: Callable[[str], str],
) -> dict[int, str]:
    """Return number of leading ".." -> the folder in which what follows them lies, of paths that begin with so many."""
    known = set(stored)
    votes = {ups: Counter[str]() for ups, _, _ in stored if ups is not None}
    for place, stretch in videos:
        cuts = [cut for own in {os.path.normpath(place), real(place)} for cut in _cuts(own)]
        for ups, found in votes.items():
            found.update({real(folder) for folder, tail in cuts if (ups, tail, stretch) in known})
    folders = {ups: real(os.path.join(base, *[os.pardir] * ups)) for ups in votes}  # noqa: PTH118
    for ups, found in votes.items():
        first, second = [*found.most_common(2), ("", 0), ("", 0)][:2]
        if first[1] > second[1]:
            folders[ups] = first[0]
        elif first[1]:
            del folders[ups]
    return folders


def _parts(written: str) -> tuple[int | None, str]:
    """Return how many ".." a relative path begins with, and what follows; of an absolute path None, and all of it."""
    path = os.path.normpath(located(written))
    if os.path.isabs(path):  # noqa: PTH117
        return None, path
    parts = PurePath(path).parts
    ups = parts.count(os.pardir)  # normalised: they all stand first
    return ups, str(PurePath(*parts[ups:]))


def _stretches(intervals: npt.NDArray[np.float64]) -> list[_Stretch]:
    """Return (V, 2) float64 as pairs, with None for NaN, which equals nothing."""
    return [(None if isnan(start) else start, None if isnan(end) else end) for start, end in intervals.tolist()]


def _cuts(place: str) -> Iterator[tuple[str, str]]:
    """Yield each way to cut an absolute path into a folder and the rest."""
    cut = place.find(os.sep)
    while cut >= 0:
        yield place[: cut + 1], place[cut + 1 :]
        cut = place.find(os.sep, cut + 1)
