"""`vidpipe train-aggregator`."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .presets import SETTING_NAMES, aggregator_defaults, preset_option
from .progress import progress_shown
from .training_options import optimisation_options, take_fields

if TYPE_CHECKING:
    from ..stages.train_aggregator.run import TrainAggregatorSummary
    from ..stages.train_aggregator.settings import TrainAggregatorSettings

MAX_FAILURES = 20  # printed in full; --json lists all
EPILOG = """\b
Example, FASTER with one expensive clip in four:
  vidpipe train-aggregator --store s.zarr --out runs/faster --aggregator fast-gru --pattern 1:3
"""


@click.command("train-aggregator", epilog=EPILOG)
@preset_option(aggregator_defaults, names=SETTING_NAMES)
@click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="Feature store that vidpipe extract made."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory; an unfinished run goes on.")
@click.option(
    "--aggregator",
    default="fast-gru",
    show_default=True,
    help="average, max (nothing to train); concat, lstm, gru, conv-gru, fast-gru, fast-gru-pooled (in order); memory, "
    "memory-residual, context-average, context-max (two clips or more), multi-clip (in no order).",
)
@click.option("--pattern", show_default="as extracted", help="E:C (as 1:3), first, all-expensive or all-cheap.")
@click.option("--clips", "num_clips", type=int, show_default="all that are stored", help="Clips of a video.")
@click.option("--expensive", help="Name of the expensive backbone.  [default: the one extracted as such]")
@click.option("--cheap", help="Name of the cheap backbone.  [default: the one extracted as such]")
@click.option("--split", default="train", show_default=True, help="The videos to train on.")
@click.option(
    "--splits",
    type=click.Path(path_type=Path),
    help="Manifest of the same videos whose splits count in place of the store's, such as UCF-101's second. "
    "Only for backbones that saw none of these videos.",
)
@click.option(
    "--val-fraction",
    default=0.15,
    show_default=True,
    help="Share of them held out, class by class, to choose the best epoch; 0: the last epoch is best.",
)
@click.option("--dropout", default=0.5, show_default=True, help="Before the classifier.")
@click.option(
    "--reduction",
    default=4,
    show_default=True,
    help="Factor by which FAST-GRU's gates, and memories and contexts, compress the channels.",
)
@click.option("--width", type=int, help="Channels at which both backbones' maps meet.  [default: the wider one's]")
@click.option("--epochs", default=40, show_default=True, help="Visits of each video, at most.")
@click.option(
    "--patience", default=0, show_default=True, help="Stop after so many epochs without a better one; 0: never."
)
@click.option("--batch-size", default=16, show_default=True, help="Videos a step.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Peak rate; a cosine takes it to 0.")
@optimisation_options(optimizer="adamw", weight_decay=1e-2, warmup="1, or less")
@click.option("--clip-norm", default=1.0, show_default=True, help="Largest norm of a gradient; 0: any.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the forward pass.",
)
@click.option("--cache-gib", default=4.0, show_default=True, help="Keep the maps in memory if they fit in this.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def command(*, as_json: bool, pattern: str | None, **options: Any) -> None:
    """Train an aggregator on cached feature maps; the backbones stay as they are.

    Writes weights.safetensors, metrics.jsonl, curves.png and result.json into the run directory. Killed or stopped, the
    same command goes on and ends with the same weights.
    """
    from ..pipeline.features.patterns import Pattern
    from ..stages.train_aggregator.run import run

    parsed = None if pattern is None else Pattern.parse(pattern)
    summary = run(take_settings({**options, "pattern": parsed}), progress=progress_shown())
    click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2) if as_json else summary_text(summary))


def take_settings(options: dict[str, Any]) -> "TrainAggregatorSettings":
    """Take the settings of training out of ``options``, by their fields' names, and return them."""
    from ..pipeline.training.settings import OptimisationSettings
    from ..stages.train_aggregator.settings import TrainAggregatorSettings

    if options["warmup_epochs"] is None:
        options["warmup_epochs"] = min(1.0, options["epochs"] / 10)
    optimisation = OptimisationSettings(**take_fields(options, OptimisationSettings))
    return TrainAggregatorSettings(optimisation=optimisation, **take_fields(options, TrainAggregatorSettings))


def summary_text(summary: "TrainAggregatorSummary") -> str:
    """Return what a run came to, as lines of text."""
    what = f"{summary.aggregator}, {summary.pattern}, {summary.num_clips} clips, {summary.gmacs:.3g} GMACs a video"
    if not summary.num_weights:
        done = "nothing to train"
    else:
        figures = ", ".join(
            f"{name} {summary.metrics[name]:.3g}"
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            if name in summary.metrics
        )
        done = (
            f"trained {summary.num_weights:,} weights on {summary.num_training:,} videos ({summary.num_validation:,} "
            f"held out) for {summary.epochs} epochs in {summary.seconds:.1f} s; best epoch "
            f"{summary.metrics['epoch'] + 1}: {figures}"
        )
    first = "This run was done already. " if summary.already_done else ""
    return "\n".join([f"{first}{what}: {done}.", *_missing_lines(summary), f"Run: {summary.out}"])


def _missing_lines(summary: "TrainAggregatorSummary") -> list[str]:
    """Return how many training videos taught nothing, by reason, and why those failed."""
    from ..pipeline.features.clip_selection import NOT_EXTRACTED

    if not summary.missing:
        return []
    failed = {name: reason for name, reason in summary.missing.items() if reason != NOT_EXTRACTED}
    counts = {NOT_EXTRACTED: len(summary.missing) - len(failed), "failed": len(failed)}
    reasons = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    known = summary.num_training + summary.num_validation + len(summary.missing)
    lines = [
        f"{len(summary.missing):,} of the {known:,} training videos have no features and were left out: {reasons}."
    ]
    lines += [f"  failed: {name}: {reason}" for name, reason in list(failed.items())[:MAX_FAILURES]]
    if (hidden := len(failed) - MAX_FAILURES) > 0:
        lines.append(f"  and {hidden:,} more; --json lists all.")
    return lines
