"""Feature maps as arrays that may be larger than memory: streamed out of a store through dask.array."""

import math
from collections.abc import Sequence

import dask.array as da
import numpy as np
import numpy.typing as npt

from ..execution import SILENT, Progress
from .backbone_group import BackboneGroup
from .format import FEATURE_DTYPE

_BLOCK_BYTES = 32 * 2**20  # of maps that a thread holds at a time
READERS = 4


def stored_maps(
    group: BackboneGroup,
    videos: Sequence[str | int],
    *,
    clips: Sequence[int],
    block_bytes: int = _BLOCK_BYTES,
    progress: Progress = SILENT,
) -> da.Array:
    """Return the maps of view 0 as a lazy Dask array, (V, n, T', H', W', C) float16, read only by its compute.

    Args:
        group: the backbone's part of a store.
        videos: V videos that are done, by their ids or their places in the manifest.
        clips: n clip numbers, each of them due.
        block_bytes: a block holds as many videos as fit into it, at least one.
        progress: advanced by the videos that were read, from any thread; the caller begins and ends the work.
    """
    shape = (len(clips), *group.feature_shape)
    videos_per_block = max(1, block_bytes // (math.prod(shape) * FEATURE_DTYPE.itemsize))

    def read_block(block: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        maps = np.empty((len(block), *shape), FEATURE_DTYPE)
        for place, video in enumerate(block.tolist()):
            maps[place] = group.read(video, clips=clips)
        progress.advance(len(block))
        return maps

    numbers = np.array([group.index(video) for video in videos], np.int64)
    indices = da.from_array(numbers, chunks=(videos_per_block,))  # pyright: ignore[reportArgumentType] (its default)
    new_axes = list(range(1, 1 + len(shape)))
    chunks = (indices.chunks[0], *((size,) for size in shape))
    empty = np.empty((0,) * (1 + len(shape)), FEATURE_DTYPE)  # spares Dask a trial run
    return indices.map_blocks(read_block, new_axis=new_axes, chunks=chunks, dtype=FEATURE_DTYPE, meta=empty)


def pooled_features(
    group: BackboneGroup,
    videos: Sequence[str | int],
    *,
    clips: Sequence[int],
    block_bytes: int = _BLOCK_BYTES,
    progress: Progress = SILENT,
) -> npt.NDArray[np.float32]:
    """Return (V, C) float32, the mean of each video's maps over clips, time and grid, in bounded memory.

    Memory holds the result and at most `READERS` blocks of maps, however many videos there are. The arguments are those
    of `stored_maps`.

    Raises:
        StoreError: if a clip that is due is missing or damaged.
    """
    maps = stored_maps(group, videos, clips=clips, block_bytes=block_bytes, progress=progress)
    # In float32: a sum over so many positions may exceed float16's range.
    pooled = maps.mean(axis=tuple(range(1, maps.ndim - 1)), dtype=np.float32)  # (V, C)
    return pooled.compute(scheduler="threads", num_workers=READERS)
