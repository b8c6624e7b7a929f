"""What a long manifest costs before and while nothing is decoded: one JSON document.

The manifest lists files that are not there, so that all the time is vidpipe's own: reading the manifest, planning,
making the store, and recording failures.

    python benchmarks/million_rows.py --rows 1000000 --failures 20000
"""

import argparse
import json
import os
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
from vidpipe.stages.extract.run import run
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights

_BACKBONE = "r2d_14_w16"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the manifest for the dry run")
    parser.add_argument("--failures", type=int, default=20_000, help="rows of the manifest that is extracted")
    own = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measure(Path(folder), own.rows, own.failures), indent=1))


def _measure(folder: Path, rows: int, failures: int) -> dict[str, object]:
    """Return seconds and peak memory of a dry run over ``rows`` videos, and how quickly ``failures`` are recorded."""
    cheap = f"{_BACKBONE}={_write_weights(folder / 'w.safetensors')}"
    whole, part = (_write_manifest(folder / f"{number}.csv", number) for number in (rows, failures))
    command = [sys.executable, "-m", "vidpipe.cli.main", "extract", f"--cheap={cheap}", "--clips=8", "--dry-run"]
    dry = _timed([*command, f"--manifest={whole}", f"--store={folder}/a"])
    clock = _Clock()
    own = {"manifest": part, "store": folder / "b", "cheap": RoleWeights.parse(cheap)}
    run(ExtractSettings(**own), progress=clock)
    per_second = round(failures / clock.seconds)
    return {
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "dry_run": {"rows": rows, **dry},
        "failures": {"rows": failures, "seconds": round(clock.seconds, 1), "recorded_per_second": per_second},
    }


class _Clock:
    """Progress that notes how long the work took, with what was left to write at its end."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def begin(self, what: str, *, total: int, unit: str, done: int = 0, untypical: int = 0) -> None:  # noqa: ARG002
        """Note the time."""
        self._began = time.perf_counter()

    def advance(self, number: int = 1, *, note: str = "") -> None:
        """Do nothing."""

    def milestone(self, text: str) -> None:
        """Do nothing."""

    def notice(self, text: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Note how long it was."""
        self.seconds = time.perf_counter() - self._began


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
    return {"seconds": round(time.perf_counter() - began, 1), "peak_gb": round(peak * 1024 / 1e9, 2)}


if __name__ == "__main__":
    main()
