"""`vidpipe sweep`."""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .main import SOME_FAILED
from .progress import progress_shown
from .tables import duration_text, format_table, size_text
from .train_aggregator import command as train_aggregator
from .train_aggregator import take_settings

if TYPE_CHECKING:
    from ..stages.sweep.estimate import SweepEstimate
    from ..stages.sweep.plan import SweepPlan
    from ..stages.sweep.run import SweepSummary
    from ..stages.sweep.settings import SweepSettings

EPILOG = """\b
Example, the paper's Table 3 and Table 4 in one:
  vidpipe sweep --store s.zarr --out sweep --aggregators average,concat,lstm,gru,fast-gru \\
      --patterns first,all-expensive,1:1,1:3,1:7,1:15,1:31 --clips 2,4,8,16,32 --seeds 3 --dry-run
"""
# Options of train-aggregator that a sweep has in a form of its own, or sets itself in each run.
OWN = {"store", "out", "aggregator", "pattern", "num_clips", "seed", "as_json", "preset"}


class Names(click.ParamType):
    """Words separated by commas."""

    name = "A,B,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the words."""
        del param, ctx
        return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


class Numbers(Names):
    """Whole numbers separated by commas."""

    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the numbers."""
        words = super().convert(value, param, ctx)
        try:
            return tuple(int(word) for word in words)
        except ValueError:
            self.fail(f"must be whole numbers separated by commas, as 2,4,8; got {value!r}", param, ctx)


@click.command("sweep", epilog=EPILOG)
@click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="Feature store that vidpipe extract made."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Directory; a sweep there goes on or grows."
)
@click.option(
    "--aggregators",
    type=Names(),
    default="average,fast-gru",
    show_default=True,
    help="What to train, of the names that train-aggregator knows.",
)
@click.option(
    "--patterns", type=Names(), show_default="first, or all-cheap", help="E:C (as 1:3), first, all-expensive …"
)
@click.option(
    "--clips", type=Numbers(), show_default="2,4,8,16,32 as far as stored", help="Numbers of clips of a video."
)
@click.option("--seeds", "num_seeds", default=3, show_default=True, help="Runs of each, with the seeds 0, 1, …")
@click.option("--test-split", default="test", show_default=True, help="The videos to score.")
@click.option(
    "--scheduler", default="none", show_default=True, help="none, local, or tcp://host:port of a Dask cluster."
)
@click.option("--workers", type=int, help="Processes of --scheduler local.  [default: the cores]")
@click.option("--threads", default=1, show_default=True, help="Of each run; small networks gain nothing from more.")
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path),
    help="Keep each machine's copy of the maps here.  [default: a temporary one]",
)
@click.option("--no-copies", is_flag=True, help="Read maps from the store in every run.")
@click.option("--dry-run", is_flag=True, help="Time a few steps, print what the sweep will cost, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def command(ctx: click.Context, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Train many aggregators on one store, score each, and lay the results side by side.

    Every combination of aggregator, pattern, number of clips and seed is one run in OUT/runs. Stopped or killed, the
    same command goes on; with more names, numbers or seeds it adds to what is there. A run that fails is listed with
    its reason, makes the exit status 3, and is tried again by the same command. Writes results.csv, summary.csv,
    timings.csv, table3.md, table4.md, figure3.png and figure4.png.
    """
    from ..stages.sweep.run import run

    settings = settings_of(options)
    if dry_run:
        from ..stages.sweep.estimate import estimate

        foreseen = estimate(settings)
        click.echo(json.dumps(estimate_document(foreseen), indent=2) if as_json else estimate_text(foreseen))
        return
    summary = run(settings, planned=partial(_show_plan, quiet=as_json), progress=progress_shown())
    click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2) if as_json else summary_text(summary))
    if summary.failed:
        ctx.exit(SOME_FAILED)


command.params += [parameter for parameter in train_aggregator.params if parameter.name not in OWN]


def settings_of(options: dict[str, Any]) -> "SweepSettings":
    """Return the stage's settings for the command's options."""
    from ..pipeline.features.patterns import Pattern
    from ..stages.sweep.plan import fitting_defaults
    from ..stages.sweep.settings import SweepSettings

    options = dict(options)
    training = take_settings(options)
    given, clips = options.pop("patterns"), options.pop("clips")
    patterns, numbers = ((), ()) if given and clips else fitting_defaults(training.store)
    return SweepSettings(
        training=training,
        patterns=tuple(Pattern.parse(text) for text in given) if given else patterns,
        clips=clips or numbers,
        copies=not options.pop("no_copies"),
        **options,
    )


def _show_plan(plan: "SweepPlan", todo: int, *, quiet: bool) -> None:
    if not quiet:
        click.echo(plan_text(plan, todo), err=True)


def plan_text(plan: "SweepPlan", todo: int) -> str:
    """Return a plan as lines of text."""
    first = f"{len(plan.tasks):,} runs, {todo:,} of them to do"
    return "\n".join([first, *left_out_lines(plan.left_out)])


def left_out_lines(sentences: Sequence[str]) -> list[str]:
    """Return lines that say which combinations are not run, and why."""
    return [f"  left out: {sentence}" for sentence in sentences]


def summary_text(summary: "SweepSummary") -> str:
    """Return what a sweep came to, as lines of text."""
    lines = [*summary.tables.values()]
    lines += [
        f"{summary.num_done:,} runs done, {summary.num_already_done:,} were done before, {len(summary.failed):,} failed"
    ]
    lines += [f"  failed: {name}: {reason}" for name, reason in summary.failed.items()]
    if summary.failed:
        lines.append("The same command tries them again.")
    if summary.files:
        lines.append(f"Tables and figures: {summary.out}")
    return "\n".join(lines)


def estimate_text(foreseen: "SweepEstimate") -> str:
    """Return what a sweep will cost, as lines of text."""
    header = ("aggregator", "pattern", "clips", "GMACs", "weights", "an epoch", "a run")
    rows = [
        (
            run.aggregator,
            run.pattern,
            str(run.num_clips),
            f"{run.gmacs:.3g}",
            f"{run.num_weights:,}",
            f"{run.epoch_seconds:.2f} s",
            duration_text(run.seconds),
        )
        for run in foreseen.runs
    ]
    lines = [plan_text(foreseen.plan, foreseen.num_todo), "", "timed on a few videos:"]
    lines += [format_table(header, rows, right=range(2, len(header))), ""]
    if foreseen.copies is not None:
        size, free = size_text(foreseen.copy_bytes), size_text(foreseen.free_copy_bytes)
        made = duration_text(foreseen.copy_seconds)
        lines.append(
            f"copies of the maps on each machine: {size}, made in {made}; {free} free in {foreseen.copies.parent}"
        )
    lines.append(f"runs: {size_text(foreseen.run_bytes)}; {size_text(foreseen.free_run_bytes)} free on their disk")
    beside = "one after the other" if foreseen.workers == 1 else f"{foreseen.workers} side by side"
    lines.append(f"about {duration_text(foreseen.total_seconds)} in all on this machine, {beside}")
    return "\n".join(lines)


def estimate_document(foreseen: "SweepEstimate") -> dict[str, Any]:
    """Return the same for a machine to read."""
    document = {field.name: getattr(foreseen, field.name) for field in dataclasses.fields(foreseen)}
    plan = document.pop("plan")
    runs = [dataclasses.asdict(run) | {"seconds": run.seconds} for run in document.pop("runs")]
    copies = None if foreseen.copies is None else str(foreseen.copies)
    return {"num_runs": len(plan.tasks), "left_out": plan.left_out, **document, "copies": copies, "runs": runs}
