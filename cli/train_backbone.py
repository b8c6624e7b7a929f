"""`vidpipe train-backbone`."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.settings import build
from ..pipeline.sizes import size_text
from ..stages.presets import recipes_of
from ..stages.train_backbone.settings import TrainBackboneSettings
from .defaults import with_defaults
from .main import SOME_FAILED
from .options import json_option, setting_options
from .presets import preset_option
from .progress import progress_shown, show_warnings
from .spelling import reason_text
from .tables import counted, epochs_text, figures_text, kept_text

if TYPE_CHECKING:
    from ..stages.train_backbone.estimate import BackboneEstimate

EPILOG = """\b
Example, the small cheap backbone of the demo:
  vidpipe train-backbone --manifest demo/videos/manifest.csv --backbone r2d_14_w8 --size 40 --out demo/cheap
"""


@click.command("train-backbone", epilog=EPILOG)
@preset_option("train_backbone")
@setting_options(TrainBackboneSettings, leave_out={"zero_init_residual"}, recipes=recipes_of("train_backbone"))
@click.option("--dry-run", is_flag=True, help="Time a few steps, say what the run will cost, and write nothing.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Train a clip backbone from scratch and write its weights.

    A clip has the backbone's usual frames, unless you or a preset say otherwise: 8; for r2plus1d_*_ptv 16, for i3d and
    slowfast 32. Its stride follows the videos: a clip spans half of a typical one, or two seconds of it. The recipe
    follows their number. What was chosen is said first, and recorded in the weights and the run.

    Writes weights.safetensors (with class list and preprocessing), metrics.jsonl, curves.png and failures.json into the
    run directory. After a stop or a kill, the same command goes on and ends with the same weights.

    Decoded videos are kept in a folder (see --clip-cache), so that later epochs, a restart and the other backbone
    decode nothing again. It may be deleted at any time.
    """
    from ..stages.train_backbone.run import run

    options = with_defaults(ctx, "train_backbone", options)
    settings = build(TrainBackboneSettings, options)
    if dry_run:
        from ..stages.train_backbone.estimate import estimate

        costs = estimate(settings, progress=progress_shown())
        click.echo(json.dumps(dataclasses.asdict(costs), default=str, indent=2) if as_json else estimate_text(costs))
        return
    summary = run(settings, progress=progress_shown())
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
    else:
        figures = figures_text(summary.metrics, chance=summary.chance)
        videos, classes = counted(summary.num_videos, "video"), counted(len(summary.classes), "class")
        what = f"{options['backbone']} on {videos} of {classes}"
        if summary.already_done:
            click.echo(f"This run was done already. {what}: {figures}.")
        else:
            click.echo(f"Trained {what} in {summary.seconds:.0f} s: {figures}.")
        click.echo(f"Weights: {summary.weights} (sha256 {summary.digest[:12]}…)")
        show_warnings(summary.warnings)
    if summary.failures:
        for video_id, reason in summary.failures.items():
            click.echo(f"failed: {video_id}: {reason_text(reason)}", err=True)
        ctx.exit(SOME_FAILED)


def estimate_text(costs: "BackboneEstimate") -> str:
    """Return what a run will cost, as lines of text."""
    held_out = f", {costs.num_validation:,} to validate on" if costs.num_validation else ""
    lines = [
        f"{counted(costs.num_training, 'video')} to train on{held_out}; {counted(costs.epochs, 'epoch')} of "
        f"{counted(costs.steps_per_epoch, 'step')} of up to {counted(costs.batch_size, 'clip')}, {costs.num_frames} "
        f"frames each at stride {costs.sampling_rate}",
        f"{costs.clip_gmacs:.3g} GMACs a clip forward, about {costs.total_gmacs / 1e3:,.3g} TMACs in all",
        f"timed: {costs.step_seconds:.2f} s a step, {costs.decode_seconds:.2f} s of one thread to decode a video, "
        f"{costs.kept_clip_seconds:.3f} s a clip of one that is kept and {costs.read_clip_seconds:.3f} s of any other; "
        f"{costs.decoding_threads} such threads",
        f"memory: {size_text(costs.memory_bytes)}"
        + (f", and {size_text(costs.gpu_bytes)} of the GPU" if costs.gpu_bytes is not None else ""),
        f"at most {size_text(costs.run_bytes)} on disk for the run, its checkpoint included; "
        f"{size_text(costs.free_bytes)} are free",
        kept_text(costs.kept, in_memory=costs.in_memory),
    ]
    lines.append(epochs_text(costs, where="on this machine"))
    if not costs.already_done:
        lines.append("not counted: starting, and the pictures and the list of failures at the end")
    return "\n".join(lines)
