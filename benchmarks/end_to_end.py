"""What end-to-end training buys: the ablation of Beyond Short Clips, and FAST-GRU with and without its cache.

    python benchmarks/end_to_end.py rendered --out runs/end_to_end --table
    python benchmarks/end_to_end.py ut --media $VIDPIPE_TEST_MEDIA --out runs/end_to_end_ut --table

Each seed trains a backbone from scratch on single clips, extracts, trains aggregators on the cache, and goes on from
them end to end. Prints one JSON document, or a table. Resumable: every step is a vidpipe command that goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ut_interaction import DIRECTIONS, read_labels, write_manifest

from vidpipe.pipeline.evaluation.confidence import mean_interval

BACKBONE = "r2plus1d_14_w16"
CACHED = ("average", "multi-clip", "memory", "fast-gru")
LIVE = ("multi-clip", "memory", "fast-gru")
POSTER = {"average": 74.5, "multi-clip": 75.5, "memory": 75.9, "memory end to end": 76.8}
WORDS = {
    "average": "clip-level training, scores averaged",
    "multi-clip": "multi-clip, on the cache",
    "memory": "+ memory, on the cache",
    "memory end to end": "+ end to end",
    "average longer": "clip-level training for as many clips as end to end",
    "multi-clip end to end": "multi-clip without memory, end to end",
    "fast-gru": "FAST-GRU, on the cache",
    "fast-gru end to end": "FAST-GRU, end to end",
}
CLIPS = 8


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One set of videos: where it lies, how clips are cut, and how long the networks learn."""

    name: str
    folder: Path
    manifest: Path
    epochs: int  # of the backbone, a clip of each video an epoch
    live_epochs: int  # end to end, N clips of each video an epoch
    clips: tuple[str, ...] = ("--stride=1",)
    dropout: float = 0.0


def main() -> None:
    """Run one of the two experiments and print what came out."""
    own = arguments()
    experiments = [rendered(own)] if own.experiment == "rendered" else ut_interaction(own)
    jobs = [(experiment, seed) for seed in range(own.seeds) for experiment in experiments]
    with ThreadPoolExecutor(own.processes) as pool:
        runs = list(pool.map(lambda job: one_run(*job), jobs))
    document = {"settings": {key: str(value) for key, value in vars(own).items()}, "runs": runs}
    print(table(runs) if own.table else json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=["rendered", "ut"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--media", type=Path, help="directory that holds ut_interaction/, for ut")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="runs side by side, of one thread each")
    parser.add_argument("--table", action="store_true", help="print Markdown instead of JSON")
    own = parser.parse_args()
    if own.experiment == "ut" and own.media is None:
        parser.error("ut needs --media")
    return own


def rendered(own: argparse.Namespace) -> Experiment:
    """Render few training videos of twelve classes; nothing that is blind to the order of clips can pass 50 %."""
    videos = own.out / "videos"
    vidpipe("render", videos, "--videos=400", "--test-fraction=0.6", "--seed=0")
    return Experiment(name="rendered", folder=own.out, manifest=videos / "manifest.csv", epochs=60, live_epochs=10)


def ut_interaction(own: argparse.Namespace) -> list[Experiment]:
    """Train on one set of UT-Interaction and test on the other, both ways."""
    rows = read_labels(own.media)
    return [
        Experiment(
            name=direction,
            folder=own.out / word,
            manifest=write_manifest(rows, own.media, own.out / word, backward=word == "backward"),
            epochs=120,
            live_epochs=10,
            clips=("--frames=8", "--stride=2"),
            dropout=0.3,
        )
        for direction, word in DIRECTIONS.items()
    ]


def one_run(own: Experiment, seed: int) -> dict[str, Any]:
    """Train and score everything once; return the top-1 accuracy of each row."""
    out = own.folder / f"seed{seed}"
    shared = ("--batch=16", "--threads=1", "--workers=1", "--optimizer=adamw", "--size=64", *own.clips)
    recipe = (*shared, "--learning-rate=2e-3", "--weight-decay=0.05", f"--dropout={own.dropout}", f"--seed={seed}")
    lengths = {"clip": own.epochs, "clip_longer": own.epochs + CLIPS * own.live_epochs}
    found = {}
    for name, epochs in lengths.items():
        words = (f"--manifest={own.manifest}", f"--backbone={BACKBONE}", f"--epochs={epochs}", *recipe)
        vidpipe("train-backbone", f"--out={out / name}", *words)
        weights = f"--expensive={BACKBONE}={out / name}/weights.safetensors"
        store = f"--store={out}/{name}.zarr"
        vidpipe("extract", f"--manifest={own.manifest}", store, weights, f"--clips={CLIPS}", *own.clips, "--batch=8",
                "--threads=1")  # fmt: skip
    for name in ("average", *CACHED[1:]):
        cached(out, name, store="clip", seed=seed)
    cached(out, "average", store="clip_longer", seed=seed, suffix=" longer")
    found |= score(out, [f"--store={out}/clip.zarr"], CACHED)
    found |= score(out, [f"--store={out}/clip_longer.zarr"], ["average longer"])
    for name in LIVE:
        live(own, out, name, seed=seed)
    found |= score(out, [f"--manifest={own.manifest}", "--threads=1"], [f"{name} end to end" for name in LIVE])
    return {"experiment": own.name, "seed": seed, "top1": found}


def cached(out: Path, name: str, *, store: str, seed: int, suffix: str = "") -> None:
    """Train an aggregator on the cache."""
    words = (f"--store={out}/{store}.zarr", f"--out={out}/{name}{suffix}", f"--aggregator={name}", f"--seed={seed}")
    vidpipe("train-aggregator", *words, "--val-fraction=0", "--preset=large", "--epochs=40")


def live(own: Experiment, out: Path, name: str, *, seed: int) -> None:
    """Go on from an aggregator and its backbone, end to end."""
    begun = (f"--from={out}/{name}", f"--expensive={BACKBONE}={out}/clip/weights.safetensors")
    rates = ("--expensive-learning-rate=1e-3", "--batch-norm=tracked", f"--epochs={own.live_epochs}")
    where = (f"--manifest={own.manifest}", f"--out={out}/{name} end to end", f"--seed={seed}", "--val-fraction=0")
    vidpipe("finetune", *begun, *rates, *where, "--threads=1", "--workers=1")


def score(out: Path, source: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """Return the top-1 accuracy of runs, in per cent."""
    runs = [f"--run={out / name}" for name in names]
    document = json.loads(vidpipe("evaluate", *source, *runs, f"--out={out}/report {names[0]}", "--json"))
    return {name: 100 * run["metrics"]["top1"] for name, run in zip(names, document["runs"], strict=True)}


def vidpipe(*words: object) -> str:
    """Run a command and return what it prints."""
    command = [sys.executable, "-m", "vidpipe.cli.main", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment, text=True).stdout


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return a table: a row a step, top-1 in per cent by seed, mean and standard deviation, and the poster's figure."""
    columns = [f"{run['experiment']}, seed {run['seed']}" for run in runs]
    lines = [["", *columns, "mean ± s.d.", "poster"]]
    for name, words in WORDS.items():
        own = [run["top1"][name] for run in runs]
        spread = mean_interval(own)
        deviation = "" if spread.deviation is None else f" ± {spread.deviation:.1f}"
        lines.append([words, *(f"{value:.1f}" for value in own), f"{spread.mean:.1f}{deviation}",
                      f"{POSTER[name]:.1f}" if name in POSTER else ""])  # fmt: skip
    header, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *body])


if __name__ == "__main__":
    main()
