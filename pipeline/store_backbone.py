"""One backbone's part of a feature store: its maps, clip scores, and what became of each video."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from .errors import StoreError
from .store_format import FEATURE_DTYPE, SCORE_DTYPE, Status, disk_full_explained, open_group


class BackboneGroup:
    """The feature maps and scores of one backbone over all clips of a store.

    A task, in any process, writes only its own video's files (`write`); one coordinator alone keeps the arrays that
    videos share (`mark`). So no file ever has two writers, and there are no locks.

    Attributes:
        features: (V, R, N, T', H', W', C) float16 Zarr array; NaN where nothing was computed.
        scores: (V, R, N, K) float32 Zarr array, the backbone's own clip scores; NaN where nothing was computed.
    """

    def __init__(self, path: Path, *, writable: bool = False):
        self.path = path
        self.name = path.name
        self.group = open_group(path, writable=writable)
        self.attributes: dict[str, Any] = dict(self.group.attrs)

    @property
    def provenance(self) -> dict[str, Any]:
        """What computed the features: weights, preprocessing, engine, pattern, versions."""
        return self.attributes["provenance"]

    @property
    def due(self) -> np.ndarray:
        """(N,) bool: which clips the pattern gives to this backbone; the others stay NaN and take no space."""
        return np.array(self.attributes["due"], dtype=bool)

    @property
    def feature_shape(self) -> tuple[int, int, int, int]:
        """(T', H', W', C) of one clip's map."""
        return tuple(self.attributes["feature_shape"])

    @property
    def num_classes(self) -> int:
        """K, the length of a clip's scores."""
        return self.attributes["num_classes"]

    @cached_property
    def features(self) -> zarr.Array:
        """The Zarr array of feature maps."""
        return self._array("features")

    @cached_property
    def scores(self) -> zarr.Array:
        """The Zarr array of clip scores."""
        return self._array("scores")

    def _array(self, name: str) -> zarr.Array:
        """Open one member array.

        Raises:
            StoreError: if it is missing or its metadata cannot be read.
        """
        try:
            array = self.group[name]
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(f"{self.path} lacks a readable array '{name}' ({error}); the store is damaged.") from error
        assert isinstance(array, zarr.Array)
        return array

    def write(self, video_index: int, features: np.ndarray, scores: np.ndarray) -> None:
        """Write all clips of one video: first the shard of maps, then the scores. Each file appears whole or not at all.

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
        with disk_full_explained(self.path):
            self._shard_path(video_index).unlink(missing_ok=True)  # else Zarr reads an old shard before it writes
            self.features[video_index] = features
            self.scores[video_index] = scores

    def _check(self, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, what: str) -> None:
        """Refuse what does not fit, or would be mistaken for a clip that was, or was not, computed."""
        if array.shape != shape or array.dtype != dtype:
            raise StoreError(f"{self.name}: {what} must be {shape} {dtype}; got {array.shape} {array.dtype}.")
        empty = np.isnan(array).all(axis=tuple(range(2, array.ndim)))  # (R, N)
        if (empty == self.due).any():
            view, clip = np.argwhere(empty == self.due)[0]
            problem = "are all NaN, though it is due" if empty[view, clip] else "are given, though it is not due"
            raise StoreError(f"{self.name}: {what} of view {view}, clip {clip} {problem} by the pattern.")

    def _shard_path(self, video_index: int) -> Path:
        """Return the file that holds all of a video's maps."""
        return self.path / "features" / f"c.{video_index}{'.0' * (self.features.ndim - 1)}"

    def mark(self, video_index: int, status: Status, error: str = "") -> None:
        """Record what became of a video; the coordinator's job alone.

        Args:
            video_index: which video of the manifest.
            status: `Status.DONE` only after `write` has returned.
            error: the reason, for `Status.FAILED`.
        """
        if (status == Status.FAILED) != bool(error):
            raise ValueError(f"a reason belongs to a failed video and to no other; got {status!r}, {error!r}")
        with disk_full_explained(self.path):
            errors = self._array("error")
            if str(errors[video_index]) != error:
                errors[video_index] = error
            self._array("status")[video_index] = int(status)

    def status(self) -> np.ndarray:
        """Return (V,) int8, a `Status` for each video."""
        return np.asarray(self._array("status")[:])

    def errors(self) -> dict[int, str]:
        """Return video index -> reason, for the videos that failed."""
        failed = np.flatnonzero(self.status() == Status.FAILED)
        reasons = self._array("error")[:] if len(failed) else []
        return {int(index): str(reasons[index]) for index in failed}

    def pending(self, *, retry_failed: bool = False) -> np.ndarray:
        """Return (n,) int64, in order: the indices of the videos still to be done, and of the failed ones if asked."""
        status = self.status()
        return np.flatnonzero((status == Status.PENDING) | (retry_failed & (status == Status.FAILED)))

    def read(self, video_index: int, *, view: int = 0, clips: Sequence[int] | None = None) -> np.ndarray:
        """Return (n, T', H', W', C) float16, the maps of the clips asked for, decoding no others.

        Args:
            video_index: which video of the manifest.
            view: which draw of the video's clips.
            clips: n clip numbers in any order; None for all N. A clip that was not computed is NaN.

        Raises:
            StoreError: if what is stored is damaged, naming video, backbone and clip.
        """
        numbers = range(self.features.shape[2]) if clips is None else clips
        maps = np.empty((len(numbers), *self.feature_shape), FEATURE_DTYPE)
        for place, clip in enumerate(numbers):
            try:
                maps[place] = self.features[video_index, view, int(clip)]
            except (ValueError, RuntimeError) as error:
                raise self._damaged(video_index, f"view {view}, clip {clip}", str(error)) from error
        return maps

    def read_scores(self, video_index: int, *, view: int = 0) -> np.ndarray:
        """Return (N, K) float32, the backbone's own scores of each clip; NaN where nothing was computed.

        Raises:
            StoreError: if what is stored is damaged, naming video and backbone.
        """
        try:
            return np.asarray(self.scores[video_index, view])
        except (ValueError, RuntimeError) as error:
            raise self._damaged(video_index, "scores", str(error)) from error

    def _damaged(self, video_index: int, what: str, reason: str) -> StoreError:
        """Name the video whose data cannot be read."""
        video_id = str(zarr.open_array(self.path.parent / "video_id", mode="r")[video_index])
        return StoreError(
            f"The {self.name} features of video '{video_id}' ({what}) are damaged: {reason} "
            f"Delete {self._shard_path(video_index)}, and extract again."
        )
