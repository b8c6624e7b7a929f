"""One backbone's part of a feature store: its maps, clip scores, and what became of each video."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ..errors import StoreError, named
from ..files import disk_full_explained
from .format import (
    FAILURES,
    FEATURE_DTYPE,
    PARTIAL,
    SCORE_DTYPE,
    SMALL_COMPRESSION,
    Status,
    canonical,
    open_array,
    open_group,
    read_array,
    read_rows,
    write_rows,
)
from .shards import DamagedError, read_chunk, read_shard, write_chunk, write_shard
from .video_ids import VideoIds


class UnreadableError(StoreError):
    """Features of one video that are damaged or missing.

    Args:
        message: for the user, with the video and what to do.
        what: which part of the video's features, and what is wrong with it.
    """

    def __init__(self, message: str, what: str):
        super().__init__(message)
        self.what = what

    def __reduce__(self) -> tuple[type["UnreadableError"], tuple[str, str]]:
        return type(self), (self.marked, self.what)  # it travels between processes


class BackboneGroup:
    """The feature maps and scores of one backbone over all clips of a store.

    A task, in any process, writes only its own video's files (`write`); a single coordinator writes the arrays that
    videos share (`mark`). So no file ever has two writers, and none needs a lock.

    Videos are numbered by their place in the manifest; the arrays have a row for each that the store ever had.

    Args:
        path: of the group.
        rows: (M,) the row of each of the manifest's M videos.
        num_rows: V, how many rows there are.
        writable: whether `write` and `record` are to be called.
        ids: of the videos, if a store has them at hand.

    Attributes:
        features: (V, R, N, T', H', W', C) float16 Zarr array; NaN where nothing was computed.
        scores: (V, R, N, K) float32 Zarr array, the backbone's own clip scores; NaN where nothing was computed.
    """

    def __init__(
        self,
        path: Path,
        *,
        rows: npt.NDArray[np.int64],
        num_rows: int,
        writable: bool = False,
        ids: VideoIds | None = None,
    ):
        self.path = path
        self.name = path.name
        self._rows, self._num_rows = rows, num_rows
        self._ids = ids or VideoIds(path.parent, rows=rows, num_rows=num_rows)
        self.group = open_group(path, writable=writable)
        self.attributes: dict[str, Any] = dict(self.group.attrs)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the features were computed with: weights, preprocessing, engine, pattern, versions."""
        return self.attributes["provenance"]

    @property
    def due(self) -> np.ndarray:
        """(N,) bool: which clips the pattern gives to this backbone; the others stay NaN and take no space."""
        return np.array(self.attributes["due"], dtype=bool)

    @property
    def due_everywhere(self) -> np.ndarray:
        """(N,) bool: the clips that all videos have that are done or partly so."""
        return np.array(self.attributes.get("due_before", self.attributes["due"]), dtype=bool)

    @property
    def feature_shape(self) -> tuple[int, int, int, int]:
        """(T', H', W', C) of one clip's map."""
        return tuple(self.attributes["feature_shape"])

    @property
    def num_classes(self) -> int:
        """K, the length of a clip's scores."""
        return self.attributes["num_classes"]

    @property
    def num_views(self) -> int:
        """R, the draws of clips from each video."""
        return self.features.shape[1]

    @property
    def raw_bytes_per_video(self) -> int:
        """Bytes of a video's maps before compression."""
        return self.num_views * int(self.due.sum()) * math.prod(self.feature_shape) * FEATURE_DTYPE.itemsize

    @cached_property
    def features(self) -> zarr.Array:
        """The Zarr array of feature maps."""
        return self._array("features")

    @cached_property
    def scores(self) -> zarr.Array:
        """The Zarr array of clip scores."""
        return self._array("scores")

    def _array(self, name: str) -> zarr.Array:
        """Open one member array."""
        return open_array(self.group, self.path, name)

    def write(self, video_index: int, features: np.ndarray, scores: np.ndarray) -> None:
        """Write all clips of one video, first the maps, then the scores; each file appears whole or not at all.

        Args:
            video_index: which video of the manifest.
            features: (R, N, T', H', W', C) float16, NaN where a clip is not due.
            scores: (R, N, K) float32, NaN likewise.

        Raises:
            StoreError: if a shape or dtype differs, or the NaNs are not where the pattern says.
            OutOfSpaceError: if the disk is full.
        """
        self._check(features, self.features.shape[1:], FEATURE_DTYPE, "features")
        self._check(scores, self.scores.shape[1:], SCORE_DTYPE, "scores")
        chunks = features.reshape(-1, 1, 1, 1, *self.feature_shape)
        present, compression = np.tile(self.due, self.num_views).tolist(), self.attributes["compression"]
        # Straight to files, not through Zarr, which takes a millisecond more for each clip.
        with disk_full_explained(self.path):
            write_shard(self._features_path(video_index), chunks, present, compression=compression)
            write_chunk(self._scores_path(video_index), scores, compression=SMALL_COMPRESSION)

    def _check(self, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, what: str) -> None:
        """Refuse a wrong shape or dtype, and NaNs in the wrong clips: NaN means that a clip was not computed."""
        if array.shape != shape or array.dtype != dtype:
            raise StoreError(f"{self.name}: {what} must be {shape} {dtype}; got {array.shape} {array.dtype}.")
        finite = np.isfinite(array)
        axes = tuple(range(2, array.ndim))
        good = np.where(self.due, finite.all(axis=axes), ~finite.any(axis=axes))  # (R, N)
        if not good.all():
            view, clip = (int(number) for number in np.argwhere(~good)[0])
            problem = "must be finite and are not" if self.due[clip] else "must be NaN, the clip not being due,"
            raise StoreError(f"{self.name}: {what} of view {view}, clip {clip} {problem}; got {array[view, clip]}.")

    def rows_of(self, videos: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return (n,) the rows of ``videos`` (n,), which stay theirs whatever becomes of the manifest."""
        return self._rows[videos]

    def stamp(self, video_index: int) -> tuple[int, int]:
        """Return size and time of change (ns) of a video's maps on disk, which tell whether they were written anew."""
        try:
            status = self._features_path(video_index).stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def _features_path(self, video_index: int) -> Path:
        """Return the file, a shard, that holds all of a video's maps."""
        return self.path / "features" / f"c.{self._rows[video_index]}.0.0.0.0.0.0"

    def _scores_path(self, video_index: int) -> Path:
        """Return the file that holds all of a video's scores."""
        return self.path / "scores" / f"c.{self._rows[video_index]}.0.0.0"

    def mark(self, video_index: int, status: Status, error: str = "") -> None:
        """Record what became of one video, as `record` does of several."""
        self.record({video_index: (status, error)})

    def record(self, marks: Mapping[int, tuple[Status, str]]) -> None:
        """Record what became of videos; only the coordinator may do this.

        Args:
            marks: index of a video in the manifest -> its status, `Status.DONE` only after `write` has returned, and
                the reason if it failed; of a damaged one that is done, what was left out, or "".
        """
        wrong = [mark for mark in marks.values() if not _is_sensible(*mark)]
        if wrong:
            raise ValueError(f"a reason belongs to a failed video and to no other; got {wrong[0]!r}")
        rows = self._rows[np.array(list(marks), np.int64)]
        with disk_full_explained(self.path):
            # The reasons before the statuses: a failed video without a reason would look like a damaged store.
            write_rows(self._array("error"), rows, np.array([words for _, words in marks.values()], object))
            write_rows(self._array("status"), rows, np.array([int(status) for status, _ in marks.values()], np.int8))

    def status(self) -> np.ndarray:
        """Return (M,) int8, a `Status` for each video."""
        return self._all_statuses()[self._rows]

    def _all_statuses(self) -> np.ndarray:
        """Return (V,) int8, a `Status` for each row."""
        return read_rows(self._array("status"), self._num_rows)

    def has(self, clips: Sequence[int] | np.ndarray) -> npt.NDArray[np.bool_]:
        """Return (M,) bool: which videos have all of these clips."""
        status = self.status()
        partly = bool(self.due_everywhere[np.asarray(clips, np.int64)].all())
        return (status == Status.DONE) | (partly & np.isin(status, PARTIAL))

    def errors(self) -> dict[int, str]:
        """Return video index -> reason, for the videos that failed, or of which some clips did."""
        return self._texts(FAILURES)

    def left_out(self) -> dict[int, str]:
        """Return video index -> what of a damaged video was not used, for those that are done all the same."""
        return {index: words for index, words in self._texts((Status.DONE, Status.PARTLY)).items() if words}

    def _texts(self, statuses: Sequence[Status]) -> dict[int, str]:
        found = np.flatnonzero(np.isin(self.status(), statuses))
        texts = read_rows(self._array("error"), self._num_rows, self._rows) if len(found) else []
        return {int(index): str(texts[index]) for index in found}

    def pending(self, *, retry_failed: bool = False) -> npt.NDArray[np.int64]:
        """Return (n,) int64, in order: the indices of the videos still to be done, and of the failed ones if asked.

        To be done are also those that lack some clips (`Status.PARTLY`).
        """
        wanted = [Status.PENDING, Status.PARTLY, *(FAILURES if retry_failed else ())]
        return np.flatnonzero(np.isin(self.status(), wanted))

    def extend(self, due: Sequence[bool], *, pattern: str | None) -> None:
        """Make more clips due; videos that are done keep what they have, and lack the rest. For the coordinator.

        Args:
            due: (N,) flags of the clips to add; those that are due stay so.
            pattern: that makes them due, for the provenance.
        """
        union = (self.due | np.array(due, bool)).tolist()
        if union == self.attributes["due"]:
            return
        before = self.due_everywhere.tolist()
        # Until the attributes say which clips a video has that is partly done, it has all that are due.
        self._replace(Status.DONE, Status.PARTLY)
        provenance = {**self.provenance, **({} if pattern is None else {"pattern": pattern})}
        self._set_attributes({**self.attributes, "due": union, "due_before": before, "provenance": provenance})

    def settle(self) -> None:
        """End the extension to more clips, if no video lacks any; for the coordinator, before and after a run."""
        if "due_before" not in self.attributes:
            self._replace(Status.PARTLY, Status.DONE)  # of an extension that was killed before it held
        elif not np.isin(self._all_statuses(), PARTIAL).any():
            self._set_attributes({name: value for name, value in self.attributes.items() if name != "due_before"})

    def _replace(self, old: Status, new: Status) -> None:
        """Give all rows of one status another one."""
        rows = np.flatnonzero(self._all_statuses() == old)
        with disk_full_explained(self.path):
            write_rows(self._array("status"), rows, np.full(len(rows), int(new), np.int8))

    def _set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Replace the group's attributes, in one step."""
        self.attributes = canonical(attributes)
        with disk_full_explained(self.path):
            self.group.attrs.put(self.attributes)

    def stored_clips(self, video_index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return all clips that a video has, whether or not they are due; None if any of its files is damaged or gone.

        Returns:
            (R, N, T', H', W', C) float16 maps and (R, N, K) float32 scores, NaN where there is none.
        """
        num_views, num_clips = self.features.shape[1:3]
        maps = np.empty((num_views * num_clips, *self.feature_shape), FEATURE_DTYPE)
        scores = np.empty(self.scores.shape[1:], SCORE_DTYPE)
        path, compression = self._features_path(video_index), self.attributes["compression"]
        try:
            read_shard(path, range(len(maps)), maps, num_chunks=len(maps), compression=compression)
            there = read_chunk(self._scores_path(video_index), scores, compression=SMALL_COMPRESSION)
        except (FileNotFoundError, DamagedError):
            return None
        return (maps.reshape(num_views, num_clips, *self.feature_shape), scores) if there else None

    def forget(self, video_index: int) -> None:
        """Remove a video's files, after it was marked as pending: its clips are computed anew, and none is kept."""
        self._features_path(video_index).unlink(missing_ok=True)
        self._scores_path(video_index).unlink(missing_ok=True)

    def index(self, video: str | int) -> int:
        """Return the place in the manifest of a video, which is given by its id or by that place.

        Raises:
            StoreError: if there is no video of that id.
        """
        return self._ids.place(video)

    def read(self, video: str | int, *, view: int = 0, clips: Sequence[int] | None = None) -> np.ndarray:
        """Return (n, T', H', W', C) float16, the maps of the clips asked for, decoding no others.

        Args:
            video: its id, or its place in the manifest.
            view: which draw of the video's clips.
            clips: n clip numbers in any order; None for all N. A clip that is not due is NaN.

        Raises:
            StoreError: if a clip that is due is missing or damaged; names video, backbone, view and clip.
        """
        num_views, num_clips = self.features.shape[1:3]
        video_index = self.index(video)
        _check_index("video", video_index, len(self._rows))
        # Indexing a range lets -1 mean the last clip.
        wanted = [_place(num_clips, "clip", clip) for clip in (range(num_clips) if clips is None else clips)]
        chunks = [_place(num_views, "view", view) * num_clips + clip for clip in wanted]
        maps = np.empty((len(wanted), *self.feature_shape), FEATURE_DTYPE)
        path, compression = self._features_path(video_index), self.attributes["compression"]
        try:
            there = read_shard(path, chunks, maps, num_chunks=num_views * num_clips, compression=compression)
        except FileNotFoundError as error:
            # Without a due clip nothing is missing: Zarr itself writes no file for a shard of fill values.
            if any(self.attributes["due"]):
                raise self._unreadable(video_index, "all clips", "not there") from error
            there, maps[:] = [False] * len(wanted), np.nan
        except DamagedError as error:
            which = f"view {view}, clip {wanted[error.place]}" if error.place is not None else "all clips"
            raise self._unreadable(video_index, which, str(error)) from error
        for clip, found in zip(wanted, there, strict=True):
            if self.attributes["due"][clip] and not found:
                raise self._unreadable(video_index, f"view {view}, clip {clip}", "not there")
        return maps

    def read_scores(self, video: str | int, *, view: int = 0) -> np.ndarray:
        """Return (N, K) float32, the backbone's own scores of each clip; NaN where a clip is not due.

        Raises:
            StoreError: if they are missing or damaged; names video and backbone.
        """
        video_index = self.index(video)
        _check_index("video", video_index, len(self._rows))
        _place(self.scores.shape[1], "view", view)
        scores = np.empty(self.scores.shape[1:], SCORE_DTYPE)  # (R, N, K)
        try:
            there = read_chunk(self._scores_path(video_index), scores, compression=SMALL_COMPRESSION)
        except DamagedError as error:
            raise self._unreadable(video_index, "scores", str(error)) from error
        if not there and any(self.attributes["due"]):
            raise self._unreadable(video_index, "scores", "not there")
        return scores[view]

    def _unreadable(self, video_index: int, part: str, reason: str) -> UnreadableError:
        """Say which video's data cannot be read, why, and what to do about it."""
        store = self.path.parent
        ids = open_array(open_group(store, writable=False), store, "video_id")
        video_id = read_array(ids, int(self._rows[video_index]))
        what = f"{part}: {reason}"
        if self.status()[video_index] != Status.DONE:
            return UnreadableError(f"{self.name} has not been extracted for video '{video_id}' ({what}).", what)
        message = (
            f"{self.name} features of video '{video_id}', {what}. Run `vidpipe store verify {store} "
            f"{named('reset')}` and extract again: only damaged videos are redone."
        )
        return UnreadableError(message, what)


def _is_sensible(status: Status, words: str) -> bool:
    """Return whether a status and words go together: a failed video has some, a pending one none."""
    return bool(words) if status in FAILURES else status != Status.PENDING or not words


def _check_index(what: str, index: int, number: int) -> None:
    if not 0 <= index < number:
        raise StoreError(f"there is no {what} {index}: the store holds {number:,}, counted from 0")


def _place(number: int, what: str, index: int) -> int:
    """Return ``index`` counted from the front; -1 is the last."""
    _check_index(what, index if index >= 0 else number + index, number)
    return range(number)[int(index)]
