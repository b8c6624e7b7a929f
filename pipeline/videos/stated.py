"""What a stream states about its frames beside the pictures: the shape of their pixels, and how they are turned.

Both may change within a video. PyAV's frames carry neither in a way that lasts, so each gets a note as it is decoded.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.buffer import Buffer
from av.video.stream import VideoStream

# Packets whose frames are not out yet; decoders hold back at most 16 frames, and a packet may give none.
_MOST_HELD_BACK = 64


@dataclass(frozen=True, slots=True)
class Stated:
    """What the stream states about one frame.

    Args:
        aspect_ratio: width of a pixel over its height, by the codec; None or 0 if it gives none.
        matrix: the display matrix, 9 int32; None if there is none.
    """

    aspect_ratio: Fraction | None
    matrix: bytes | None


def stated(frame: av.VideoFrame) -> Stated:
    """Return what was noted on ``frame``; of one that no stream gave, what it carries itself."""
    return frame.opaque if isinstance(frame.opaque, Stated) else Stated(None, _matrix(frame))


def decode_stated(stream: VideoStream, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
    """Yield the frames of ``packets``, and those that the decoder still holds at the end, each with what is stated.

    A decoder tells the shape of pixels for the packet that it has just read, while it returns earlier frames: each
    frame gets what held for the packet with its time. A turn that is stated for a keyframe alone holds until the next.
    """
    ratios: dict[int | None, Fraction | None] = {}
    ratio = matrix = None
    for packet in _with_end(packets):
        frames = stream.decode(packet)
        if packet is not None:
            ratio = ratios[packet.pts] = stream.codec_context.sample_aspect_ratio
            if len(ratios) > _MOST_HELD_BACK:
                del ratios[next(iter(ratios))]
        for frame in frames:
            own = _matrix(frame)
            matrix = own if own is not None or frame.key_frame else matrix
            frame.opaque = Stated(ratios.pop(frame.pts, ratio), matrix)
            yield frame


def _with_end(packets: Iterable[av.Packet]) -> Iterator[av.Packet | None]:
    """Yield ``packets``, and None for the end."""
    yield from packets
    yield None


def _matrix(frame: av.VideoFrame) -> bytes | None:
    found = cast(Mapping[str, Buffer], frame.side_data).get("DISPLAYMATRIX")
    return None if found is None else bytes(found)
