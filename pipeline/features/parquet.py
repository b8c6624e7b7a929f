"""Pooled features as one Parquet table, for data frames, SQL and any classifier: a row for each clip and backbone.

::

    video_id, path, split      text
    labels                     list of text
    …                          the manifest's own columns, by their names (or "column NAME" if that is one of these)
    backbone                   text
    view, clip                 int32, from 0
    start                      float64 s, where the clip begins
    features                   list of C float32: the map's mean over T', H' and W'
    scores                     list of K float32: the backbone's own scores, logits of the classes

Only clips that were computed have rows. The table's metadata "vidpipe" (JSON) holds the sampling, and all attributes of
each backbone: classes, weights, pattern.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StoreError
from ..execution import SILENT, Progress, under_way
from ..files import NOTHING_KEPT, check_free_space, remove_drafts, write_atomically
from .backbone_group import BackboneGroup
from .export_selection import ExportSelection

KIND = "vidpipe pooled features"
_ROWS = 4096  # in a group of rows: a few ten megabytes
_FLOATS = pa.list_(pa.float32())
_FIRST = {"video_id": pa.string(), "path": pa.string(), "labels": pa.list_(pa.string()), "split": pa.string()}
_LAST = {
    "backbone": pa.string(),
    "view": pa.int32(),
    "clip": pa.int32(),
    "start": pa.float64(),
    "features": _FLOATS,
    "scores": _FLOATS,
}


def export_parquet(
    chosen: ExportSelection, path: Path, *, compression: str = "none", progress: Progress = SILENT
) -> None:
    """Write the pooled features of videos of a store into one Parquet file, which appears whole or not at all.

    Args:
        chosen: what to write.
        path: of the new file.
        compression: "none" or "gzip".
        progress: advanced by each video and backbone.

    Raises:
        StoreError: if ``path`` exists, or the store is damaged.
        OutOfSpaceError: if the disk is full.
    """
    if path.exists():
        raise StoreError(f"{path} exists already. Choose another name, or remove it.")
    check_free_space(path, _bytes_at_most(chosen))
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = _schema(chosen)

    def write(draft: Path) -> None:
        rows = _rows(chosen, progress)
        total = sum(chosen.num_done.values())
        with (
            pq.ParquetWriter(draft, schema, compression=compression) as writer,
            under_way(progress, "exporting", total=total, unit="video"),
        ):
            while some := list(islice(rows, _ROWS)):
                writer.write_table(pa.Table.from_pylist(some, schema=schema))

    remove_drafts(path)
    write_atomically(path, write, advice=NOTHING_KEPT)


def _bytes_at_most(chosen: ExportSelection) -> int:
    """Return the size of the numbers, and a kilobyte a row for its texts."""
    clips = {own.name: chosen.num_done[own.name] * own.num_views * int(own.due.sum()) for own in chosen.groups}
    return sum(clips[own.name] * (4 * (own.feature_shape[-1] + own.num_classes) + 1024) for own in chosen.groups)


def _schema(chosen: ExportSelection) -> pa.Schema:
    own = {_column(name): pa.string() for name in chosen.manifest.videos.own_names}
    metadata = json.dumps({"kind": KIND, **chosen.record()}, sort_keys=True)
    return pa.schema(list((_FIRST | own | _LAST).items()), metadata={"vidpipe": metadata})


def _column(name: str) -> str:
    """Return the name of a further column of the manifest, which must not be that of one of ours."""
    return f"column {name}" if name in _FIRST or name in _LAST else name


def _rows(chosen: ExportSelection, progress: Progress) -> Iterator[dict[str, Any]]:
    starts = chosen.store.clip_starts()[chosen.indices]
    for group in chosen.groups:
        for place in chosen.done(group):
            video = chosen.manifest.videos[place]
            shared = {
                "video_id": video.video_id,
                "path": video.written_path,
                "labels": list(video.labels),
                "split": video.split,
                **{_column(name): cell for name, cell in video.columns.items()},
                "backbone": group.name,
            }
            yield from (shared | clip for clip in _clips(group, int(chosen.indices[place]), starts[place]))
            progress.advance()


def _clips(group: BackboneGroup, index: int, starts: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the columns of each clip that one video has; ``starts`` is (R, N)."""
    due = np.flatnonzero(group.due).tolist()
    for view in range(group.num_views):
        maps = group.read(index, view=view, clips=due)  # (n, T', H', W', C)
        pooled = maps.mean(axis=(1, 2, 3), dtype=np.float32)  # (n, C)
        scores = group.read_scores(index, view=view)  # (N, K)
        for own, clip in zip(pooled, due, strict=True):
            yield {
                "view": view,
                "clip": clip,
                "start": float(starts[view, clip]),
                "features": own,
                "scores": scores[clip],
            }
