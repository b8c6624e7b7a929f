"""`vidpipe sweep`."""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import spelled
from ..pipeline.settings import build
from ..pipeline.sizes import size_text
from ..stages.calls import OF_EACH_RUN
from ..stages.presets import recipes_of
from ..stages.sweep.settings import SweepSettings
from .accuracies import comparison_line
from .defaults import with_defaults
from .main import SOME_FAILED
from .options import json_option, setting_options
from .presets import preset_option
from .progress import progress_shown
from .spelling import option_name
from .tables import counted, duration_text, format_table

if TYPE_CHECKING:
    from ..stages.sweep.estimate import SweepEstimate
    from ..stages.sweep.plan import SweepPlan
    from ..stages.sweep.run import SweepSummary

EPILOG = """\b
Example, the paper's Table 3 and Table 4 in one:
  vidpipe sweep --store s.zarr --out sweep --aggregator average,concat,lstm,gru,fast-gru \\
      --pattern first,all-expensive,1:1,1:3,1:7,1:15,1:31 --clips 2,4,8,16,32 --seeds 3 --dry-run
"""
# Fields that a sweep has in another form, or sets itself for each run.
OWN = {"aggregator", "pattern", "num_clips", "seed", "local_copies"}


@click.command("sweep", epilog=EPILOG)
@preset_option("sweep")
@setting_options(SweepSettings, leave_out=OF_EACH_RUN, recipes=recipes_of("sweep"))
@click.option("--dry-run", is_flag=True, help="Time a few steps, print what the sweep will cost, write nothing.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Train many aggregators on one store, score each, and compare the results.

    Every combination of aggregator, pattern, number of clips and seed is one run in OUT/runs. After a stop or a kill,
    the same command goes on; with more names, numbers or seeds it adds to what is there. A run that fails is listed
    with its reason, the exit status is then 3, and the same command tries it again. Writes results.csv, summary.csv,
    comparisons.csv, timings.csv, table3.md, table4.md, figure3.png and figure4.png.
    """
    from ..stages.sweep.run import run

    settings = build(SweepSettings, with_defaults(ctx, "sweep", options))
    if dry_run:
        from ..stages.sweep.estimate import estimate

        costs = estimate(settings, progress=progress_shown())
        click.echo(json.dumps(_estimate_document(costs), indent=2) if as_json else estimate_text(costs))
        return
    summary = run(settings, planned=partial(_show_plan, quiet=as_json), progress=progress_shown())
    # Reasons come with marks, since the library does not know how options are spelled.
    reasons = {name: spelled(reason, option_name) for name, reason in summary.failed.items()}
    summary = dataclasses.replace(summary, failed=reasons)
    click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2) if as_json else summary_text(summary))
    for picture, reason in summary.failed_pictures.items():
        click.echo(f"Warning: {picture} could not be drawn ({reason}). No figure is lost.", err=True)
    if summary.failed:
        ctx.exit(SOME_FAILED)


def _show_plan(plan: "SweepPlan", todo: int, *, quiet: bool) -> None:
    if not quiet:
        click.echo(plan_text(plan, todo), err=True)


def plan_text(plan: "SweepPlan", todo: int) -> str:
    """Return a plan as lines of text."""
    first = f"{counted(len(plan.tasks), 'run')}, {todo:,} of them to do"
    return "\n".join([first, *_left_out_lines(plan.left_out)])


def _left_out_lines(sentences: Sequence[str]) -> list[str]:
    """Return lines that say which combinations are not run, and why."""
    return [f"  left out: {sentence}" for sentence in sentences]


def summary_text(summary: "SweepSummary") -> str:
    """Return the result of a sweep, as lines of text."""
    lines = [*summary.tables.values()]
    lines += [
        f"{counted(summary.num_done, 'run')} done, {summary.num_already_done:,} done before, "
        f"{len(summary.failed):,} failed"
    ]
    lines += [f"  failed: {name}: {reason}" for name, reason in summary.failed.items()]
    if summary.failed:
        lines.append("The same command tries them again.")
    records = [dataclasses.asdict(own) for own in summary.comparisons]
    if line := comparison_line(records, summary.accuracies):
        lines.append(f"{line.removesuffix('.')}, of the first run of each.")
    if summary.files:
        lines.append(f"Tables and figures: {summary.out}")
    return "\n".join(lines)


def estimate_text(estimate: "SweepEstimate") -> str:
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
        for run in estimate.runs
    ]
    lines = [plan_text(estimate.plan, estimate.num_todo), "", "timed on a few videos:"]
    lines += [format_table(header, rows, right=range(2, len(header))), ""]
    if estimate.copies is not None:
        size, free = size_text(estimate.copy_bytes), size_text(estimate.free_copy_bytes)
        made = duration_text(estimate.copy_seconds)
        lines.append(
            f"copies of the maps on each machine: {size}, made in {made}; {free} free in {estimate.copies.parent}"
        )
    lines.append(f"runs: {size_text(estimate.run_bytes)}; {size_text(estimate.free_run_bytes)} free on their disk")
    beside = "one after the other" if estimate.workers == 1 else f"{estimate.workers} side by side"
    lines.append(f"about {duration_text(estimate.total_seconds)} in all on this machine, {beside}")
    return "\n".join(lines)


def _estimate_document(estimate: "SweepEstimate") -> dict[str, Any]:
    """Return the same as JSON values."""
    document = {field.name: getattr(estimate, field.name) for field in dataclasses.fields(estimate)}
    plan = document.pop("plan")
    runs = [dataclasses.asdict(run) | {"seconds": run.seconds} for run in document.pop("runs")]
    copies = None if estimate.copies is None else str(estimate.copies)
    return {"num_runs": len(plan.tasks), "left_out": plan.left_out, **document, "copies": copies, "runs": runs}
