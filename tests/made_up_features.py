"""A small store whose maps are made up, of videos with awkward names; one of them fails."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidpipe.pipeline.features.backbone_group import BackboneGroup
from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Manifest, Video
from vidpipe.pipeline.videos.clips import ClipSampling

SHAPE, NUM_CLASSES = (1, 2, 2, 3), 3
SAMPLING = ClipSampling(num_frames=4, num_clips=4, views=2)
DUE = (True, False, False, True)
PROVENANCE = {"role": "expensive", "weights_sha256": "ab12", "preprocessing": {"crop": 64, "mean": [0.4, 0.5, 0.6]}}


def make_manifest(num_videos: int = 5) -> Manifest:
    ids = ["jump/ä 1", "jump/2", "wave/漢字"] + [f"wave/{i}" for i in range(3, num_videos)]
    return Manifest(
        tuple(
            Video(
                video_id=video_id,
                path=Path(f"{video_id}.mp4"),
                written_path=f"{video_id}.mp4",
                labels=("jump", "two feet") if i == 0 else (video_id.split("/")[0],),
                split="test" if i % 2 else "train",
                start=None if i == 1 else 0.1 * i,
                end=1.5 if i == 2 else None,
            )
            for i, video_id in enumerate(ids[:num_videos])
        )
    )


def clips_of(index: int, *, due: Sequence[bool] = DUE, views: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps (R, N, T', H', W', C) and scores (R, N, K) of a video, as any run would compute them."""
    rng = np.random.default_rng(index)
    maps = np.maximum(rng.normal(size=(views, len(due), *SHAPE)), 0).astype(np.float16)
    scores = rng.normal(size=(views, len(due), NUM_CLASSES)).astype(np.float32)
    maps[:, ~np.array(due)], scores[:, ~np.array(due)] = np.nan, np.nan
    return maps, scores


def add(store: FeatureStore, name: str = "r2d_26", **changes) -> BackboneGroup:
    wanted = {"feature_shape": SHAPE, "num_classes": NUM_CLASSES, "due": DUE, "provenance": PROVENANCE}
    return store.add_backbone(name, **{**wanted, **changes})


def extract(store: FeatureStore, group: BackboneGroup, indices: Sequence[int]) -> None:
    """Do what an extraction does, for some videos; video 3 fails."""
    for index in indices:
        if index == 3:
            group.mark(index, Status.FAILED, "no video stream")
            continue
        group.write(index, *clips_of(index))
        store.set_clip_starts({index: np.arange(8.0).reshape(2, 4) + index})
        group.mark(index, Status.DONE)


def make_store(path: Path, *, order: Sequence[int] | None = None) -> Path:
    """Run the same command until it is done: open or create, then do what is pending, in any order."""
    with FeatureStore.open_or_create(path, manifest=make_manifest(), sampling=SAMPLING) as store:
        group = add(store)
        pending = group.pending().tolist()
        extract(store, group, pending if order is None else [index for index in order if index in pending])
    return path


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
