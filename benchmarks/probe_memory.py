"""What `vidpipe probe` takes in memory and time as a store grows; prints one JSON document.

    python benchmarks/probe_memory.py --out runs/probe_memory --videos 300 1500

The stores hold made-up maps in the form of r2d_26's, 1.6 MB a video; each probe runs in a process of its own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from vidpipe.pipeline.features.format import FEATURE_DTYPE, SCORE_DTYPE, Status
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Manifest, Video
from vidpipe.pipeline.videos.clips import ClipSampling

SHAPE, NUM_CLIPS, NUM_CLASSES = (1, 7, 7, 2048), 8, 20
CLASSES = tuple(f"class {index:02}" for index in range(NUM_CLASSES))
PROVENANCE = {
    "role": "cheap",
    "backbone": "r2d_26",
    "weights_sha256": "none: the maps are made up",
    "classes": list(CLASSES),
    "preprocessing": {},
    "pattern": "all",
    "gmacs_per_clip": 3.2,
}


def main() -> None:
    """Make a store of each size, probe it, and remove it again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--videos", type=int, nargs="+", default=[300, 1500])
    own = parser.parse_args()
    own.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps([measure(own.out, num_videos) for num_videos in own.videos], indent=2))


def measure(out: Path, num_videos: int) -> dict:
    """Return what one probe took; the store is removed afterwards."""
    store, probe = out / f"{num_videos}.zarr", out / f"{num_videos}_probe"
    for path in (store, probe):
        shutil.rmtree(path, ignore_errors=True)
    num_bytes = write_store(store, num_videos)
    words = [sys.executable, "-m", "vidpipe.cli.main", "probe", f"--store={store}", f"--out={probe}", "--json"]
    began = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if child.returncode:
        raise SystemExit(child.returncode)
    shutil.rmtree(store)
    mega = {"store_mb": num_bytes / 1e6, "peak_mb": usage.ru_maxrss * 1024 / 1e6}
    return {"num_videos": num_videos, **mega, "seconds": seconds}


def write_store(path: Path, num_videos: int) -> int:
    """Write maps in which each class has a mean of its own, under noise, and return their bytes."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (1, NUM_CLIPS, *SHAPE)).astype(FEATURE_DTYPE)
    means = rng.normal(0, 0.15, (NUM_CLASSES, SHAPE[-1]))
    manifest = Manifest(tuple(_video(index) for index in range(num_videos)))
    scores = np.zeros((1, NUM_CLIPS, NUM_CLASSES), SCORE_DTYPE)
    sampling = ClipSampling(num_frames=8, num_clips=NUM_CLIPS)
    with FeatureStore.open_or_create(path, manifest=manifest, sampling=sampling) as store:
        group = store.add_backbone(
            "r2d_26",
            feature_shape=SHAPE,
            num_classes=NUM_CLASSES,
            due=[True] * NUM_CLIPS,
            provenance=PROVENANCE,
            compression="none",
        )
        for index in range(num_videos):
            own = means[index % NUM_CLASSES] + rng.normal(0, 0.5, SHAPE[-1])
            group.write(index, noise + own.astype(FEATURE_DTYPE), scores)
            group.mark(index, Status.DONE)
    return num_videos * group.raw_bytes_per_video


def _video(index: int) -> Video:
    name, split = f"v{index:06}", "test" if index // NUM_CLASSES % 5 == 0 else "train"
    label = CLASSES[index % NUM_CLASSES]
    return Video(video_id=name, path=Path(f"{name}.mp4"), labels=(label,), split=split, written_path=f"{name}.mp4")


if __name__ == "__main__":
    main()
