"""Whether a second file follows the first in one file: FFmpeg reads the first alone, and says nothing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FLV_TAGS = (8, 9, 18)  # audio, video, script data


def appended_at(path: Path, *, container: str) -> int | None:
    """Return the byte at which a second MP4, FLV or WMV begins in the file at ``path``; None if there is none.

    Other containers need no such look: in them FFmpeg reads on.

    Args:
        path: of a file that could be opened.
        container: the demuxer's name.
    """
    with path.open("rb") as file:
        if container.startswith("mov"):
            starts = [at for at, kind in _boxes(file) if kind == b"ftyp"]
            starts = starts or [at for at, kind in _boxes(file) if kind == b"moov"]
        elif container == "asf":
            starts = [at for at, kind in _objects(file) if kind == _ASF_HEADER]
        elif container == "flv":
            starts = [0, *_after_last_tag(file)]
        else:
            return None
    return starts[1] if len(starts) > 1 else None


def _boxes(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield place and kind of the boxes at the top of an MP4."""
    at, end = 0, _size(file)
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        yield at, kind
        if size < 8:  # 0: up to the file's end; anything else is damage
            return
        at += size


def _objects(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield place and kind of the objects at the top of an ASF file."""
    at, end = 0, _size(file)
    while at + 24 <= end:
        file.seek(at)
        head = file.read(24)
        yield at, head[:16]
        size = int.from_bytes(head[16:], "little")
        if size < 24:
            return
        at += size


def _after_last_tag(file: BinaryIO) -> Iterator[int]:
    """Yield the place behind the last tag of an FLV if another one begins there."""
    file.seek(5)
    at, end = int.from_bytes(file.read(4), "big") + 4, _size(file)
    while at + 11 <= end:
        file.seek(at)
        head = file.read(11)
        if head[0] & 0x1F not in _FLV_TAGS:
            if head[:3] == b"FLV":
                yield at
            return
        at += 11 + int.from_bytes(head[1:4], "big") + 4


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
