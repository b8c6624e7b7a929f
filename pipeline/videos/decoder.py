"""Decoding a stream to its end, whatever is wrong with it, and noticing what is.

Three things tell of damage: errors that decoding raises, frames that the decoder marks as corrupt, and, where a decoder
does neither, what it writes into FFmpeg's log at the level of errors. Which of these works was measured for each codec,
by changing bytes at random: docs/damaged-files.md has the figures.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock
from typing import cast

import av
import av.logging
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.stream import VideoStream

from .damage import Fault
from .ratios import fraction
from .stated import decode_stated, matrix_of

# These decoders go on without a word and without a mark; only their log tells. Others' logs also mention what does no
# harm, such as H.264's bookkeeping of references, while they mark their frames reliably.
_TOLD_BY_LOG = ("hevc", "mjpeg", "wmv1", "wmv2", "wmv3", "vc1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "ffv1", "gif")

# FFmpeg's own decoders of VP8 and VP9 check nothing. Those of libvpx give the same pictures in about the same time and
# find most damage.
_STRICTER = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

MARKED = "marked as corrupt by the decoder"
_NOTHING = nullcontext([])
_SILENT = logging.NullHandler()


def reason(error: FFmpegError) -> str:
    """Return what ``error`` says, without the path: the same words on every machine."""
    return error.strerror or type(error).__name__


@dataclass(slots=True)
class Notes:
    """What went wrong while decoding.

    Attributes:
        faults: errors, by the number of the packet since decoding began.
        lost: numbers of packets that gave no frame because of an error.
        num_corrupt: how many frames were marked as corrupt.
    """

    faults: list[Fault] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    num_corrupt: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing went wrong."""
        return not self.faults and not self.num_corrupt

    @property
    def reason(self) -> str:
        """What went wrong first, in words."""
        return self.faults[0].reason if self.faults else MARKED


class Decoder:
    """The decoder of a stream, which goes on after errors and notes them.

    Args:
        stream: of an open file; its packets are given to `decode`, from wherever its container stands.
        threads: of the decoder; 1 decodes on the calling thread.
        notes: where to note what goes wrong.
        strict: whether to take the decoder that finds most damage, rather than FFmpeg's own; pictures are the same.

    Attributes:
        matrix: the display matrix of the first frame, if the decoder leaves it out.
    """

    def __init__(self, stream: VideoStream, *, threads: int, notes: Notes, strict: bool = True) -> None:
        self._own = stream.codec_context
        self._context = _context(stream, threads, strict=strict)
        self.matrix: bytes | None = None
        self._number, self._ended = 0, False
        self._terms, self._ratio = (1, 1), cast(Fraction | None, None)
        # Only on the calling thread: a decoder's own threads would wait for Python's lock.
        self._listens = threads == 1 and stream.codec_context.codec.canonical_name in _TOLD_BY_LOG
        self.notes = notes

    def leave_out_unreferenced(self, leaves_out: bool) -> None:
        """Let the decoder leave out frames that no other refers to, or not."""
        self._context.skip_frame = "NONREF" if leaves_out else "DEFAULT"

    @property
    def aspect_ratio(self) -> Fraction | None:
        """Width of a pixel over its height, for the packet that was read last; None if it is square, or not given.

        As long as it stays the same, the same object comes back: this is asked for each packet.
        """
        own = self._own.sample_aspect_ratio
        terms = (own.numerator, own.denominator) if own else (1, 1)
        if terms != self._terms:
            ratio = fraction(own)
            self._terms, self._ratio = terms, None if ratio == 1 else ratio
        return self._ratio

    def _peek(self, packet: av.Packet) -> None:
        """Learn from FFmpeg's own decoder how the file says that its pictures are turned: libvpx does not know."""
        with suppress(FFmpegError):
            for frame in self._own.decode(packet):
                self.matrix = self.matrix or matrix_of(frame)

    def begin_anew(self) -> None:
        """Forget what was decoded: the next packet comes from another place."""
        self._context.flush_buffers()
        self._ended = False

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Return the frames that ``packet`` completes; None stands for the end, and gives those still held back."""
        frames: list[av.VideoFrame] = []
        if self._ended:
            return frames
        self._ended = packet is None
        if packet is not None and self._context is not self._own and self._number == 0:
            self._peek(packet)
        with _Listening() if self._listens else _NOTHING as log:
            try:
                frames = self._context.decode(packet)
            except FFmpegError as error:
                self.notes.lost.add(self._number)
                self.notes.faults.append(Fault(self._number, reason(error)))
            else:
                if log := [own for own in log if own[0] <= av.logging.ERROR]:
                    self.notes.faults.append(Fault(self._number, log[0][2].strip()))
        self.notes.num_corrupt += sum(frame.is_corrupt for frame in frames)
        self._number += packet is not None
        return frames

    def decode_all(self, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
        """Yield the frames of ``packets`` as the decoder returns them, and at the end those that it still holds."""
        # An empty packet, which AVI has for repeated frames, would end the decoding.
        return decode_stated(self, (packet for packet in packets if packet.size))


def _context(stream: VideoStream, threads: int, *, strict: bool) -> av.VideoCodecContext:
    """Return what decodes ``stream``."""
    stream.thread_type = "NONE" if threads == 1 else "AUTO"
    context = stream.codec_context
    stricter = _STRICTER.get(context.codec.canonical_name) if strict else None
    if stricter is not None:
        with suppress(UnknownCodecError):  # FFmpeg may be built without it
            context = cast(av.VideoCodecContext, av.CodecContext.create(stricter, "r"))
    context.thread_count = threads
    return context


class _Listening:
    """A context that collects what FFmpeg logs as an error on this thread: (level, name, message).

    PyAV keeps FFmpeg's log off. It is on for as long as any thread listens; what nobody collects then goes to Python's
    log, and not to the terminal.
    """

    _lock, _count, _level = Lock(), 0, None

    def __enter__(self) -> list[tuple[int, str, str]]:
        with _Listening._lock:
            if _Listening._count == 0:
                _Listening._level = av.logging.get_level()
                logging.getLogger("libav").addHandler(_SILENT)
                av.logging.set_level(max(_Listening._level or 0, av.logging.ERROR))
                av.logging.set_skip_repeated(False)  # the same words about two files are two complaints
            _Listening._count += 1
        self._capture = av.logging.Capture()
        return self._capture.__enter__()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._capture.__exit__(None, None, None)
        with _Listening._lock:
            _Listening._count -= 1
            if _Listening._count == 0:
                av.logging.set_level(_Listening._level)
