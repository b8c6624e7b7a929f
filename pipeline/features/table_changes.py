"""What another manifest changes in a store's table of videos; nothing is written, and no file opened."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import OtherVideosError, named
from ..manifests.cells import LABEL_SEPARATOR
from ..manifests.manifest import Manifest, Videos
from .columns import UNLISTED, VideoTable, listed_rows, text_key, texts_of
from .same_files import rows_by_file


@dataclass(frozen=True, kw_only=True, slots=True)
class TableChanges:
    """What a manifest changes in a store; ids in the order of the rows.

    Attributes:
        added: videos that the store did not have.
        returned: videos that were left out of use, and are listed again.
        dropped: videos that are left out of use from now on; their features stay.
        unknown: videos of the manifest that the store does not have, and that were not to be added.
        untouched: how many videos in use the manifest does not list, and that stay in use.
        cells: column -> id -> its cell before and after: labels, splits and further columns.
        new_columns: further columns that the store did not have.
        moved: id -> path before and after.
        by_file: stored id -> the manifest's, of videos that were known by their file and interval.
        new_classes, gone_classes: what this does to the classes of the videos in use.
        reordered: whether the videos in use stand in another order.
        labels_kept: whether the manifest has no labels at all, so that those of the store stay.
    """

    added: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    untouched: int = 0
    cells: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    new_columns: tuple[str, ...] = ()
    moved: dict[str, tuple[str, str]] = field(default_factory=dict)
    by_file: dict[str, str] = field(default_factory=dict)
    new_classes: tuple[str, ...] = ()
    gone_classes: tuple[str, ...] = ()
    reordered: bool = False
    labels_kept: bool = False

    @property
    def any(self) -> bool:
        """Whether the store changes at all."""
        table = (self.added, self.returned, self.dropped, self.cells, self.new_columns, self.moved, self.reordered)
        return any(map(bool, table))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a manifest may change in a store.

    Attributes:
        add: whether videos that the store lacks become rows.
        drop: whether videos that the manifest does not list are left out of use.
        move: whether paths are taken over from the manifest.
        by_file: whether videos may have other ids, or their paths be written in another way, if it is the same file.
    """

    add: bool
    drop: bool
    move: bool = False
    by_file: bool = False


def changed_table(
    table: VideoTable, manifest: Manifest, *, rules: Rules, path: Path
) -> tuple[VideoTable, TableChanges]:
    """Return the table of the store at ``path`` under another manifest, and what that changes.

    A video is known by its id, and its file and interval must be the same; or by file and interval alone, and then it
    keeps its id and its path as it is written. Labels, splits and further columns are taken over from the manifest; if
    none of its videos has a label, labels stay as they are.

    Raises:
        OtherVideosError: if a file or an interval differs, or the manifest lists nothing that the store has.
    """
    videos, row_of = manifest.videos, {video_id: row for row, video_id in enumerate(table.ids)}
    given = videos.cells("video_id")
    rows = np.array([row_of.get(video_id, -1) for video_id in given], np.int64)  # (M,) -1: not there
    rows, same = _known_by_file(table, videos, rows, path=path) if rules.by_file else (rows, np.zeros(len(rows), bool))
    known = rows >= 0
    if not known.any():
        raise OtherVideosError(_other_videos(table, manifest, path))
    found, added = videos.where(known), videos.where(~known)
    moved = _check_identity(table, found, rows[known], same[known], moves=rules.move, path=path)
    free = [*(["labels"] if any(videos.cells("label")) else []), "split", *map(text_key, videos.own_names)]
    texts, cells = _merged_texts(table, found, rows[known], free=free, moved=moved)
    if rules.add:
        rows[~known] = len(table) + np.arange(len(added))
        texts = {
            name: column + more for (name, column), more in zip(texts.items(), texts_of(added, texts), strict=True)
        }
    places = _places(table, rows[rows >= 0], num_rows=len(texts["video_id"]), drop=rules.drop)
    intervals = np.concatenate([table.intervals, added.intervals]) if rules.add else table.intervals
    after = VideoTable(texts=texts, intervals=intervals, places=places)
    changes = _changes(table, after, added.cells("video_id"), cells, moved, rules=rules, touched=rows[known])
    by_file = {
        table.ids[row]: own
        for row, own, is_known in zip(rows.tolist(), given, known.tolist(), strict=True)
        if is_known and table.ids[row] != own
    }
    return after, replace(changes, by_file=by_file, labels_kept="labels" not in free and any(table.texts["labels"]))


def _known_by_file(
    table: VideoTable, videos: Videos, rows: npt.NDArray[np.int64], *, path: Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return (M,) int64 ``rows`` with those that files alone tell, and (M,) bool: where file and interval are a row's.

    Raises:
        OtherVideosError: if two videos of the manifest are the same row.
    """
    written = table.texts["path"]
    if all(row >= 0 and written[row] == own for row, own in zip(rows.tolist(), videos.cells("path"), strict=True)):
        return rows, np.ones(len(rows), bool)
    found, rows, taken = rows_by_file(table, videos), rows.copy(), set(rows.tolist())
    for place in np.flatnonzero(rows < 0).tolist():
        free = [row for row in found[place] if row not in taken]
        if len(free) == 1:
            rows[place] = free[0]
    known = rows[rows >= 0].tolist()
    if twice := [row for row, count in Counter(known).items() if count > 1]:
        ids = [videos[place].video_id for place in np.flatnonzero(rows == twice[0]).tolist()]
        raise OtherVideosError(
            f"{' and '.join(map(repr, ids))} of the manifest are the same file and stretch, {table.ids[twice[0]]!r} in "
            f"{path}. List it once"
        )
    return rows, np.array([row in found[place] for place, row in enumerate(rows.tolist())], bool)


def _other_videos(table: VideoTable, manifest: Manifest, path: Path) -> str:
    """Say that a manifest has no id in common with the store at ``path``, and what to do about it."""
    stored = {Path(written).name: video_id for written, video_id in zip(table.texts["path"], table.ids, strict=True)}
    alike = next((video for video in manifest.videos if Path(video.written_path).name in stored), None)
    if alike is None:
        return (
            f"{path} has none of the {len(manifest)} videos of the manifest: it is the store of other videos "
            f"({len(table)}, such as {table.ids[0]!r}). Choose another {named('store')}; or, to add videos to this "
            "one, list them together with those that it has"
        )
    name = Path(alike.written_path).name
    return (
        f"{path} has none of the ids of the manifest, but files of the same names, as {name!r}: stored as "
        f"{stored[name]!r}, now {alike.video_id!r}. Where there is no column video_id, ids are made of paths. If these "
        "are the same files, give the manifest that column, with the stored ids, and type vidpipe store relabel "
        f"{path} MANIFEST {named('moved')}; if they are others, choose another {named('store')}"
    )


def _check_identity(
    table: VideoTable,
    found: Videos,
    rows: npt.NDArray[np.int64],
    same: npt.NDArray[np.bool_],
    *,
    moves: bool,
    path: Path,
) -> dict[str, tuple[str, str]]:
    """Return id -> paths of the videos whose paths are taken over, if ``moves``.

    Refuse other intervals, and without ``moves`` other paths; ``same`` (n,): those that lead to the same file.
    """
    stored, wanted = table.intervals[rows], found.intervals
    other = ~np.isclose(stored, wanted, rtol=0, atol=0, equal_nan=True).all(axis=1)
    if other.any():
        place = int(np.flatnonzero(other)[0])
        before, now = _stretch(*stored[place].tolist()), _stretch(*wanted[place].tolist())
        raise OtherVideosError(
            f"video {found[place].video_id!r} is the stretch {before} in {path} and {now} in the manifest "
            f"({int(other.sum())} such videos). Other stretches are other videos: give them ids of their own, or "
            f"choose another {named('store')}"
        )
    written = table.texts["path"]
    moved = {
        table.ids[row]: (written[row], now)
        for row, now, is_same in zip(rows.tolist(), found.cells("path"), same.tolist(), strict=True)
        if written[row] != now and (moves or not is_same)
    }
    if moved and not moves:
        video_id, (before, now) = next(iter(moved.items()))
        raise OtherVideosError(
            f"the manifest has other paths than {path} for {len(moved)} of {len(found)} videos, as {video_id!r}: "
            f"stored {before!r}, now {now!r}. If the same files lie elsewhere now, type vidpipe store relabel {path} "
            f"MANIFEST {named('moved')}; if they are other files, give them ids of their own, or choose another "
            f"{named('store')}"
        )
    return moved


def _stretch(start: float, end: float) -> str:
    """Return an interval in words; NaN is the beginning or the end of the video."""
    return f"from {0.0 if np.isnan(start) else start} s to {'the end' if np.isnan(end) else f'{end} s'}"


def _merged_texts(
    table: VideoTable,
    found: Videos,
    rows: npt.NDArray[np.int64],
    *,
    free: Sequence[str],
    moved: dict[str, tuple[str, str]],
) -> tuple[dict[str, list[str]], dict[str, dict[str, tuple[str, str]]]]:
    """Return the text columns with the ``free`` cells of ``found``, the videos of ``rows``, and what differs.

    A column that the store did not have is empty for all other videos.
    """
    names = [*table.texts, *(name for name in free if name not in table.texts)]
    texts = {name: list(table.texts.get(name) or [""] * len(table)) for name in names}
    cells: dict[str, dict[str, tuple[str, str]]] = {}
    for name, now in zip(names, texts_of(found, names), strict=True):
        if name not in free and not (name == "path" and moved):
            continue
        for row, cell in zip(rows.tolist(), now, strict=True):
            if texts[name][row] != cell:
                if name in table.texts and name != "path":
                    cells.setdefault(name, {})[table.ids[row]] = (texts[name][row], cell)
                texts[name][row] = cell
    return texts, cells


def _places(table: VideoTable, rows: npt.NDArray[np.int64], *, num_rows: int, drop: bool) -> npt.NDArray[np.int64]:
    """Return (V,) the rows' places once the manifest lists ``rows``, in its order.

    Others are dropped, or stay where they are, before those that come in.
    """
    order = rows
    if not drop:
        before = listed_rows(table.places)
        order = np.concatenate([before, rows[~np.isin(rows, before)]])
    places = np.full(num_rows, UNLISTED, np.int64)
    places[order] = np.arange(len(order))
    return places


def _changes(
    before: VideoTable,
    after: VideoTable,
    names: Sequence[str],
    cells: dict[str, dict[str, tuple[str, str]]],
    moved: dict[str, tuple[str, str]],
    *,
    rules: Rules,
    touched: npt.NDArray[np.int64],
) -> TableChanges:
    """Return what sets two tables apart; ``names``: ids that were not there, ``touched``: the manifest's other rows."""
    was, now = before.places >= 0, after.places[: len(before)] >= 0
    order = listed_rows(before.places)
    still = order[now[order]]
    unlisted = was & now
    unlisted[touched] = False
    old, new = _classes(before), _classes(after)
    return TableChanges(
        added=tuple(names) if rules.add else (),
        unknown=() if rules.add else tuple(names),
        new_columns=tuple(name for name in after.texts if name not in before.texts),
        returned=tuple(before.ids[row] for row in np.flatnonzero(now & ~was).tolist()),
        dropped=tuple(before.ids[row] for row in np.flatnonzero(was & ~now).tolist()),
        untouched=int(unlisted.sum()),
        cells=cells,
        moved=moved,
        new_classes=tuple(sorted(new - old)),
        gone_classes=tuple(sorted(old - new)),
        reordered=bool((np.diff(after.places[still]) < 0).any()),
    )


def _classes(table: VideoTable) -> set[str]:
    """Return the classes of the videos in use."""
    labels = table.texts["labels"]
    found = {labels[row] for row in np.flatnonzero(table.places >= 0).tolist()}
    return {name for cell in found if cell for name in cell.split(LABEL_SEPARATOR)}
