"""The demo, with several seeds: does FASTER come out on top whatever the seed, and what does each stage take?

    python benchmarks/demo.py --out runs/demo --seeds 5 --precision float32
    python benchmarks/demo.py --out runs/demo --seeds 5 --precision bfloat16 --table

Runs the targets of the Makefile that `make demo` runs, one after the other; the seed is that of the rendering, of both
backbones and of the aggregator. Prints one JSON document, or a table. Resumable: a seed that is done is read again, and
a set of videos serves all precisions. To pretend to be a processor without AVX-512, set ATEN_CPU_CAPABILITY=avx2 and
ONEDNN_MAX_CPU_ISA=AVX2.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
STAGES = {
    "render": ("demo-videos",),
    "train backbones": ("demo-expensive", "demo-cheap"),
    "extract": ("demo-features",),
    "train aggregators": ("demo-faster", "demo-all-cheap", "demo-all-expensive"),
    "evaluate": ("demo-results",),
}
RUNS = ("all_cheap", "all_expensive", "faster")
EMULATION = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")


def main() -> None:
    """Run every seed and print what came out."""
    own = arguments()
    document = {"machine": machine(), "precision": own.precision, "seeds": []}
    for seed in range(own.first_seed, own.first_seed + own.seeds):
        document["seeds"].append(one_seed(own, seed))
    print(table(document["seeds"]) if own.table else json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--jobs", type=int, default=2, help="processes; 1 leaves room for other work, and is slower")
    parser.add_argument("--table", action="store_true", help="print a Markdown table")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "torch_vectors": torch.backends.cpu.get_cpu_capability(),
        **{name: os.environ[name] for name in EMULATION if name in os.environ},
    }


def one_seed(own: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run the demo with a seed, or read again what it came to."""
    videos = own.out.resolve() / f"seed{seed}"
    folder = videos / own.precision
    record = folder / "record.json"
    if not record.exists():
        words = [f"DEMO={folder}", f"VIDEOS={videos / 'videos'}", f"SEED={seed}", f"PRECISION={own.precision}"]
        command = ("make", "--no-print-directory", f"-j{own.jobs}", *words)
        stages = {name: timed(*command, *targets) for name, targets in STAGES.items()}
        found = json.loads((folder / "results" / "metrics.json").read_text(encoding="utf-8"))["runs"]
        runs = {run["name"]: {"top1": 100 * run["metrics"]["top1"], "gmacs": run["gmacs"]} for run in found}
        record.write_text(json.dumps({"seed": seed, "runs": runs, "stages": stages}), encoding="utf-8")
    return json.loads(record.read_text(encoding="utf-8"))


def timed(*command: str) -> dict[str, float]:
    """Run a command, whose output goes to standard error; return the seconds that passed and the processors' own."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=sys.stderr, check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.perf_counter() - began, 1), "cpu_seconds": round(cpu, 1)}


def table(seeds: list[dict[str, Any]]) -> str:
    """Return a line a seed: top-1 in per cent, GMACs a video, and seconds (of the processors in brackets) by stage."""
    lines = [["seed", *(f"{name}, top-1 %" for name in RUNS), *STAGES, "all stages"]]
    for own in seeds:
        took = list(own["stages"].values())
        took.append({key: round(sum(stage[key] for stage in took), 1) for key in ("seconds", "cpu_seconds")})
        figures = [f"{own['runs'][name]['top1']:.1f}" for name in RUNS]
        lines.append(
            [str(own["seed"]), *figures, *(f"{stage['seconds']:.0f} ({stage['cpu_seconds']:.0f})" for stage in took)]
        )
    header, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *body])


if __name__ == "__main__":
    main()
