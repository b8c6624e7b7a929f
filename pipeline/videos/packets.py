"""What a file's packets and its first frames say, read from beginning to end."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.index import IndexEntries, IndexEntry
from av.video.stream import VideoStream

from ..errors import VideoError
from .announced import Announced, Found, Missing, announced, missing_frames
from .container import choose_stream, demux, open_container
from .damage import Fault
from .decoder import Decoder, Notes, reason, size_of
from .frames import Glance, glance
from .memory import MAX_PIXELS, Size, Turn, decoding_bytes
from .ratios import fraction
from .what_it_is import picture_name

# Frames that are decoded at once and compared with the packets. It shows streams that begin within a group of pictures,
# hidden reordering, and fields.
_NUM_HEAD_FRAMES = 8

_BLOCK_ROWS = 4096  # packets

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
        color_trc: the transfer characteristics that the file gives, by ITU-T H.273.
        size: of its pictures, as the file says, or the first few are if that is more.
        head: the first few frames, in the decoder's order, without their pictures.
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
    color_trc: int
    size: Size
    head: tuple[Glance, ...]
    faults: tuple[Fault, ...]
    missing: Missing | None


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
        self._blocks: list[list[np.ndarray]] = []  # of the rows before: arrays take an eighth of the memory
        self._num_read = 0
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
                self._note(_row(packet))
                self.encrypted = self.encrypted or any(packet.has_sidedata(kind) for kind in _ENCRYPTION_SIDE_DATA)
                yield packet
        except FFmpegError as error:
            self.faults.append(Fault(self._num_read, f"reading ended in an error: {reason(error)}"))

    def _note(self, row: _Row) -> None:
        self._rows.append(row)
        self._num_read += 1
        if len(self._rows) == _BLOCK_ROWS:
            self._pack()

    def _pack(self) -> None:
        if self._rows:
            self._blocks.append([np.array(column) for column in zip(*self._rows, strict=True)])
            self._rows = []

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
        if not self._num_read:
            raise VideoError("no frames decode")
        self._pack()
        packets = Packets(*(np.concatenate(column) for column in zip(*self._blocks, strict=True)))
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
        index, read = self._indexed(), self._num_read
        # Only where the numbers differ is it worth looking at each: empty samples are frames that were dropped.
        return max(read, sum(entry.size > 0 for entry in index)) if len(index) > read else read


def read_contents(path: Path, *, max_pixels: int | None = MAX_PIXELS, held: ExitStack | None = None) -> Contents:
    """Read a file's packets from beginning to end and decode its first frames.

    Args:
        path: the file.
        max_pixels: refuse videos with larger pictures.
        held: where a large video's turn is kept until it need not be decoded any more; None: only until it is read.

    Raises:
        VideoError: if the file cannot be opened or read, holds no video or too large a one, or none of its first frames
            decodes.
    """
    with ExitStack() as own, open_container(path) as container:
        stream = choose_stream(container)
        (held or own).enter_context(Turn(decoding_bytes(size_of(stream))))
        promised = announced(path, container, stream)
        log = _PacketLog(container, stream, promised=promised)
        packets = iter(log)
        size, head = _decode_head(stream, packets, log, max_pixels=max_pixels)
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
            color_trc=stream.codec_context.color_trc,
            size=size,
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


def _decode_head(
    stream: VideoStream, packets: Iterator[av.Packet], log: _PacketLog, *, max_pixels: int | None
) -> tuple[Size, tuple[Glance, ...]]:
    """Return the size of the pictures, and the first few frames; their pictures are not kept."""
    # FFmpeg's own decoder, which alone knows how the file says that its pictures are turned.
    notes, head = Notes(), list[Glance]()
    decoder = Decoder(stream, threads=1, notes=notes, strict=False, max_pixels=max_pixels)
    head.extend(map(glance, itertools.islice(decoder.decode_all(packets), _NUM_HEAD_FRAMES)))
    if log.encrypted and not notes.sound:
        raise VideoError("encrypted")
    if not head and notes.faults:
        raise VideoError(f"no frames decode ({notes.reason})")
    return decoder.size, tuple(head)
