"""How long and how much memory a list of a million videos takes, before any of its files is opened.

    python benchmarks/manifests.py --rows 1000000

Writes a manifest as CSV and as Parquet, and does each thing that starts from one in a process of its own: reading,
its digest, writing, and `vidpipe manifest check` up to its first file. Seconds are the processor's, memory is the most
that the process ever held. Prints one JSON document.
"""

import argparse
import contextlib
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLASSES = 700


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=0, help="Columns of one's own beside ours.")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "FILE"), help="Measure this alone, in this process.")
    own = parser.parse_args()
    if own.one:
        what, file = own.one
        print(json.dumps(measured(STEPS[what], Path(file))))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = write_lists(Path(folder), own.rows, own.columns)
        steps = [(what, file) for what in STEPS for file in files]
        figures = [{"what": what, "file": file.name, **in_own_process(what, file)} for what, file in steps]
    print(json.dumps({"rows": own.rows, "own_columns": own.columns, "steps": figures}, indent=1))


def write_lists(folder: Path, rows: int, own: int) -> list[Path]:
    """Write the same list of made-up videos in both formats."""
    import pyarrow.csv
    import pyarrow.parquet

    path = folder / "m.csv"
    names = [f"own_{number}" for number in range(own)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "split", *names])
        for row in range(rows):
            label, split = f"class_{row % CLASSES:03}", "test" if row % 5 == 0 else "train"
            writer.writerow([f"videos/{label}/clip_{row:07}.mp4", label, split, *(f"value {row}" for _ in names)])
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), path.with_suffix(".parquet"))
    return [path, path.with_suffix(".parquet")]


def in_own_process(what: str, file: Path) -> dict[str, float]:
    """Return the figures of one step, which does not share its memory with the others."""
    command = [sys.executable, __file__, "--one", what, str(file)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measured(step: Callable[[Path], Callable[[], object]], file: Path) -> dict[str, float]:
    """Return the seconds of the processor that a step takes, and the most memory that this process ever held."""
    do = step(file)
    began = time.process_time()
    do()
    seconds = time.process_time() - began
    return {"cpu_seconds": round(seconds, 2), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 // 1}


def read(file: Path) -> Callable[[], object]:
    """Read a manifest."""
    from vidpipe.pipeline.manifests.manifest import read_manifest

    return lambda: read_manifest(file)


def digest(file: Path) -> Callable[[], object]:
    """Work out a manifest's digest, once it is read."""
    from vidpipe.pipeline.manifests.manifest import read_manifest

    manifest = read_manifest(file)
    return lambda: manifest.digest


def write(file: Path) -> Callable[[], object]:
    """Write a manifest, once it is read; it is read back in memory first."""
    from vidpipe.pipeline.manifests.manifest import read_manifest, write_manifest

    manifest = read_manifest(file)
    return lambda: write_manifest(manifest, file.with_name(f"again{file.suffix}"))


def check(file: Path) -> Callable[[], object]:
    """Run `vidpipe manifest check` up to the moment at which it begins to open files."""
    from vidpipe.pipeline.execution import Silent
    from vidpipe.stages.check_manifest.run import run
    from vidpipe.stages.check_manifest.settings import CheckSettings

    class StopsAtOnce(Silent):
        def begin(self, what: str, **words: object) -> None:
            raise KeyboardInterrupt(what, words)

    def do() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            run(CheckSettings(manifest=file, workers=1), progress=StopsAtOnce())

    return do


STEPS = {"read": read, "digest": digest, "write": write, "check": check}


if __name__ == "__main__":
    main()
