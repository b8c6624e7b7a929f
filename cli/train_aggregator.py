"""`vidpipe train-aggregator`."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.settings import build
from ..stages.presets import recipes_of
from ..stages.train_aggregator.settings import TrainAggregatorSettings
from .defaults import with_defaults
from .options import json_option, setting_options
from .presets import preset_option
from .progress import progress_shown, show_warnings
from .spelling import reason_text
from .tables import counted

if TYPE_CHECKING:
    from ..stages.train_aggregator.run import TrainAggregatorSummary

MAX_FAILURES = 20  # printed in full; --json lists all
EPILOG = """\b
Example, FASTER with one expensive clip in four:
  vidpipe train-aggregator --store s.zarr --out runs/faster --aggregator fast-gru --pattern 1:3
"""


@click.command("train-aggregator", epilog=EPILOG)
@preset_option("train_aggregator")
@setting_options(TrainAggregatorSettings, leave_out={"local_copies"}, recipes=recipes_of("train_aggregator"))
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, **options: Any) -> None:
    """Train an aggregator on cached feature maps; the backbones do not change.

    Writes weights.safetensors, metrics.jsonl, curves.png and result.json into the run directory. After a stop or a
    kill, the same command goes on and ends with the same weights.
    """
    from ..stages.train_aggregator.run import run

    options = with_defaults(ctx, "train_aggregator", options)
    summary = run(build(TrainAggregatorSettings, options), progress=progress_shown())
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
    else:
        click.echo(summary_text(summary))
        show_warnings(summary.warnings)


def summary_text(summary: "TrainAggregatorSummary") -> str:
    """Return the result of a run, as lines of text."""
    clips = counted(summary.num_clips, "clip")
    what = f"{summary.aggregator}, {summary.pattern}, {clips}, {summary.gmacs:.3g} GMACs a video"
    if not summary.num_weights:
        done = "nothing to train"
    else:
        figures = ", ".join(
            f"{name} {summary.metrics[name]:.3g}"
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
            if name in summary.metrics
        )
        done = (
            f"trained {summary.num_weights:,} weights on {counted(summary.num_training, 'video')} "
            f"({summary.num_validation:,} held out) for {counted(summary.epochs, 'epoch')} in {summary.seconds:.1f} s; "
            f"best epoch {summary.metrics['epoch'] + 1}: {figures}"
        )
    first = "This run was done already. " if summary.already_done else ""
    return "\n".join([f"{first}{what}: {done}.", *_missing_lines(summary), f"Run: {summary.out}"])


def _missing_lines(summary: "TrainAggregatorSummary") -> list[str]:
    """Return how many training videos were not used, by reason, and why the failed ones failed."""
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
    lines += [f"  failed: {name}: {reason_text(reason)}" for name, reason in list(failed.items())[:MAX_FAILURES]]
    if (hidden := len(failed) - MAX_FAILURES) > 0:
        lines.append(f"  and {hidden:,} more; --json lists all.")
    return lines
