"""What a long manifest costs before and while nothing is decoded: one JSON document.

The manifest lists files that are not there, so that all the time is vidpipe's own: reading the manifest, planning,
making the store, and recording failures.

    python benchmarks/million_rows.py --rows 1000000 --failures 20000
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, save_weights
from vidpipe.pipeline.videos.preprocessing import Preprocessing

_BACKBONE = "r2d_14_w16"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the manifest for the dry run")
    parser.add_argument("--failures", type=int, default=20_000, help="rows of the manifest that is extracted")
    parser.add_argument("--vidpipe", default=f"{sys.executable} -m vidpipe.cli.main", help="the command to measure")
    own = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measure(Path(folder), own.rows, own.failures, own.vidpipe.split()), indent=1))


def _measure(folder: Path, rows: int, failures: int, vidpipe: list[str]) -> dict[str, object]:
    """Return seconds and peak memory of a dry run over ``rows`` videos, and of a run in which all ``failures`` fail."""
    weights = _write_weights(folder / "w.safetensors")
    whole, part = (_write_manifest(folder / f"{number}.csv", number) for number in (rows, failures))
    cheap = f"--cheap={_BACKBONE}={weights}"
    dry = _timed([*vidpipe, "extract", f"--manifest={whole}", f"--store={folder}/a", cheap, "--clips=8", "--dry-run"])
    run = [*vidpipe, "extract", f"--manifest={part}", f"--store={folder}/b", cheap, "--clips=8", "--json"]
    once, again = _timed(run), _timed(run)
    seconds = once["seconds"] - again["seconds"]  # the second run finds all failed, and does the rest alike
    return {
        "dry_run": {"rows": rows, **dry},
        "failures": {"rows": failures, **once, "recorded_per_second": round(failures / seconds)},
        "nothing_to_do": {"rows": failures, **again},
    }


def _write_weights(path: Path) -> Path:
    """Write random weights of a small backbone."""
    torch.manual_seed(0)
    backbone = build_backbone(_BACKBONE, num_classes=2)
    pre = Preprocessing(crop=32, short_side=36)
    save_weights(path, collect_weights(backbone, classes=("a", "b"), preprocessing=pre, num_frames=8))
    return path


def _write_manifest(path: Path, rows: int) -> Path:
    """Write a manifest of files that do not exist."""
    lines = (
        f"class_{i % 400:03}/video_{i:07}.mp4,class_{i % 400:03},{'test' if i % 5 else 'train'}" for i in range(rows)
    )
    path.write_text("path,label,split\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def _timed(command: list[str]) -> dict[str, float]:
    """Return how long a command took and how much memory it had at most; that it fails is expected."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.wait()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds": round(time.perf_counter() - began, 1), "peak_gb_so_far": round(peak * 1024 / 1e9, 2)}


if __name__ == "__main__":
    main()
