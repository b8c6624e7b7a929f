"""The whole path on UT-Interaction, from scratch: FASTER beside the averages, and beside what the metadata alone tell.

Both directions of the scene split (train on one set, test on the other), several seeds. Prints one JSON document and,
with --table, the Markdown table of benchmarks/RESULTS.md. Resumable: every step is a vidpipe command that goes on.

    python benchmarks/ut_interaction.py --media $VIDPIPE_TEST_MEDIA --out runs/ut --table
"""

import argparse
import csv
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vidpipe.pipeline.videos.reader import probe

CHEAP, EXPENSIVE = "r2d_14_w16", "r2plus1d_14_w16"
METHODS = {"all cheap, averaged": "cheap", "all expensive, averaged": "expensive", "FASTER 1:3": "faster"}
DIRECTIONS = {"set1 to set2": "forward", "set2 to set1": "backward"}


def main() -> None:
    """Run every direction and seed, and print what came out."""
    own = arguments()
    rows = read_labels(own.media)
    with ThreadPoolExecutor(len(DIRECTIONS)) as pool:  # small networks: one core each serves them best
        runs = list(itertools.chain.from_iterable(pool.map(functools.partial(one_direction, own, rows), DIRECTIONS)))
    document = {"settings": {key: str(value) for key, value in vars(own).items()}, "runs": runs}
    document["summary"] = summarise(runs) | metadata_baselines(rows, own.media)
    if own.table:
        print(table(document["summary"]), stage_table(runs), sep="\n\n")
    else:
        print(json.dumps(document, indent=2))


def one_direction(own: argparse.Namespace, rows: list[dict[str, str]], direction: str) -> list[dict]:
    """Run all seeds of one direction, one after the other."""
    folder = own.out / DIRECTIONS[direction]
    manifest = write_manifest(rows, own.media, folder, backward=folder.name == "backward")
    runs = []
    for seed in range(own.seeds):
        runs += one_run(own, manifest, folder / f"seed{seed}", seed=seed, direction=direction)
    return runs


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="directory that holds ut_interaction/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="crop, pixels")
    parser.add_argument("--epochs", type=int, default=240, help="of the backbones")
    parser.add_argument("--aggregator-epochs", type=int, default=40)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--views", type=int, default=4, help="draws of clips of each video; testing sees the first")
    parser.add_argument("--table", action="store_true", help="print the Markdown table instead of JSON")
    return parser.parse_args()


def read_labels(media: Path) -> list[dict[str, str]]:
    """Return the rows of labels.csv."""
    with (media / "ut_interaction" / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_manifest(rows: list[dict[str, str]], media: Path, out: Path, *, backward: bool) -> Path:
    """Write the manifest of one direction of the scene split."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "path", "label", "split"])
        for row in rows:
            train = (row["split_by_scene"] == "train") != backward
            source = (media / "ut_interaction" / row["path"]).resolve()
            writer.writerow([row["path"], source, row["label"], "train" if train else "test"])
    return path


def vidpipe(*words: object) -> tuple[dict, float]:
    """Run a command, and return its JSON document and its seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "vidpipe.cli.main", *map(str, words), "--json"],
        stdout=subprocess.PIPE,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
    )
    return json.loads(done.stdout), time.perf_counter() - began


def one_run(own: argparse.Namespace, manifest: Path, out: Path, *, seed: int, direction: str) -> list[dict]:
    """Train, extract and evaluate once; return a record for each method."""
    seconds = {}
    recipe = ["--frames=8", "--stride=2", f"--size={own.size}", f"--epochs={own.epochs}", f"--seed={seed}"]
    optimiser = [
        "--batch=16",
        "--optimizer=adamw",
        "--learning-rate=2e-3",
        "--weight-decay=0.05",
        "--warmup-epochs=5",
    ]
    for role, name in (("cheap", CHEAP), ("expensive", EXPENSIVE)):
        words = [
            f"--manifest={manifest}",
            f"--backbone={name}",
            f"--out={out / role}_backbone",
            "--dropout=0.3",
            "--threads=1",
            "--workers=1",
        ]
        _, seconds[f"train {role}"] = vidpipe("train-backbone", *words, *recipe, *optimiser)
    roles = [
        f"--{role}={name}={out / role}_backbone/weights.safetensors"
        for role, name in (("cheap", CHEAP), ("expensive", EXPENSIVE))
    ]
    clips = [
        "--frames=8",
        "--stride=2",
        f"--clips={own.clips}",
        f"--views={own.views}",
        f"--seed={seed}",
        "--threads=1",
        "--batch=8",
    ]
    _, seconds["extract"] = vidpipe("extract", f"--manifest={manifest}", f"--store={out}/s.zarr", *roles, *clips)
    store = [f"--store={out}/s.zarr", f"--clips={own.clips}"]
    for name, pattern in (("cheap", "all-cheap"), ("expensive", "all-expensive")):
        vidpipe("train-aggregator", *store, "--aggregator=average", f"--pattern={pattern}", f"--out={out / name}")
    words = [
        f"--out={out}/faster",
        f"--epochs={own.aggregator_epochs}",
        f"--seed={seed}",
        "--patience=0",
        "--preset=large",
        "--dropout=0.5",
    ]
    _, seconds["train FASTER"] = vidpipe("train-aggregator", *store, "--aggregator=fast-gru", "--pattern=1:3", *words)
    given = [f"--run={out / name}" for name in METHODS.values()]
    document, seconds["evaluate"] = vidpipe("evaluate", store[0], *given, f"--out={out}/results")
    return [
        {"direction": direction, "seed": seed, "method": method, "seconds": seconds, **pick(result)}
        for method, result in zip(METHODS, document["runs"], strict=True)
    ]


def pick(result: dict) -> dict:
    """Return the figures of a run that the table needs."""
    metrics = result["metrics"]
    return {"top1": metrics["top1"], "mean_class": metrics["mean_class_accuracy"], "gmacs": result["gmacs"]}


def summarise(runs: list[dict]) -> dict[str, dict]:
    """Return mean, spread and cost of each method, over directions and seeds."""
    summary = {}
    for method in METHODS:
        own = [run for run in runs if run["method"] == method]
        by_direction = {
            direction: [run["top1"] for run in own if run["direction"] == direction] for direction in DIRECTIONS
        }
        scores = [run["top1"] for run in own]
        summary[method] = {
            "top1_mean": statistics.mean(scores),
            "top1_sd": statistics.stdev(scores) if len(scores) > 1 else 0.0,
            "by_direction": {direction: statistics.mean(values) for direction, values in by_direction.items()},
            "gmacs": own[0]["gmacs"],
            "runs": len(own),
        }
    return summary


def metadata_baselines(rows: list[dict[str, str]], media: Path) -> dict[str, dict]:
    """Return how well nearest neighbours do on what a file says of itself, without a look at a pixel."""
    infos = [probe(media / "ut_interaction" / row["path"]) for row in rows]
    sizes = [(media / "ut_interaction" / row["path"]).stat().st_size for row in rows]
    shape = np.array([[info.width, info.height] for info in infos], dtype=float)
    more = np.array(
        [[info.num_frames, size / info.num_frames] for info, size in zip(infos, sizes, strict=True)], dtype=float
    )
    everything = np.hstack([shape, shape[:, :1] / shape[:, 1:], more])
    labels = np.array([row["label"] for row in rows])
    train = np.array([row["split_by_scene"] == "train" for row in rows])
    found = {}
    for name, table_ in (("width and height, 5 neighbours", shape), ("all metadata, 5 neighbours", everything)):
        scores = {}
        for direction, known in zip(DIRECTIONS, (train, ~train), strict=True):
            model = make_pipeline(StandardScaler(), KNeighborsClassifier(5)).fit(table_[known], labels[known])
            scores[direction] = float(model.score(table_[~known], labels[~known]))
        values = list(scores.values())
        found[name] = {
            "top1_mean": statistics.mean(values),
            "top1_sd": 0.0,
            "by_direction": scores,
            "gmacs": 0.0,
            "runs": 2,
        }
    return found


def table(summary: dict[str, dict]) -> str:
    """Return the summary as Markdown."""
    lines = [f"| method | top-1, mean ± sd | {' | '.join(DIRECTIONS)} | GMAC a video | runs |", "|---" * 6 + "|"]
    for method, own in summary.items():
        directions = " | ".join(f"{100 * own['by_direction'][direction]:.1f}" for direction in DIRECTIONS)
        mean, spread = 100 * own["top1_mean"], 100 * own["top1_sd"]
        lines.append(f"| {method} | {mean:.1f} ± {spread:.1f} | {directions} | {own['gmacs']:.2f} | {own['runs']} |")
    return "\n".join(lines)


def stage_table(runs: list[dict]) -> str:
    """Return the median seconds of each stage, over directions and seeds, as Markdown."""
    stages = {stage: statistics.median(run["seconds"][stage] for run in runs) for stage in runs[0]["seconds"]}
    lines = [f"| {' | '.join(stages)} |", "|---" * len(stages) + "|"]
    return "\n".join([*lines, "| " + " | ".join(f"{seconds:.0f} s" for seconds in stages.values()) + " |"])


if __name__ == "__main__":
    main()
