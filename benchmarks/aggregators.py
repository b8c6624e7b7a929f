"""How much faster the aggregators are than their equations taken literally: one clip, one gate at a time.

    python benchmarks/aggregators.py --table

Times forward and backward of one batch, interleaved, and gives medians. Prints one JSON document, or with --table the
Markdown table of RESULTS.md. The literal transcriptions are those that the tests hold the aggregators against.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from literal_aggregators import literal_scores

from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.recurrent import Recurrent
from vidpipe.pipeline.aggregators.registry import build_aggregator

NAMES = ("concat", "lstm", "gru", "conv-gru", "fast-gru")


def main() -> None:
    """Time every recurrent aggregator both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--grid", type=int, default=7, help="side of the square map")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    own = parser.parse_args()
    torch.set_num_threads(own.threads)
    document = {"settings": vars(own), "seconds": {name: timings(name, own) for name in NAMES}}
    print(table(document["seconds"]) if own.table else json.dumps(document, indent=2))


def timings(name: str, own: argparse.Namespace) -> dict[str, float]:
    """Return the median seconds of a step of training, ours and literal."""
    torch.manual_seed(0)
    model = build_aggregator(AggregatorSpec(name=name, channels=own.channels, num_classes=400, dropout=0.0))
    assert isinstance(model, Recurrent)
    features = torch.rand(own.batch, own.clips, 1, own.grid, own.grid, own.channels)
    scores = torch.empty(own.batch, own.clips, 0)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "literal": lambda: literal_scores(model, features),
        "ours": lambda: model(features, scores),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(own.repeats + 1):
        for way, run in ways.items():
            began = time.perf_counter()
            run().square().mean().backward()
            seconds[way].append(time.perf_counter() - began)
    return {way: statistics.median(values[1:]) for way, values in seconds.items()}  # the first one warms up


def table(seconds: dict[str, dict[str, float]]) -> str:
    """Return the timings as Markdown."""
    lines = ["| aggregator | literal, s | ours, s | faster by |", "|---|---|---|---|"]
    for name, own in seconds.items():
        lines.append(f"| {name} | {own['literal']:.3f} | {own['ours']:.3f} | {own['literal'] / own['ours']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
