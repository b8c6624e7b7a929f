"""Peak memory and seconds of a step of end-to-end training against N, by strategy; prints one JSON document.

    python benchmarks/memory.py --batch 2 --threads 1 --table --out runs/memory.png

Full-size networks with random weights see made-up clips of 8x224x224. Each setting runs in a process of its own and is
measured three ways: the growth of the process's resident set, from before the network is built to the peak of the step;
the bytes of tensors; and what was foreseen of them before. Settings that would not fit are left out, and named. Seconds
of the processor stand beside those of the wall clock, which other work makes longer.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.video_model import build_video_model
from vidpipe.pipeline.backbones.devices import resolve_device
from vidpipe.pipeline.backbones.registry import build_backbone, feature_shape
from vidpipe.pipeline.end_to_end.memory.available import available_bytes
from vidpipe.pipeline.end_to_end.memory.estimate import TrainingShape, estimated_bytes, with_headroom
from vidpipe.pipeline.end_to_end.memory.tracking import tracked_memory
from vidpipe.pipeline.end_to_end.network import EndToEnd
from vidpipe.pipeline.end_to_end.steps import ClipBatch, Objective, strategy_gradients
from vidpipe.pipeline.end_to_end.strategies import BATCH_REDUCTION, STRATEGIES, TRACKED, StrategySettings
from vidpipe.pipeline.training.loop import Figures
from vidpipe.pipeline.training.optimisation import build_optimizer
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.pipeline.videos.preprocessing import Preprocessing

ROLE = "expensive"
MEGA = 1e6
COLUMNS = (
    "strategy",
    "N",
    "videos a pass",
    "resident, MB",
    "tensors, MB",
    "foreseen, MB",
    "seconds",
    "CPU seconds",
    "a clip",
)
MARKERS = dict(zip(STRATEGIES, "osd^v", strict=True))


def main() -> None:
    """Measure what the command line asks for, or, told by itself, one setting."""
    own = arguments()
    torch.set_num_threads(own.threads)
    if own.only:
        print(json.dumps(measure(own)))
        return
    document = measure_all(own)
    if own.out:
        draw(document, own.out)
    print(markdown(document) if own.table else json.dumps(document, indent=2))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="r2plus1d_50")
    parser.add_argument("--aggregator", default="memory")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="crop, pixels")
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--batch", type=int, default=2, help="videos")
    parser.add_argument("--clips", type=int, nargs="+", default=[1, 2, 4, 8], help="N")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    parser.add_argument("--granularity", default="block", help="of checkpoint")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--out", type=Path, help="of the picture, PNG")
    parser.add_argument("--table", action="store_true", help="print Markdown instead of JSON")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # "strategy N": measure this one and print its figures
    return parser.parse_args()


def measure_all(own: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of every setting that fits, and the names of those that do not."""
    available = available_bytes(resolve_device(own.device))
    settings, left_out = [], []
    for name in own.strategies:
        for num_clips in own.clips:
            reason = unfit(own, name, num_clips, available)
            if reason:
                left_out.append(f"{name} at N = {num_clips}: {reason}")
                continue
            words = [sys.executable, __file__, *sys.argv[1:], "--only", f"{name} {num_clips}"]
            child = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
            settings.append(json.loads(child.stdout))
            print(settings[-1], file=sys.stderr)
    described = {key: value for key, value in vars(own).items() if key not in ("out", "table", "only")}
    return described | {"available_mb": available / MEGA, "settings": settings, "left_out": left_out}


def unfit(own: argparse.Namespace, name: str, num_clips: int, available: int) -> str:
    """Return why a setting cannot be run; nothing if it can."""
    if name == BATCH_REDUCTION and videos_a_pass(own, name, num_clips) < 1:
        return f"{own.batch} videos over {num_clips} leave none"
    foreseen = estimated_bytes(training_shape(own, num_clips), strategy=strategy_settings(own, name))
    if with_headroom(foreseen) > available:
        return f"needs {with_headroom(foreseen) / MEGA:,.0f} MB, and there are {available / MEGA:,.0f}"
    return ""


def measure(own: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one setting, taken in this process."""
    name, _, clips = own.only.partition(" ")
    num_clips, device = int(clips), resolve_device(own.device)
    shape, strategy = training_shape(own, num_clips), strategy_settings(own, name)
    warm_up(device)
    before = resident_bytes(device, restart=True)
    torch.manual_seed(0)
    model = build_model(shape).to(device).train()
    optimizer = primed_optimizer(model)
    gradients = strategy_gradients(model, strategy=strategy, objective=Objective(precision=shape.precision))
    batch = made_up_batch(shape, videos_a_pass(own, name, num_clips))
    held = [*model.parameters(), *model.buffers(), *batch.clips.values(), *states(optimizer)]
    with tracked_memory(device, held=held) as memory:
        take_steps(gradients(batch), optimizer, device)
    began, cpu_began = time.perf_counter(), time.process_time()
    take_steps(gradients(batch), optimizer, device)  # once more: counting tensors takes time of its own
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return {
        "strategy": name,
        "num_clips": num_clips,
        "videos": len(batch),
        "resident_mb": (resident_bytes(device) - before) / MEGA,
        "tensors_mb": memory.peak_bytes / MEGA,
        "foreseen_mb": estimated_bytes(shape, strategy=strategy) / MEGA,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


def take_steps(gradients: Iterator[Figures], optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Take a step each time that gradients are there."""
    for _ in gradients:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training_shape(own: argparse.Namespace, num_clips: int) -> TrainingShape:
    """Return what determines the memory of a step at N = ``num_clips``."""
    channels = feature_shape(own.backbone, num_frames=own.frames, size=own.size)[-1]
    return TrainingShape(
        backbones={ROLE: own.backbone},
        roles=(ROLE,) * num_clips,
        num_frames=own.frames,
        crops={ROLE: own.size},
        num_classes=own.classes,
        aggregator=AggregatorSpec(name=own.aggregator, channels=channels, num_classes=own.classes),
        batch_size=own.batch,
        precision=own.precision,
        trained=frozenset({ROLE}),
    )


def strategy_settings(own: argparse.Namespace, name: str) -> StrategySettings:
    """Return the strategy called ``name``, as the command line has it."""
    return StrategySettings(name=name, granularity=own.granularity)


def videos_a_pass(own: argparse.Namespace, name: str, num_clips: int) -> int:
    """Return B, or with batch reduction round(B / N)."""
    return round(own.batch / num_clips) if name == BATCH_REDUCTION else own.batch


def build_model(shape: TrainingShape) -> EndToEnd:
    """Return the networks of ``shape`` with random weights; their batch norms track."""
    preprocessing = Preprocessing(crop=shape.crops[ROLE], short_side=shape.crops[ROLE])
    return EndToEnd(
        {ROLE: build_backbone(shape.backbones[ROLE], num_classes=shape.num_classes)},
        build_video_model(shape.aggregator, shapes=shape.map_shapes()),
        preprocessing={ROLE: preprocessing},
        roles=shape.roles,
        statistics=TRACKED,
        trained=shape.trained,
    )


def primed_optimizer(model: EndToEnd) -> torch.optim.Optimizer:
    """Return SGD with its momentum in memory, as it is in every step but the first."""
    optimizer = build_optimizer(model, settings=OptimisationSettings())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer


def states(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Return the tensors that the optimizer keeps."""
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]


def made_up_batch(shape: TrainingShape, videos: int) -> ClipBatch:
    """Return noise."""
    side = shape.crops[ROLE]
    size = (videos, shape.num_clips, shape.num_frames, side, side, 3)
    return ClipBatch(
        clips={ROLE: torch.randint(0, 256, size, dtype=torch.uint8)},
        targets=torch.randint(0, shape.num_classes, (videos,)),
    )


def warm_up(device: torch.device) -> None:
    """Run a little of everything, so that libraries are in memory before it is measured."""
    layer = torch.nn.Sequential(torch.nn.Conv3d(3, 8, 3), torch.nn.BatchNorm3d(8)).to(device)
    layer(torch.rand(1, 3, 8, 16, 16, device=device)).sum().backward()


def resident_bytes(device: torch.device, *, restart: bool = False) -> int:
    """Return the peak of the resident set, on CUDA of what torch has reserved, since it was last restarted."""
    if device.type == "cuda":
        if restart:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_reserved(device)
    if restart:
        Path("/proc/self/clear_refs").write_text("5")  # lowers the peak to what is resident now
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw memory and seconds against N, a line for each strategy; thin lines are what was foreseen."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    memory, seconds = figure.subplots(1, 2)
    clock, unit = ("cpu_seconds", "CPU seconds") if document["device"] == "cpu" else ("seconds", "seconds")
    for name, rows in by_strategy(document).items():
        clips = [row["num_clips"] for row in rows]
        (line,) = memory.plot(clips, [row["resident_mb"] / 1e3 for row in rows], marker=MARKERS[name], label=name)
        memory.plot(clips, [row["foreseen_mb"] / 1e3 for row in rows], color=line.get_color(), linewidth=0.6)
        seconds.plot(clips, [row[clock] for row in rows], marker=MARKERS[name], label=name)
    for axes, label in ((memory, "peak memory, GB (thin: foreseen)"), (seconds, f"{unit} a step")):
        axes.set_ylim(bottom=0)
        axes.set_xticks(document["clips"])
        axes.set_xlabel("N, clips of a video")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    memory.legend(fontsize=8)
    figure.suptitle(title(document), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def title(document: dict[str, Any]) -> str:
    """Return what was run, in a line."""
    return (
        f"{document['backbone']} and {document['aggregator']}, {document['frames']}×{document['size']}², "
        f"{document['batch_size']} videos, {document['precision']}, {document['device']}"
    )


def markdown(document: dict[str, Any]) -> str:
    """Return the document as the Markdown of benchmarks/RESULTS.md."""
    rows = [
        [
            row["strategy"],
            str(row["num_clips"]),
            str(row["videos"]),
            *(f"{row[f'{figure}_mb']:,.0f}" for figure in ("resident", "tensors", "foreseen")),
            f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}",
            f"{row['cpu_seconds'] / row['num_clips'] / row['videos']:.2f}",
        ]
        for row in document["settings"]
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    return "\n".join([title(document), "", *lines, "", *(f"Left out: {text}." for text in document["left_out"])])


def by_strategy(document: dict[str, Any]) -> dict[str, Sequence[dict[str, Any]]]:
    """Return the rows of each strategy that has any."""
    rows = document["settings"]
    grouped = {name: [row for row in rows if row["strategy"] == name] for name in document["strategies"]}
    return {name: own for name, own in grouped.items() if own}


if __name__ == "__main__":
    main()
