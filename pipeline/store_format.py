"""How a feature store is laid out on disk: arrays, codecs, attributes and sizes."""

import contextlib
import errno
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from .errors import OutOfSpaceError, StoreError

FORMAT_VERSION = 1
VIDEOS_PER_CHUNK = 1024  # arrays with a small entry a video: a million videos are a thousand files
FEATURE_DTYPE, SCORE_DTYPE = np.dtype("<f2"), np.dtype("<f4")
CHECKSUM = {"name": "crc32c"}
# The level is the measured optimum: higher ones are slower and no smaller on maps of which two thirds are zero.
COMPRESSIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "zstd": ({"name": "zstd", "configuration": {"level": 1, "checksum": False}},),
    "lz4": (
        {
            "name": "blosc",
            "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 2, "blocksize": 0},
        },
    ),
    "none": (),
}
DEFAULT_COMPRESSION = "zstd"


class Status(IntEnum):
    """What became of a video, for one backbone; the numbers are those in the array `status`."""

    PENDING = 0
    DONE = 1
    FAILED = 2


def canonical(value: Any) -> Any:
    """Return ``value`` as plain JSON types, mappings sorted by key, so that equal attributes are equal bytes.

    Raises:
        TypeError: if ``value`` holds something that JSON has no word for.
        ValueError: if it holds a NaN or an infinity, which JSON cannot say.
    """
    return json.loads(json.dumps(value, sort_keys=True, allow_nan=False))


def differences(stored: Any, wanted: Any, at: str = "") -> list[str]:
    """Name each field in which two attribute trees differ, as ``dotted.path: stored X, now Y``."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        found: list[str] = []
        for key in sorted(stored.keys() | wanted.keys()):
            path = f"{at}.{key}" if at else str(key)
            found += differences(stored.get(key, "nothing"), wanted.get(key, "nothing"), path)
        return found
    return [] if stored == wanted else [f"{at}: stored {_brief(stored)}, now {_brief(wanted)}"]


def _brief(value: Any, longest: int = 80) -> str:
    """Return ``value`` as JSON, cut in the middle when it is long."""
    text = value if value == "nothing" else json.dumps(value)
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"


def create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: Any,
    fill: Any,
    shard: tuple[int, ...] | None = None,
    compression: str = DEFAULT_COMPRESSION,
) -> None:
    """Create one checksummed array; its chunks are files ``c.0.0``, all in one folder."""
    group.create_array(
        name,
        shape=shape,
        chunks=chunk,
        shards=shard,
        dtype=dtype,
        fill_value=fill,
        compressors=[*COMPRESSIONS[compression], CHECKSUM],
        chunk_key_encoding={"name": "default", "separator": "."},
    )


def open_group(path: Path, *, writable: bool) -> zarr.Group:
    """Open the Zarr v3 group at ``path``, without looking for its members.

    Raises:
        StoreError: if there is none, or its metadata cannot be read.
    """
    if not (path / "zarr.json").is_file():
        found = "nothing" if not path.exists() else "something that is no Zarr v3 group"
        raise StoreError(f"No feature store at {path}: found {found}. Make one with `vidpipe extract`.")
    try:
        store = LocalStore(path, read_only=not writable)
        return zarr.open_group(store, mode="r+" if writable else "r", zarr_format=3, use_consolidated=False)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise StoreError(f"The metadata of {path} cannot be read ({error}). Restore {path / 'zarr.json'}.") from error


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn "disk full" and "quota exceeded" inside the block into an error that says what to do.

    Raises:
        OutOfSpaceError: in their place.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfSpaceError(
            f"No space left for {path} ({error.strerror}). The store is intact: free some space, "
            "and the same command goes on from there."
        ) from error


def backbone_bytes(
    *,
    num_videos: int,
    num_views: int,
    due: Sequence[bool],
    feature_shape: tuple[int, int, int, int],
    num_classes: int,
) -> int:
    """Return how many bytes one backbone's part of a store takes at most: raw size, as if nothing compressed.

    Args:
        num_videos: how many videos are still to be written.
        num_views: R, the draws of clips from each.
        due: (N,), whether this backbone computes the clip.
        feature_shape: (T', H', W', C) of one clip.
        num_classes: K.

    Returns:
        Bytes, an upper bound that counts checksums, shard indices and a part-filled disk block a file.
    """
    block = 4096
    clip = _compressed_bound(math.prod(feature_shape) * FEATURE_DTYPE.itemsize)
    shard = num_views * (sum(due) * clip + 16 * len(due)) + 4
    scores = _compressed_bound(num_views * len(due) * num_classes * SCORE_DTYPE.itemsize)
    return num_videos * (shard + scores + 2 * block)


def index_bytes(*, num_videos: int, num_views: int, num_clips: int) -> int:
    """Return at most how many bytes a store takes beside its features: ids, paths, clip starts, states."""
    typical_row = 1024  # id, path, labels and the reason of a failure
    return num_videos * (typical_row + 8 * num_views * num_clips) + 64 * 4096


def _compressed_bound(size: int) -> int:
    """Return the largest that zstd or lz4 can make ``size`` bytes, with the checksum."""
    return size + size // 255 + 64 + 4


def check_free_space(path: Path, needed_bytes: int) -> int:
    """Return the bytes free on the disk that ``path`` is, or will be, on.

    Raises:
        OutOfSpaceError: if fewer than ``needed_bytes`` are free.
    """
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed_bytes > free:
        raise OutOfSpaceError(
            f"{path} needs up to {needed_bytes / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free on its disk. Free some "
            "space, choose another disk, fewer clips, or a pattern with fewer expensive clips."
        )
    return free
