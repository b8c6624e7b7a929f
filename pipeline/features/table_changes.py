"""What another manifest changes in a store's table of videos: pure, nothing is read or written."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import StoreError, named
from ..manifests.manifest import Manifest, Video, Videos
from .columns import OWN_TEXTS, UNLISTED, VideoTable, listed_rows, text_key, texts_of

_FREE = tuple(name for name in OWN_TEXTS if name in ("labels", "split"))


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
        moved: id -> path before and after.
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
    moved: dict[str, tuple[str, str]] = field(default_factory=dict)
    new_classes: tuple[str, ...] = ()
    gone_classes: tuple[str, ...] = ()
    reordered: bool = False
    labels_kept: bool = False

    @property
    def any(self) -> bool:
        """Whether the store changes at all."""
        return bool(self.added or self.returned or self.dropped or self.cells or self.moved or self.reordered)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a manifest may change in a store.

    Attributes:
        add: whether videos that the store lacks become rows.
        drop: whether videos that the manifest does not list are left out of use.
        move: whether paths are taken over from the manifest.
    """

    add: bool
    drop: bool
    move: bool = False


def changed_table(
    table: VideoTable, manifest: Manifest, *, rules: Rules, path: Path
) -> tuple[VideoTable, TableChanges]:
    """Return the table of the store at ``path`` under another manifest, and what that changes.

    A video is known by its id, and its file and interval must be the same. Labels, splits and further columns are
    taken over from the manifest; if none of its videos has a label, labels stay as they are.

    Raises:
        StoreError: if a file or an interval differs, or the manifest lists nothing that the store has.
    """
    row_of = {video_id: row for row, video_id in enumerate(table.ids)}
    videos = manifest.videos
    rows = np.array([row_of.get(name, -1) for name in videos.cells("video_id")], np.int64)  # (M,) -1: not there
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise StoreError(_other_videos(table, manifest, path))
    found = videos.take(known)
    moved = _check_identity(table, found, rows[known], moves=rules.move, path=path)
    added = videos.take(np.flatnonzero(rows < 0))
    own = [text_key(name) for name in videos.own_names]
    free = [name for name in (*_FREE, *own) if name != "labels" or any(videos.cells("label"))]
    texts, cells = _merged_texts(table, found, rows[known], free=free, moved=moved)
    if rules.add:
        rows[rows < 0] = len(table) + np.arange(len(added))
        new = texts_of(added)
        for name, column in texts.items():
            texts[name] = [*column, *new.get(name, [""] * len(added))]
    places = _places(table, rows[rows >= 0], num_rows=len(texts["video_id"]), drop=rules.drop)
    intervals = np.concatenate([table.intervals, added.intervals]) if rules.add else table.intervals
    after = VideoTable(texts=texts, intervals=intervals, places=places)
    changes = _changes(table, after, added, cells, moved, rules=rules, touched=rows[known])
    return after, replace(changes, labels_kept="labels" not in free and any(table.texts["labels"]))


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
    table: VideoTable, found: Videos, rows: npt.NDArray[np.int64], *, moves: bool, path: Path
) -> dict[str, tuple[str, str]]:
    """Return id -> paths of the videos whose path differs; refuse other intervals, and other paths unless ``moves``."""
    other = ~np.isclose(table.intervals[rows], found.intervals, rtol=0, atol=0, equal_nan=True).all(axis=1)
    if other.any():
        place = int(np.flatnonzero(other)[0])
        before, now = table.video(int(rows[place])), found[place]
        raise StoreError(
            f"video {now.video_id!r} is the stretch {_stretch(before)} in {path} and {_stretch(now)} in the manifest "
            f"({int(other.sum())} such videos). Other stretches are other videos: give them ids of their own, or "
            f"choose another {named('store')}"
        )
    written = table.texts["path"]
    moved = {
        table.ids[row]: (written[row], now)
        for row, now in zip(rows.tolist(), found.cells("path"), strict=True)
        if written[row] != now
    }
    if moved and not moves:
        video_id, (before, now) = next(iter(moved.items()))
        raise StoreError(
            f"the manifest has other paths than {path} for {len(moved)} of {len(found)} videos, as {video_id!r}: "
            f"stored {before!r}, now {now!r}. If the same files lie elsewhere now, type vidpipe store relabel {path} "
            f"MANIFEST {named('moved')}; if they are other files, give them ids of their own, or choose another "
            f"{named('store')}"
        )
    return moved


def _stretch(video: Video) -> str:
    end = "the end" if video.end is None else f"{video.end} s"
    return f"from {video.start or 0.0} s to {end}"


def _merged_texts(
    table: VideoTable,
    found: Videos,
    rows: npt.NDArray[np.int64],
    *,
    free: Sequence[str],
    moved: dict[str, tuple[str, str]],
) -> tuple[dict[str, list[str]], dict[str, dict[str, tuple[str, str]]]]:
    """Return the text columns with the ``free`` cells of ``found``, the videos of ``rows``, and what differs."""
    texts = {name: list(column) for name, column in table.texts.items()}
    now = texts_of(found)
    cells: dict[str, dict[str, tuple[str, str]]] = {}
    for name in free:
        texts.setdefault(name, [""] * len(table))
        for row, cell in zip(rows.tolist(), now[name], strict=True):
            if texts[name][row] != cell:
                cells.setdefault(name, {})[table.ids[row]] = (texts[name][row], cell)
                texts[name][row] = cell
    if moved:
        for row, cell in zip(rows.tolist(), now["path"], strict=True):
            texts["path"][row] = cell
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
    added: Videos,
    cells: dict[str, dict[str, tuple[str, str]]],
    moved: dict[str, tuple[str, str]],
    *,
    rules: Rules,
    touched: npt.NDArray[np.int64],
) -> TableChanges:
    """Return what sets two tables apart; ``touched`` are the rows that the manifest lists."""
    was, now = before.places >= 0, after.places[: len(before)] >= 0
    order = listed_rows(before.places)
    still = order[now[order]]
    names = tuple(added.cells("video_id"))
    unlisted = was & now
    unlisted[touched] = False
    old, new = _classes(before), _classes(after)
    return TableChanges(
        added=names if rules.add else (),
        unknown=() if rules.add else names,
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
    return {name for cell in found if cell for name in cell.split("|")}
