"""When the frames of a file are shown: from its packets if they can be trusted, otherwise by decoding all of it."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.index import IndexEntries, IndexEntry
from av.video.frame import PictureType
from av.video.stream import VideoStream

from ..errors import VideoError
from .announced import Announced, Found, Missing, announced, missing_frames
from .container import choose_stream, decode, demux, open_container
from .damage import Damage, Fault, damaged_frames, own_packets
from .decoder import MARKED, Decoder, Notes, reason
from .decoding import FrameIndex
from .frame_times import Timeline
from .joined import begin_again, joins, one_after_the_other
from .ratios import fraction
from .what_it_is import picture_name

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
        corrupt: (P,) bool, whether something of it is missing, by the container's own checks.
    """

    pts: np.ndarray
    has_pts: np.ndarray
    dts: np.ndarray
    has_dts: np.ndarray
    duration: np.ndarray
    keyframe: np.ndarray
    shown: np.ndarray
    corrupt: np.ndarray


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
        faults: packets that are not whole, by what their container says.
        missing: what is missing of the frames that the file announces; None if nothing is.
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
    faults: tuple[Fault, ...]
    missing: Missing | None


Look = Callable[[av.VideoFrame], None]
_Row = tuple[int, bool, int, bool, int, bool, bool, bool]


def _row(packet: av.Packet) -> _Row:
    """Return what `Packets` keeps of ``packet``, in the order of its fields."""
    pts = packet.pts or 0
    dts = pts if packet.dts is None else packet.dts
    known = packet.pts is not None, packet.dts is not None
    flags = packet.is_keyframe, not packet.is_discard, packet.is_corrupt
    return pts, known[0], dts, known[1], packet.duration or 0, *flags


class _PacketLog:
    """Passes the packets of a stream on, and notes what they say.

    Attributes:
        encrypted: whether the file says that it is.
        faults: where reading ended in an error, if it did.
        end_of_others: when the last packet of any other stream ends, in seconds.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, promised: Announced) -> None:
        self._container = container
        self._stream = stream
        # Other streams are only read where their length counts: it costs time.
        self._others = promised.end_of_all is not None
        self._rows: list[_Row] = []
        self.encrypted = stream.codec_tag in _ENCRYPTED_TAGS
        self.faults: list[Fault] = []
        self.end_of_others = 0.0

    def __iter__(self) -> Iterator[av.Packet]:
        try:
            for packet in demux(self._container, *(() if self._others else (self._stream,))):
                if packet.size == 0:
                    continue
                if packet.stream_index != self._stream.index:
                    self._note_end(packet)
                    continue
                self._rows.append(_row(packet))
                self.encrypted = self.encrypted or any(packet.has_sidedata(kind) for kind in _ENCRYPTION_SIDE_DATA)
                yield packet
        except FFmpegError as error:
            self.faults.append(Fault(len(self._rows), f"reading ended in an error: {reason(error)}"))

    def _note_end(self, packet: av.Packet) -> None:
        unit = fraction(packet.time_base)
        if packet.pts is not None and unit and packet.stream.type in ("audio", "video"):
            end = (packet.pts + (packet.duration or 0)) * unit
            self.end_of_others = max(self.end_of_others, float(end))

    def table(self) -> Packets:
        """Return all that was noted.

        Raises:
            VideoError: if there was no packet.
        """
        if not self._rows:
            raise VideoError("no frames decode")
        packets = Packets(*(np.array(column) for column in zip(*self._rows, strict=True)))
        packets.duration[np.argmax(packets.pts)] += self._dropped_at_the_end()
        return packets

    def _indexed(self) -> IndexEntries | list[IndexEntry]:
        return self._stream.index_entries if self._container.format.name.startswith("mov") else []

    def _dropped_at_the_end(self) -> int:
        """Return how much longer the last frame is shown because empty samples, frames that were dropped, follow it."""
        index = self._indexed()
        filled = len(index)
        while filled and index[filled - 1].size == 0:
            filled -= 1
        return index[-1].timestamp - index[filled - 1].timestamp if 0 < filled < len(index) else 0

    def num_indexed(self) -> int:
        """Return how many samples that are not empty an MP4's index lists; at least as many as were read."""
        index, read = self._indexed(), len(self._rows)
        # Only where the numbers differ is it worth looking at each: empty samples are frames that were dropped.
        return max(read, sum(entry.size > 0 for entry in index)) if len(index) > read else read


def read_contents(path: Path) -> Contents:
    """Read a file's packets from beginning to end and decode its first frames.

    Raises:
        VideoError: if the file cannot be opened or read, holds no video, or none of its first frames decodes.
    """
    with open_container(path) as container:
        stream = choose_stream(container)
        promised = announced(path, container, stream)
        log = _PacketLog(container, stream, promised=promised)
        packets = iter(log)
        head = _decode_head(stream, packets, log)
        for _ in packets:
            pass
        table = log.table()
        codec, brand = stream.codec_context.codec.canonical_name, container.metadata.get("major_brand", "")
        if kind := picture_name(container.format.name, brand=brand, codec=codec, num_packets=len(table.pts)):
            raise VideoError(f"is a picture ({kind}), not a video")
        if not head:
            raise VideoError("encrypted" if log.encrypted else "no frames decode")
        missing = _missing(log, table, promised, stream)
        return Contents(
            codec=codec,
            container=container.format.name,
            time_base=fraction(stream.time_base) or Fraction(1, 1000),
            rate=fraction(stream.average_rate) or fraction(stream.guessed_rate) or _DEFAULT_FPS,
            aspect_ratio=fraction(stream.sample_aspect_ratio),
            encrypted=log.encrypted,
            header_seconds=container.duration / av.time_base if container.duration else None,
            packets=table,
            head=head,
            faults=(*log.faults, *_corrupt_packets(table, container.format.name)),
            missing=missing,
        )


def _missing(log: _PacketLog, packets: Packets, promised: Announced, stream: VideoStream) -> Missing | None:
    """Return what is missing of the frames that the file announces."""
    read, indexed = len(packets.pts), log.num_indexed()
    if indexed > read:
        return Missing(found=read, announced=indexed)
    unit = float(fraction(stream.time_base) or 0)
    times = np.where(packets.has_pts, packets.pts, packets.dts)
    first, end = float(times.min() * unit), float((times + packets.duration).max() * unit)
    step = (end - first) / read or 1 / float(fraction(stream.average_rate) or _DEFAULT_FPS)
    found = Found(num_frames=read, first=first, end=end, end_of_all=max(end, log.end_of_others), step=step)
    return missing_frames(promised, found)


def _corrupt_packets(packets: Packets, container: str) -> Iterator[Fault]:
    """Yield a fault for each packet that is not whole.

    Where MPEG-TS are joined their counters do not fit, and one of the last packets before is suspected. But it is
    whole, and a keyframe follows.
    """
    for number in np.flatnonzero(packets.corrupt).tolist():
        if not (container == "mpegts" and packets.keyframe[number + 1 : number + 3].any()):
            yield Fault(number, "a part of it is missing")


def _decode_head(stream: VideoStream, packets: Iterator[av.Packet], log: _PacketLog) -> tuple[av.VideoFrame, ...]:
    # FFmpeg's own decoder, which alone knows how the file says that its pictures are turned.
    notes, head = Notes(), []
    decoder = Decoder(stream, threads=1, notes=notes, strict=False)
    for frame in itertools.islice(decoder.decode_all(packets), _NUM_HEAD_FRAMES):
        head.append(frame)  # noqa: PERF402 - reading goes on where it stopped
    if log.encrypted and not notes.sound:
        raise VideoError("encrypted")
    if not head and notes.faults:
        raise VideoError(f"no frames decode ({notes.reason})")
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
        packets=order,
    )
    return _timeline(pts, int(packets.duration[order[-1]]), contents), index


def timeline_of_frames(path: Path, contents: Contents, *, threads: int) -> tuple[Timeline, FrameIndex, Damage]:
    """Return the timeline found by decoding the whole file, how to find its frames, and what is wrong with them.

    No picture is kept.

    Raises:
        VideoError: if decoding gives no frame, or the file is encrypted.
    """
    frames, notes = _decode_all(path, contents, threads=threads)
    if not frames:
        raise VideoError("no frames decode")
    none, packets = np.zeros(0, np.int64), contents.packets
    own = own_packets([(frame.pts, frame.dts) for frame in frames], packets.pts, packets.dts)
    index = FrameIndex(
        size=len(frames), pts=None, keyframes=none, keyframe_dts=none, encrypted=contents.encrypted, packets=none
    )
    shown, restarts = _display_times([frame.pts for frame in frames], contents)
    timeline = _timeline(shown, frames[-1].duration, contents, joins=restarts.tolist())
    return timeline, index, _damage(frames, notes, contents, own=own, places=range(len(frames)))


def find_damage(path: Path, contents: Contents, index: FrameIndex, look: Look | None = None, *, threads: int) -> Damage:
    """Return what is wrong with a file whose packets tell its timeline, by decoding all of it; no picture is kept.

    Args:
        path: the file.
        contents: what is known of it.
        index: how to find its frames.
        look: is called with each frame that decodes, in order.
        threads: of the decoder.

    Raises:
        VideoError: if the file is encrypted.
    """
    frames, notes = _decode_all(path, contents, threads=threads, look=look)
    places = [index.place(frame.pts) for frame in frames]
    for place in sorted(set(range(index.size)).difference(places)):
        notes.lost.add(int(index.packets[place]))
    return _damage(frames, notes, contents, own=index.packets, places=places)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What is kept of a decoded frame."""

    pts: int | None
    dts: int | None
    duration: int
    corrupt: bool
    intra: bool


def _decode_all(
    path: Path, contents: Contents, *, threads: int, look: Look | None = None
) -> tuple[list[_Decoded], Notes]:
    notes, frames = Notes(), []
    for frame in decode(path, threads=threads, notes=notes):
        intra = frame.pict_type == PictureType.I
        frames.append(_Decoded(frame.pts, frame.dts, frame.duration or 0, frame.is_corrupt, intra))
        if look:
            look(frame)
    if contents.encrypted and not notes.sound:
        raise VideoError("encrypted")
    return frames, notes


def _damage(
    frames: Sequence[_Decoded], notes: Notes, contents: Contents, *, own: np.ndarray, places: Sequence[int | None]
) -> Damage:
    """Return what is wrong with a video.

    Args:
        frames: all that decode.
        notes: what went wrong with that.
        contents: of the file.
        own: (F,) int64, the number of the packet of each frame of the timeline.
        places: in the timeline, of each of ``frames``; None if it has none.
    """
    restarts = contents.packets.keyframe[own].copy()  # (F,)
    corrupt = []
    for frame, place in zip(frames, places, strict=True):
        if place is not None and frame.corrupt:
            corrupt.append(int(own[place]))
        # H.264 may begin anew by and by, over many frames, instead of with a whole picture.
        if place is not None and contents.codec == "h264" and not frame.intra:
            restarts[place] = False
    faults = sorted((*notes.faults, *contents.faults), key=lambda fault: fault.packet)
    numbers = [*(fault.packet for fault in faults), *notes.lost, *corrupt]
    if not numbers:
        return Damage(np.zeros(len(own), bool))
    first = faults[0].reason if faults and faults[0].packet == min(numbers) else ""
    why = first or (MARKED if min(numbers) in corrupt else "does not decode")
    return Damage(damaged_frames(numbers, own, np.flatnonzero(restarts)), num_lost=len(notes.lost), reason=why)


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
