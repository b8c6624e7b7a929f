"""Video files as arrays of frames: what a file holds, when its frames are shown, and the frames themselves."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ..errors import VideoError
from .clips import Timeline
from .container import decode
from .damage import REFUSE, Damage
from .decoding import FrameWalker, has_disposable_frames
from .frames import Display
from .timeline import (
    Contents,
    find_damage,
    packets_tell_time,
    read_contents,
    timeline_of_frames,
    timeline_of_packets,
)

# Gaps between frames that differ from the usual one by less than this share come from rounding, not a variable rate.
_RATE_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoInfo:
    """What a video file holds.

    Args:
        path: the file.
        codec: its name, as ``h264``.
        width: pixels, as displayed: turned upright, with square pixels.
        height: pixels, as displayed.
        rotation: clockwise degrees by which stored frames are turned for display: 0, 90, 180 or 270.
        sample_aspect_ratio: width of a stored pixel over its height.
        pixel_format: of the stored frames, as ``yuv420p``.
        bit_depth: bits per component.
        average_fps: frames over duration, per second.
        num_frames: frames that are shown.
        duration_seconds: from the first shown frame to the end of the last.
        first_pts_seconds: what the file's own clock says at the first shown frame.
        variable_rate: whether some frames are shown longer than others.
    """

    path: Path
    codec: str
    width: int
    height: int
    rotation: int
    sample_aspect_ratio: Fraction
    pixel_format: str
    bit_depth: int
    average_fps: float
    num_frames: int
    duration_seconds: float
    first_pts_seconds: float
    variable_rate: bool


def _is_variable(timeline: Timeline, time_base: Fraction) -> bool:
    gaps = np.diff(timeline.pts)
    if len(gaps) < 2:
        return False
    usual = float(np.median(gaps))
    rounding = 1.01 * float(time_base)
    return bool(np.any(np.abs(gaps - usual) > max(rounding, _RATE_TOLERANCE * usual)))


def _info(path: Path, contents: Contents, display: Display, timeline: Timeline) -> VideoInfo:
    first = contents.head[0]
    return VideoInfo(
        path=path,
        codec=contents.codec,
        width=display.size[0],
        height=display.size[1],
        rotation=display.orientation.degrees,
        sample_aspect_ratio=display.aspect_ratio,
        pixel_format=first.format.name,
        bit_depth=max(component.bits for component in first.format.components),
        average_fps=len(timeline) / timeline.duration,
        num_frames=len(timeline),
        duration_seconds=timeline.duration,
        first_pts_seconds=float((first.pts or 0) * contents.time_base),
        variable_rate=_is_variable(timeline, contents.time_base),
    )


def _known(damage: Damage) -> Damage:
    return damage


class VideoReader:
    """Reads chosen frames of one video; a context manager, not to be shared between threads.

    Args:
        path: the file.
        threads: of the decoder; several videos side by side with one each are faster than one video with more.
        shortcuts: whether to seek, and to leave out frames that are not needed; the frames are the same either way.
        decode_timeline: take the timeline from decoding the whole file even if the packets give it.
        damaged: ``refuse`` refuses a file that is cut short, and reading a damaged frame; ``keep`` decodes all of the
            file first and marks what is damaged in the timeline, so that clips lie elsewhere.

    Raises:
        VideoError: if the file holds no video that decodes; the message is the reason.

    Attributes:
        info: what the file holds.
        timeline: when its frames are shown; indices of frames refer to it.
        missing: what a file that is cut short lacks; None if nothing is known to be missing.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        threads: int = 1,
        shortcuts: bool = True,
        decode_timeline: bool = False,
        damaged: str = REFUSE,
    ) -> None:
        self._path = Path(path).absolute()
        self._open = ExitStack()
        contents = read_contents(self._path)
        self.missing = contents.missing
        if self.missing and damaged == REFUSE:
            raise VideoError(str(self.missing))
        if not decode_timeline and packets_tell_time(contents):
            timeline, index = timeline_of_packets(contents)
            find = partial(find_damage, self._path, contents, index, threads=threads)
            damage = None if damaged == REFUSE and not contents.faults else find()
        else:
            timeline, index, damage = timeline_of_frames(self._path, contents, threads=threads)
            find = partial(_known, damage)
        self.timeline = timeline.without(damage.frames) if damage and damaged != REFUSE else timeline
        self._display = Display(contents.head[0], aspect_ratio=contents.aspect_ratio)
        disposes = has_disposable_frames(contents.codec, contents.container)
        self._walker = FrameWalker(
            self._path,
            index,
            disposes=disposes,
            threads=threads,
            shortcuts=shortcuts,
            damage=damage,
            find_damage=find,
        )
        self.info = _info(Path(path), contents, self._display, self.timeline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what unfinished reading has left open."""
        self._open.close()

    def find_damage(self) -> Damage:
        """Return what is wrong with the video; decodes all of it if that is not known yet."""
        return self._walker.known_damage()

    def read_frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the frames at ``indices``, in their order; repeats are allowed.

        Args:
            indices: (n,) places in the timeline.

        Returns:
            (n, H, W, 3) uint8 RGB, as displayed: upright, with square pixels.

        Raises:
            VideoError: if one of the frames does not decode.
            IndexError: if the timeline has no such frame.
        """
        places = self._checked(indices)
        width, height = self._display.size
        frames = np.empty((len(places), height, width, 3), np.uint8)
        for place, frame in self._walker.walk(np.unique(places).tolist()):
            frames[places == place] = self._display.show(frame)
        return frames

    def read_clips(self, clips: Sequence[Sequence[int] | np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames of each clip, decoding the video once, forwards, and no further than the clips reach.

        At any time memory holds the current clip and those earlier frames that later clips share with it.

        Args:
            clips: for each clip the (L,) places of its frames in the timeline; sorted by their first frames.

        Yields:
            (L, H, W, 3) uint8 RGB, as displayed: upright, with square pixels.

        Raises:
            VideoError: if a frame does not decode.
            IndexError: if the timeline has no such frame.
            ValueError: if the clips are not sorted.
        """
        wanted = [self._checked(clip) for clip in clips]
        firsts = [int(clip.min()) for clip in wanted]
        if any(earlier > later for earlier, later in itertools.pairwise(firsts)):
            raise ValueError("clips must be sorted by their first frame, so that the video is decoded once.")
        return self._read_sorted(wanted)

    def _read_sorted(self, clips: list[np.ndarray]) -> Iterator[np.ndarray]:
        # The last clip that needs a frame: later entries replace earlier ones. After it the picture can go.
        last_use = {int(place): number for number, clip in enumerate(clips) for place in clip}
        found = self._open.enter_context(closing(self._walker.walk(sorted(last_use))))
        held: dict[int, np.ndarray] = {}
        for number, clip in enumerate(clips):
            while not all(place in held for place in clip.tolist()):
                place, frame = next(found)
                held[place] = self._display.show(frame)
            if number == len(clips) - 1:
                next(found, None)  # only its end tells whether all frames were sound
            yield np.stack([held[place] for place in clip.tolist()])
            held = {place: picture for place, picture in held.items() if last_use[place] > number}

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        places = np.asarray(indices, dtype=np.int64)
        if places.size and not 0 <= places.min() <= places.max() < len(self.timeline):
            raise IndexError(f"the video has frames 0 to {len(self.timeline) - 1}; asked for {places.tolist()}.")
        return places


def probe(path: Path | str, *, decode: bool = False) -> VideoInfo:
    """Return what the video file at ``path`` holds.

    Args:
        path: the file.
        decode: decode every frame, to be sure that all of them can be.

    Raises:
        VideoError: if there is no such file, or no video in it, or it does not decode; the message is the reason.
    """
    with VideoReader(path) as reader:
        if decode and (damage := reader.find_damage()):
            raise VideoError(str(damage))
        return reader.info


def read_timeline(path: Path | str) -> Timeline:
    """Return when the frames of the video at ``path`` are shown.

    Raises:
        VideoError: if the file holds no video that decodes.
    """
    with VideoReader(path) as reader:
        return reader.timeline


def iterate_frames(path: Path | str, *, threads: int = 1) -> Iterator[np.ndarray]:
    """Yield every frame of a video, (H, W, 3) uint8 RGB, by a plain decode that holds one at a time.

    Raises:
        VideoError: if the file holds no video, or when a frame does not decode.
    """
    path = Path(path).absolute()
    contents = read_contents(path)
    display = Display(contents.head[0], aspect_ratio=contents.aspect_ratio)
    for frame in decode(path, threads=threads):
        yield display.show(frame)


def read_all(path: Path | str, *, threads: int = 1) -> np.ndarray:
    """Return every frame of a video, (F, H, W, 3) uint8 RGB, by a plain decode of the whole file into memory.

    Raises:
        VideoError: if the file holds no video, or not all of it decodes.
    """
    return np.stack(list(iterate_frames(path, threads=threads)))
