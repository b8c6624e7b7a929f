"""`vidpipe extract`."""

import dataclasses
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.settings import build
from ..pipeline.sizes import size_text
from ..pipeline.videos.damage import DAMAGE_WORDS, KEEP
from ..stages.extract.settings import ExtractSettings
from .defaults import with_defaults
from .main import SOME_FAILED
from .options import json_option, setting_options
from .presets import preset_option
from .progress import progress_shown
from .spelling import reason_text
from .table_changes import changes_text
from .tables import counted, duration_text

if TYPE_CHECKING:
    from ..stages.extract.estimate import Estimate
    from ..stages.extract.plan import ExtractPlan
    from ..stages.extract.run import ExtractSummary

EPILOG = """\b
Example:
  vidpipe extract --manifest m.csv --store s.zarr --pattern 1:3 \\
      --expensive runs/expensive --cheap runs/cheap --dry-run
"""


@click.command("extract", epilog=EPILOG)
@preset_option("extract")
@setting_options(ExtractSettings)
@click.option("--dry-run", is_flag=True, help="Time a few of the videos, print what the run will cost, write nothing.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Run backbones over videos once, and keep their feature maps in a store.

    After a stop or a kill, the same command goes on where it was, and the store ends up the same, byte for byte. Videos
    that cannot be read are recorded with the reason and listed at the end, and the exit status is then 3.
    """
    from ..stages.extract.run import run

    settings = build(ExtractSettings, with_defaults(ctx, "extract", options))
    if dry_run:
        from ..stages.extract.estimate import estimate

        costs = estimate(settings, progress=progress_shown())
        click.echo(json.dumps(_estimate_document(costs), indent=2) if as_json else _estimate_text(costs))
        return
    summary = run(settings, planned=partial(_show_plan, quiet=as_json), progress=progress_shown())
    click.echo(
        json.dumps(dataclasses.asdict(summary), default=str, indent=2) if as_json else _summary_text(summary, settings)
    )
    if summary.failed:
        ctx.exit(SOME_FAILED)


def _show_plan(plan: "ExtractPlan", *, quiet: bool) -> None:
    if not quiet and (text := plan_text(plan)):
        click.echo(text, err=True)  # stdout is for the result alone


def plan_text(plan: "ExtractPlan") -> str:
    """Return a plan as lines of text."""
    lines = changes_text(plan.changes)
    if not plan.tasks:
        return "\n".join(lines)  # the result says that there was nothing to do
    lines += [f"{counted(len(plan.tasks), 'video')} to do"]
    for own in plan.backbones:
        grid = "×".join(map(str, own.feature_shape))
        lines.append(
            f"  {own.role:<9} {own.name:<16} {own.num_clips:>9,} clips × {own.gmacs_per_clip:.3f} GMAC = "
            f"{_gmacs_text(own.gmacs)} GMAC; maps {grid}, at most {size_text(own.num_bytes)}"
        )
    return "\n".join([*lines, *_clip_lines(plan), f"  at most {size_text(plan.num_bytes)} on disk"])


def _gmacs_text(gmacs: float) -> str:
    """Return a number with two significant digits at least."""
    return f"{gmacs:,.0f}" if gmacs >= 10 else f"{gmacs:.2g}"


def _clip_lines(plan: "ExtractPlan") -> list[str]:
    """Return what a video's clips are, and how much of it they see; nothing if no video is to be read."""
    own = plan.sampling
    if plan.share_seen is None:
        return []
    rate = "" if own.fps is None else f", {own.fps:g} frames a second"
    clips = f"of {own.num_frames} frames at stride {own.sampling_rate}{rate}"
    seen = f"{plan.share_seen:.0%} of a typical video"
    if own.num_clips == 1:
        return [f"  1 clip {clips}: it sees {seen}"]
    return [f"  {own.num_clips} clips {clips}: together they see {seen}"]


def _estimate_text(estimate: "Estimate") -> str:
    costs = {"decoding": estimate.decode_seconds, **estimate.compute_seconds}
    each = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in costs.items())
    return "\n".join(
        [
            plan_text(estimate.plan),
            f"  {size_text(estimate.free_bytes)} free",
            f"timed on {counted(estimate.timed_videos, 'video')}, median a video: {each}",
            f"about {duration_text(estimate.total_seconds)} in all on this machine, in one process",
        ]
    )


def _estimate_document(estimate: "Estimate") -> dict[str, Any]:
    plan = estimate.plan
    fields = [own.name for own in dataclasses.fields(estimate) if own.name != "plan"]
    return {
        "num_videos": len(plan.tasks),
        "backbones": [dataclasses.asdict(own) | {"gmacs": own.gmacs} for own in plan.backbones],
        "num_bytes": plan.num_bytes,
        "changes": dataclasses.asdict(plan.changes),
        **{name: getattr(estimate, name) for name in fields},
        "hours": estimate.total_seconds / 3600,
    }


def _summary_text(summary: "ExtractSummary", settings: ExtractSettings) -> str:
    if summary.nothing_to_do:
        done = summary.already_done - len(summary.failed)
        head = "nothing to do: the one video is done" if done == 1 else f"nothing to do: all {done:,} videos are done"
        if summary.failed:
            head = f"nothing to do: {counted(done, 'video')} done, {len(summary.failed):,} failed before"
        return "\n".join([head, *_video_lines(summary, settings)])
    rate = summary.done / summary.seconds if summary.seconds else 0.0
    computing = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary.compute_seconds.items())
    lines = [
        f"{summary.store}: {counted(summary.done, 'video')} extracted in {summary.seconds:.1f} s "
        f"({rate:.2f} videos/s), {summary.already_done:,} done before, {len(summary.failed):,} failed",
    ]
    if summary.num_clips:
        lines.append(f"  {counted(summary.num_clips, 'clip')}; decoding {summary.decode_seconds:.1f} s, {computing}")
    return "\n".join([*lines, *_video_lines(summary, settings)])


def _video_lines(summary: "ExtractSummary", settings: ExtractSettings) -> list[str]:
    """Return which videos were used in part or failed, and what to do about it."""
    lines = [f"  {name}: {words}" for name, words in summary.left_out.items()]
    lines += (f"  failed: {name}: {reason_text(reason)}" for name, reason in summary.failed.items())
    damaged = sum(reason.startswith(DAMAGE_WORDS) for reason in summary.failed.values())
    if damaged and settings.sampling.reading.damaged != KEEP:
        lines.append(
            f"{damaged:,} of the failed are damaged or cut short. --damaged keep, with another store, uses "
            "their clips outside of the damage."
        )
    if summary.failed:
        lines.append("The same command with --retry-failed tries the failed videos again.")
    return lines
