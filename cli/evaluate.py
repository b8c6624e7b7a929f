"""`vidpipe evaluate`."""

import json
from collections.abc import Iterable
from typing import Any

import click

from ..pipeline.settings import build
from ..stages.evaluate.settings import EvaluateSettings
from .accuracies import (
    INTERVAL_NOTE,
    accuracy_names,
    accuracy_text,
    baseline_rows,
    class_lines,
    comparison_line,
    interval_text,
    numbered_line,
)
from .main import SOME_FAILED
from .options import json_option, setting_options
from .progress import progress_shown
from .spelling import option_name, reason_text
from .tables import format_table

EPILOG = """\b
Examples; the second adds a backbone's own clip scores and a probe to the table:
  vidpipe evaluate --store s.zarr --run runs/cheap --run runs/expensive --run runs/faster --out report
  vidpipe evaluate --store s.zarr --run runs/faster --run runs/probe --backbone r2d_26 --out report
  vidpipe evaluate --manifest m.csv --run runs/end_to_end --out report
"""
_BEFORE, _AFTER = ("run", "aggregator", "pattern", "clips", "GMACs"), ("scored",)  # columns beside accuracies
_NUM_TEXT = 3  # columns of text
_METHODS = {"wilson": "Wilson", "student-t": "Student's t"}


@click.command("evaluate", epilog=EPILOG)
@setting_options(EvaluateSettings, leave_out={"local_copies"})
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, **options: Any) -> None:
    """Score runs on a feature store, or end-to-end runs on videos: accuracy against cost.

    Writes metrics.json, accuracy_vs_gmacs.png and, for each run, predictions.csv, classes.csv, confusion.csv and
    confusion.png into the output directory. Runs that differ only in their seed or their splits make one point with an
    error bar. The last rows are what answers reach that look at no video; a line says whether the best run differs
    from the others on the same videos. Classes without a test video are left out of the class mean; videos of classes
    that a run was not trained on are counted wrong, and a line says so.

    From videos, an end-to-end run gets the same figures as from a store that was extracted with its
    backbones, its clips (--clips, --placement), and the precision and threads given here; if a store has other clips,
    a line says so. Videos that cannot be read are listed, and the exit status is then 3.
    """
    from ..stages.evaluate.run import run

    document = run(build(EvaluateSettings, options), progress=progress_shown())
    click.echo(json.dumps(document, indent=2) if as_json else document_text(document))
    for picture, reason in document["failed_pictures"].items():
        click.echo(f"Warning: {picture} could not be drawn ({reason}). No figure is lost.", err=True)
    # On a store, missing videos are extraction's failures, which it has reported already.
    if options["manifest"] is not None and any(scored["missing"] for scored in document["runs"]):
        ctx.exit(SOME_FAILED)


def document_text(document: dict[str, Any]) -> str:
    """Return the document's figures as tables for the terminal."""
    runs = document["runs"]
    names = accuracy_names(max(len(run["metrics"]["classes"]) for run in runs))
    columns = (*_BEFORE, *names.values(), *_AFTER)
    rows = [_row(run, names) for run in runs] + [
        [label, *[""] * (len(_BEFORE) - 2), "0", *accuracies, scored]
        for label, accuracies, scored in baseline_rows(document["baselines"], names, all_runs=len(runs))
    ]
    parts = [format_table(columns, rows, right=range(_NUM_TEXT, len(columns))), INTERVAL_NOTE]
    without = "no features" if document["manifest"] is None else "no prediction"
    parts += [_missing_line(run, document["split"], without) for run in runs if run["missing"]]
    parts += class_lines(runs, document["split"])
    parts += [_other_clips_line(run) for run in runs if run["other_clips"]]
    if document["manifest"] is not None:
        reasons = {name: reason for run in runs for name, reason in run["missing"].items()}
        parts += [f"  failed: {name}: {reason_text(reason)}" for name, reason in reasons.items()]
    if any(len(group["members"]) > 1 for group in document["groups"]):
        rows = [_group_row(group) for group in document["groups"]]
        parts += ["", format_table(("setting", "GMACs", "runs", "top-1 %", "95 %", "over"), rows, right=range(1, 5))]
    top1 = {run["name"]: run["metrics"]["top1"] for run in runs}
    if line := comparison_line(document["comparisons"], top1):
        parts += ["", line]
    parts += ["", f"Tables and pictures: {document['out']}"]
    return "\n".join([*parts, *filter(None, [numbered_line(runs)])])


def _row(run: dict[str, Any], names: Iterable[str]) -> list[str]:
    metrics = run["metrics"]
    accuracies = [accuracy_text(metrics, name) for name in names]
    scored = f"{metrics['num_scored']}/{metrics['num_expected']}"
    return [run["name"], run["aggregator"], run["pattern"], str(run["num_clips"]), _cost(run), *accuracies, scored]


def _cost(entry: dict[str, Any]) -> str:
    return f"{entry['gmacs']:.3g}" if entry["gmacs"] < 100 else f"{entry['gmacs']:,.0f}"


def _missing_line(run: dict[str, Any], split: str, without: str) -> str:
    metrics = run["metrics"]
    return (
        f"{run['name']}: {len(run['missing'])} of the {metrics['num_expected']} videos of {split!r} have {without}; "
        f"with them counted wrong, top-1 is {100 * metrics['top1_missing_wrong']:.1f} %."
    )


def _other_clips_line(run: dict[str, Any]) -> str:
    found = [f"{option_name(name)} {own['store']}, the run {own['run']}" for name, own in run["other_clips"].items()]
    what = f"the store has other clips than the run ({'; '.join(found)})"
    return f"{run['name']}: {what}; --manifest may give other figures."


def _group_row(group: dict[str, Any]) -> list[str]:
    spread = "" if group["top1_deviation"] is None else f" ± {100 * group['top1_deviation']:.1f}"
    top1, number = f"{100 * group['top1_mean']:.1f}{spread}", len(group["members"])
    over = f"{group['interval_count']:,} {group['interval_over']} ({_METHODS[group['top1_interval']['method']]})"
    return [group["label"], _cost(group), str(number), top1, interval_text(group["top1_interval"]), over]
