"""`vidpipe probe`."""

import json
from collections.abc import Iterable
from typing import Any

import click

from ..pipeline.settings import build
from ..stages.probe.settings import ProbeSettings
from .accuracies import INTERVAL_NOTE, accuracy_names, accuracy_text, baseline_rows, class_lines, comparison_line
from .options import json_option, setting_options
from .progress import progress_shown
from .tables import format_table

EPILOG = """\b
Examples, each backbone alone, and the clips that an aggregator would see:
  vidpipe probe --store s.zarr --out runs/probe
  vidpipe probe --store s.zarr --out runs/probe_1_3 --pattern 1:3 --C 0.01 --C 1
"""
_BEFORE, _AFTER = ("backbone", "clips", "GMACs", "features", "C", "train %"), ("scored",)  # columns beside accuracies


@click.command("probe", epilog=EPILOG)
@setting_options(ProbeSettings)
@json_option
def command(*, as_json: bool, **options: Any) -> None:
    """Fit logistic regression on pooled feature maps: the baseline to look at before training anything.

    Features are the mean of a video's maps over clips, time and grid, standardised. They are read a few videos at a
    time, so the store may be larger than memory. Writes metrics.json and, for each probe, predictions.csv and
    probe.npz (classes, mean, scale, coefficients, intercept).
    """
    from ..stages.probe.run import run

    document = run(build(ProbeSettings, options), progress=progress_shown())
    click.echo(json.dumps(document, indent=2) if as_json else document_text(document))


def document_text(document: dict[str, Any]) -> str:
    """Return the document's figures as a table for the terminal, with remarks."""
    probes = document["probes"]
    names = accuracy_names(max(len(probe["metrics"]["classes"]) for probe in probes))
    columns = (*_BEFORE, *names.values(), *_AFTER)
    rows = [_row(probe, names) for probe in probes] + [
        [label, "", "0", *[""] * (len(_BEFORE) - 3), *accuracies, scored]
        for label, accuracies, scored in baseline_rows(document.get("baselines", ()), names, all_runs=len(probes))
    ]
    parts = [format_table(columns, rows, right=range(1, len(columns))), INTERVAL_NOTE]
    for probe in probes:
        parts += _remarks(probe, document)
    # Runs of earlier versions have no such records.
    parts += class_lines([probe for probe in probes if "absent_classes" in probe], document["test_split"])
    top1 = {probe["name"]: probe["metrics"]["top1"] for probe in probes}
    if line := comparison_line(document.get("comparisons", ()), top1):
        parts += ["", line]
    return "\n".join([*parts, "", f"Probes and predictions: {document['out']}"])


def _row(probe: dict[str, Any], names: Iterable[str]) -> list[str]:
    metrics = probe["metrics"]
    accuracies = [f"{100 * probe['train_accuracy']:.1f}", *(accuracy_text(metrics, name) for name in names)]
    cost = f"{probe['gmacs']:.3g}" if probe["gmacs"] < 100 else f"{probe['gmacs']:,.0f}"
    scored = f"{metrics['num_scored']}/{metrics['num_expected']}"
    shape = [str(probe["num_clips"]), cost, f"{probe['num_features']:,}", f"{probe['strength']:g}"]
    return [probe["name"], *shape, *accuracies, scored]


def _remarks(probe: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """Return what a user must know about a probe besides its figures."""
    metrics, left_out, lines = probe["metrics"], len(probe["missing_training"]), []
    if left_out:
        lines.append(
            f"{probe['name']}: {left_out:,} of the {left_out + probe['num_training']:,} videos of "
            f"{document['split']!r} have no features and were left out of the fit."
        )
    if probe["missing"]:
        lines.append(
            f"{probe['name']}: {len(probe['missing']):,} of the {metrics['num_expected']:,} videos of "
            f"{document['test_split']!r} have no features; with them counted wrong, top-1 is "
            f"{100 * metrics['top1_missing_wrong']:.1f} %."
        )
    if not probe["converged"]:
        lines.append(
            f"{probe['name']}: the fit stopped after {probe['iterations']:,} iterations and had not converged; type "
            f"--max-iter {10 * document['max_iter']} or a smaller --C, and another --out."
        )
    return lines
