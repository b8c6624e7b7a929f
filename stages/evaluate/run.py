"""Score runs and write the results: one JSON document, tables as CSV, and pictures."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...pipeline.errors import SettingsError, named
from ...pipeline.evaluation.metrics import Metrics, rank_classes
from ...pipeline.evaluation.plots import CostPoint, save_accuracy_against_cost, save_confusion_matrix
from ...pipeline.execution import SILENT, Progress
from ...pipeline.files import write_csv, write_json
from ...pipeline.manifests.cells import LABEL_SEPARATOR
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import END_TO_END, ENGINES_FIELD, LABELS_FIELD
from .scores import Evaluation, RunScores, evaluate
from .settings import EvaluateSettings

SHOWN_CLASSES = 5  # of a prediction
# Not compared when runs are grouped: fields that follow from seed and splits, or that runs of earlier versions lack.
_VARYING = ("splits_sha256", "videos_sha256", LABELS_FIELD, "num_training", "num_validation", ENGINES_FIELD)
START, _DIGEST = "start", "weights_sha256"  # in an end-to-end run's settings: where aggregator and backbones began
_COST_PICTURE = "accuracy_vs_gmacs.png"


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs that differ only in their seed, or in which video is in which split.

    Attributes:
        label: what tells the group from the others.
        family: the aggregator.
        members: places in the evaluation's list of runs.
        gmacs: 10^9 multiply-accumulates per video.
        top1_mean: over the members; with several splits, over the means of the splits.
        top1_deviation: the sample standard deviation of what the mean is over; None for a single run.
    """

    label: str
    family: str
    members: tuple[int, ...]
    gmacs: float
    top1_mean: float
    top1_deviation: float | None


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
    `confusion.csv`, `confusion.png` and `classes.csv`.
    """
    out = evaluation.settings.out
    # The document is written last, when everything that it refers to exists.
    folders = unique_names([scores.run.path for scores in evaluation.runs])
    groups = group_runs(evaluation.runs)
    for folder, scores in zip(folders, evaluation.runs, strict=True):
        _write_run(out / folder, evaluation, scores)
    points = [
        CostPoint(label=g.label, gmacs=g.gmacs, accuracy=g.top1_mean, spread=g.top1_deviation, family=g.family)
        for g in groups
    ]
    save_accuracy_against_cost(points, out / _COST_PICTURE)
    document = _as_json(
        {
            "store": _text(evaluation.settings.store),
            "manifest": _text(evaluation.settings.manifest),
            "split": evaluation.settings.split,
            "runs": [_run_document(name, scores) for name, scores in zip(folders, evaluation.runs, strict=True)],
            "groups": [asdict(group) | {"members": [folders[i] for i in group.members]} for group in groups],
            "out": str(out),
        }
    )
    write_json(out / "metrics.json", document)
    return document


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
    made = scores.run.settings
    metrics = asdict(scores.metrics) | {"confusion": scores.metrics.confusion.tolist()}
    return {
        "name": name,
        "run": str(scores.run.path),
        "kind": made["kind"],
        "aggregator": made["aggregator"]["name"],
        "pattern": made["pattern"],
        "num_clips": made["num_clips"],
        "seed": made["optimisation"]["seed"],
        "gmacs": scores.gmacs,
        "metrics": metrics,
        "missing": scores.missing,
        **({"num_unlabelled": scores.unlabelled} if scores.unlabelled else {}),
        "other_clips": scores.other_clips,
    }


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each path: its last part, and as many before it as are needed to tell all apart."""
    parts = [path.resolve().parts[1:] or ("root",) for path in paths]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["-".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{index}-{own[-1]}" for index, own in enumerate(parts)]


def group_runs(runs: Sequence[RunScores]) -> list[Group]:
    """Return the runs in groups that differ only in seed or splits, in the order of their first members."""
    members: dict[str, list[int]] = {}
    counts: dict[tuple[str, str], str] = {}
    for index, (identity, scores) in enumerate(zip(_identities(runs), runs, strict=True)):
        own = scores.run.settings
        count = f"{own['num_training']} + {own['num_validation']}"
        same = counts.setdefault((identity, own.get("splits_sha256") or ""), count) == count
        # On the same split, runs of one group must have the same numbers of videos.
        members.setdefault(identity if same else identity + count, []).append(index)
    labels = _labels([runs[own[0]].run for own in members.values()])
    return [
        _group(label, [runs[i] for i in own], tuple(own)) for label, own in zip(labels, members.values(), strict=True)
    ]


def _identities(runs: Sequence[RunScores]) -> list[str]:
    """Return for each run, as text, what it has in common with its group.

    End-to-end runs of different seeds may have begun from weights of these seeds, so their beginnings differ as their
    seeds do. If neither all seeds began from the same weights nor each from its own, the beginnings are a difference of
    their own, and separate the groups.
    """
    identities = [_identity(scores.run) for scores in runs]
    beginnings = [_beginning(scores.run) for scores in runs]
    pairs: dict[str, set[tuple[Any, str]]] = {}
    for identity, beginning, scores in zip(identities, beginnings, runs, strict=True):
        made = scores.run.settings
        seed = (made.get("splits_sha256"), made["optimisation"]["seed"])
        pairs.setdefault(identity, set()).add((seed, beginning))
    apart = {identity for identity, own in pairs.items() if not _differ_as_seeds_do(own)}
    return [own + start if own in apart else own for own, start in zip(identities, beginnings, strict=True)]


def _differ_as_seeds_do(pairs: set[tuple[Any, str]]) -> bool:
    """Return whether, in pairs of seed and beginning, all beginnings are the same or each seed has its own."""
    seeds, beginnings = ({pair[part] for pair in pairs} for part in (0, 1))
    return len(beginnings) == 1 or len(pairs) == len(seeds) == len(beginnings)


def _group(label: str, runs: Sequence[RunScores], members: tuple[int, ...]) -> Group:
    by_split: dict[str | None, list[float]] = {}
    for scores in runs:
        by_split.setdefault(scores.run.settings.get("splits_sha256"), []).append(scores.metrics.top1)
    # Benchmarks with several splits report the mean over splits, each counting once however many seeds it has.
    several = [np.mean(own) for own in by_split.values()]
    # With one split the deviation is that of the seeds.
    top1 = np.array(several if len(several) > 1 else by_split.popitem()[1])
    return Group(
        label=label,
        family=runs[0].run.settings["aggregator"]["name"],
        members=members,
        gmacs=runs[0].gmacs,
        top1_mean=float(top1.mean()),
        top1_deviation=float(top1.std(ddof=1)) if len(top1) > 1 else None,
    )


def _identity(run: RunDirectory) -> str:
    """Return as text the settings without the seed, the splits and what follows from these.

    About the weights that an end-to-end run began from it says whether there were any, and everything but their
    digests.
    """
    made = {name: value for name, value in run.settings.items() if name not in _VARYING}
    made["optimisation"] = {name: value for name, value in made["optimisation"].items() if name != "seed"}
    if made["kind"] == END_TO_END:
        made["backbones"] = {role: own | {_DIGEST: own[_DIGEST] is not None} for role, own in made["backbones"].items()}
        made[START] = made.get(START) is not None
    return json.dumps(made, sort_keys=True)


def _beginning(run: RunDirectory) -> str:
    """Return what an end-to-end run began from, as text; nothing for other runs."""
    made = run.settings
    return json.dumps([made["backbones"], made.get(START)], sort_keys=True) if made["kind"] == END_TO_END else ""


def _labels(runs: Sequence[RunDirectory]) -> list[str]:
    """Return the shortest kind of label that tells all of ``runs`` apart."""
    settings = [run.settings for run in runs]
    short = [f"{made['aggregator']['name']} {made['pattern']}" for made in settings]
    longer = [f"{label}, {made['num_clips']} clips" for label, made in zip(short, settings, strict=True)]
    named = [f"{label} ({name})" for label, name in zip(short, unique_names([run.path for run in runs]), strict=True)]
    return next((labels for labels in (short, longer) if len(set(labels)) == len(labels)), named)


def _write_run(folder: Path, evaluation: Evaluation, scores: RunScores) -> None:
    """Write one run's tables and its confusion matrix into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = evaluation.manifest.classes
    metrics = scores.metrics
    write_csv(folder / "predictions.csv", prediction_rows(evaluation.manifest, scores))
    write_csv(folder / "classes.csv", _class_rows(metrics))
    matrix = ([name, *row] for name, row in zip(classes, metrics.confusion.tolist(), strict=True))
    write_csv(folder / "confusion.csv", [["true \\ predicted", *classes], *matrix])
    made = scores.run.settings
    title = f"{made['aggregator']['name']} {made['pattern']}: {100 * metrics.top1:.1f} % of {metrics.num_scored} right"
    save_confusion_matrix(metrics.confusion, folder / "confusion.png", classes=classes, title=title)


def _class_rows(metrics: Metrics) -> Iterable[Sequence[Any]]:
    yield ("class", "precision", "recall", "f1", "support")
    for own in metrics.classes:
        yield (own.name, f"{own.precision:.6f}", f"{own.recall:.6f}", f"{own.f1:.6f}", own.support)


def prediction_rows(manifest: Manifest, scores: RunScores) -> Iterable[Sequence[Any]]:
    """Yield a header, then a row for each expected video; the last column says why a prediction is missing."""
    shown = min(SHOWN_CLASSES, len(manifest.classes))
    ranks = [column for rank in range(1, shown + 1) for column in (f"class_{rank}", f"probability_{rank}")]
    yield ("video_id", "label", "predicted", *ranks, "missing")
    rows = dict(zip(scores.videos, scores.probabilities, strict=True))
    for index in scores.expected:
        video = manifest.videos[index]
        known = (video.video_id, LABEL_SEPARATOR.join(video.labels))
        if index not in rows:
            yield (*known, "", *[""] * len(ranks), scores.missing[video.video_id])
            continue
        best = rank_classes(rows[index][None], most=shown)[0]
        cells = [cell for c in best for cell in (manifest.classes[c], f"{rows[index][c]:.6f}")]
        yield (*known, manifest.classes[best[0]], *cells, "")
