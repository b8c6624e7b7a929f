"""Table 3 on made-up feature maps: when does it help to keep the grid, as FAST-GRU does?

    python benchmarks/made_up_maps.py --out runs/made_up_maps

Twelve classes, each an ordered pair of four events. The first event shows before a random moment, the second after it,
in half of the clips, each time in one cell of a 3×3 grid, under noise; the first clip, the expensive one, has a tenth
of the noise. Averaged over the grid, an event is nine times weaker and the noise three times. Writes a feature store,
runs `vidpipe sweep` on it, and prints its tables. Not a result on video: a check of what the aggregators can do.
"""

import argparse
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Manifest, Video
from vidpipe.pipeline.videos.clips import ClipSampling

NUM_CLIPS, GRID, CHANNELS, NUM_EVENTS = 32, (1, 3, 3), 32, 4
NUM_TRAINING, NUM_TEST = 2400, 600
CLASSES = list(itertools.permutations(range(NUM_EVENTS), 2))
NAMES = [f"event {first} then {second}" for first, second in CLASSES]
EVENT_NORM = 4.0  # of an event's channels; the noise of each channel is 1
METHODS = "average,concat,lstm,gru,conv-gru,fast-gru-pooled,fast-gru"


def main() -> None:
    """Write the store, run the sweep and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", default="2,4,8,16,32")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    own = parser.parse_args()
    store = own.out / "features.zarr"
    write_store(store)
    words = [f"--store={store}", f"--out={own.out}/sweep", f"--aggregator={METHODS}", "--pattern=first"]
    asked = [f"--clips={own.clips}", f"--seeds={own.seeds}", f"--epochs={own.epochs}", "--learning-rate=2e-3"]
    recipe = ["--batch=32", "--val-fraction=0", "--scheduler=local", f"--workers={own.workers}"]
    command = [sys.executable, "-m", "vidpipe.cli.main", "sweep", *words, *asked, *recipe]
    subprocess.run(command, stdout=sys.stderr, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    print((own.out / "sweep" / "table3.md").read_text(encoding="utf-8"))


def write_store(path: Path) -> None:
    """Write the videos that are still missing."""
    splits = ["train"] * NUM_TRAINING + ["test"] * NUM_TEST
    videos = [video(index, split) for index, split in enumerate(splits)]
    events = np.random.default_rng(0).normal(size=(NUM_EVENTS, CHANNELS))
    events *= EVENT_NORM / np.linalg.norm(events, axis=1, keepdims=True)
    sampling = ClipSampling(num_frames=8, num_clips=NUM_CLIPS)
    with FeatureStore.open_or_create(path, manifest=Manifest(tuple(videos)), sampling=sampling) as store:
        for role in ("expensive", "cheap"):
            due = np.ones(NUM_CLIPS, bool) if role == "cheap" else Pattern.parse("first").expensive(NUM_CLIPS)
            group = store.add_backbone(
                f"{role}_made_up",
                feature_shape=(*GRID, CHANNELS),
                num_classes=len(NAMES),
                due=due,
                provenance=provenance(role),
            )
            status = group.status()
            for index in np.flatnonzero(status != Status.DONE).tolist():
                maps = clips(index, events, noise=0.1 if role == "expensive" else 1.0)
                scores = clip_scores(maps, events)
                maps[:, ~due], scores[:, ~due] = np.nan, np.nan
                group.write(index, maps.astype(np.float16), scores.astype(np.float32))
                group.mark(index, Status.DONE)


def video(index: int, split: str) -> Video:
    """Return a video that has no file; classes take turns."""
    name = f"{index:05}.mp4"
    label = NAMES[index % len(NAMES)]
    return Video(video_id=name, path=Path(name), written_path=name, labels=(label,), split=split)


def provenance(role: str) -> dict[str, object]:
    """Return what a store must know of a backbone; nothing here is real."""
    return {
        "role": role,
        "backbone": f"{role}_made_up",
        "weights_sha256": "made up",
        "classes": NAMES,
        "preprocessing": {},
        "pattern": "first" if role == "expensive" else "all",
        "gmacs_per_clip": 10.0 if role == "expensive" else 1.0,
    }


def clips(index: int, events: np.ndarray, *, noise: float) -> np.ndarray:
    """Return (1, N, T', H', W', C) maps of a video."""
    rng = np.random.default_rng((1, index))  # what happens is the same for both backbones
    switch, shown = rng.integers(4, NUM_CLIPS - 3), rng.random(NUM_CLIPS) < 0.5
    cells = rng.integers(GRID[1] * GRID[2], size=NUM_CLIPS)
    maps = noise * rng.normal(size=(NUM_CLIPS, GRID[1] * GRID[2], CHANNELS))
    for place in np.flatnonzero(shown):
        maps[place, cells[place]] += events[CLASSES[index % len(CLASSES)][int(place >= switch)]]
    return maps.reshape(1, NUM_CLIPS, *GRID, CHANNELS)


def clip_scores(maps: np.ndarray, events: np.ndarray) -> np.ndarray:
    """Return (1, N, K) logits of a matched filter: how strongly either of a class's events stands in some cell."""
    evidence = (maps @ events.T).max(axis=(2, 3, 4)) / EVENT_NORM  # (1, N, events)
    return np.stack([evidence[..., first] + evidence[..., second] for first, second in CLASSES], axis=-1)


if __name__ == "__main__":
    main()
