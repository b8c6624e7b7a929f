"""Read single clips straight from the files that Zarr writes: it takes a millisecond to find a chunk, this takes none.

Only reading, and only the codecs that `store_format` sets; a test holds it against Zarr's own reader.

Source: Zarr v3 specification, codecs `sharding_indexed` (index at the end), `crc32c`, `bytes`; `zstd`, `blosc`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs import blosc, zstd  # pyright: ignore[reportAttributeAccessIssue]

CRC_BYTES = 4
ABSENT = np.iinfo(np.uint64).max  # offset and length of a chunk that was never written

# Name of a compression -> what puts the decompressed bytes into an array.
DECODERS: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
    "zstd": zstd.decompress,
    "lz4": blosc.decompress,
    "none": lambda data, out: np.copyto(out, data.view(out.dtype).reshape(out.shape)),
}


class DamagedError(Exception):
    """Bytes that are not those that were written.

    Args:
        reason: what is wrong with them.
        place: which of the chunks asked for is damaged; None if all are.
    """

    def __init__(self, reason: str, place: int | None = None):
        super().__init__(reason)
        self.place = place


def read_chunk(path: Path, out: np.ndarray, *, compression: str) -> bool:
    """Fill ``out`` from a file that holds one chunk; return False, leaving it, if there is no such file.

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
    """Fill ``out[i]`` with chunk ``chunks[i]`` of a shard; NaN if the shard does not have it.

    Args:
        path: the shard's file.
        chunks: numbers of the chunks wanted, in C order of the shard's grid.
        out: (len(chunks), *chunk shape), contiguous.
        num_chunks: how many chunks the shard has room for.
        compression: a key of `DECODERS`.

    Returns:
        For each chunk whether it was there.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedError: if a checksum or a size is wrong.
    """
    with path.open("rb", buffering=0) as file:
        index = _read_index(file.fileno(), num_chunks)
        return list(_read_chunks(file.fileno(), index, chunks, out, compression))


def _read_chunks(
    descriptor: int, index: np.ndarray, chunks: Sequence[int], out: np.ndarray, compression: str
) -> Iterator[bool]:
    """Fill ``out`` chunk by chunk, saying of each whether it was there."""
    for place, chunk in enumerate(chunks):
        offset, size = index[chunk].tolist()
        if offset == ABSENT:
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
    size = 16 * num_chunks + CRC_BYTES
    end = os.fstat(descriptor).st_size
    if end < size:
        raise DamagedError(f"the file is cut short, to {end} bytes")
    return _checked(os.pread(descriptor, size, end - size), "index").view("<u8").reshape(num_chunks, 2)


def _checked(data: bytes, what: str) -> np.ndarray:
    """Return the bytes of ``data`` without the checksum that ends it, after checking it."""
    found = np.frombuffer(data, np.uint8)
    content, checksum = found[:-CRC_BYTES], data[-CRC_BYTES:]
    if len(data) <= CRC_BYTES or google_crc32c.value(content) != int.from_bytes(checksum, "little"):
        raise DamagedError(f"the checksum of its {what} is wrong")
    return content


def _decode(data: bytes, out: np.ndarray, compression: str) -> None:
    """Check and decompress one chunk into ``out``."""
    content = _checked(data, "data")
    try:
        DECODERS[compression](content, out)
    except (ValueError, RuntimeError) as error:
        raise DamagedError(f"its data cannot be decompressed ({error})") from error
