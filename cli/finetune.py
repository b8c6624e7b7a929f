"""`vidpipe finetune`."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .main import SOME_FAILED
from .progress import progress_shown
from .tables import duration_text, size_text
from .training_options import live_options, optimisation_options, take_fields, trained_precision

if TYPE_CHECKING:
    from ..stages.finetune.estimate import FinetuneEstimate
    from ..stages.finetune.run import FinetuneSummary
    from ..stages.finetune.settings import FinetuneSettings, RoleBackbone

EPILOG = """\b
Examples, from an aggregator run and its backbone, and from scratch:
  vidpipe finetune --manifest m.csv --from runs/memory --out runs/end_to_end \\
      --expensive r2plus1d_50=runs/expensive/weights.safetensors --strategy two-pass
  vidpipe finetune --manifest m.csv --expensive slow_only_50 --aggregator memory --out runs/scratch
\b
In two processes, on two GPUs or CPUs:
  torchrun --nproc-per-node 2 --no-python vidpipe finetune --manifest m.csv ...
"""


@click.command("finetune", epilog=EPILOG)
@click.option("--manifest", type=click.Path(path_type=Path), required=True, help="CSV or Parquet list of videos.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory; an unfinished run goes on.")
@click.option("--from", "start", type=click.Path(path_type=Path), help="Run of train-aggregator to begin from.")
@click.option("--expensive", metavar="NAME[=WEIGHTS]", help="Expensive backbone; without weights, from scratch.")
@click.option("--cheap", metavar="NAME[=WEIGHTS]", help="Cheap backbone; likewise.")
@click.option("--aggregator", show_default="that of --from, or memory", help="As in train-aggregator.")
@click.option("--pattern", show_default="that of --from", help="E:C (as 1:3), first, all-expensive or all-cheap.")
@click.option("--clips", "num_clips", type=int, show_default="those of --from, or 8", help="Clips of a video.")
@click.option(
    "--frames", "num_frames", type=int, help="Frames in a clip.  [default: of --from, the weights, or as usual]"
)
@click.option("--stride", "sampling_rate", type=int, help="Take every so many frames.  [default: likewise]")
@click.option("--fps", type=float, help="Resample to this rate by time.  [default: likewise, or the videos' own]")
@click.option("--size", "crop", type=int, help="From scratch: side of the square input, pixels.  [default: 224]")
@click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror half of the videos.")
@click.option("--split", default="train", show_default=True, help="The videos to train on.")
@click.option(
    "--val-fraction",
    default=0.15,
    show_default=True,
    help="Share of them held out, class by class, to choose the best epoch; 0: the last epoch is best.",
)
@click.option(
    "--strategy",
    default="plain",
    show_default=True,
    help="How clips share the memory: plain, checkpoint, two-pass (the same gradients); batch-reduction, "
    "multi-iteration.",
)
@click.option("--granularity", default="stage", show_default=True, help="Of checkpoint: backbone, stage or block.")
@click.option(
    "--clips-at-once",
    type=int,
    help="Clips of a video in one call of a backbone.  [default: all; one by two-pass and multi-iteration]",
)
@click.option("--accumulate", default=1, show_default=True, help="Run a batch in so many parts, for one step.")
@click.option(
    "--batch-norm",
    "statistics",
    help="Statistics of the backbones: frozen or tracked.  [default: frozen with weights, tracked from scratch]",
)
@click.option("--clip-weight", default=1.0, show_default=True, help="Of the clips' loss, beside 1 for the video's.")
@click.option("--dropout", type=float, help="Before the aggregator's classifier.  [default: that of --from, or 0.5]")
@click.option(
    "--reduction", type=int, help="C over C' of the memory, and of FAST-GRU's bottleneck.  [default: likewise, or 4]"
)
@click.option("--width", type=int, help="Channels at which both backbones' maps meet.  [default: the wider one's]")
@click.option("--epochs", default=20, show_default=True, help="Visits of each video, at most.")
@click.option(
    "--patience", default=0, show_default=True, help="Stop after so many epochs without a better one; 0: never."
)
@click.option("--batch-size", default=8, show_default=True, help="Videos a step, over all processes.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Aggregator's peak; a cosine takes it to 0.")
@click.option(
    "--expensive-learning-rate",
    type=float,
    help="The same for that backbone; 0: not trained.  [default: a tenth with weights, the same from scratch]",
)
@click.option("--cheap-learning-rate", type=float, help="Likewise.")
@click.option("--clip-norm", default=1.0, show_default=True, help="Largest norm of a gradient; 0: any.")
@click.option("--ema", default=0.0, show_default=True, help="Decay of a moving average of the weights; 0: none.")
@optimisation_options(optimizer="adamw", weight_decay=1e-2, warmup="1, or less")
@live_options
@click.option("--memory-gb", type=float, help="Refuse what is foreseen to need more.  [default: what is free]")
@click.option("--dry-run", is_flag=True, help="Time a few steps, say what the run will cost, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Train backbones and aggregator together, end to end, on clips of the videos.

    Writes weights.safetensors (the aggregator), expensive.safetensors and cheap.safetensors (the backbones),
    metrics.jsonl, curves.png, failures.json and result.json into the run directory. Killed or stopped, the same command
    goes on and ends with the same weights.
    """
    from ..pipeline.training.distributed import first_of_launched, launched
    from ..stages.finetune.estimate import estimate
    from ..stages.finetune.run import run

    settings = take_settings(options)
    if dry_run:
        document = estimate(settings)
        click.echo(json.dumps(dataclasses.asdict(document), indent=2) if as_json else estimate_text(document))
        return
    summary = run(settings, progress=progress_shown())
    if not first_of_launched():
        return
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
    else:
        click.echo(summary_text(summary))
    if summary.failures:
        for video_id, reason in summary.failures.items():
            click.echo(f"failed: {video_id}: {reason}", err=True)
        if not launched():  # torchrun takes any other status than 0 for a crash
            ctx.exit(SOME_FAILED)


def take_settings(options: dict[str, Any]) -> "FinetuneSettings":
    """Return the settings that ``options`` ask for."""
    from ..pipeline.end_to_end.strategies import StrategySettings
    from ..pipeline.features.patterns import CHEAP, EXPENSIVE, ROLES, Pattern
    from ..pipeline.training.settings import OptimisationSettings
    from ..stages.finetune.settings import FinetuneSettings

    if options["warmup_epochs"] is None:
        options["warmup_epochs"] = min(1.0, options["epochs"] / 10)
    options["precision"] = trained_precision(options["precision"], options["device"])
    given = {role: options.pop(f"{role}_learning_rate") for role in (EXPENSIVE, CHEAP)}
    rates = {role: rate for role, rate in given.items() if rate is not None}
    backbones = {role: parse_backbone(role, options.pop(role)) for role in ROLES}
    pattern = options.pop("pattern")
    strategy = StrategySettings(
        name=options.pop("strategy"),
        granularity=options.pop("granularity"),
        clips_at_once=options.pop("clips_at_once"),
    )
    optimisation = OptimisationSettings(**take_fields(options, OptimisationSettings))
    return FinetuneSettings(
        pattern=None if pattern is None else Pattern.parse(pattern),
        strategy=strategy,
        optimisation=optimisation,
        rates=rates,
        **backbones,
        **options,
    )


def parse_backbone(role: str, text: str | None) -> "RoleBackbone | None":
    """Return the backbone that ``text``, NAME or NAME=WEIGHTS, names; None for none.

    Raises:
        SettingsError: if there is no name, or no file after the equals sign.
    """
    from ..pipeline.errors import SettingsError
    from ..stages.finetune.settings import RoleBackbone

    if text is None:
        return None
    name, equals, path = text.partition("=")
    if not name or (equals and not path):
        raise SettingsError(f"--{role} must be NAME or NAME=WEIGHTS; got {text!r}")
    return RoleBackbone(backbone=name, weights=Path(path) if equals else None)


def estimate_text(foreseen: "FinetuneEstimate") -> str:
    """Return what a run will cost, as lines of text."""
    memory = ", ".join(f"{name} {size_text(own)}" for name, own in foreseen.memory_bytes.items())
    return "\n".join(
        [
            f"{foreseen.num_training:,} videos to train on, {foreseen.num_validation:,} held out; {foreseen.epochs} "
            f"epochs of {foreseen.steps_per_epoch:,} steps; {foreseen.gmacs:.3g} GMACs a video at test",
            f"timed on a few steps ({foreseen.strategy}): {foreseen.step_seconds:.2f} s a step, and "
            f"{foreseen.validation_seconds:.0f} s an epoch for the held-out videos",
            f"memory, foreseen at most: {memory}; there are {size_text(foreseen.memory_limit_bytes)}",
            f"at most {size_text(foreseen.disk_bytes)} on disk, the checkpoint included",
            f"about {duration_text(foreseen.total_seconds)} in all on this machine, in one process",
        ]
    )


def summary_text(summary: "FinetuneSummary") -> str:
    """Return what a run came to, as lines of text."""
    figures = ", ".join(
        f"{name} {summary.metrics[name]:.3g}"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_clip_accuracy")
        if name in summary.metrics
    )
    lines = [
        f"{'This run was done already. ' if summary.already_done else ''}{summary.aggregator}, {summary.pattern}, "
        f"{summary.num_clips} clips, {summary.gmacs:.3g} GMACs a video: trained {summary.num_weights:,} weights end to "
        f"end ({summary.strategy}) on {summary.num_training:,} videos ({summary.num_validation:,} held out) for "
        f"{summary.epochs} epochs in {summary.seconds:.1f} s; best epoch {summary.metrics['epoch'] + 1}: {figures}."
    ]
    lines += [
        f"The {role} backbone's classifier began anew: its weights told other classes apart." for role in summary.fresh
    ]
    return "\n".join([*lines, f"Run: {summary.out}"])
