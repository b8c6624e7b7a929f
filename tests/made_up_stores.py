"""Small feature stores of made-up maps, in which a class is told by the order of two events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import EXTENDING, FeatureStore
from vidpipe.pipeline.manifests.manifest import Manifest, Video
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.reading import Reading

SHAPE = (1, 2, 2, 8)
GMACS = {"expensive": 10.0, "cheap": 1.0}
NAMES = {"expensive": "big", "cheap": "small"}


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """What a store is to hold; the defaults make a good one."""

    num_training: int = 60
    num_test: int = 20
    classes: tuple[str, ...] = ("high then low", "low then high")
    num_clips: int = 8
    views: int = 1
    pattern: str | None = "1:3"  # None: no expensive backbone
    cheap: bool = True
    shapes: dict[str, tuple[int, int, int, int]] | None = None
    weights: str = "w"
    backbone_classes: tuple[str, ...] | None = None
    failed: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    labels: dict[int, tuple[str, ...]] | None = None
    seed: int = 0
    reading: Reading = field(default_factory=Reading)
    engine: dict[str, Any] | None = None  # of the provenance; None: it says nothing of one


def make_store(path: Path, wanted: MadeUp = MadeUp()) -> Path:
    """Write a store and return its path; classes take turns over the videos, the training ones before the test's."""
    sampling = ClipSampling(num_frames=8, num_clips=wanted.num_clips, views=wanted.views, reading=wanted.reading)
    manifest = Manifest(tuple(_video(i, wanted) for i in range(wanted.num_training + wanted.num_test)))
    roles = (["expensive"] if wanted.pattern else []) + (["cheap"] if wanted.cheap else [])
    with FeatureStore.open_or_create(path, manifest=manifest, sampling=sampling) as store:
        for role in roles:
            _fill(store, role, wanted)
    return path


def take_over(path: Path, change: Callable[[list[Video]], object]) -> None:
    """Give a store another manifest: its videos, changed."""
    with FeatureStore.open_to_coordinate(path) as store:
        videos = list(store.manifest.videos)
        change(videos)
        store.take_over(Manifest(tuple(videos)), rules=EXTENDING)


def _video(index: int, wanted: MadeUp) -> Video:
    labels = (wanted.labels or {}).get(index, (wanted.classes[index % len(wanted.classes)],))
    split = "train" if index < wanted.num_training else "test"
    name = f"v{index:03}.mp4"
    return Video(video_id=f"v{index:03}", path=Path(name), written_path=name, labels=labels, split=split)


def _fill(store: FeatureStore, role: str, wanted: MadeUp) -> None:
    due = np.ones(wanted.num_clips, bool)
    if role == "expensive":
        due = Pattern.parse(wanted.pattern or "").expensive(wanted.num_clips)
    shape = (wanted.shapes or {}).get(role, SHAPE)
    classes = wanted.backbone_classes or wanted.classes
    group = store.add_backbone(
        NAMES[role],
        feature_shape=shape,
        num_classes=len(classes),
        due=due,
        provenance=_provenance(role, wanted, classes),
    )
    for index, video in enumerate(store.manifest.videos):
        if index in wanted.failed:
            group.mark(index, Status.FAILED, "no video stream")
        elif index not in wanted.pending:
            seed = [wanted.seed, index, role == "cheap"]
            maps, scores = _clips(wanted.classes.index(video.labels[0]), shape, len(classes), wanted, seed)
            maps[:, ~due], scores[:, ~due] = np.nan, np.nan
            group.write(index, maps, scores)
            group.mark(index, Status.DONE)


def _provenance(role: str, wanted: MadeUp, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "role": role,
        "backbone": NAMES[role],
        "weights_sha256": f"{wanted.weights} of {NAMES[role]}",
        "classes": list(classes),
        "preprocessing": {"crop": 64},
        "pattern": wanted.pattern if role == "expensive" else "all",
        "gmacs_per_clip": GMACS[role],
        **({"engine": wanted.engine} if wanted.engine else {}),
    }


def _clips(
    target: int, shape: tuple[int, ...], num_classes: int, wanted: MadeUp, seed: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (R, N, T', H', W', C) maps and (R, N, K) scores: channel 0 is high in one half of the video, channel 1 in
    the other; which comes first is the class (of the first two), and single clips say nothing of it."""
    rng = np.random.default_rng(seed)
    maps = np.abs(rng.normal(0, 0.3, (wanted.views, wanted.num_clips, *shape)))
    half = wanted.num_clips // 2
    first = target % 2
    maps[:, :half, ..., first] += 1.5
    maps[:, half:, ..., 1 - first] += 1.5
    scores = rng.normal(0, 1, (wanted.views, wanted.num_clips, num_classes))
    return maps.astype(np.float16), scores.astype(np.float32)
