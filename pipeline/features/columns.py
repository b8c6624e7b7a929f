"""A manifest as columns of a feature store, so that later stages need the store alone."""

from pathlib import Path

import numpy as np
import zarr

from ..manifests.manifest import Manifest, Video
from .format import VIDEOS_PER_CHUNK, create_array, open_array, read_array

LABEL_SEPARATOR = "|"  # as in a manifest's file, where no label can contain it
_TEXT_COLUMNS = ("video_id", "path", "labels", "split")


def write_columns(group: zarr.Group, manifest: Manifest) -> None:
    """Write a manifest into a new group: text columns (V,), and `interval` (V, 2) float64 s, NaN for None."""
    num_videos = len(manifest)
    rows = min(VIDEOS_PER_CHUNK, num_videos)
    texts = zip(*(_texts(video) for video in manifest.videos), strict=True)
    for name, column in zip(_TEXT_COLUMNS, texts, strict=True):
        create_array(group, name, shape=(num_videos,), chunk=(rows,), dtype=str, fill="")[:] = np.array(column, object)
    intervals = [[np.nan if edge is None else edge for edge in (video.start, video.end)] for video in manifest.videos]
    shape, chunk = (num_videos, 2), (rows, 2)
    create_array(group, "interval", shape=shape, chunk=chunk, dtype="<f8", fill=np.nan)[:] = np.array(intervals)


def read_columns(group: zarr.Group, path: Path) -> Manifest:
    """Return the manifest of the group at ``path``; its videos' paths are as written, not resolved.

    Raises:
        StoreError: if a column is missing or damaged.
    """
    columns = (map(str, read_array(open_array(group, path, name))) for name in _TEXT_COLUMNS)
    intervals = read_array(open_array(group, path, "interval"))
    return Manifest(tuple(_video(*row) for row in zip(*columns, intervals, strict=True)))


def manifest_differences(stored: Manifest, wanted: Manifest, most: int = 5) -> list[str]:
    """Name the first few fields in which two manifests differ, video by video."""
    found: list[str] = []
    for old, new in zip(stored.videos, wanted.videos, strict=False):
        for field in ("video_id", "written_path", "labels", "split", "start", "end"):
            before, after = getattr(old, field), getattr(new, field)
            if before != after:
                found.append(f"manifest, video '{old.video_id}', {field}: stored {before!r}, now {after!r}")
        if len(found) >= most:
            break
    return found[:most]


def _texts(video: Video) -> tuple[str, str, str, str]:
    """Return a video's entries in the text columns."""
    return video.video_id, video.written_path, LABEL_SEPARATOR.join(video.labels), video.split


def _video(video_id: str, written_path: str, labels: str, split: str, interval: np.ndarray) -> Video:
    """Return the video of one row."""
    start, end = (None if np.isnan(edge) else float(edge) for edge in interval)
    return Video(
        video_id=video_id,
        path=Path(written_path),
        written_path=written_path,
        labels=tuple(labels.split(LABEL_SEPARATOR)) if labels else (),
        split=split,
        start=start,
        end=end,
    )
