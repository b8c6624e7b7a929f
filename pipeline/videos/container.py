"""Opening media files, choosing the stream to read, and decoding it from beginning to end."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import VideoError
from .stated import decode_stated

_NOT_A_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


def reason(error: FFmpegError) -> str:
    """Return what ``error`` says, without the path: the same words on every machine."""
    return error.strerror or type(error).__name__


def open_container(path: Path) -> InputContainer:
    """Open a media file; only local files are ever read, whatever the file refers to.

    Raises:
        VideoError: if there is no such file, or no demuxer understands it.
    """
    try:
        if not path.is_file():
            raise VideoError("is no file" if path.exists() else "no such file")
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    try:
        # "file:" keeps FFmpeg from reading a name such as "http:x" as an address, and the whitelist keeps playlists
        # from fetching anything. Titles and the like may hold any bytes: they do not concern us.
        return av.open(f"file:{path}", container_options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except FFmpegError as error:
        raise VideoError(f"cannot be opened: {reason(error)}") from error


def choose_stream(container: InputContainer, *, threads: int) -> VideoStream:
    """Return the video stream to read: the default one if there is one, else the largest; cover art does not count.

    Args:
        container: the open file.
        threads: of the decoder; 1 decodes on the calling thread.

    Raises:
        VideoError: if the file has no video stream, or none that can be decoded.
    """
    streams = [s for s in container.streams.video if not s.disposition & _NOT_A_VIDEO]
    if not streams:
        raise VideoError("no video stream")
    streams = [s for s in streams if s.codec_context is not None]
    if not streams:
        raise VideoError("no decoder for its video stream")
    stream = max(streams, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))
    stream.codec_context.thread_count = threads
    stream.thread_type = "NONE" if threads == 1 else "AUTO"
    return stream


def decode_packets(stream: VideoStream, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
    """Yield the frames of ``packets`` as the decoder returns them, and at the end those that it still holds."""
    # An empty packet, which AVI has for repeated frames, would end the decoding.
    yield from decode_stated(stream, (packet for packet in packets if packet.size))


def decode(path: Path, *, threads: int, encrypted: bool = False) -> Iterator[av.VideoFrame]:
    """Yield the frames of a video from its beginning, as its decoder returns them.

    Args:
        path: the file.
        threads: of the decoder.
        encrypted: whether the file says that it is, which then explains any error.

    Raises:
        VideoError: if the file cannot be opened, or decoding ends in an error.
    """
    count = 0
    with open_container(path) as container:
        stream = choose_stream(container, threads=threads)
        try:
            for frame in decode_packets(stream, container.demux(stream)):
                yield frame
                count += 1
        except FFmpegError as error:
            raise decoding_error(count, error, encrypted=encrypted) from error


def decoding_error(count: int, error: FFmpegError, *, encrypted: bool) -> VideoError:
    """Return the error for a video whose decoding gave ``count`` frames from its beginning and then ``error``."""
    if encrypted:
        return VideoError("encrypted")
    return VideoError(f"decoding ended in an error after {count} frames ({reason(error)})")
