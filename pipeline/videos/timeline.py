"""When the frames of a file are shown: from its packets if they can be trusted, otherwise by decoding all of it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from ..errors import VideoError
from .container import choose_stream, decode, decode_packets, decoding_error, open_container, reason
from .decoding import FrameIndex
from .frame_times import Timeline
from .joined import begin_again, joins, one_after_the_other

# Containers that carry presentation times, and codecs whose every packet becomes one frame. Not so: AVI (decoding order
# only), MPEG-4 part 2 (frames not coded), VP8 (invisible frames).
_TRUSTED_FORMATS = ("mov", "matroska", "mpegts", "gif", "flv")
_TRUSTED_CODECS = ("h264", "hevc", "vp9", "av1", "gif", "mjpeg", "prores")

# Frames that are decoded at once and compared with the packets. It shows streams that begin within a group of pictures,
# hidden reordering, and fields.
_NUM_HEAD_FRAMES = 8

_ENCRYPTED_TAGS = ("encv", "drmi")  # ISO/IEC 23001-7 and FairPlay sample entries
_ENCRYPTION_SIDE_DATA = ("encryption_info", "encryption_init_info")

# The rate that ffmpeg assumes for pictures without one.
_DEFAULT_FPS = Fraction(25)


@dataclass(frozen=True, eq=False, slots=True)
class Packets:
    """What a file says about its frames, in decoding order, in units of its time base.

    Args:
        pts: (P,) int64, presentation times; meaningless if ``has_pts`` is false.
        has_pts: (P,) bool.
        dts: (P,) int64, decoding times; the presentation times if there are none.
        has_dts: (P,) bool.
        duration: (P,) int64, 0 where unknown.
        keyframe: (P,) bool, decoding can begin here.
        shown: (P,) bool, false if an edit list cuts the frame away.
    """

    pts: np.ndarray
    has_pts: np.ndarray
    dts: np.ndarray
    has_dts: np.ndarray
    duration: np.ndarray
    keyframe: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True, eq=False, slots=True)
class Contents:
    """What is known of a file from reading it through and decoding its first frames.

    Args:
        codec: its canonical name, as ``h264``.
        container: the demuxer's name.
        time_base: seconds per unit of time.
        rate: frames per second, by the file's own claim.
        aspect_ratio: width of a pixel over its height, if the file gives it.
        encrypted: whether the file says that it is.
        header_seconds: how long the file says that it is, all streams together; None if it does not.
        packets: all of them.
        head: the first few frames, in the decoder's order.
    """

    codec: str
    container: str
    time_base: Fraction
    rate: Fraction
    aspect_ratio: Fraction | None
    encrypted: bool
    header_seconds: float | None
    packets: Packets
    head: tuple[av.VideoFrame, ...]


_Row = tuple[int, bool, int, bool, int, bool, bool]


def _row(packet: av.Packet) -> _Row:
    """Return what `Packets` keeps of ``packet``, in the order of its fields."""
    pts = packet.pts or 0
    dts = pts if packet.dts is None else packet.dts
    known = packet.pts is not None, packet.dts is not None
    return pts, known[0], dts, known[1], packet.duration or 0, packet.is_keyframe, not packet.is_discard


class _PacketLog:
    """Passes the packets of a stream on, and notes what they say."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container = container
        self._stream = stream
        self._rows: list[_Row] = []
        self.encrypted = stream.codec_tag in _ENCRYPTED_TAGS

    def __iter__(self) -> Iterator[av.Packet]:
        try:
            for packet in self._container.demux(self._stream):
                if packet.size == 0:
                    continue
                self._rows.append(_row(packet))
                self.encrypted = self.encrypted or any(packet.has_sidedata(kind) for kind in _ENCRYPTION_SIDE_DATA)
                yield packet
        except FFmpegError as error:
            raise VideoError(f"reading ended in an error after {len(self._rows)} packets ({reason(error)})") from error

    def table(self) -> Packets:
        """Return all that was noted.

        Raises:
            VideoError: if there was no packet, or the file's index lists more packets than the file holds.
        """
        indexed = len(self._stream.index_entries) if self._container.format.name.startswith("mov") else 0
        if indexed > len(self._rows):
            raise VideoError(f"truncated: {len(self._rows)} of {indexed} packets are there")
        if not self._rows:
            raise VideoError("no frames decode")
        return Packets(*(np.array(column) for column in zip(*self._rows, strict=True)))


def read_contents(path: Path) -> Contents:
    """Read a file's packets from beginning to end and decode its first frames.

    Raises:
        VideoError: if the file cannot be opened or read, holds no video, or its first frames do not decode.
    """
    with open_container(path) as container:
        stream = choose_stream(container, threads=1)
        log = _PacketLog(container, stream)
        packets = iter(log)
        head = _decode_head(stream, packets, log)
        for _ in packets:
            pass
        table = log.table()
        if not head:
            raise VideoError("encrypted" if log.encrypted else "no frames decode")
        return Contents(
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            time_base=stream.time_base or Fraction(1, 1000),
            rate=stream.average_rate or stream.guessed_rate or _DEFAULT_FPS,
            aspect_ratio=stream.sample_aspect_ratio,
            encrypted=log.encrypted,
            header_seconds=container.duration / av.time_base if container.duration else None,
            packets=table,
            head=head,
        )


def _decode_head(stream: VideoStream, packets: Iterator[av.Packet], log: _PacketLog) -> tuple[av.VideoFrame, ...]:
    head: list[av.VideoFrame] = []
    try:
        for frame in itertools.islice(decode_packets(stream, packets), _NUM_HEAD_FRAMES):
            head.append(frame)  # noqa: PERF402 - what came before an error counts
    except FFmpegError as error:
        raise decoding_error(len(head), error, encrypted=log.encrypted) from error
    if log.encrypted and any(frame.is_corrupt for frame in head):
        raise VideoError("encrypted")
    return tuple(head)


def packets_tell_time(contents: Contents) -> bool:
    """Return whether the packets alone say which frames will be decoded, and when each is shown."""
    packets, head = contents.packets, contents.head
    if contents.codec not in _TRUSTED_CODECS or not contents.container.startswith(_TRUSTED_FORMATS):
        return False
    if contents.container == "mpegts" and any(frame.interlaced_frame for frame in head):
        return False  # a packet may be one field of two
    shown = np.sort(packets.pts[packets.shown])
    if not packets.has_pts.all() or np.any(np.diff(shown) == 0) or _begins_again(contents):
        return False
    return [frame.pts for frame in head] == shown[: len(head)].tolist()


def _begins_again(contents: Contents) -> bool:
    packets = contents.packets
    return begin_again(
        pts=packets.pts,
        dts=packets.dts,
        has_dts=packets.has_dts,
        keyframe=packets.keyframe,
        container=contents.container,
    )


def timeline_of_packets(contents: Contents) -> tuple[Timeline, FrameIndex]:
    """Return the timeline that the packets give, and how to find its frames."""
    packets = contents.packets
    order = np.flatnonzero(packets.shown)
    order = order[np.argsort(packets.pts[order])]  # from places in the timeline to packets
    pts, keyframes = packets.pts[order], np.flatnonzero(packets.keyframe[order])
    index = FrameIndex(
        size=len(order),
        pts=pts,
        keyframes=keyframes,
        keyframe_dts=packets.dts[order[keyframes]],
        encrypted=contents.encrypted,
    )
    return _timeline(pts, int(packets.duration[order[-1]]), contents), index


def timeline_of_frames(path: Path, contents: Contents, *, threads: int) -> tuple[Timeline, FrameIndex]:
    """Return the timeline found by decoding the whole file, and how to find its frames; no picture is kept.

    Raises:
        VideoError: if decoding ends in an error, or gives no frame.
    """
    decoded = decode(path, threads=threads, encrypted=contents.encrypted)
    frames = [(frame.pts, frame.duration) for frame in decoded]
    if not frames:
        raise VideoError("no frames decode")
    times, durations = zip(*frames, strict=True)
    none = np.zeros(0, np.int64)
    index = FrameIndex(size=len(frames), pts=None, keyframes=none, keyframe_dts=none, encrypted=contents.encrypted)
    shown, restarts = _display_times(times, contents)
    return _timeline(shown, durations[-1] or 0, contents, joins=restarts.tolist()), index


def _display_times(pts: Sequence[int | None], contents: Contents) -> tuple[np.ndarray, np.ndarray]:
    """Return (F,) strictly increasing int64 times for frames that came, in order of display, with ``pts``.

    A file that stores only decoding times (AVI) also shows its frames at these times, in order of display; the decoder
    then gives each frame the time of another. Where timestamps begin again, parts are shown one after the other. If
    nothing fits, frames follow evenly, at the rate that the file claims.

    Returns:
        The times, and (J,) int64, the frames with which timestamps begin again.
    """
    known = np.array([time for time in pts if time is not None], dtype=np.int64)
    restarts, none = joins(known, container=contents.container), np.zeros(0, np.int64)
    candidates = [(known, none), (contents.packets.dts, none)]
    following = one_after_the_other(known, restarts)
    if following is not None:
        candidates.append((following, restarts))
    for times, begun in (*candidates, (np.sort(known), none)):
        if len(times) == len(pts) and len(joins(times, container=contents.container)) == 0:
            return times, begun
    step = 1 / (contents.rate * contents.time_base)
    return np.round(np.arange(len(pts)) * float(step)).astype(np.int64), none


def _timeline(pts: np.ndarray, last_duration: float, contents: Contents, *, joins: Sequence[int] = ()) -> Timeline:
    """Return the timeline of frames at ``pts`` (F,) int64; its end follows from the last frame's duration."""
    if last_duration <= 0:
        steps = np.diff(pts)
        # Many containers leave the last duration out; the median is safe against single long gaps.
        last_duration = float(np.median(steps)) if len(steps) else float(1 / (contents.rate * contents.time_base))
    unit = float(contents.time_base)
    # Subtracted as integers, which is exact however late the file's own clock begins.
    seconds = (pts - pts[0]).astype(np.float64) * unit
    return Timeline(pts=seconds, duration=float(seconds[-1] + last_duration * unit), joins=tuple(joins))
