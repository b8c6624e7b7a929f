"""Getting wanted frames out of a video, by shortcuts where these surely give the same as decoding all of it."""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from ..errors import VideoError
from .container import choose_stream, demux, open_container, until_an_error
from .damage import Damage
from .decoder import Decoder, Notes

# A seek costs about as much as decoding this many small frames, so it must skip more to be worth it.
MIN_SKIPPED_FRAMES = 12

# Codecs whose decoder can leave out a frame that no other refers to. Not in containers in which packets get lost
# (MPEG-TS): how a decoder fills such a gap depends on everything before it.
_CODECS_WITH_DISPOSABLE_FRAMES = ("h264", "hevc")
_LOSSLESS_CONTAINERS = ("mov", "matroska")

# Decoders hold back at most 16 frames; one that has not come by twice that is not coming.
_MOST_HELD_BACK = 32


@dataclass(frozen=True, eq=False, slots=True)
class FrameIndex:
    """Which place in the timeline a decoded frame has, and from where decoding can reach it.

    Args:
        size: F, frames in the timeline.
        pts: (F,) int64 in units of the stream's time base, increasing; None if timestamps cannot be trusted: frames are
            then counted from the video's beginning.
        keyframes: (K,) int64 places of the frames that decoding can begin at, increasing.
        keyframe_dts: (K,) int64 their decoding times.
        encrypted: whether the file says that it is.
        packets: (F,) int64 numbers of the frames' packets in the file; empty if timestamps cannot be trusted.
    """

    size: int
    pts: np.ndarray | None
    keyframes: np.ndarray
    keyframe_dts: np.ndarray
    encrypted: bool
    packets: np.ndarray

    def place(self, pts: int | None, *, count: int = 0) -> int | None:
        """Return the place of the frame with ``pts`` that was decoded as number ``count``; None if it has none."""
        if self.pts is None:
            return count
        if pts is None:
            return None
        found = int(np.searchsorted(self.pts, pts))
        return found if found < self.size and self.pts[found] == pts else None

    def is_overdue(self, place: int, *, count: int) -> bool:
        """Return whether the frame at ``place`` would have come among the first ``count`` that are decoded."""
        return self.pts is not None and count > self.packets[place] + _MOST_HELD_BACK


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of decoding: begin at frame ``start`` (0: at the file's beginning) and pick the ``wanted`` ones."""

    start: int
    wanted: tuple[int, ...]


def plan_segments(wanted: Sequence[int], keyframes: np.ndarray) -> list[Segment]:
    """Return the stretches in which to decode ``wanted`` (increasing places), seeking where it skips enough frames."""
    segments: list[Segment] = []
    start, picked, position = 0, [], 0
    for place in wanted:
        before = int(np.searchsorted(keyframes, place, side="right")) - 1
        keyframe = int(keyframes[before]) if before >= 0 else 0
        if keyframe - position > MIN_SKIPPED_FRAMES:
            segments.append(Segment(start, tuple(picked)))
            start, picked = keyframe, []
        picked.append(place)
        position = place + 1
    segments.append(Segment(start, tuple(picked)))
    return [segment for segment in segments if segment.wanted]


def has_disposable_frames(codec: str, container: str, *, variable_rate: bool) -> bool:
    """Return whether decoding may leave out frames that are neither wanted nor referred to.

    At a variable rate frames may have been lost before they were stored. Only where none is left out does it show that
    a decoder skips what refers to them.
    """
    return not variable_rate and codec in _CODECS_WITH_DISPOSABLE_FRAMES and container.startswith(_LOSSLESS_CONTAINERS)


class UnsoundShortcutError(Exception):
    """A shortcut did not give what decoding from the beginning would; never leaves this module."""


class DamageSeenError(Exception):
    """Something is wrong with the video; never leaves this module."""


class FrameWalker:
    """Walks through a video and yields the wanted frames, in order.

    Frames are bit for bit those of a decode of the whole file. As soon as the outcome of a shortcut (seeking to
    keyframes, leaving out frames that nothing refers to) is in any doubt, shortcuts are given up for good and the video
    is decoded from its beginning. As soon as that shows damage, all of it is looked at, to know which frames are sound.

    Args:
        path: the file.
        index: how to find its frames.
        disposes: whether decoding may leave out frames.
        threads: of the decoder.
        shortcuts: whether to take any.
        damage: what is wrong with the video, if that is known.
        find_damage: decodes all of it to find out.
    """

    def __init__(
        self,
        path: Path,
        index: FrameIndex,
        *,
        disposes: bool,
        threads: int,
        shortcuts: bool,
        damage: Damage | None,
        find_damage: Callable[[], Damage],
    ) -> None:
        self._path = path
        self._index = index
        self._threads = threads
        self._disposes = disposes
        self._find_damage = find_damage
        self.damage = damage
        self.shortcuts = shortcuts and index.pts is not None and not index.encrypted

    def walk(self, wanted: Sequence[int]) -> Generator[tuple[int, av.VideoFrame]]:
        """Yield (place, frame) for each of ``wanted``, increasing places in the timeline.

        Only after the last of them is it sure that all were sound: frames may refer to later ones.

        Raises:
            VideoError: if one of them is damaged.
        """
        if not wanted:
            return
        self._refuse_damaged(wanted)
        remaining = list(reversed(wanted))
        if self.shortcuts:
            try:
                yield from self._walk_by_shortcuts(remaining)
            except UnsoundShortcutError:
                self.shortcuts = False
            else:
                return
        try:
            yield from self._walk_plainly(remaining, wanted=wanted)
        except DamageSeenError:
            self.known_damage()
            self._refuse_damaged(wanted)
            yield from self._walk_plainly(remaining, wanted=wanted)

    def known_damage(self) -> Damage:
        """Return what is wrong with the video."""
        if self.damage is None:
            self.damage = self._find_damage()
        return self.damage

    def _refuse_damaged(self, wanted: Sequence[int]) -> None:
        if self.damage is not None and self.damage.touches(wanted):
            raise VideoError(str(self.damage))

    def _walk_plainly(self, remaining: list[int], *, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the frames that remain from a decode that begins with the file and goes on until all wanted ones came.

        Args:
            remaining: decreasing places; each is taken from it once its frame was used.
            wanted: all places that are: those that were found by shortcuts are looked at again.

        Raises:
            DamageSeenError: if something is wrong, and it is not known what.
            VideoError: if a frame does not decode though nothing is wrong.
        """
        notes = Notes()
        with open_container(self._path) as container:
            stream = choose_stream(container)
            decoder = Decoder(stream, threads=self._threads, notes=notes)
            frames = decoder.decode_all(until_an_error(container, stream, notes))
            yield from self._pick_plainly(frames, remaining, wanted=wanted, notes=notes)
            decoder.decode(None)
        if self.damage is None and (remaining or not notes.sound):
            raise DamageSeenError
        if remaining:
            raise VideoError(f"frame {remaining[-1]} of {self._index.size} does not decode")

    def _pick_plainly(
        self, frames: Iterator[av.VideoFrame], remaining: list[int], *, wanted: Sequence[int], notes: Notes
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        # Where timestamps do not follow the decoder's order, a frame waits until those before it have come.
        early: dict[int, av.VideoFrame] = {}
        awaited = set(wanted)
        for count, frame in enumerate(frames):
            if self.damage is None and not notes.sound:
                return
            place = self._index.place(frame.pts, count=count)
            if place in awaited:
                awaited.remove(place)
                if remaining and place >= remaining[-1]:
                    early[place] = frame
                while remaining and remaining[-1] in early:
                    yield remaining[-1], early.pop(remaining[-1])
                    remaining.pop()
            if not awaited or (remaining and self._index.is_overdue(remaining[-1], count=count)):
                return

    def _walk_by_shortcuts(self, remaining: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        notes = Notes()
        with open_container(self._path) as container:
            stream = choose_stream(container)
            decoder = Decoder(stream, threads=self._threads, notes=notes)
            try:
                for segment in plan_segments(remaining[::-1], self._index.keyframes):
                    decoder.begin_anew()
                    start, packets = self._land(container, stream, segment.start)
                    frames = decoder.decode_all(self._dispose(decoder, packets, segment.wanted))
                    for found in self._pick(frames, start, segment.wanted):
                        yield found
                        remaining.pop()
                    decoder.decode(None)  # what is decoded but not shown yet, and may be what a wanted frame refers to
                    if not notes.sound:
                        raise UnsoundShortcutError
            except FFmpegError as error:
                raise UnsoundShortcutError from error

    def _land(self, container: InputContainer, stream: VideoStream, start: int) -> tuple[int, Iterator[av.Packet]]:
        """Return the place of a keyframe at ``start`` or before it, and the packets from there on."""
        if start == 0:
            return 0, demux(container, stream)
        assert self._index.pts is not None
        keyframe = int(np.searchsorted(self._index.keyframes, start))
        # MPEG-TS can seek only to decoding times; other containers to presentation times.
        for time in (self._index.pts[start], self._index.keyframe_dts[keyframe]):
            container.seek(int(time), stream=stream)
            packets = demux(container, stream)
            first = next((packet for packet in packets if packet.is_keyframe and packet.size), None)
            landed = None if first is None else self._index.place(first.pts)
            if first is not None and landed is not None and landed <= start:
                return landed, itertools.chain([first], packets)
        raise UnsoundShortcutError

    def _dispose(self, decoder: Decoder, packets: Iterator[av.Packet], wanted: Sequence[int]) -> Iterator[av.Packet]:
        """Pass ``packets`` on and let the decoder leave out each that is neither wanted nor referred to."""
        assert self._index.pts is not None
        kept = set(self._index.pts[list(wanted)].tolist())
        for packet in packets:
            if self._disposes:
                decoder.leave_out_unreferenced(packet.pts not in kept)
            yield packet

    def _pick(
        self, frames: Iterator[av.VideoFrame], start: int, wanted: Sequence[int]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the ``wanted`` ones of ``frames``, which were decoded from the frame ``start`` on."""
        remaining = list(reversed(wanted))
        last: int | None = None
        for frame in frames:
            place = self._index.place(frame.pts)
            if place is not None and place < start:  # a leading picture: it needs what came before the keyframe
                continue
            # The first frame must be the keyframe sought, and every later one must follow in order, without a break if
            # none is left out: then no reference can have been missing. Anything else is doubt.
            in_order = place is not None and (place == start if last is None else self._follows(place, last))
            if not in_order or place is None or place > remaining[-1] or frame.is_corrupt:
                break
            last = place
            if place == remaining[-1]:
                yield place, frame
                remaining.pop()
                if not remaining:
                    return
        raise UnsoundShortcutError

    def _follows(self, place: int, last: int) -> bool:
        """Return whether the frame at ``place`` may come after the one at ``last``."""
        return place > last if self._disposes else place == last + 1
