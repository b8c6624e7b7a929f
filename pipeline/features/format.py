"""How a feature store is laid out on disk: arrays, codecs, attributes and sizes."""

import json
import math
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from ..errors import StoreError
from ..settings import differing
from .shards import LZ4_LEVEL, ZSTD_LEVEL

FORMAT_VERSION = 2
READABLE_FORMATS = (1, 2)  # 1: no column `place`; files of small arrays may hold fewer rows
VIDEOS_PER_CHUNK = 1024  # of arrays with a small entry per video: a million videos make a thousand files
# Names of axes, in the arrays' metadata. Stores from before they were kept lack them, and are read all the same.
VIDEOS = ("video",)
CLIPS = (*VIDEOS, "view", "clip")
MAP = ("time", "height", "width", "channel")
FEATURE_DTYPE, SCORE_DTYPE = np.dtype("<f2"), np.dtype("<f4")
_CHECKSUM: dict[str, Any] = {"name": "crc32c"}
# The level was measured: higher ones are slower and no smaller on maps of which two thirds are zero. Zstandard's own
# checksum is off, since every chunk has a crc32c anyway. Two bytes a number is what Blosc needs to know to shuffle.
COMPRESSIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "zstd": ({"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},),
    "lz4": (
        {
            "name": "blosc",
            "configuration": {"cname": "lz4", "clevel": LZ4_LEVEL, "shuffle": "shuffle", "typesize": 2, "blocksize": 0},
        },
    ),
    "none": (),
}
SMALL_COMPRESSION = "zstd"  # of everything else
_NOTHING = "nothing"  # what a difference calls a field that is not there


class Status(IntEnum):
    """What became of a video, for one backbone; the numbers are those of the array `status`.

    Partly: it was done, and then a further pattern made more clips due, which it lacks (`BackboneGroup.extend`). Partly
    failed: these could not be computed; it keeps those that it has.
    """

    PENDING = 0
    DONE = 1
    FAILED = 2
    PARTLY = 3
    PARTLY_FAILED = 4


FAILURES = (Status.FAILED, Status.PARTLY_FAILED)
PARTIAL = (Status.PARTLY, Status.PARTLY_FAILED)


def canonical(value: Any) -> Any:
    """Return ``value`` as plain JSON types, mappings sorted by key, so that equal attributes are equal bytes.

    Raises:
        TypeError: if ``value`` holds something that JSON cannot express.
        ValueError: if it holds a NaN or an infinity, which JSON lacks.
    """
    return json.loads(json.dumps(value, sort_keys=True, allow_nan=False))


def differences(stored: Any, wanted: Any) -> list[str]:
    """Name each field in which two attribute trees differ, as ``dotted.path: stored X, now Y``."""
    found = sorted(differing(stored, wanted, absent=_NOTHING), key=lambda one: one[0].split("."))
    return [f"{name}: stored {_brief(old)}, now {_brief(new)}" for name, old, new in found]


def _brief(value: Any, longest: int = 80) -> str:
    """Return ``value`` as JSON, cut in the middle when it is long."""
    text = value if value == _NOTHING else json.dumps(value)
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"


def create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    dtype: Any,
    fill: Any,
    dims: tuple[str, ...],
    shard: tuple[int, ...] | None = None,
    compression: str = SMALL_COMPRESSION,
) -> zarr.Array:
    """Create one checksummed array; its chunks are files such as ``c.0.0``, all in one folder.

    ``dims`` names its axes, for xarray and others.
    """
    return group.create_array(
        name,
        shape=shape,
        chunks=chunk,
        shards=shard,
        dtype=dtype,
        fill_value=fill,
        compressors=[*COMPRESSIONS[compression], _CHECKSUM],
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=dims,
    )


def create_clip_starts(group: zarr.Group, clips: tuple[int, int, int]) -> None:
    """Create `clip_start` (V, R, N) float64, filled with NaN, for ``clips`` = (V, R, N)."""
    chunk = (VIDEOS_PER_CHUNK, *clips[1:])
    create_array(group, "clip_start", shape=clips, chunk=chunk, dtype="<f8", fill=float("nan"), dims=CLIPS)


def create_backbone_arrays(group: zarr.Group, clips: tuple[int, int, int], attributes: dict[str, Any]) -> None:
    """Create the arrays of one backbone, all still empty, for ``clips`` = (V, R, N)."""
    # A chunk per clip, so that a few clips can be read without decoding the others; a shard (one file) per video, so
    # that a task writes a file of its own and there are not millions of small ones.
    num_videos, *of_video = clips
    rows = VIDEOS_PER_CHUNK  # even if there are fewer, so that a store that grows stays as if made at once
    maps, nan = attributes["feature_shape"], float("nan")
    create_array(
        group,
        "features",
        shape=(*clips, *maps),
        chunk=(1, 1, 1, *maps),
        shard=(1, *of_video, *maps),
        dtype=FEATURE_DTYPE,
        fill=nan,
        dims=(*CLIPS, *MAP),
        compression=attributes["compression"],
    )
    num_classes = attributes["num_classes"]
    scores, scores_of_video = (*clips, num_classes), (1, *of_video, num_classes)
    dims = (*CLIPS, "class")
    create_array(group, "scores", shape=scores, chunk=scores_of_video, dtype=SCORE_DTYPE, fill=nan, dims=dims)
    create_array(group, "status", shape=(num_videos,), chunk=(rows,), dtype="int8", fill=0, dims=VIDEOS)
    create_array(group, "error", shape=(num_videos,), chunk=(rows,), dtype=str, fill="", dims=VIDEOS)


def new_group(path: Path, *, attributes: dict[str, Any]) -> zarr.Group:
    """Make a Zarr v3 group at ``path``; only this and `open_group` know on what kind of storage it lies."""
    return zarr.create_group(LocalStore(path), zarr_format=3, attributes=attributes)


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
        # Without consolidated metadata, which would go stale when another process adds a backbone.
        return zarr.open_group(store, mode="r+" if writable else "r", zarr_format=3, use_consolidated=False)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise StoreError(f"The metadata of {path} cannot be read ({error}). Restore {path / 'zarr.json'}.") from error


def open_array(group: zarr.Group, path: Path, name: str) -> zarr.Array:
    """Open the array ``name`` of the group at ``path``.

    Raises:
        StoreError: if it is missing, or its metadata cannot be read.
    """
    try:
        array = group[name]
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path} lacks a readable array '{name}' ({error}): the store is damaged.") from error
    assert isinstance(array, zarr.Array)
    return array


def read_array(array: zarr.Array, selection: Any = ...) -> np.ndarray:
    """Return part of an array, by default all of it, in its own dtype; the shape is that of the selection.

    Raises:
        StoreError: if its file is damaged.
    """
    try:
        return np.asarray(array[selection])
    except (ValueError, RuntimeError, IndexError) as error:
        raise StoreError(f"'{array.path}' of {array.store_path.store} is damaged: {error}") from error


def read_rows(array: zarr.Array, num_rows: int, rows: Any = ...) -> np.ndarray:
    """Return rows of an array (V, ...), as if it had ``num_rows``: those that it lacks are its fill value.

    A store's arrays are lengthened one after the other once its table of videos has grown, so that one of them may be
    shorter than the table for a moment, or until a killed extension goes on; or longer, for a reader from before.

    Raises:
        StoreError: if its file is damaged.
    """
    if isinstance(rows, int):  # a lone one costs the reading of its own file, not of all
        is_there = rows < min(num_rows, array.shape[0])
        return read_array(array, rows) if is_there else np.full(array.shape[1:], array.fill_value, array.dtype)
    there = read_array(array, slice(0, num_rows))
    if len(there) < num_rows:
        missing = np.full((num_rows - len(there), *array.shape[1:]), array.fill_value, there.dtype)
        there = np.concatenate([there, missing])
    return there[rows]


def read_picked(array: zarr.Array, rows: np.ndarray) -> np.ndarray:
    """Return (n, ...), the n ``rows`` of an array, reading each of its files once.

    Raises:
        StoreError: if a file is damaged.
    """
    step = array.chunks[0]
    found = np.empty((len(rows), *array.shape[1:]), array.dtype)
    for chunk in np.unique(rows // step).tolist():
        own = rows // step == chunk
        part = read_array(array, slice(chunk * step, min((chunk + 1) * step, array.shape[0])))
        found[own] = part[rows[own] - chunk * step]
    return found


def resize(array: zarr.Array, num_rows: int) -> None:
    """Make an array (V, ...) as long as ``num_rows``; its files stay as they are."""
    if array.shape[0] != num_rows:
        array.resize((num_rows, *array.shape[1:]))


def write_changed(array: zarr.Array, values: np.ndarray) -> None:
    """Write ``values`` (V, ...) over all of an array, leaving alone the files in which nothing changes."""
    before, step = np.asarray(array[...]), array.chunks[0]  # at once: Zarr reads files side by side
    for start in range(0, len(values), step):
        part = slice(start, min(start + step, len(values)))
        if not same(before[part], values[part]):
            array[part] = values[part]


def write_rows(array: zarr.Array, rows: np.ndarray, values: np.ndarray) -> None:
    """Write ``values`` (n, ...) into the n ``rows`` of an array, each of its files once, if anything changes in it."""
    step = array.chunks[0]
    for chunk in np.unique(rows // step).tolist():
        part, own = slice(chunk * step, min((chunk + 1) * step, array.shape[0])), rows // step == chunk
        before = read_array(array, part)
        after = before.copy()
        after[rows[own] - chunk * step] = values[own]
        if not same(before, after):
            array[part] = after


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays of one shape are equal, NaN being equal to NaN."""
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


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
        due: (N,) flags, whether this backbone computes the clip.
        feature_shape: (T', H', W', C) of one clip.
        num_classes: K.

    Returns:
        An upper bound, in bytes, with checksums, shard indices and one partly filled disk block per file.
    """
    block = 4096  # bytes, of most file systems
    clip = _compressed_bound(math.prod(feature_shape) * FEATURE_DTYPE.itemsize)
    # The index of a shard: two 8-byte numbers per chunk, due or not, and a checksum of 4 bytes.
    shard = num_views * (sum(due) * clip + 16 * len(due)) + 4
    scores = _compressed_bound(num_views * len(due) * num_classes * SCORE_DTYPE.itemsize)
    return num_videos * (shard + scores + 2 * block)


def index_bytes(*, num_videos: int, num_views: int, num_clips: int) -> int:
    """Return how many bytes a store takes at most beside its features: ids, paths, clip starts, states."""
    typical_row = 1024  # id, path, labels and the reason of a failure
    return num_videos * (typical_row + 8 * num_views * num_clips) + 64 * 4096


def _compressed_bound(size: int) -> int:
    """Return the largest that zstd or lz4 can make ``size`` bytes, with the checksum."""
    # LZ4 adds at most size / 255 + 16 bytes and Blosc's header, zstd size / 256 and at most 64; four are the checksum.
    return size + size // 255 + 64 + 4
