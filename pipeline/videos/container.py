"""Opening media files, choosing the stream to read, and decoding it from beginning to end."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import VideoError
from .damage import Fault
from .decoder import Decoder, Notes, reason
from .what_it_is import check_beginning, check_is_file, why_not_opened

_NOT_A_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails

# Titles and the like may hold any bytes, and do not concern us. PyAV 18 refuses files whose titles are not UTF-8 unless
# it is told not to; PyAV 19 keeps such bytes by itself, and knows the argument no more.
_ANY_TITLES: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_container(path: Path) -> InputContainer:
    """Open a media file; only local files are ever read, whatever the file refers to.

    What a file is shows in its content: its suffix does not matter.

    Raises:
        VideoError: if there is no such file, or no demuxer understands it; the message says what it is instead.
    """
    check_is_file(path)
    check_beginning(path)
    try:
        # "file:" keeps FFmpeg from reading a name such as "http:x" as an address, and the whitelist keeps playlists
        # from fetching anything.
        return av.open(f"file:{path}", container_options={"protocol_whitelist": "file"}, **_ANY_TITLES)
    except FFmpegError as error:
        raise VideoError(why_not_opened(path) or f"cannot be opened: {reason(error)}") from error


def choose_stream(container: InputContainer) -> VideoStream:
    """Return the video stream to read: the default one if there is one, else the largest.

    Cover art does not count, and a still picture only where there is nothing else: an animated AVIF has one for
    programs that do not play the animation.

    Raises:
        VideoError: if the file has no video stream, or none that can be decoded.
    """
    streams = videos_of(container)
    if not streams:
        raise VideoError("no video stream")
    streams = [s for s in streams if s.codec_context is not None]
    if not streams:
        raise VideoError("no decoder for its video stream")
    return max(streams, key=lambda s: (not _is_still(s), bool(s.disposition & Disposition.default), s.width * s.height))


def videos_of(container: InputContainer) -> list[VideoStream]:
    """Return the video streams of an open file, as far as they were seen by now; cover art is none."""
    return [stream for stream in container.streams.video if not stream.disposition & _NOT_A_VIDEO]


def demux(container: InputContainer, *streams: VideoStream) -> Iterator[av.Packet]:
    """Yield the packets of ``streams``, or of all.

    In MPEG-TS a stream may appear that was not there when the file was opened. Such a one is not read, and PyAV may
    fall over it once all packets have been read.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)


def _is_still(stream: VideoStream) -> bool:
    return stream.frames == 1 and stream.duration is None


def decode(path: Path, *, threads: int, notes: Notes | None = None) -> Iterator[av.VideoFrame]:
    """Yield the frames of a video from its beginning, as its decoder returns them.

    Args:
        path: the file.
        threads: of the decoder.
        notes: where to note what goes wrong, and to go on; without, the first sign of damage is an error.

    Raises:
        VideoError: if the file cannot be opened, or, without ``notes``, is damaged.
    """
    count, own = 0, notes or Notes()
    with open_container(path) as container:
        stream = choose_stream(container)
        for frame in Decoder(stream, threads=threads, notes=own).decode_all(until_an_error(container, stream, own)):
            if notes is None and not own.sound:
                break
            yield frame
            count += 1
    if notes is None and not own.sound:
        raise VideoError(f"damaged after {count} frames ({own.reason})")


def until_an_error(container: InputContainer, stream: VideoStream, notes: Notes) -> Iterator[av.Packet]:
    """Yield the packets of ``stream`` for as long as they can be read."""
    count = 0
    try:
        for packet in demux(container, stream):
            yield packet
            count += bool(packet.size)
    except FFmpegError as error:
        notes.faults.append(Fault(count, f"reading ended in an error: {reason(error)}"))
