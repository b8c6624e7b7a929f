"""What became of a run's videos, written to the store by the coordinator: not one by one, but about once a second."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from ..errors import StoreError
from .format import Status
from .store import FeatureStore

_SECONDS = 1.0  # every write rewrites the files of all the 1024 videos around a video


class Recorder:
    """Collects what became of videos, and writes it about once a second and at the end of its block.

    What a kill loses is done again, to the same bytes: a video that is marked as done is done, and not the reverse.

    Args:
        store: from `FeatureStore.open_to_coordinate`.
        seconds: between two writes.
    """

    def __init__(self, store: FeatureStore, *, seconds: float = _SECONDS) -> None:
        self._store, self._seconds = store, seconds
        self._starts: dict[int, np.ndarray] = {}
        self._contents: dict[int, str] = {}
        self._marks: dict[str, dict[int, tuple[Status, str]]] = {}
        self._written = time.monotonic()

    def record(
        self,
        video_index: int,
        *,
        status: dict[str, Status],
        words: str,
        clip_start: np.ndarray | None,
        content: str | None = None,
    ) -> None:
        """Take note of a video that is done, after its files are on disk, or that failed.

        Args:
            video_index: in the manifest.
            status: what it is now, for each of the backbones that ran.
            words: why it failed; or, if it is done, what of a damaged video was left out, or "".
            clip_start: (R, N) float64 s, if it did not fail.
            content: the file's sha256, if that is recorded.

        Raises:
            StoreError: if a video's clips lie elsewhere than those of another backbone; all others are written.
            OutOfSpaceError: if the disk is full.
        """
        if clip_start is not None:
            self._starts[video_index] = clip_start
        if content is not None:
            self._contents[video_index] = content
        for name, own in status.items():
            self._marks.setdefault(name, {})[video_index] = own, words
        if time.monotonic() - self._written >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what was noted.

        Raises:
            StoreError, OutOfSpaceError: as `record`.
        """
        # Starts first: a video marked done without them would look damaged.
        starts, marks, self._starts, self._marks = self._starts, self._marks, {}, {}
        contents, self._contents = self._contents, {}
        changed = self._store.set_clip_starts(starts)
        self._store.set_contents({index: own for index, own in contents.items() if index not in changed})
        for name, own in marks.items():
            self._store.backbone(name).record({index: mark for index, mark in own.items() if index not in changed})
        self._written = time.monotonic()
        _refuse_changed(tuple(changed.values()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()


def _refuse_changed(reasons: Sequence[str]) -> None:
    """Raise StoreError for the first of the files that have changed since they were extracted."""
    if reasons:
        raise StoreError(reasons[0])
