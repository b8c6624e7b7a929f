"""What decoding a video takes in memory, foreseen from what its file says, before anything is decoded.

A decoder keeps earlier pictures that later ones refer to. At 8192×8192 one is 100 MB, and as RGB 200 MB.
"""

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from ..available_memory import host_bytes, is_out_of_memory
from ..errors import VideoError, named
from ..sizes import size_text

# The largest picture that any level of H.264, HEVC, VVC and AV1 knows: 16384×8704, HEVC's level 7.2.
MAX_PIXELS = 16384 * 8704
MAX_PIXELS_HELP = "Refuse a video with pictures of more pixels."
UNBOUNDED = "as memory allows"

# Pictures that a decoder may keep to refer to. H.264 and HEVC allow fewer of large ones: MaxDpbMbs (696,320
# macroblocks) and MaxLumaPs (35,651,584 pixels) of level 6.2. Eight is what VP9 and AV1 have room for.
_H264_PIXELS = 696_320 * 256
_HEVC_PIXELS = 35_651_584
_NUM_KEPT = {"vp9": 8, "av1": 8, "vp8": 4}
_USUAL_KEPT = 4  # MPEG-1, -2 and -4 keep two, and their decoders one or two more
_INTRA_ALONE = ("mjpeg", "prores", "dnxhd", "png", "apng", "ffv1", "huffyuv", "utvideo", "rawvideo", "v210", "cfhd")

# One is being decoded, and one has left the decoder.
_NUM_AT_WORK = 2
_RGB_BYTES = 3
_NUM_RGB = 2  # as the scaler makes it, and as an array
_MARGIN = 1.15  # borders of pictures, motion vectors, packets

_SMALL_BYTES = 128 * 2**20  # less is not worth asking the system for
_THREADS_BYTES = 256 * 2**20  # of the pictures that a decoder's threads work on

_TURN_SECONDS = 600.0  # whoever waits longer goes on without


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What a file says about its pictures.

    Args:
        width: pixels, as stored.
        height: pixels, as stored.
        bits: bits of a stored pixel, all components together and filled up to bytes: 12 for yuv420p, 24 with 10 bits.
        codec: its canonical name.
    """

    width: int
    height: int
    bits: int
    codec: str

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.width * self.height

    @property
    def stored_bytes(self) -> int:
        """Of one picture as it is decoded."""
        return self.pixels * self.bits // 8

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


def num_kept(codec: str, pixels: int) -> int:
    """Return how many pictures of so many pixels a decoder may keep to refer to."""
    if codec in _INTRA_ALONE:
        return 0
    if codec == "h264":
        return min(16, max(4, _H264_PIXELS // max(pixels, 1)))
    if codec in ("hevc", "vvc"):
        return min(16, max(6, 6 * _HEVC_PIXELS // max(pixels, 1)))
    return _NUM_KEPT.get(codec, _USUAL_KEPT)


def decoding_bytes(size: Size, *, threads: int = 1) -> int:
    """Return what decoding one picture after the other takes at most, with the one that is shown."""
    kept = num_kept(size.codec, size.pixels) + _NUM_AT_WORK + (threads - 1 if threads > 1 else 0)
    return round(_MARGIN * (kept * size.stored_bytes + _NUM_RGB * _RGB_BYTES * size.pixels))


def bounded_threads(threads: int, size: Size) -> int:
    """Return how many threads may decode pictures of this size: each works on one of its own. 0 stands for all."""
    threads = threads or os.cpu_count() or 1
    return max(1, min(threads, _THREADS_BYTES // max(size.stored_bytes, 1)))


def check_size(size: Size, *, max_pixels: int | None, threads: int = 1) -> None:
    """Refuse a video whose pictures are larger than asked for, or than memory can hold.

    Raises:
        VideoError: the message says how large they are, and the bound.
    """
    if max_pixels is not None and size.pixels > max_pixels:
        raise VideoError(
            f"too large: pictures of {size} are {size.pixels:,} pixels, more than {named('max_pixels')} {max_pixels:,}"
        )
    needed = decoding_bytes(size, threads=threads)
    if needed > _SMALL_BYTES:
        check_available(needed, f"to decode at {size}")


def check_available(needed: int, what: str) -> None:
    """Refuse what needs more memory than there is.

    Raises:
        VideoError: if it does; the message gives both figures.
    """
    available = host_bytes()
    if needed > available:
        raise VideoError(
            f"too large: needs about {size_text(needed)} {what}, {size_text(available)} are available; free memory, or "
            "scale the video down first"
        )


@contextmanager
def memory_errors_told(what: str) -> Iterator[None]:
    """Turn "out of memory" within the block into an error of the video that is at work.

    Raises:
        VideoError: if memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise VideoError(f"too large: memory ran out while {what} ({size_text(host_bytes())} are available)") from error


class Turn:
    """Lets one large video after the other be decoded on this machine, whichever threads and processes decode them.

    Two that would fit into memory one by one do not fail because they come at the same time. What is large depends on
    how many could come at once: one for each core. It ends when the object is closed or collected, or the process dies.
    """

    _holders: ClassVar[set[int]] = set()  # threads of this process, which must not wait for themselves

    def __init__(self, needed: int) -> None:
        self._file: int | None = None
        self._thread = threading.get_ident()
        if needed > _SMALL_BYTES and self._thread not in Turn._holders and _is_large(needed):
            self._wait()

    def _wait(self) -> None:
        try:
            self._file = os.open(_turn_file(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # no place for temporary files: then without turns
            return
        until = time.monotonic() + _TURN_SECONDS
        while not _locked(self._file) and time.monotonic() < until:
            time.sleep(0.05)
        Turn._holders.add(self._thread)

    def close(self) -> None:
        """Let the next one begin."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            Turn._holders.discard(self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _is_large(needed: int) -> bool:
    return needed * (os.cpu_count() or 1) > host_bytes() / 2


def _turn_file() -> Path:
    return Path(tempfile.gettempdir()) / f"vidpipe-large-video-{os.getuid()}.lock"


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
