"""The tasks of an extraction, made only when they are asked for: there may be a million."""

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from ...pipeline.manifests.manifest import Video
from .task import ExtractTask

NOTHING, ALL_CLIPS, MISSING_CLIPS = 0, 1, 2  # what a backbone has to do of a video


class Tasks(Sequence[ExtractTask]):
    """A task for each video that any backbone still has to see, in the manifest's order.

    Args:
        videos: M of the manifest.
        states: backbone -> (M,) int8, what it has to do of each video.
        contents: index -> sha256 of the file as it was extracted, where that was recorded.
    """

    def __init__(
        self, videos: Sequence[Video], *, states: Mapping[str, npt.NDArray[np.int8]], contents: Mapping[int, str]
    ) -> None:
        self._videos, self._states, self._contents = videos, states, contents
        todo = np.any([own != NOTHING for own in states.values()], axis=0)
        self._indices = np.flatnonzero(todo)

    def states(self, name: str) -> npt.NDArray[np.int8]:
        """Return (M,) int8, what a backbone has to do of each video."""
        return self._states[name]

    @property
    def videos(self) -> Sequence[Video]:
        """The videos that there is something to do of, each made only when it is asked for."""
        return _Chosen(self._videos, self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[ExtractTask]:
        return map(self._task, map(int, self._indices))

    @overload
    def __getitem__(self, place: int) -> ExtractTask: ...

    @overload
    def __getitem__(self, place: slice) -> list[ExtractTask]: ...

    def __getitem__(self, place: int | slice) -> ExtractTask | list[ExtractTask]:
        if isinstance(place, slice):
            return [self._task(index) for index in self._indices[place].tolist()]
        return self._task(int(self._indices[place]))

    def _task(self, index: int) -> ExtractTask:
        states = {name: own[index] for name, own in self._states.items()}
        return ExtractTask(
            index=index,
            video=self._videos[index],
            backbones=tuple(name for name, state in states.items() if state != NOTHING),
            extended=tuple(name for name, state in states.items() if state == MISSING_CLIPS),
            content=self._contents.get(index),
        )


class _Chosen(Sequence[Video]):
    """Some of the videos of a manifest, by their places."""

    def __init__(self, videos: Sequence[Video], places: npt.NDArray[np.int64]) -> None:
        self._videos, self._places = videos, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Video: ...

    @overload
    def __getitem__(self, place: slice) -> list[Video]: ...

    def __getitem__(self, place: int | slice) -> Video | list[Video]:
        if isinstance(place, slice):
            return [self._videos[index] for index in self._places[place].tolist()]
        return self._videos[int(self._places[place])]
