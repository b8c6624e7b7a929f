"""Read and write a video's files in a feature store directly: through Zarr each clip costs a millisecond more.

These are the files that Zarr itself would write from the arrays' metadata, and tests compare them with Zarr's reader
and writer (which puts the same chunks in another order if there are several views). Only the codecs that `format` sets
are supported.

Source: Zarr v3 specification, codecs `sharding_indexed` (index at the end), `crc32c`, `bytes`, `zstd` and `blosc`.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import google_crc32c
import numpy as np
from numcodecs import blosc, zstd  # pyright: ignore[reportAttributeAccessIssue]

from ..files import write_atomically

_CRC_BYTES = 4
_ABSENT = np.iinfo(np.uint64).max  # offset and length of a chunk that was never written
ZSTD_LEVEL, LZ4_LEVEL = 1, 5

blosc.use_threads = False  # its threads append blocks in the order in which they finish: other bytes every time


class Compression(Protocol):
    """How the bytes of a chunk are compressed and decompressed."""

    def compress(self, data: np.ndarray) -> bytes:
        """Return the bytes of ``data``, of any shape and dtype, contiguous, compressed."""
        ...

    def decompress(self, data: np.ndarray, out: np.ndarray) -> object:
        """Fill ``out`` from what `compress` returned.

        Args:
            data: (bytes,) uint8.
            out: contiguous, of the shape and dtype that were compressed.
        """
        ...


class Zstd:
    """Zstandard."""

    def compress(self, data: np.ndarray) -> bytes:
        """Return the bytes of ``data``, of any shape and dtype, contiguous, compressed."""
        return zstd.compress(data, ZSTD_LEVEL)

    def decompress(self, data: np.ndarray, out: np.ndarray) -> object:
        """Fill ``out``, contiguous and of any shape and dtype, from ``data`` (bytes,) uint8."""
        return zstd.decompress(data, out)


class Lz4:
    """LZ4 after sorting the bytes by their place in a number, in Blosc's frame."""

    def compress(self, data: np.ndarray) -> bytes:
        """Return the bytes of ``data``, of any shape and dtype, contiguous, compressed."""
        return blosc.compress(data, b"lz4", LZ4_LEVEL, blosc.SHUFFLE)

    def decompress(self, data: np.ndarray, out: np.ndarray) -> object:
        """Fill ``out``, contiguous and of any shape and dtype, from ``data`` (bytes,) uint8."""
        return blosc.decompress(data, out)


class Uncompressed:
    """The bytes as they are."""

    def compress(self, data: np.ndarray) -> bytes:
        """Return the bytes of ``data``, of any shape and dtype."""
        return data.tobytes()

    def decompress(self, data: np.ndarray, out: np.ndarray) -> object:
        """Fill ``out``, of any shape and dtype, from ``data`` (bytes,) uint8."""
        return np.copyto(out, data.view(out.dtype).reshape(out.shape))


_CODECS: dict[str, Compression] = {"zstd": Zstd(), "lz4": Lz4(), "none": Uncompressed()}


class DamagedError(Exception):
    """Bytes that differ from those that were written.

    Args:
        reason: what is wrong with them.
        place: which of the chunks asked for is damaged; None if all are.
    """

    def __init__(self, reason: str, place: int | None = None):
        super().__init__(reason)
        self.place = place


def write_chunk(path: Path, chunk: np.ndarray, *, compression: str) -> None:
    """Write ``chunk``, of any shape and dtype, as a file of its own, which appears whole or not at all."""
    _write_whole(path, _encode(chunk, compression))


def write_shard(path: Path, chunks: np.ndarray, present: Sequence[bool], *, compression: str) -> None:
    """Write a shard; it appears whole or not at all.

    Args:
        path: of the file.
        chunks: (n, *chunk shape) of any dtype, all chunks of the shard's grid in C order.
        present: n flags; chunks whose flag is false are left out.
        compression: a key of `_CODECS`.
    """
    index = np.full((len(chunks), 2), _ABSENT, "<u8")
    parts: list[bytes] = []
    end = 0
    for number in np.flatnonzero(present):
        encoded = _encode(chunks[number], compression)
        index[number] = end, sum(map(len, encoded))
        end += int(index[number, 1])
        parts += encoded
    _write_whole(path, [*parts, *_with_checksum(index.tobytes())])


def _encode(chunk: np.ndarray, compression: str) -> list[bytes]:
    """Return the compressed chunk and its checksum."""
    return _with_checksum(_CODECS[compression].compress(np.ascontiguousarray(chunk)))


def _with_checksum(data: bytes) -> list[bytes]:
    """Return ``data`` and its checksum."""
    return [data, google_crc32c.value(data).to_bytes(_CRC_BYTES, "little")]


def _write_whole(path: Path, parts: Sequence[bytes]) -> None:
    """Write a file under another name and rename it, so that nobody ever sees half of it."""

    def write(draft: Path) -> None:
        with draft.open("wb") as file:
            file.writelines(parts)

    write_atomically(path, write)


def read_chunk(path: Path, out: np.ndarray, *, compression: str) -> bool:
    """Fill ``out`` from a file that holds one chunk; if there is no such file, leave it and return False.

    Args:
        path: of the file.
        out: contiguous, of the shape and dtype that were written.
        compression: a key of `_CODECS`.

    Raises:
        DamagedError: if the checksum or the size is wrong.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    _decode(data, out, compression)
    return True


def read_shard(path: Path, chunks: Sequence[int], out: np.ndarray, *, num_chunks: int, compression: str) -> list[bool]:
    """Fill ``out[i]`` with chunk ``chunks[i]`` of a shard; with NaN if the shard lacks it.

    Args:
        path: the shard's file.
        chunks: numbers of the chunks wanted, in C order of the shard's grid.
        out: (len(chunks), *chunk shape), contiguous, of the dtype that was written, a floating one.
        num_chunks: how many chunks the shard has room for.
        compression: a key of `_CODECS`.

    Returns:
        For each chunk whether it was there.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedError: if a checksum or a size is wrong.
    """
    with path.open("rb", buffering=0) as file:
        # One read for the index and one for each clip asked for: on network disks the whole shard would be far more.
        index = _read_index(file.fileno(), num_chunks)
        return list(_read_chunks(file.fileno(), index, chunks, out, compression))


def _read_chunks(
    descriptor: int, index: np.ndarray, chunks: Sequence[int], out: np.ndarray, compression: str
) -> Iterator[bool]:
    """Fill ``out`` chunk by chunk, saying of each whether it was there."""
    for place, chunk in enumerate(chunks):
        offset, size = index[chunk].tolist()
        if offset == _ABSENT:
            out[place] = np.nan
            yield False
            continue
        try:
            _decode(os.pread(descriptor, size, offset), out[place], compression)
        except DamagedError as error:
            raise DamagedError(str(error), place) from error
        yield True


def _read_index(descriptor: int, num_chunks: int) -> np.ndarray:
    """Return (num_chunks, 2) uint64, the offset and length of each chunk of a shard."""
    size = 16 * num_chunks + _CRC_BYTES  # two uint64 per chunk
    end = os.fstat(descriptor).st_size
    if end < size:
        raise DamagedError(f"the file is cut short, to {end} bytes")
    return _checked(os.pread(descriptor, size, end - size), "index").view("<u8").reshape(num_chunks, 2)


def _checked(data: bytes, what: str) -> np.ndarray:
    """Return the bytes of ``data`` without the checksum that ends it, after checking it."""
    found = np.frombuffer(data, np.uint8)
    content, checksum = found[:-_CRC_BYTES], data[-_CRC_BYTES:]
    if len(data) <= _CRC_BYTES or google_crc32c.value(content) != int.from_bytes(checksum, "little"):
        raise DamagedError(f"the checksum of its {what} is wrong")
    return content


def _decode(data: bytes, out: np.ndarray, compression: str) -> None:
    """Check and decompress one chunk into ``out``."""
    # The checksum first: it also guards the decompressors, which trust the sizes that the data state.
    content = _checked(data, "data")
    try:
        _CODECS[compression].decompress(content, out)
    except (ValueError, RuntimeError) as error:
        raise DamagedError(f"its data cannot be decompressed ({error})") from error
