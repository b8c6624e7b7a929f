"""Score runs and write the results: one JSON document, tables as CSV, and pictures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from ...pipeline.errors import SettingsError, named
from ...pipeline.evaluation.comparison import compare
from ...pipeline.evaluation.figures import try_to_draw
from ...pipeline.evaluation.looks import BACKBONE
from ...pipeline.evaluation.metrics import baselines
from ...pipeline.execution import SILENT, Progress
from ...pipeline.files import write_csv, write_json
from ...pipeline.manifests.manifest import Manifest
from .grouping import Group, group_runs, unique_names
from .pictures import draw_confusion, draw_costs, numbered_classes
from .scores import Evaluation, RunScores, evaluate
from .settings import EvaluateSettings
from .tables import class_rows, confusion_rows, prediction_rows

_METRICS_FILE, _COST_PICTURE = "metrics.json", "accuracy_vs_gmacs.png"


def run(settings: EvaluateSettings, *, progress: Progress = SILENT) -> dict[str, Any]:
    """Score every run, write tables and pictures, and return everything as one JSON document.

    Args:
        settings: what to score, on what.
        progress: as in `evaluate`.

    Raises:
        SettingsError, ManifestError, StoreError, RunError, WeightsError, VideoError: as `evaluate`.
    """
    _check_out(settings.out)
    return report(evaluate(settings, progress=progress))


def report(evaluation: Evaluation) -> dict[str, Any]:
    """Write tables and pictures into the output directory and return everything as one JSON document.

    Files: `metrics.json` (the document), `accuracy_vs_gmacs.png`, and in a folder for each run `predictions.csv`,
    `confusion.csv`, `classes.csv` and `confusion.png`. All figures are on disk before the first picture is drawn; the
    document says which pictures could not be.
    """
    out = evaluation.settings.out
    folders = unique_names([scores.subject.path for scores in evaluation.runs])
    groups = group_runs(evaluation.runs)
    for folder, scores in zip(folders, evaluation.runs, strict=True):
        _write_tables(out / folder, evaluation.manifest, scores)
    document = _as_json(_document(evaluation, folders, groups))
    write_json(out / _METRICS_FILE, document)
    failed = _draw(evaluation, folders, groups, document["baselines"])
    if failed:
        document["failed_pictures"] = failed
        write_json(out / _METRICS_FILE, document)
    return document


def _document(evaluation: Evaluation, folders: Sequence[str], groups: Sequence[Group]) -> dict[str, Any]:
    settings, runs = evaluation.settings, evaluation.runs
    right = {name: answers(evaluation.manifest, own) for name, own in zip(folders, runs, strict=True)}
    return {
        "store": _text(settings.store),
        "manifest": _text(settings.manifest),
        "split": settings.split,
        "runs": [_run_document(name, scores) for name, scores in zip(folders, runs, strict=True)],
        "groups": [asdict(group) | {"members": [folders[i] for i in group.members]} for group in groups],
        "baselines": baseline_records(dict(zip(folders, runs, strict=True))),
        "comparisons": [asdict(own) for own in compare(right, pairs=_pairs(groups, folders))],
        "failed_pictures": {},
        "out": str(settings.out),
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return ``value`` as it reads back from JSON: lists for tuples, so that the caller gets what the file holds."""
    return json.loads(json.dumps(value))


def _check_out(out: Path) -> None:
    """Raise SettingsError if ``out`` is a file, or lies in a Zarr store, where nothing else may be written."""
    folders = (out.absolute(), *out.absolute().parents)
    if any((folder / "zarr.json").exists() for folder in folders):
        raise SettingsError(f"{named('out')} {out} lies in a feature store; choose a directory outside it")
    file = next((folder for folder in folders if folder.exists() and not folder.is_dir()), None)
    if file is not None:
        raise SettingsError(f"{named('out')} {out} cannot be a directory: {file} is a file; choose another directory")


def _run_document(name: str, scores: RunScores) -> dict[str, Any]:
    subject = scores.subject
    return {
        "name": name,
        "run": None if subject.kind == BACKBONE else str(subject.path if subject.run is None else subject.run.path),
        "kind": subject.kind,
        "aggregator": subject.method,
        "pattern": subject.pattern,
        "num_clips": subject.num_clips,
        "seed": subject.seed,
        "gmacs": scores.gmacs,
        "metrics": scores.metrics.document(),
        "missing": scores.missing,
        **class_record(scores),
        "numbered_classes": numbered_classes(scores.classes),
        **({"num_unlabelled": scores.unlabelled} if scores.unlabelled else {}),
        "other_clips": scores.other_clips,
    }


def class_record(scores: RunScores) -> dict[str, Any]:
    """Return which classes no scored video shows, and how many videos are of each class that cannot be answered."""
    support = {own.name: own.support for own in scores.metrics.classes}
    known = set(scores.subject.classes)
    return {
        "absent_classes": [name for name, number in support.items() if not number],
        "unknown_classes": {name: number for name, number in support.items() if number and name not in known},
    }


def baseline_records(runs: Mapping[str, RunScores]) -> list[dict[str, Any]]:
    """Return what blind answers reach, once for all runs with the same videos and classes, and which runs these are."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, scores in runs.items():
        alike.setdefault((scores.videos, scores.classes, scores.subject.classes), []).append(name)
    records = []
    for names in alike.values():
        own = runs[names[0]]
        found = baselines(own.targets, classes=own.classes, known=own.subject.classes)
        records += [asdict(baseline) | {"runs": names} for baseline in found]
    return records


def answers(manifest: Manifest, scores: RunScores) -> dict[str, bool]:
    """Return the id of each scored video -> whether its prediction is right."""
    ids = (manifest.videos[index].video_id for index in scores.videos)
    return dict(zip(ids, scores.right.tolist(), strict=True))


def _pairs(groups: Iterable[Group], folders: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of runs that differ in more than their seed or splits, in the order of the table."""
    group_of = {member: place for place, group in enumerate(groups) for member in group.members}
    pairs = combinations(range(len(folders)), 2)
    return [(folders[one], folders[other]) for one, other in pairs if group_of[one] != group_of[other]]


def _write_tables(folder: Path, manifest: Manifest, scores: RunScores) -> None:
    """Write one run's tables into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "predictions.csv", prediction_rows(manifest, scores))
    write_csv(folder / "classes.csv", class_rows(scores.metrics))
    write_csv(folder / "confusion.csv", confusion_rows(scores.metrics))


def _draw(
    evaluation: Evaluation, folders: Sequence[str], groups: Sequence[Group], blind: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Draw all pictures, and return picture -> reason for those that could not be drawn."""
    out = evaluation.settings.out
    drawings = {
        _COST_PICTURE: lambda path: draw_costs(
            path,
            groups,
            runs=dict(zip(folders, evaluation.runs, strict=True)),
            blind=blind,
            videos=evaluation.settings.videos,
            split=evaluation.settings.split,
        )
    }
    for folder, scores in zip(folders, evaluation.runs, strict=True):
        drawings[f"{folder}/confusion.png"] = lambda path, own=scores: draw_confusion(path, own)
    reasons = {name: try_to_draw(out / name, draw) for name, draw in drawings.items()}
    return {str(out / name): reason for name, reason in reasons.items() if reason}
