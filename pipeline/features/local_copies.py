"""Copies of feature maps on a machine's own disk, so that a store is read once per machine and not once per run.

A copy is one file of plain float16 numbers that every process maps into memory, so that all of them share the
system's cache of it. Its name is a digest of everything that it was made from: another store, other weights, more
videos or maps that were written anew make another file, so that a stale copy is never opened. Labels, splits and rows
without maps are no part of it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import OutOfSpaceError, StoreError, named
from ..files import held_file, nearest_folder, remove_drafts, write_atomically
from .backbone_group import BackboneGroup
from .format import FEATURE_DTYPE, PARTIAL, Status


class LocalCopy:
    """All maps of one backbone, for the videos that were done when it was made, on this machine's disk.

    Args:
        path: of the file.
        group: the backbone that was copied.
        videos: indices of the copied videos, in the order of their rows in the store.

    Attributes:
        maps: (videos, R, due clips, T', H', W', C) float16, mapped from the file, read-only.
    """

    def __init__(self, path: Path, *, group: BackboneGroup, videos: npt.NDArray[np.int64]) -> None:
        self.path, self.name = path, group.name
        self._rows = {video: row for row, video in enumerate(videos.tolist())}
        self._columns = {clip: column for column, clip in enumerate(np.flatnonzero(group.due).tolist())}
        # A plain view: indexing np.memmap itself builds a subclass each time, which is slow.
        self.maps = np.asarray(np.memmap(path, FEATURE_DTYPE, mode="r", shape=_shape(group, len(videos))))

    def read(self, video_index: int, *, view: int, clips: Sequence[int]) -> npt.NDArray[np.float16]:
        """Return (n, T', H', W', C) float16, bit for bit what `BackboneGroup.read` returns.

        Args:
            video_index: which video of the manifest.
            view: which draw of the video's clips.
            clips: n numbers of clips that are due, in any order.

        Raises:
            StoreError: if the video or a clip was not there when the copy was made.
        """
        if video_index not in self._rows:
            raise StoreError(f"{self.path} has no maps of video {video_index}: it was not done when the copy was made.")
        absent = [clip for clip in clips if clip not in self._columns]
        if absent:
            raise StoreError(f"{self.path} has no maps of clip {absent[0]}: {self.name} was not to compute it.")
        columns = [self._columns[clip] for clip in clips]
        return self.maps[self._rows[video_index], view][columns]


def open_copy(group: BackboneGroup, folder: Path) -> LocalCopy:
    """Open this machine's copy of a backbone's maps; the first process to ask makes it, and the others wait.

    Args:
        group: the backbone.
        folder: on a disk of this machine; made if it does not exist.

    Raises:
        OutOfSpaceError: if the copy does not fit on the disk; the message says its size.
        StoreError: if no video is done, or one cannot be read.
    """
    videos = _done(group)
    if not len(videos):
        raise StoreError(f"{group.path} has no maps to copy: no video is done. Extract some first.")
    # For the user alone: features may be confidential, and temporary folders are open to all users of a machine.
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = _path(group, videos, folder)
    with held_file(path.with_suffix(".lock")):
        if not path.exists():
            _make(path, group, videos)
    return LocalCopy(path, group=group, videos=videos)


def write_maps(file: BinaryIO, group: BackboneGroup, videos: Iterable[int]) -> None:
    """Write the maps of ``videos`` in the form of a copy, and wait until they are on disk.

    Videos that are done in part have NaN for the clips that they lack, and nobody asks for these.
    """
    clips, everywhere = np.flatnonzero(group.due), group.due_everywhere
    partly = np.isin(group.status(), PARTIAL)
    for video in videos:
        there = everywhere[clips] if partly[video] else np.ones(len(clips), bool)
        for view in range(group.num_views):
            maps = np.full((len(clips), *group.feature_shape), np.nan, FEATURE_DTYPE)
            maps[there] = group.read(video, view=view, clips=clips[there].tolist())
            maps.tofile(file)
    file.flush()
    os.fsync(file.fileno())


def check_space(groups: Iterable[BackboneGroup], folder: Path) -> int:
    """Return the size in bytes of the copies that are not in ``folder`` yet.

    Raises:
        OutOfSpaceError: if they do not fit on the disk.
    """
    needed = sum(_num_bytes(group) for group in groups if not _path(group, _done(group), folder).exists())
    existing = nearest_folder(folder)
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise OutOfSpaceError(
            f"copies of the maps on this machine take {needed / 1e9:.3f} GB, and {free / 1e9:.3f} GB are free in "
            f"{existing}. Name a folder on a larger disk with {named('cache_dir')}, or read from the store with "
            f"{named('no_copies')}"
        )
    return needed


def _done(group: BackboneGroup) -> npt.NDArray[np.int64]:
    """Return the indices of the videos that have maps, in the order of their rows: that outlives other manifests."""
    status = group.status()
    videos = np.flatnonzero((status == Status.DONE) | np.isin(status, PARTIAL))
    return videos[np.argsort(group.rows_of(videos))]


def _path(group: BackboneGroup, videos: npt.NDArray[np.int64], folder: Path) -> Path:
    return folder / f"{group.name}-{_digest(group, videos)}.float16"


def _num_bytes(group: BackboneGroup) -> int:
    return len(_done(group)) * group.raw_bytes_per_video


def _shape(group: BackboneGroup, num_videos: int) -> tuple[int, ...]:
    return (num_videos, group.num_views, int(group.due.sum()), *group.feature_shape)


def _digest(group: BackboneGroup, videos: npt.NDArray[np.int64]) -> str:
    """Return what tells a copy from any other: the store, what its maps were made from, and whose they are."""
    store = json.loads((group.path.parent / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    partly = videos[np.isin(group.status()[videos], PARTIAL)]
    made_from = {
        "path": str(group.path.resolve()),
        "created_ns": (group.path / "zarr.json").stat().st_mtime_ns,  # a store made anew at the same place
        "sampling": store["sampling"],
        "backbone": group.attributes,
        "rows": group.rows_of(videos).tolist(),
        "maps": [group.stamp(video) for video in videos.tolist()],
        # Videos that get their missing clips make another copy.
        **({"partly": group.rows_of(partly).tolist()} if len(partly) else {}),
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]


def _make(path: Path, group: BackboneGroup, videos: npt.NDArray[np.int64]) -> None:
    """Write the copy; it appears whole or not at all."""
    check_space([group], path.parent)

    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            write_maps(file, group, videos.tolist())

    remove_drafts(path)
    write_atomically(path, write)
