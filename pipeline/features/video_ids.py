"""The ids of a store's videos, and which place in the manifest an id has."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import StoreError
from ..registry import did_you_mean
from .format import open_array, open_group, read_rows

_MOST_COMPARED = 10_000  # ids with a mistyped one: of more it would take seconds


class VideoIds:
    """The ids of the videos that a manifest lists, read when the first of them is asked for.

    Args:
        path: of the store.
        rows: (M,) the row of each of the manifest's M videos.
        num_rows: V, how many rows there are.
    """

    def __init__(self, path: Path, *, rows: npt.NDArray[np.int64], num_rows: int):
        self._path, self._rows, self._num_rows = path, rows, num_rows

    @cached_property
    def all(self) -> Sequence[str]:
        """(M) ids, in the manifest's order."""
        array = open_array(open_group(self._path, writable=False), self._path, "video_id")
        return tuple(read_rows(array, self._num_rows, self._rows).tolist())

    @cached_property
    def _places(self) -> dict[str, int]:
        return {video_id: place for place, video_id in enumerate(self.all)}

    def place(self, video: str | int) -> int:
        """Return the place in the manifest of a video that is given by its id, or by that place.

        Raises:
            StoreError: if there is no video of that id.
        """
        if not isinstance(video, str):
            return int(video)
        if video in self._places:
            return self._places[video]
        near = did_you_mean(video, self.all) if len(self.all) <= _MOST_COMPARED else ""
        raise StoreError(f"{self._path} lists no video {video!r}{near}")
