"""What a stream states about its frames beside the pictures: the shape of their pixels, and how they are turned.

Both may change within a video. PyAV's frames carry neither in a way that lasts, so each gets a note as it is decoded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, cast

import av
from av.buffer import Buffer
from av.sidedata.sidedata import SideDataContainer

_side_data = cast(Callable[[av.VideoFrame], Mapping[str, Buffer]], SideDataContainer)

# Packets whose frames are not out yet; decoders hold back at most 16 frames, and a packet may give none.
_MOST_HELD_BACK = 64


@dataclass(frozen=True, slots=True)
class Stated:
    """What the stream states about one frame.

    Args:
        aspect_ratio: width of a pixel over its height, by the codec; None if it is square, or not given.
        matrix: the display matrix, 9 int32; None if there is none.
    """

    aspect_ratio: Fraction | None
    matrix: bytes | None


def stated(frame: av.VideoFrame) -> Stated:
    """Return what the stream states about ``frame``."""
    noted = frame.opaque
    return noted if isinstance(noted, Stated) else Stated(None, matrix_of(frame))


class Decodes(Protocol):
    """What decodes a stream's packets."""

    @property
    def aspect_ratio(self) -> Fraction | None:
        """Width of a pixel over its height, for the packet that was read last; None if it is square, or not given."""
        ...

    @property
    def matrix(self) -> bytes | None:
        """The display matrix of the first frame, if the frames themselves do not carry it."""
        ...

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Return the frames that ``packet`` completes, or for None those that are still held back."""
        ...


def decode_stated(decoder: Decodes, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
    """Yield the frames of ``packets``, and those that the decoder still holds at the end, each with what is stated.

    A decoder tells the shape of pixels for the packet that it has just read, while it returns earlier frames: each
    frame gets what held for the packet with its time. A turn that is stated for a keyframe alone holds until the next.
    """
    ratios, matrix = _HeldRatios(), None
    for packet in _with_end(packets):
        frames = decoder.decode(packet)
        if packet is not None:
            ratios.push(packet.pts, decoder.aspect_ratio)
        for frame in frames:
            ratio, own = ratios.pop(frame.pts), matrix_of(frame)
            if decoder.matrix is not None:
                matrix = decoder.matrix
            elif frame.key_frame:
                matrix = own
            held = matrix if own is None else own
            if ratio is not None or held is not None:
                # Each its own: PyAV forgets a note that several frames share as soon as one of them is gone.
                frame.opaque = Stated(ratio, held)
            yield frame


class _HeldRatios:
    """The shapes of pixels that were told for packets whose frames are not out yet."""

    def __init__(self) -> None:
        # Lists, since times may begin again before the last frames of the part before are out.
        self._by_time: dict[int | None, list[Fraction | None]] = {}
        self._latest: Fraction | None = None

    def push(self, time: int | None, ratio: Fraction | None) -> None:
        """Note ``ratio`` for the packet of ``time``."""
        self._latest = ratio
        self._by_time.setdefault(time, []).append(ratio)
        if len(self._by_time) > _MOST_HELD_BACK:
            del self._by_time[next(iter(self._by_time))]

    def pop(self, time: int | None) -> Fraction | None:
        """Return what was noted for the packet of ``time``, the earliest one; what was told last if there is none."""
        ratios = self._by_time.get(time)
        if not ratios:
            return self._latest
        ratio = ratios.pop(0)
        if not ratios:
            del self._by_time[time]
        return ratio


def _with_end(packets: Iterable[av.Packet]) -> Iterator[av.Packet | None]:
    """Yield ``packets``, and None for the end."""
    yield from packets
    yield None


def matrix_of(frame: av.VideoFrame) -> bytes | None:
    """Return the display matrix that a frame carries, 9 int32; None if it has none."""
    # Not frame.side_data: the two would hold each other, and with them the picture, until Python looks for cycles.
    found = _side_data(frame).get("DISPLAYMATRIX")
    return None if found is None else bytes(found)
