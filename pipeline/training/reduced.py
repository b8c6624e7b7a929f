"""Videos as training sees them: their pictures reduced to what the largest draw of the scale jitter needs.

All frames that training looks at go through this reduction, whether they come out of the decoder, out of memory or off
the disk, so that where they come from changes no bit of the result.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ..manifests.manifest import Video
from ..videos.clip_reader import see
from ..videos.frame_times import Timeline
from ..videos.memory import memory_errors_told
from ..videos.parts import usable_parts
from ..videos.reader import VideoReader
from ..videos.reading import Reading
from ..videos.transforms import Look, resize_short_side, resized_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduction:
    """How videos are read: whatever can be set and decides what is had of them; the names of kept files tell it.

    Args:
        short_side: pixels, to which longer short sides of pictures are reduced.
        reading: what is done about damage, HDR and large pictures.
    """

    short_side: int
    reading: Reading = field(default_factory=Reading)


Pictures = Callable[[Iterable[int]], Iterable[tuple[int, np.ndarray]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReducedVideo:
    """A video whose reduced pictures can be had.

    Args:
        timeline: when its frames are shown.
        size: (width, height) of the first frame, reduced.
        pictures: from places in the timeline, in any order, to place and picture, (H, W, 3) uint8, of each of them.
    """

    timeline: Timeline
    size: tuple[int, int]
    pictures: Pictures

    def see(self, places: np.ndarray, look: Look) -> torch.Tensor:
        """Return (L, crop, crop, 3) uint8, the frames at ``places`` (L,) as ``look`` sees them; holds one at a time.

        Raises:
            VideoError: if a frame does not decode.
        """
        seen = {place: see(picture, look) for place, picture in self.pictures(places.tolist())}
        return torch.stack([seen[place] for place in places.tolist()])

    def usable_places(self, video: Video) -> np.ndarray:
        """Return (n,) int64, sorted: the places of all frames that clips of ``video`` may hold.

        Raises:
            VideoError: if nothing of it lies between its start and end.
        """
        parts = usable_parts(self.timeline, video.start, video.end)
        return np.unique(np.concatenate([np.arange(part.first, part.stop) for part in parts]))


@contextmanager
def decoded(video: Video, *, reduction: Reduction, reports: bool = False) -> Iterator[ReducedVideo]:
    """Yield the video as its file gives it, its pictures reduced; ``reports``: see `VideoReader`.

    Raises:
        VideoError: if the file holds no video that decodes, or is refused as damaged.
    """
    short_side = reduction.short_side
    with (
        memory_errors_told("decoding"),
        VideoReader(video.path, reading=reduction.reading, reports=reports) as reader,
    ):

        def pictures(places: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
            return ((place, reduced(shown(short_side), short_side)) for place, shown in reader.shown(places))

        size = reduced_size((reader.info.width, reader.info.height), short_side)
        yield ReducedVideo(timeline=reader.timeline, size=size, pictures=pictures)


def reduced(picture: np.ndarray, short_side: int) -> np.ndarray:
    """Return (H', W', 3) uint8, ``picture`` (H, W, 3) with its short side at most ``short_side`` pixels."""
    if min(picture.shape[:2]) <= short_side:
        return picture
    return resize_short_side(picture[None], short_side).numpy()[0]


def reduced_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return (width, height) of a picture of ``size``, reduced."""
    return size if min(size) <= short_side else resized_size(size, short_side)


def in_memory(video: Video, *, reduction: Reduction) -> ReducedVideo:
    """Return the video with all its usable frames decoded and held in memory.

    Raises:
        VideoError: if they do not all decode.
    """
    with decoded(video, reduction=reduction) as opened:
        held = dict(opened.pictures(opened.usable_places(video).tolist()))
        return ReducedVideo(
            timeline=opened.timeline,
            size=opened.size,
            pictures=lambda places: ((place, held[place]) for place in places),
        )


def num_bytes(video: Video, *, reduction: Reduction) -> int:
    """Return what the reduced frames of a video take, in bytes, if all are as large as the first; reads headers only.

    Raises:
        VideoError: if the file holds no video that decodes.
    """
    with decoded(video, reduction=reduction, reports=True) as opened:
        width, height = opened.size
        return len(opened.usable_places(video)) * width * height * 3
