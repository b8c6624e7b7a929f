"""`vidpipe evaluate`."""

import json
from pathlib import Path
from typing import Any

import click

from .tables import format_table

EPILOG = """\b
Example:
  vidpipe evaluate --store s.zarr --run runs/cheap --run runs/expensive --run runs/faster --out report
"""
COLUMNS = ("run", "aggregator", "pattern", "clips", "GMACs", "top-1 %", "top-5 %", "class mean %", "scored")


@click.command("evaluate", epilog=EPILOG)
@click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="Feature store that vidpipe extract made."
)
@click.option(
    "--run", "runs", type=click.Path(path_type=Path), required=True, multiple=True, help="Run directory; give several."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory for tables and pictures.")
@click.option("--split", default="test", show_default=True, help="The videos to score.")
@click.option("--batch-size", default=32, show_default=True, help="Videos a step.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def command(*, as_json: bool, runs: tuple[Path, ...], **options: Any) -> None:
    """Score runs on a feature store: accuracy against cost.

    Writes metrics.json, accuracy_vs_gmacs.png and, for each run, predictions.csv, classes.csv, confusion.csv and
    confusion.png into the output directory. Runs that differ in their seed or
    their splits alone make one point with an error bar.
    """
    from ..stages.evaluate import EvaluateSettings, run

    document = run(EvaluateSettings(runs=runs, **options))
    click.echo(json.dumps(document, indent=2) if as_json else document_text(document))


def document_text(document: dict[str, Any]) -> str:
    """Return the document's figures as tables for the terminal."""
    parts = [format_table(COLUMNS, [_row(run) for run in document["runs"]], right=range(3, len(COLUMNS)))]
    parts += [_missing_line(run, document["split"]) for run in document["runs"] if run["missing"]]
    if any(len(group["members"]) > 1 for group in document["groups"]):
        rows = [_group_row(group) for group in document["groups"]]
        parts += ["", format_table(("setting", "GMACs", "runs", "top-1 %"), rows, right=range(1, 4))]
    return "\n".join([*parts, "", f"Tables and pictures: {document['out']}"])


def _row(run: dict[str, Any]) -> list[str]:
    metrics = run["metrics"]
    accuracies = [f"{100 * metrics[name]:.1f}" for name in ("top1", "top5", "mean_class_accuracy")]
    scored = f"{metrics['num_scored']}/{metrics['num_expected']}"
    return [run["name"], run["aggregator"], run["pattern"], str(run["num_clips"]), _cost(run), *accuracies, scored]


def _cost(entry: dict[str, Any]) -> str:
    return f"{entry['gmacs']:.3g}" if entry["gmacs"] < 100 else f"{entry['gmacs']:,.0f}"


def _missing_line(run: dict[str, Any], split: str) -> str:
    metrics = run["metrics"]
    return (
        f"{run['name']}: {len(run['missing'])} of the {metrics['num_expected']} videos of {split!r} have no features; "
        f"with them counted wrong, top-1 is {100 * metrics['top1_missing_wrong']:.1f} %."
    )


def _group_row(group: dict[str, Any]) -> list[str]:
    spread = "" if group["top1_deviation"] is None else f" ± {100 * group['top1_deviation']:.1f}"
    return [group["label"], _cost(group), str(len(group["members"])), f"{100 * group['top1_mean']:.1f}{spread}"]
