"""Video files as arrays of frames: what a file holds, when its frames are shown, and the frames themselves."""

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from ..errors import VideoError
from .appended import appended_at
from .container import decode
from .damage import KEEP, REFUSE, REPORT, Damage
from .decoder import Notes
from .decoding import FrameWalker, has_disposable_frames
from .frame_times import Gap, Timeline
from .frames import Display, Form, Shown
from .hdr import AS_IS
from .memory import MAX_PIXELS, memory_errors_told
from .packets import Contents, read_contents
from .reading import PLAIN, Reading
from .streams import num_video_streams
from .timeline import (
    find_damage,
    packets_tell_time,
    timeline_of_frames,
    timeline_of_packets,
)

# Gaps between frames that differ from the usual one by less than this share come from rounding, not a variable rate.
_RATE_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Where the form of a video's frames changes.

    Args:
        seconds: when the first frame of the new form is shown.
        frame: its place in the timeline.
        before: what the frame before it is like.
        after: what it is like.
    """

    seconds: float
    frame: int
    before: Form
    after: Form


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
        header_seconds: how long the file says that it is, all streams together; None if it does not.
        appended_at: the byte at which a second file begins in this one, which is not read; None if none does.
        gaps: when nothing is shown for long.
        restarts_seconds: when the file's own timestamps begin again: parts are shown one after the other.
        hdr: ``PQ`` or ``HLG`` if the first frame is in high dynamic range; else "".
        changes: where size, rotation, pixel format or dynamic range change; known only if all frames were decoded.
        truncated: how many frames are missing of those that the file announces, in words; "" if none is.
        damage: which frames are wrong, in words; "" if none is, or if not all frames were decoded.
        num_missing_frames: how many are missing.
        num_damaged_frames: how many are wrong.
        num_video_streams: how many the file has, of which one is read.
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
    header_seconds: float | None
    appended_at: int | None
    gaps: tuple[Gap, ...]
    restarts_seconds: tuple[float, ...]
    hdr: str = ""
    changes: tuple[Change, ...] = ()
    truncated: str = ""
    damage: str = ""
    num_missing_frames: int = 0
    num_damaged_frames: int = 0
    num_video_streams: int = 1

    @property
    def shown_seconds(self) -> float:
        """The duration without gaps."""
        return self.duration_seconds - sum(gap.seconds for gap in self.gaps)

    @property
    def shown_fps(self) -> float:
        """Frames over the time in which there are any, per second: gaps do not count."""
        return self.num_frames / self.shown_seconds


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
        rotation=display.first_form.rotation,
        sample_aspect_ratio=display.aspect_ratio,
        pixel_format=first.pixel_format,
        bit_depth=first.bit_depth,
        average_fps=len(timeline) / timeline.duration,
        num_frames=len(timeline),
        duration_seconds=timeline.duration,
        first_pts_seconds=float((first.pts or 0) * contents.time_base),
        variable_rate=_is_variable(timeline, contents.time_base),
        header_seconds=contents.header_seconds,
        appended_at=None,
        gaps=timeline.gaps,
        restarts_seconds=tuple(timeline.pts[list(timeline.joins)].tolist()),
        hdr=display.first_form.hdr,
        truncated=str(contents.missing) if contents.missing else "",
        num_missing_frames=contents.missing.num_frames if contents.missing else 0,
    )


def _display(contents: Contents, *, hdr: str) -> Display:
    return Display(
        contents.head[0],
        aspect_ratio=contents.aspect_ratio,
        color_trc=contents.color_trc,
        hdr=hdr,
    )


def _look_again(
    path: Path,
    damage: Damage,
    look: Callable[[av.VideoFrame], None] | None = None,
    *,
    threads: int,
    max_pixels: int | None,
) -> Damage:
    """Return ``damage``, which is known, and ``look`` at each frame if that is wanted."""
    if look:
        for frame in decode(path, threads=threads, notes=Notes(), max_pixels=max_pixels):
            look(frame)
    return damage


class VideoReader:
    """Reads chosen frames of one video; a context manager, not to be shared between threads.

    Args:
        path: the file.
        threads: of the decoder; several videos side by side with one each are faster than one video with more.
        shortcuts: whether to seek, and to leave out frames that are not needed; the frames are the same either way.
        decode_timeline: take the timeline from decoding the whole file even if the packets give it.
        reading: of damage, ``refuse`` refuses a file that is cut short, and reading a damaged frame; ``keep`` decodes
            all of the file first and marks what is damaged in the timeline, so that clips lie elsewhere. Of pictures in
            high dynamic range, see `Display`. Large videos are read one after the other on a machine: `Turn`.
        reports: for checks: open a file that is cut short too, and look for no damage unasked.

    Raises:
        VideoError: if the file holds no video that decodes, or too large a one; the message is the reason.

    Attributes:
        info: what the file holds.
        timeline: when its frames are shown; indices of frames refer to it.
        missing: what a file that is cut short lacks; None if nothing is known to be missing.
        container: the name of the demuxer that reads it.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        threads: int = 1,
        shortcuts: bool = True,
        decode_timeline: bool = False,
        reading: Reading = PLAIN,
        reports: bool = False,
    ) -> None:
        self._path = Path(path).absolute()
        self._open = ExitStack()
        max_pixels = reading.max_pixels
        try:
            contents = read_contents(self._path, max_pixels=max_pixels, held=self._open)
            self.missing = contents.missing
            if self.missing and reading.damaged == REFUSE and not reports:
                raise VideoError(str(self.missing))
            self.container = contents.container
            self._display = _display(contents, hdr=reading.hdr)
            damage = self._find_timeline(
                contents,
                decode_timeline=decode_timeline,
                keeps=reading.damaged == KEEP and not reports,
                threads=threads,
                max_pixels=max_pixels,
            )
        except BaseException:
            self.close()
            raise
        self.info = _info(Path(path), contents, self._display, self.timeline)
        self._walker = FrameWalker(
            self._path,
            self._index,
            disposes=has_disposable_frames(contents.codec, contents.container, variable_rate=self.info.variable_rate),
            threads=threads,
            shortcuts=shortcuts,
            damage=damage,
            find_damage=self._find_damage,
            max_pixels=max_pixels,
        )

    def _find_timeline(
        self, contents: Contents, *, decode_timeline: bool, keeps: bool, threads: int, max_pixels: int | None
    ) -> Damage | None:
        """Set out when frames are shown and how to find them; return what is wrong with them, if that is known."""
        path, bounds = self._path, {"threads": threads, "max_pixels": max_pixels}
        if not decode_timeline and packets_tell_time(contents):
            self.timeline, self._index = timeline_of_packets(contents)
            self._find_damage = partial(find_damage, path, contents, self._index, **bounds)
            damage = self._find_damage() if keeps or contents.faults else None
        else:
            self.timeline, self._index, damage = timeline_of_frames(path, contents, **bounds)
            self._find_damage = partial(_look_again, path, damage, **bounds)
        if damage and keeps:
            self.timeline = self.timeline.without(damage.frames)
        return damage

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

    def survey(self) -> tuple[Damage, list[tuple[int, Form]]]:
        """Return what is wrong with the video, and place and form of each frame that decodes, in order; decodes all."""
        forms: list[tuple[int | None, Form]] = []

        def look(frame: av.VideoFrame) -> None:
            forms.append((self._index.place(frame.pts, count=len(forms)), self._display.form(frame)))

        damage = self._find_damage(look)
        return damage, sorted(((place, form) for place, form in forms if place is not None), key=itemgetter(0))

    def pictures(self, places: Iterable[int]) -> Generator[tuple[int, np.ndarray]]:
        """Yield the frames at ``places``, decoding the video once, forwards, and no further than needed.

        One picture is in memory at a time. Each has its own size: that may change within a video.

        Args:
            places: in the timeline, in any order; repeats count once.

        Yields:
            In the order of time, place and picture, (H, W, 3) uint8 RGB, as displayed: upright, with square pixels.

        Raises:
            VideoError: if one of the frames does not decode.
            IndexError: if the timeline has no such frame.
        """
        for place, shown in self.shown(places):
            yield place, shown(None)

    def shown(self, places: Iterable[int]) -> Generator[tuple[int, Shown]]:
        """Yield the frames at ``places`` as `pictures` does, but instead of each picture what makes it.

        That takes the pixels of the shorter side that suffice, which spares time where pictures are tone-mapped:
        `Display.show`.
        """
        for place, frame in self._walker.walk(np.unique(self._checked(list(places))).tolist()):
            yield place, self._display.shown(frame)

    def read_frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the frames at ``indices``, in their order; repeats are allowed.

        Args:
            indices: (n,) places in the timeline.

        Returns:
            (n, H, W, 3) uint8 RGB, as displayed: upright, with square pixels.

        Raises:
            VideoError: if one of the frames does not decode, or if they have different sizes.
            IndexError: if the timeline has no such frame.
        """
        places = self._checked(indices)
        found = dict(self.pictures(places))
        if not found:
            width, height = self._display.size
            return np.empty((0, height, width, 3), np.uint8)
        return _stacked([found[place] for place in places.tolist()])

    def read_clips(self, clips: Sequence[Sequence[int] | np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames of each clip, decoding the video once, forwards, and no further than the clips reach.

        At any time memory holds the current clip and those earlier frames that later clips share with it.

        Args:
            clips: for each clip the (L,) places of its frames in the timeline; sorted by their first frames.

        Yields:
            (L, H, W, 3) uint8 RGB, as displayed: upright, with square pixels.

        Raises:
            VideoError: if a frame does not decode, or if those of a clip have different sizes.
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
        found = self._open.enter_context(closing(self.pictures(last_use)))
        held: dict[int, np.ndarray] = {}
        for number, clip in enumerate(clips):
            while not all(place in held for place in clip.tolist()):
                place, picture = next(found)
                held[place] = picture
            if number == len(clips) - 1:
                next(found, None)  # only its end tells whether all frames were sound
            yield _stacked([held[place] for place in clip.tolist()])
            held = {place: picture for place, picture in held.items() if last_use[place] > number}

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        places = np.asarray(indices, dtype=np.int64)
        if places.size and not 0 <= places.min() <= places.max() < len(self.timeline):
            raise IndexError(f"the video has frames 0 to {len(self.timeline) - 1}; asked for {places.tolist()}.")
        return places


def _stacked(pictures: list[np.ndarray]) -> np.ndarray:
    """Return (n, H, W, 3) uint8 of n >= 1 pictures.

    Raises:
        VideoError: if they have different sizes.
    """
    sizes = list(dict.fromkeys(picture.shape[:2] for picture in pictures))
    if len(sizes) > 1:
        (height, width), (other_height, other_width) = sizes[:2]
        raise VideoError(
            f"pictures of {width}×{height} and of {other_width}×{other_height} do not fit into one array: take them "
            "one by one, from VideoReader.pictures"
        )
    return np.stack(pictures)


def probe(
    path: Path | str, *, decode: bool = False, damaged: str = REFUSE, max_pixels: int | None = MAX_PIXELS
) -> VideoInfo:
    """Return what the video file at ``path`` holds.

    Args:
        path: the file.
        decode: decode every frame, to be sure that all of them can be, and to see whether they change.
        damaged: ``refuse`` makes damage an error; with ``report`` the info tells of it.
        max_pixels: refuse a video with larger pictures; None: only one that memory cannot hold.

    Raises:
        VideoError: if there is no such file, or no video in it, or it does not decode; the message is the reason.
    """
    reading = replace(PLAIN, max_pixels=max_pixels)
    with memory_errors_told("decoding"), VideoReader(path, reading=reading, reports=damaged == REPORT) as reader:
        info = replace(
            reader.info,
            appended_at=appended_at(Path(path), container=reader.container),
            num_video_streams=num_video_streams(Path(path).absolute()),
        )
        if not decode:
            return info
        damage, forms = reader.survey()
        if damage and damaged == REFUSE:
            raise VideoError(str(damage))
        return replace(
            info,
            damage=str(damage) if damage else "",
            num_damaged_frames=damage.num_frames,
            changes=_changes(forms, reader.timeline),
        )


def _changes(forms: Iterable[tuple[int, Form]], timeline: Timeline) -> tuple[Change, ...]:
    """Return where ``forms``, of frames of ``timeline`` and with their places, change."""
    return tuple(
        Change(seconds=float(timeline.pts[place]), frame=place, before=before, after=after)
        for (_, before), (place, after) in itertools.pairwise(forms)
        if before != after
    )


def read_timeline(path: Path | str) -> Timeline:
    """Return when the frames of the video at ``path`` are shown.

    Raises:
        VideoError: if the file holds no video that decodes.
    """
    with VideoReader(path) as reader:
        return reader.timeline


def iterate_frames(path: Path | str, *, threads: int = 1) -> Iterator[np.ndarray]:
    """Yield every frame of a video, (H, W, 3) uint8 RGB with its own size, by a plain decode that holds one at a time.

    Raises:
        VideoError: if the file holds no video, or when a frame does not decode.
    """
    path = Path(path).absolute()
    with ExitStack() as held:
        contents = read_contents(path, held=held)
        if contents.missing:
            raise VideoError(str(contents.missing))
        display = _display(contents, hdr=AS_IS)
        for frame in decode(path, threads=threads):
            yield display.show(frame)


def read_all(path: Path | str, *, threads: int = 1) -> np.ndarray:
    """Return every frame of a video, (F, H, W, 3) uint8 RGB, by a plain decode of the whole file into memory.

    Raises:
        VideoError: if the file holds no video, not all of it decodes, or its pictures have different sizes.
    """
    return _stacked(list(iterate_frames(path, threads=threads)))
