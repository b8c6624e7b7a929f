"""The claims of the FASTER paper, tested: its Tables 3 and 4 on a rendered set, or on UT-Interaction.

    python benchmarks/claims.py rendered --out runs/claims_rendered
    python benchmarks/claims.py ut --media $VIDPIPE_TEST_MEDIA --out runs/claims_ut

Prints both tables in Markdown, the paper's figures beside ours where it has them; --json prints one JSON document.
Resumable: every step is a vidpipe command that goes on. Figures in the forms of the paper's Figures 3 and 4 are left in
the sweep directories that it names at the end.
"""

import argparse
import collections
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ut_interaction import DIRECTIONS, read_labels, write_manifest

from vidpipe.pipeline.evaluation.confidence import mean_interval

CHEAP, EXPENSIVE = "r2d_14_w16", "r2plus1d_14_w16"
METHODS = ("average", "max", "concat", "lstm", "gru", "conv-gru", "fast-gru-pooled", "fast-gru")
RATIOS = ("all-expensive", "1:1", "1:3", "1:7", "1:15", "1:31")
PAPER_TABLE_3 = {  # Kinetics-400 top-1 at N = 2, 4, 8, 16, 32
    "average": (60.7, 63.9, 64.2, 64.0, 63.8),
    "concat": (61.6, 65.9, 66.3, 62.3, 58.2),
    "lstm": (61.3, 66.2, 66.3, 66.3, 64.7),
    "gru": (61.1, 65.6, 66.5, 66.1, 65.8),
    "fast-gru": (61.1, 65.6, 67.2, 67.4, 67.2),
}
PAPER_CLIPS = (2, 4, 8, 16, 32)
FEW, FEW_CLIPS = 5, (8, 16, 32)  # training videos of a class, where all of them leave no method anything to get wrong
PAPER_TABLE_4 = dict(zip(RATIOS, (70.6, 70.5, 70.1, 69.6, 69.0, 67.2), strict=True))  # 8 frames × 32 clips
PAPER_AVERAGE = {"all-expensive": 70.1, "all-cheap": 63.3}  # Table 2, 8 frames × 32 clips
SMALL = ("--batch=16", "--threads=1", "--workers=1", "--optimizer=adamw", "--weight-decay=0.05", "--size=64")
Row = dict[str, str]


def main() -> None:
    """Run one of the two experiments and print what came out."""
    own = arguments()
    if own.experiment == "rendered":
        groups = {f"{what} training videos": ([sweep], clips) for what, sweep, clips in rendered(own)}
    else:
        with ThreadPoolExecutor(len(DIRECTIONS)) as pool:
            sweeps = list(pool.map(lambda way: ut_interaction(own, way), DIRECTIONS))
        groups = {"Both directions": (sweeps, PAPER_CLIPS[:-1])}
    found = {
        name: [row for own in sweeps for row in read_rows(own / "results.csv")] for name, (sweeps, _) in groups.items()
    }
    if own.json:
        print(json.dumps(found, indent=2))
        return
    for name, (sweeps, clips) in groups.items():
        print(
            f"{name}: top-1 in per cent, mean ± standard deviation", table_3(found[name], clips), sep="\n\n", end="\n\n"
        )
        print(table_4(found[name], clips), end="\n\n")
        print("Figures: " + ", ".join(f"{sweep}/figure3.png and figure4.png" for sweep in sweeps), end="\n\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=["rendered", "ut"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--media", type=Path, help="directory that holds ut_interaction/, for ut")
    parser.add_argument("--seeds", type=int, default=3, help="of the aggregators")
    parser.add_argument("--epochs", type=int, default=25, help="of the aggregators")
    parser.add_argument("--json", action="store_true")
    own = parser.parse_args()
    if own.experiment == "ut" and own.media is None:
        parser.error("ut needs --media")
    return own


def rendered(own: argparse.Namespace) -> list[tuple[str, Path, Sequence[int]]]:
    """Render, train both backbones side by side, extract, sweep; return what was swept: videos, directory, clips.

    24 classes; 256 frames, of which the two acts take 36 to 48 each, at any time: most clips show neither act, and the
    first one, which alone is expensive in Table 3, shows the fine motion long before the last event.
    """
    videos = own.out / "videos"
    vidpipe("render", videos, "--videos=1920", "--seed=7", "--events=4", "--frames=256", "--act-frames=48")
    # The cheap backbone cannot see the fine motion, and acts that fill a third of the videos teach it too slowly: it
    # learns on a set of the same looks whose acts fill the videos.
    easier = own.out / "training_videos"
    vidpipe("render", easier, "--videos=1440", "--seed=8", "--events=4", "--test-fraction=0")
    recipes = {
        "cheap": [CHEAP, f"--manifest={easier}/manifest.csv", "--epochs=20", "--stride=1", "--learning-rate=2e-3"],
        "expensive": [
            EXPENSIVE,
            f"--manifest={videos}/manifest.csv",
            "--epochs=40",
            "--stride=1",
            "--learning-rate=3e-3",
        ],
    }

    def train(role: str) -> None:
        name, *words = recipes[role]
        vidpipe("train-backbone", f"--backbone={name}", f"--out={own.out / role}_backbone", *words, *SMALL)

    with ThreadPoolExecutor(len(recipes)) as pool:
        list(pool.map(train, recipes))
    store = extract(own.out, videos / "manifest.csv", "--clips=32")
    shared = ("--width=128", "--scheduler=local")
    sweep(own, store, own.out / "sweep", PAPER_CLIPS, *shared, "--batch=32", f"--epochs={own.epochs}")
    few = write_few(videos / "manifest.csv", videos / "few.csv")
    short = (f"--splits={few}", "--batch=16", f"--epochs={own.epochs * 8 // 5}")
    sweep(own, store, own.out / "sweep_few", FEW_CLIPS, *shared, *short)
    return [("All 1,440", own.out / "sweep", PAPER_CLIPS), (f"{24 * FEW}", own.out / "sweep_few", FEW_CLIPS)]


def write_few(manifest: Path, path: Path) -> Path:
    """Write the same manifest with only the first few training videos of each class, and return its path."""
    rows, seen = read_rows(manifest), collections.Counter()
    for row in rows:
        seen[row["label"], row["split"]] += 1
        if row["split"] == "train" and seen[row["label"], "train"] > FEW:
            row["split"] = "unused"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def ut_interaction(own: argparse.Namespace, direction: str) -> Path:
    """Train on one set of UT-Interaction and test on the other; return the sweep's directory."""
    out = own.out / DIRECTIONS[direction]
    manifest = write_manifest(read_labels(own.media), own.media, out, backward=out.name == "backward")
    clips = ("--frames=8", "--stride=2")
    for role, name in (("cheap", CHEAP), ("expensive", EXPENSIVE)):
        words = (f"--manifest={manifest}", f"--backbone={name}", f"--out={out / role}_backbone", "--dropout=0.3")
        vidpipe("train-backbone", *words, *clips, *SMALL, "--epochs=240", "--learning-rate=2e-3", "--warmup-epochs=5")
    store = extract(out, manifest, "--clips=16", "--views=4", *clips)
    sweep(own, store, out / "sweep", PAPER_CLIPS[:-1], "--width=128", "--batch=16", f"--epochs={own.epochs}")
    return out / "sweep"


def extract(out: Path, manifest: Path, *words: str) -> Path:
    """Run both backbones over all clips and return the store."""
    weights = {role: f"{out / role}_backbone/weights.safetensors" for role in ("cheap", "expensive")}
    roles = [f"--cheap={CHEAP}={weights['cheap']}", f"--expensive={EXPENSIVE}={weights['expensive']}"]
    vidpipe(
        "extract", f"--manifest={manifest}", f"--store={out}/features.zarr", *roles, *words, "--batch=8", "--threads=1"
    )
    return out / "features.zarr"


def sweep(own: argparse.Namespace, store: Path, out: Path, clips: Sequence[int], *words: str) -> None:
    """Train and score what Table 3, Table 4 and the averages of all-cheap and all-expensive need, into one sweep."""
    most = max(clips)
    ratios = [ratio for ratio in RATIOS if ratio == "all-expensive" or int(ratio.split(":")[1]) < most]
    parts = (
        (METHODS, ("first",), clips),
        (("average",), ("all-cheap", "all-expensive"), clips),
        (("average", "gru", "fast-gru"), ratios, (most,)),
    )
    for aggregators, patterns, numbers in parts:
        combined = (f"--aggregator={','.join(aggregators)}", f"--pattern={','.join(patterns)}")
        asked = (f"--clips={','.join(map(str, numbers))}", f"--seeds={own.seeds}")
        recipe = ("--val-fraction=0", "--learning-rate=2e-3")
        vidpipe("sweep", f"--store={store}", f"--out={out}", *combined, *asked, *recipe, *words)


def vidpipe(*words: object) -> None:
    """Run a command; what it prints goes to standard error."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vidpipe.cli.main", *map(str, words)]
    subprocess.run(command, stdout=sys.stderr, check=True, env=environment)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table_3(rows: Sequence[Row], clips: Sequence[int]) -> str:
    """Return methods against numbers of clips, the first one expensive, with the paper's figures in brackets."""
    lines = [["only the first clip expensive", *(f"N = {number}" for number in clips)]]
    for method in METHODS:
        paper = dict(zip(PAPER_CLIPS, PAPER_TABLE_3.get(method, ()), strict=False))
        lines.append([method, *(cell(rows, method, "first", number, paper.get(number)) for number in clips)])
    averages = ("all-cheap", "all-expensive")
    lines += [[f"average, {own}", *(cell(rows, "average", own, number) for number in clips)] for own in averages]
    return markdown(lines)


def table_4(rows: Sequence[Row], clips: Sequence[int]) -> str:
    """Return ratios against accuracy and cost at the most clips, with the paper's figures in brackets."""
    most = max(clips)
    whole = gmacs(rows, "average", "all-expensive", most)
    lines = [[f"expensive : cheap, {most} clips", "FAST-GRU", "GRU", "average", "GMACs a video", "of all-expensive"]]
    for pattern in (*RATIOS, "all-cheap"):
        shown = "first" if pattern != "all-expensive" and pattern.endswith(f":{most - 1}") else pattern
        cost = gmacs(rows, "fast-gru", shown, most) or gmacs(rows, "average", shown, most)
        if cost is None or whole is None:
            continue
        fast = cell(rows, "fast-gru", shown, most, PAPER_TABLE_4.get(pattern))
        gru, mean = cell(rows, "gru", shown, most), cell(rows, "average", shown, most, PAPER_AVERAGE.get(pattern))
        lines.append([pattern, fast, gru, mean, f"{cost:.2f}", f"{100 * cost / whole:.0f} %"])
    return markdown(lines)


def select(rows: Sequence[Row], method: str, pattern: str, clips: int) -> list[Row]:
    """Return the runs of one setting."""
    key = (method, pattern, str(clips))
    return [row for row in rows if (row["aggregator"], row["pattern"], row["clips"]) == key]


def gmacs(rows: Sequence[Row], method: str, pattern: str, clips: int) -> float | None:
    """Return what a setting costs, if it was run."""
    found = select(rows, method, pattern, clips)
    return float(found[0]["gmacs"]) if found else None


def cell(rows: Sequence[Row], method: str, pattern: str, clips: int, paper: float | None = None) -> str:
    """Return a setting's top-1 in per cent, mean and standard deviation, and the paper's figure in brackets."""
    found = select(rows, method, pattern, clips)
    if not found:
        return ""
    own = mean_interval([100 * float(row["top1"]) for row in found])
    spread = "" if own.deviation is None else f" ± {own.deviation:.1f}"
    return f"{own.mean:.1f}{spread}" + ("" if paper is None else f" ({paper:.1f})")


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table; the first line is the header."""
    header, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *body])


if __name__ == "__main__":
    main()
