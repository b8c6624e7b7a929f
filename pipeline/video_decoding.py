"""Getting wanted frames out of a video: forward from its beginning, or from keyframes where that skips enough."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from .errors import VideoError
from .video_container import choose_stream, decode, decode_packets, open_container

# A seek restarts the file's reader and the decoder's delay: it must skip more frames than this to pay.
MIN_SKIPPED_FRAMES = 12


@dataclass(frozen=True, eq=False, slots=True)
class FrameIndex:
    """Which place in the timeline a decoded frame has.

    Args:
        pts: (F,) int64 in units of the stream's time base, increasing; None where timestamps cannot be trusted, and
            frames are counted instead, which needs decoding from the beginning.
        keyframes: (K,) int64 places of the frames that decoding can begin at, increasing.
        size: F.
        encrypted: whether the file says so.
    """

    pts: np.ndarray | None
    keyframes: np.ndarray
    size: int
    encrypted: bool

    def place(self, pts: int | None, *, count: int = 0) -> int | None:
        """Return the place of the frame that carries ``pts`` and is the ``count``-th to come; None if it has none."""
        if self.pts is None:
            return count
        if pts is None:
            return None
        found = int(np.searchsorted(self.pts, pts))
        return found if found < self.size and self.pts[found] == pts else None


@dataclass(frozen=True, eq=False, slots=True)
class Segment:
    """One stretch of decoding: begin at the frame ``start`` (0: at the file's beginning), pick ``wanted`` frames."""

    start: int
    wanted: Sequence[int]


def plan_segments(wanted: Sequence[int], keyframes: np.ndarray) -> list[Segment]:
    """Return the stretches in which to decode ``wanted`` (increasing places), seeking where it skips enough frames."""
    segments: list[Segment] = []
    start, picked, position = 0, [], 0
    for place in wanted:
        before = int(np.searchsorted(keyframes, place, side="right")) - 1
        keyframe = int(keyframes[before]) if before >= 0 else 0
        if keyframe - position > MIN_SKIPPED_FRAMES:
            if picked:
                segments.append(Segment(start, picked))
            start, picked = keyframe, []
        picked.append(place)
        position = place + 1
    return [*segments, Segment(start, picked)] if picked else segments


class UnsoundSeekError(Exception):
    """Decoding from a keyframe did not give what decoding from the beginning would; never leaves this module."""


class FrameWalker:
    """Walks through a video and hands out the frames that are wanted, in order.

    Frames come out bit for bit as a decode of the whole file gives them: a seek whose outcome is in any doubt is
    undone by decoding from the beginning.
    """

    def __init__(self, path: Path, index: FrameIndex, *, threads: int, seek: bool) -> None:
        self._path = path
        self._index = index
        self._threads = threads
        self._seek = seek and index.pts is not None and not index.encrypted

    def walk(self, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (place, frame) for each of ``wanted``, increasing places in the timeline.

        Raises:
            VideoError: if one of them does not decode.
        """
        segments = plan_segments(wanted, self._index.keyframes) if self._seek else []
        num_done = 0
        if len(segments) > 1 or (segments and segments[0].start > 0):
            try:
                for found in self._walk_segments(segments):
                    yield found
                    num_done += 1
            except UnsoundSeekError:
                self._seek = False
        if num_done < len(wanted):
            yield from self._walk_plainly(wanted[num_done:])

    def _walk_plainly(self, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        targets = iter(wanted)
        target = next(targets, None)
        frames = decode(self._path, threads=self._threads, encrypted=self._index.encrypted)
        for count, frame in enumerate(frames):
            place = self._index.place(frame.pts, count=count)
            if place is None or target is None or place < target:
                continue
            if place > target:
                break
            yield place, frame
            target = next(targets, None)
            if target is None:
                return
        if target is not None:
            raise VideoError(f"frame {target} of {self._index.size} does not decode")

    def _walk_segments(self, segments: Sequence[Segment]) -> Iterator[tuple[int, av.VideoFrame]]:
        with open_container(self._path) as container:
            stream = choose_stream(container, threads=self._threads)
            try:
                for segment in segments:
                    if segment.start == 0:
                        frames = decode_packets(stream, container.demux(stream))
                        yield from self._pick_from_beginning(frames, segment.wanted)
                    else:
                        yield from self._pick_from_keyframe(container, stream, segment)
            except FFmpegError as error:
                raise UnsoundSeekError from error

    def _pick_from_beginning(
        self, frames: Iterable[av.VideoFrame], wanted: Sequence[int]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        remaining = list(reversed(wanted))
        for frame in frames:
            place = self._index.place(frame.pts)
            if place is None or place < remaining[-1]:
                continue
            if place > remaining[-1]:
                break
            yield place, frame
            remaining.pop()
            if not remaining:
                return
        raise UnsoundSeekError

    def _pick_from_keyframe(
        self, container: InputContainer, stream: VideoStream, segment: Segment
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        assert self._index.pts is not None
        container.seek(int(self._index.pts[segment.start]), stream=stream)
        packets = container.demux(stream)
        keyframe = next((packet for packet in packets if packet.is_keyframe and packet.size), None)
        expected = None if keyframe is None else self._index.place(keyframe.pts)
        if keyframe is None or expected is None or expected > segment.start:
            raise UnsoundSeekError
        remaining = list(reversed(segment.wanted))
        for frame in decode_packets(stream, itertools.chain([keyframe], packets)):
            place = self._index.place(frame.pts)
            if place is not None and place < expected:  # a leading picture: it needs what came before the keyframe
                continue
            if place != expected or frame.is_corrupt:
                break
            if expected == remaining[-1]:
                yield expected, frame
                remaining.pop()
                if not remaining:
                    return
            expected += 1
        raise UnsoundSeekError
