"""One video's reduced frames as a file: written as they are decoded, read frame by frame, each with its checksum.

Layout: the frames, uint8 RGB, one after the other; then the index: a line of JSON, the times of the video's frames, and
for each kept frame its place in the timeline, where it lies, its size and its checksum; at the end `_TRAILER`, which
says where the index begins. Nothing is compressed: a frame is read in less time than it takes to resize it.
"""

import dataclasses
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import VidpipeError
from ..videos.frame_times import Timeline
from .reduced import ReducedVideo

_MAGIC = b"vidpipe1"
_TRAILER = struct.Struct("<8sQQI")  # magic, where the index begins, its length, its checksum
_FRAME = np.dtype([("place", "<i8"), ("offset", "<i8"), ("height", "<i4"), ("width", "<i4"), ("checksum", "<u4")])
_CHANNELS = 3


class DamagedEntryError(VidpipeError, ValueError):
    """A file of kept frames that is not what was written; it can be made again."""


def write_kept(file: BinaryIO, opened: ReducedVideo, places: Iterable[int]) -> None:
    """Write the frames of a video at ``places``, in their timeline's order, one at a time.

    Raises:
        VideoError: if one of them does not decode.
        OSError: if the disk is full.
    """
    frames, offset = [], 0
    for place, picture in opened.pictures(places):
        content = np.ascontiguousarray(picture).data
        file.write(content)
        frames.append((place, offset, *picture.shape[:2], zlib.crc32(content)))
        offset += content.nbytes
    index = _index(opened, np.array(frames, _FRAME))
    file.write(index)
    file.write(_TRAILER.pack(_MAGIC, offset, len(index), zlib.crc32(index)))


def _index(opened: ReducedVideo, frames: np.ndarray) -> bytes:
    times = {own.name: getattr(opened.timeline, own.name) for own in dataclasses.fields(Timeline) if own.init}
    arrays = {name: value for name, value in times.items() if isinstance(value, np.ndarray)}
    words = {
        "size": opened.size,
        "times": {name: value for name, value in times.items() if name not in arrays},
        "arrays": [(name, value.dtype.str, len(value)) for name, value in arrays.items()],
    }
    return b"".join(
        [json.dumps(words, default=int).encode(), b"\n", *(own.tobytes() for own in arrays.values()), frames.tobytes()]
    )


@contextmanager
def open_kept(path: Path) -> Iterator[ReducedVideo]:
    """Yield the video whose frames are kept in the file at ``path``.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedEntryError: if the file is damaged: here, or when a frame is read.
    """
    # Not mapped into memory: a file that somebody cuts short would then kill the process.
    with path.open("rb", buffering=0) as file:
        timeline, size, frames = _read_index(file, path)

        def pictures(places: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
            for place in places:
                found = int(np.searchsorted(frames["place"], place))
                if found == len(frames) or frames["place"][found] != place:
                    raise DamagedEntryError(f"{path} lacks frame {place}")
                yield place, _read_frame(file, path, frames[found])

        yield ReducedVideo(timeline=timeline, size=size, pictures=pictures)


def _read_frame(file: BinaryIO, path: Path, frame: np.void) -> np.ndarray:
    height, width = int(frame["height"]), int(frame["width"])
    picture = np.empty((height, width, _CHANNELS), np.uint8)  # not from bytes: transforms copy what is read-only
    length = os.preadv(file.fileno(), [picture.data], int(frame["offset"]))
    if length != picture.nbytes or zlib.crc32(picture.data) != frame["checksum"]:
        raise DamagedEntryError(f"frame {frame['place']} in {path} is damaged")
    return picture


def _read_index(file: BinaryIO, path: Path) -> tuple[Timeline, tuple[int, int], np.ndarray]:
    """Return timeline, (width, height) of the video, and a record of `_FRAME` for each frame that is kept."""
    try:
        end = os.fstat(file.fileno()).st_size - _TRAILER.size
        magic, begin, length, checksum = _TRAILER.unpack(_read(file, max(end, 0), _TRAILER.size))
        if magic != _MAGIC or begin + length != end:
            raise DamagedEntryError(f"{path} has no end")
        index = _read(file, begin, length)
        if zlib.crc32(index) != checksum:
            raise DamagedEntryError(f"the index of {path} is damaged")
        line, _, rest = index.partition(b"\n")
        return _unpack(json.loads(line), rest)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DamagedEntryError):
            raise
        raise DamagedEntryError(f"{path} is no file of kept frames: {error}") from error


def _unpack(words: dict[str, Any], rest: bytes) -> tuple[Timeline, tuple[int, int], np.ndarray]:
    times: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in words["times"].items()
    }
    for name, dtype, count in words["arrays"]:
        own = np.frombuffer(rest, dtype, count=count)
        times[name], rest = own, rest[own.nbytes :]
    width, height = words["size"]
    return Timeline(**times), (width, height), np.frombuffer(rest, _FRAME)


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return ``length`` bytes, or fewer where the file ends."""
    return os.pread(file.fileno(), length, offset)
