"""Which videos of a store belong to a split: as its manifest says, or as another one does, such as UCF-101's second."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ManifestError
from ..manifests.manifest import Manifest, read_manifest

Splits = Mapping[str, str]  # video id -> split


def read_splits(path: Path, *, of: Manifest) -> Splits:
    """Return id -> split from the manifest at ``path``, whose videos must all be among those of the manifest ``of``.

    So features need extracting only once, and every split of a benchmark is trained and scored on the same store.

    Raises:
        ManifestError: if it cannot be read, lists videos that the other lacks, or gives one other labels.
    """
    known = {video.video_id: video.labels for video in of.videos}
    listed = read_manifest(path).videos
    unknown = [video.video_id for video in listed if video.video_id not in known]
    if unknown:
        raise ManifestError(
            f"{path} lists {len(unknown)} videos that the store does not hold, such as {unknown[0]!r}; extract them "
            "too, or leave them out"
        )
    other = next((video for video in listed if video.labels != known[video.video_id]), None)
    if other is not None:
        raise ManifestError(
            f"{path} labels {other.video_id!r} {'|'.join(other.labels)!r}, but the store has it as "
            f"{'|'.join(known[other.video_id])!r}; splits may differ, labels may not"
        )
    return {video.video_id: video.split for video in listed}


def digest(splits: Splits) -> str:
    """Return the sha256 (hex) of which video belongs to which split."""
    return hashlib.sha256(json.dumps(sorted(splits.items())).encode("ascii")).hexdigest()


def videos_of_split(manifest: Manifest, split: str, *, splits: Splits | None = None) -> npt.NDArray[np.int64]:
    """Return (n,) int64, the indices of the videos of ``split``, ascending.

    Args:
        manifest: the videos.
        split: its name.
        splits: id -> split, in place of the manifest's own; a video that is not in it belongs to none.

    Raises:
        ManifestError: if it has no video; the message lists the splits that there are.
    """
    names = [video.split if splits is None else splits.get(video.video_id) for video in manifest.videos]
    found = np.flatnonzero([name == split for name in names])
    if not len(found):
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(Counter(filter(None, names)).items()))
        raise ManifestError(f"the manifest has no split {split!r}; it has: {listed or 'none'}")
    return found
