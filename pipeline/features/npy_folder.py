"""Feature stores as a folder of ``.npy`` files, one for each video and backbone, as many programs read features.

::

    features/
      store.json                          sampling, and all attributes of each backbone: classes, weights, pattern, …
      videos.jsonl                        a line a video: video_id, path, labels, split, start, end, columns (the
                                          manifest's own), file, clip_start, and status (backbone -> done, failed, …)
      <backbone>/features/<file>.npy      (N, T', H', W', C) float16; NaN where a clip was not due
      <backbone>/scores/<file>.npy        (N, K) float32, the backbone's own scores

With R > 1 views, arrays have one more axis in front: (R, N, ...). Only videos that are done have files. The file of an
id is `file_name` of it: ``jump/a`` is ``jump/a.npy``.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..execution import SILENT, Progress, under_way
from ..files import NOTHING_KEPT, appearing_whole, check_free_space, disk_full_explained
from .backbone_group import BackboneGroup
from .export_selection import ExportSelection
from .file_names import file_name
from .format import FEATURE_DTYPE, PARTIAL, SCORE_DTYPE, Status

_BLOCK = 4096  # bytes, of most file systems, beside each file's header


def export_npy(chosen: ExportSelection, path: Path, *, progress: Progress = SILENT) -> None:
    """Write videos of a store as a folder of arrays, which appears whole or not at all.

    Args:
        chosen: what to write.
        path: of the new folder.
        progress: advanced by each video.

    Raises:
        StoreError: if ``path`` exists, the store is damaged, or two ids need one file.
        OutOfSpaceError: if the disk is full.
    """
    if path.exists():
        raise StoreError(f"{path} exists already. Choose another name, or remove it.")
    check_free_space(path, sum(chosen.num_done[own.name] * _bytes_a_video(own) for own in chosen.groups))
    with disk_full_explained(path, advice=NOTHING_KEPT), appearing_whole(path) as draft:
        (draft / "store.json").write_text(json.dumps(chosen.record(), indent=1, sort_keys=True), encoding="utf-8")
        _write_videos(chosen, draft, progress)


def _bytes_a_video(group: BackboneGroup) -> int:
    """Return the size of a video's two files; clips that are not due take space too."""
    of_scores = math.prod(group.scores.shape[1:]) * SCORE_DTYPE.itemsize
    return math.prod(group.features.shape[1:]) * FEATURE_DTYPE.itemsize + of_scores + 2 * _BLOCK


def _write_videos(chosen: ExportSelection, folder: Path, progress: Progress) -> None:
    starts = chosen.store.clip_starts()[chosen.indices]
    with (
        (folder / "videos.jsonl").open("w", encoding="utf-8") as lines,
        under_way(progress, "exporting", total=len(chosen.manifest), unit="video"),
    ):
        for place, video in enumerate(chosen.manifest.videos):
            name = file_name(video.video_id)
            states = {own.name: _state(chosen, own, place) for own in chosen.groups}
            line: dict[str, Any] = {
                "video_id": video.video_id,
                "path": video.written_path,
                "labels": list(video.labels),
                "split": video.split,
                "start": video.start,
                "end": video.end,
                "columns": dict(video.columns),
                "file": str(name),
                "clip_start": _without_single_view(starts[place]).tolist()
                if np.isfinite(starts[place]).all()
                else None,
                "status": states,
            }
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            for own in chosen.groups:
                if states[own.name] == Status.DONE.name.lower():
                    _write_arrays(own, int(chosen.indices[place]), folder / own.name, name=str(name))
            progress.advance()


def _state(chosen: ExportSelection, group: BackboneGroup, place: int) -> str:
    status = Status(int(chosen.statuses[group.name][place]))
    return (Status.PENDING if status in PARTIAL else status).name.lower()


def _write_arrays(group: BackboneGroup, index: int, folder: Path, *, name: str) -> None:
    """Write one video's maps and scores.

    Raises:
        StoreError: if their file is there already, or the store is damaged.
    """
    views = range(group.num_views)
    for kind, read in (("features", group.read), ("scores", group.read_scores)):
        path = folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = _without_single_view(np.stack([read(index, view=view) for view in views]))
        try:
            with path.open("xb") as file:
                np.save(file, array, allow_pickle=False)
        except FileExistsError as error:
            raise StoreError(
                f"two ids need the file {kind}/{name} on this file system, which does not tell capital letters or "
                "forms of accents apart. Export to another one, or as .h5."
            ) from error


def _without_single_view(array: np.ndarray) -> np.ndarray:
    """Return (R, N, ...) as (N, ...) if R is 1."""
    return array[0] if len(array) == 1 else array
