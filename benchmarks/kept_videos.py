"""What keeping decoded videos saves, on UT-Interaction: the first epoch, later ones, and a restart after kill -9.

Each way trains from nothing, is killed halfway through a first epoch and started again, and then trains another network
of the same size. Prints one JSON document, or with --table the Markdown table of benchmarks/RESULTS.md.

    python benchmarks/kept_videos.py --media $VIDPIPE_TEST_MEDIA --out runs/kept --table
"""

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ut_interaction import CHEAP, EXPENSIVE, read_labels, write_manifest

from vidpipe.pipeline.backbones.weights import load_weights

# Way -> the options of train-backbone.
WAYS = {
    "nothing kept": ("--clip-cache-gb=0", "--cache-gib=0"),
    "kept in memory": ("--clip-cache-gb=0",),
    "kept on disk": (),
}


def main() -> None:
    """Train in every way, and print what it took."""
    own = arguments()
    manifest = write_manifest(read_labels(own.media), own.media, own.out, backward=False)
    found = {way: measure(own, manifest, way) for way in WAYS}
    digests = {row.pop("digest") for row in found.values()}
    assert len(digests) == 1, "the ways differ in their results"
    load = os.getloadavg()[2]
    document = {"settings": {key: str(value) for key, value in vars(own).items()}, "seconds": found, "load": load}
    print(table(found) if own.table else json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="directory that holds ut_interaction/")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--size", type=int, default=64, help="crop, pixels")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--table", action="store_true", help="print the Markdown table instead of JSON")
    return parser.parse_args()


def measure(own: argparse.Namespace, manifest: Path, way: str) -> dict[str, float | str]:
    """Return the seconds of everything in one way, and the digest of the first training's weights."""
    folder = own.out / way.replace(" ", "_")
    words = [f"--manifest={manifest}", f"--size={own.size}", f"--epochs={own.epochs}", "--val-split=test", *WAYS[way]]
    words += ["--threads=1", "--workers=1", "--device=cpu", "--precision=float32"]

    def train(
        name: str, *, backbone: str = CHEAP, clips: str = "clips", kill_after: float | None = None
    ) -> list[float]:
        more = [f"--backbone={backbone}", f"--out={folder / name}", f"--clip-cache={folder / clips}"]
        return ends_of_epochs([*words, *more], kill_after=kill_after)

    whole = train("whole")
    train("killed", clips="clips_killed", kill_after=whole[0] / 2)
    restarted = train("killed", clips="clips_killed")
    other = train("other", backbone=EXPENSIVE)
    weights = [load_weights(folder / name / "weights.safetensors").digest for name in ("whole", "killed")]
    assert weights[0] == weights[1], "the restarted training differs"
    return {
        "end of the first epoch": whole[0],
        "a later epoch": statistics.median(b - a for a, b in itertools.pairwise(whole)),
        "end of the first epoch after a kill halfway": restarted[0],
        "end of the first epoch, the other network": other[0],
        "digest": weights[0],
    }


def ends_of_epochs(words: list[str], *, kill_after: float | None) -> list[float]:
    """Train, and return when each epoch ended, in seconds since the command was given."""
    command = [sys.executable, "-m", "vidpipe.cli.main", "train-backbone", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True
    ) as run:
        if kill_after is not None:
            time.sleep(kill_after)
            run.send_signal(signal.SIGKILL)
        assert run.stderr is not None
        ends = [time.perf_counter() - began for line in run.stderr if line.startswith("epoch ")]
    assert kill_after is not None or run.returncode == 0, "the training failed"
    return ends


def table(found: dict[str, dict[str, float | str]]) -> str:
    """Return the seconds as a Markdown table."""
    rows = list(next(iter(found.values())))
    lines = [f"| seconds | {' | '.join(found)} |", f"|{'---|' * (len(found) + 1)}"]
    lines += [f"| {row} | {' | '.join(f'{own[row]:.1f}' for own in found.values())} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
