"""`vidpipe finetune`."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.settings import build
from ..pipeline.sizes import size_text
from ..stages.finetune.settings import FinetuneSettings
from .defaults import with_defaults
from .main import SOME_FAILED
from .options import json_option, setting_options
from .progress import progress_shown, show_warnings
from .spelling import reason_text
from .tables import counted, epochs_text, kept_text

if TYPE_CHECKING:
    from ..stages.finetune.estimate import FinetuneEstimate
    from ..stages.finetune.run import FinetuneSummary

EPILOG = """\b
Examples, from an aggregator run and its backbone, and from scratch:
  vidpipe finetune --manifest m.csv --from runs/memory --out runs/end_to_end \\
      --expensive runs/expensive --strategy two-pass
  vidpipe finetune --manifest m.csv --expensive slow_only_50 --aggregator memory --out runs/scratch
\b
In two processes, on two GPUs or CPUs:
  torchrun --nproc-per-node 2 --no-python vidpipe finetune --manifest m.csv ...
"""


@click.command("finetune", epilog=EPILOG)
@setting_options(FinetuneSettings)
@click.option("--dry-run", is_flag=True, help="Time a few steps, say what the run will cost, and write nothing.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Train backbones and aggregator together, end to end, on clips of the videos.

    Writes weights.safetensors (the aggregator), expensive.safetensors and cheap.safetensors (the backbones),
    metrics.jsonl, curves.png, failures.json and result.json into the run directory. After a stop or a kill, the same
    command goes on and ends with the same weights.
    """
    from ..pipeline.training.distributed import first_of_launched, launched
    from ..stages.finetune.estimate import estimate
    from ..stages.finetune.run import run

    settings = build(FinetuneSettings, with_defaults(ctx, "finetune", options, aloud=first_of_launched()))
    if dry_run:
        document = estimate(settings, progress=progress_shown())
        click.echo(
            json.dumps(dataclasses.asdict(document), default=str, indent=2) if as_json else estimate_text(document)
        )
        return
    summary = run(settings, progress=progress_shown())
    if not first_of_launched():
        return
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
    else:
        click.echo(summary_text(summary))
        show_warnings(summary.warnings)
    if summary.failures:
        for video_id, reason in summary.failures.items():
            click.echo(f"failed: {video_id}: {reason_text(reason)}", err=True)
        if not launched():  # torchrun treats any status but 0 as a crash
            ctx.exit(SOME_FAILED)


def estimate_text(estimate: "FinetuneEstimate") -> str:
    """Return what a run will cost, as lines of text."""
    memory = ", ".join(f"{name} {size_text(own)}" for name, own in estimate.memory_bytes.items())
    lines = [
        f"{counted(estimate.num_training, 'video')} to train on, {estimate.num_validation:,} held out; "
        f"{counted(estimate.epochs, 'epoch')} of {counted(estimate.steps_per_epoch, 'step')}; "
        f"{estimate.gmacs:.3g} GMACs a video at test",
        f"timed ({estimate.strategy}): {estimate.step_seconds:.2f} s a step, {estimate.validation_seconds:.1f} s an "
        f"epoch for the held-out videos; {estimate.decode_seconds:.2f} s to decode a video, "
        f"{estimate.kept_clips_seconds:.3f} s for the clips of one that is kept and "
        f"{estimate.read_clips_seconds:.3f} s of any other",
        f"memory, foreseen at most: {memory}; there are {size_text(estimate.memory_limit_bytes)}",
        f"at most {size_text(estimate.disk_bytes)} on disk, the checkpoint included",
        kept_text(estimate.kept, in_memory=estimate.in_memory),
    ]
    return "\n".join([*lines, epochs_text(estimate, where="on this machine, in one process")])


def summary_text(summary: "FinetuneSummary") -> str:
    """Return the result of a run, as lines of text."""
    figures = ", ".join(
        f"{name} {summary.metrics[name]:.3g}"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_clip_accuracy")
        if name in summary.metrics
    )
    lines = [
        f"{'This run was done already. ' if summary.already_done else ''}{summary.aggregator}, {summary.pattern}, "
        f"{counted(summary.num_clips, 'clip')}, {summary.gmacs:.3g} GMACs a video: trained {summary.num_weights:,} "
        f"weights end to end ({summary.strategy}) on {counted(summary.num_training, 'video')} "
        f"({summary.num_validation:,} held out) for {counted(summary.epochs, 'epoch')} in {summary.seconds:.1f} s; "
        f"best epoch {summary.metrics['epoch'] + 1}: {figures}."
    ]
    lines += [
        f"The {role} backbone's classifier began anew: its weights told other classes apart." for role in summary.fresh
    ]
    return "\n".join([*lines, f"Run: {summary.out}"])
