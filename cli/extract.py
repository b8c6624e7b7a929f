"""`vidpipe extract`."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .main import SOME_FAILED
from .presets import SETTING_NAMES, extract_defaults, preset_option
from .progress import progress_shown
from .tables import duration_text, size_text

if TYPE_CHECKING:
    from ..stages.extract.estimate import Estimate
    from ..stages.extract.plan import ExtractPlan
    from ..stages.extract.run import ExtractSummary
    from ..stages.extract.settings import ExtractSettings

EPILOG = """\b
Example:
  vidpipe extract --manifest m.csv --store s.zarr --pattern 1:3 \\
      --expensive r2plus1d_50=expensive.safetensors --cheap r2d_26=cheap.safetensors --dry-run
"""


@click.command("extract", epilog=EPILOG)
@preset_option(extract_defaults, names=SETTING_NAMES)
@click.option("--manifest", type=click.Path(path_type=Path), required=True, help="CSV or Parquet list of videos.")
@click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="Feature store; an unfinished one goes on."
)
@click.option("--expensive", metavar="NAME=WEIGHTS", help="Expensive backbone and its safetensors file.")
@click.option("--cheap", metavar="NAME=WEIGHTS", help="Cheap backbone and its safetensors file.")
@click.option("--frames", default=8, show_default=True, help="Frames in a clip.")
@click.option("--stride", default=1, show_default=True, help="Take every so many frames.")
@click.option("--fps", type=float, help="Resample to this rate by time.  [default: the video's own frames]")
@click.option("--clips", default=32, show_default=True, help="Clips of a video.")
@click.option(
    "--placement",
    type=click.Choice(["uniform", "dense"]),
    default="uniform",
    show_default=True,
    help="Clips spread over the whole video, or one after the other.",
)
@click.option(
    "--short",
    type=click.Choice(["repeat_last", "loop", "refuse"]),
    default="repeat_last",
    show_default=True,
    help="What to do with videos shorter than a clip.",
)
@click.option(
    "--pattern",
    default="all-expensive",
    show_default=True,
    help="Clips that the expensive backbone sees: E:C (as 1:3), first, all-expensive. The cheap one sees all.",
)
@click.option("--views", default=1, show_default=True, help="Draws of clips; those after the first are random.")
@click.option("--seed", default=0, show_default=True, help="Of the random views.")
@click.option("--split", help="Extract this split alone.  [default: all]")
@click.option("--size", type=int, help="Crop, pixels.  [default: as the weights were trained]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="auto: the fastest that the machine has.",
)
@click.option("--batch", default=0, show_default=True, help="Clips a call of a backbone; 0: what suits the device.")
@click.option("--threads", type=int, help="Of the backbones, in each worker.  [default: cores / workers]")
@click.option(
    "--compression",
    type=click.Choice(["zstd", "lz4", "none"]),
    default="zstd",
    show_default=True,
    help="Of the stored maps.",
)
@click.option(
    "--scheduler", default="none", show_default=True, help="none, local, or tcp://host:port of a Dask cluster."
)
@click.option("--workers", type=int, help="Processes of --scheduler local.  [default: the cores]")
@click.option("--retry-failed", is_flag=True, help="Try the videos again that failed before.")
@click.option("--dry-run", is_flag=True, help="Time a few of the videos, print what the run will cost, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def command(ctx: click.Context, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Run backbones over videos once, and keep their feature maps in a store.

    Stopped or killed, the same command goes on where it was, and the store comes out the same byte for byte. Videos
    that cannot be read are recorded with the reason, listed at the end, and make the exit status 3.
    """
    from ..stages.extract.run import run

    settings = settings_of(options)
    if dry_run:
        from ..stages.extract.estimate import estimate

        foreseen = estimate(settings)
        click.echo(json.dumps(_estimate_document(foreseen), indent=2) if as_json else _estimate_text(foreseen))
        return
    summary = run(settings, planned=partial(_show_plan, quiet=as_json), progress=progress_shown())
    click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2) if as_json else _summary_text(summary))
    if summary.failed:
        ctx.exit(SOME_FAILED)


def settings_of(options: dict[str, Any]) -> "ExtractSettings":
    """Return the stage's settings for the command's options."""
    from ..pipeline.backbones.engine_settings import EngineSettings
    from ..pipeline.features.patterns import Pattern
    from ..pipeline.videos.clips import ClipSampling
    from ..stages.extract.settings import ExtractSettings

    sampling = ClipSampling(
        num_frames=options["frames"],
        sampling_rate=options["stride"],
        num_clips=options["clips"],
        **{name: options[name] for name in ("fps", "views", "short", "placement", "seed")},
    )
    engine = EngineSettings(
        **{name: options[name] for name in ("device", "precision", "batch")}, threads=_threads(options)
    )
    kept = ("manifest", "store", "split", "size", "compression", "scheduler", "workers", "retry_failed")
    return ExtractSettings(
        expensive=_role(options["expensive"], "--expensive"),
        cheap=_role(options["cheap"], "--cheap"),
        sampling=sampling,
        engine=engine,
        pattern=Pattern.parse(options["pattern"]),
        **{name: options[name] for name in kept},
    )


def _role(given: str | None, option: str) -> Any:
    from ..stages.extract.settings import RoleWeights

    if given is None:
        return None
    name, equals, path = given.partition("=")
    if not (name and equals and path):
        raise click.BadParameter(f"must be NAME=WEIGHTS, as r2d_26=cheap.safetensors; got {given!r}", param_hint=option)
    return RoleWeights(backbone=name, path=Path(path))


def _threads(options: dict[str, Any]) -> int | None:
    """Return the threads of each worker: those asked for, or a fair share of the cores of this machine."""
    import os

    if options["threads"] is not None or options["scheduler"].startswith("tcp"):
        return options["threads"]
    cores = os.cpu_count() or 1
    return max(1, cores // (options["workers"] or cores)) if options["scheduler"] == "local" else cores


def _show_plan(plan: "ExtractPlan", *, quiet: bool) -> None:
    if not quiet:
        click.echo(plan_text(plan), err=True)


def plan_text(plan: "ExtractPlan") -> str:
    """Return a plan as lines of text."""
    lines = [f"{len(plan.tasks):,} videos to do"]
    for own in plan.backbones:
        grid = "×".join(map(str, own.feature_shape))
        lines.append(
            f"  {own.role:<9} {own.name:<16} {own.num_clips:>9,} clips × {own.gmacs_per_clip:.3f} GMAC = "
            f"{own.gmacs:,.0f} GMAC; maps {grid}, at most {size_text(own.num_bytes)}"
        )
    return "\n".join([*lines, f"  at most {size_text(plan.num_bytes)} on disk"])


def _estimate_text(foreseen: "Estimate") -> str:
    costs = {"decoding": foreseen.decode_seconds, **foreseen.compute_seconds}
    each = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in costs.items())
    return "\n".join(
        [
            plan_text(foreseen.plan),
            f"  {size_text(foreseen.free_bytes)} free",
            f"timed on {foreseen.timed_videos} videos, median a video: {each}",
            f"about {duration_text(foreseen.total_seconds)} in all on this machine, in one process",
        ]
    )


def _estimate_document(foreseen: "Estimate") -> dict[str, Any]:
    document = dataclasses.asdict(foreseen)
    plan = document.pop("plan")
    plan["num_videos"] = len(plan.pop("tasks"))
    for own, source in zip(plan["backbones"], foreseen.plan.backbones, strict=True):
        own |= {"num_clips": source.num_clips, "gmacs": source.gmacs}
    return {**plan, **document, "hours": foreseen.total_seconds / 3600}


def _summary_text(summary: "ExtractSummary") -> str:
    rate = summary.done / summary.seconds if summary.seconds else 0.0
    computing = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary.compute_seconds.items())
    lines = [
        f"{summary.store}: {summary.done:,} videos extracted in {summary.seconds:.1f} s ({rate:.2f} videos/s), "
        f"{summary.already_done:,} were done before, {len(summary.failed):,} failed",
    ]
    if summary.num_clips:
        lines.append(f"  {summary.num_clips:,} clips; decoding {summary.decode_seconds:.1f} s, {computing}")
    lines += (f"  failed: {name}: {reason}" for name, reason in summary.failed.items())
    if summary.failed:
        lines.append("The same command with --retry-failed tries the failed videos again.")
    return "\n".join(lines)
