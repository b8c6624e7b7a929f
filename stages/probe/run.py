"""Fit a linear probe on a feature store: how well its pooled maps tell classes apart, before any training."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...pipeline.errors import SettingsError, named
from ...pipeline.evaluation.comparison import compare
from ...pipeline.evaluation.linear_probe import Fit, choose_strength, fit_probe
from ...pipeline.evaluation.looks import PROBE
from ...pipeline.evaluation.metrics import top_k_accuracy
from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.features.arrays import pooled_features
from ...pipeline.files import write_csv, write_json
from ...pipeline.inference.runs import Predictions
from ...pipeline.inference.stored_inputs import describe_backbone
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.settings import recorded_names
from ...pipeline.training.learning_split import held_out_ids, unlabelled_words
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import LINEAR_PROBE, PROBE_FILE, SPLITS_FILE
from ...pipeline.training.split_choice import digest
from ..evaluate.run import answers, baseline_records, class_record
from ..evaluate.scores import RunScores, scores_of
from ..evaluate.subjects import Subject
from ..evaluate.tables import prediction_rows
from .plan import PreparedProbes, ProbePlan, prepare
from .settings import ProbeSettings

_OPTIONS = recorded_names(ProbeSettings)
_HELD_OUT = 0.2  # of each class's training videos, to choose among several strengths
_METRICS_FILE = "metrics.json"
Features = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64]


def run(settings: ProbeSettings, *, progress: Progress = SILENT) -> dict[str, Any]:
    """Fit and score each probe, write it to the run directory, and return everything as one JSON document.

    Files: `metrics.json` (the document), and in a folder for each probe `predictions.csv` and `probe.npz`.

    Args:
        settings: what to fit.
        progress: advanced each time that a video is read, and then by each fit.

    Raises:
        SettingsError, ManifestError, StoreError: if the store lacks something, or does not allow it.
        RunError: if the run directory belongs to other settings, or has other files in it.
    """
    prepared = prepare(settings)
    if prepared.unlabelled:
        progress.milestone(unlabelled_words(prepared.unlabelled))
    if prepared.shared_groups:
        progress.milestone(prepared.shared_groups)
    with RunDirectory.open_or_create(settings.out, settings=_outcome(prepared), options=_OPTIONS) as directory:
        directory.reopen_without(_METRICS_FILE)
        if not directory.is_done:
            began = time.monotonic()
            if prepared.splits is not None:
                write_json(settings.out / SPLITS_FILE, dict(prepared.splits))
            found = [_fit_and_score(prepared, own, directory, progress) for own in prepared.probes]
            named = {name: str(getattr(settings, name)) for name in ("store", "out", "split", "test_split")}
            document = named | {"max_iter": settings.max_iter, "probes": [own for own, _ in found]}
            scores = {own.name: scores for own, (_, scores) in zip(prepared.probes, found, strict=True)}
            write_json(settings.out / _METRICS_FILE, document | _together(prepared.store.manifest, scores))
            directory.finish({"seconds": time.monotonic() - began})
    return directory.read_json(_METRICS_FILE)


def _together(manifest: Manifest, scores: Mapping[str, RunScores]) -> dict[str, Any]:
    """Return what the probes have to be compared with: blind answers, and one another on the same videos."""
    pairs = list(combinations(scores, 2))
    comparisons = compare({name: answers(manifest, own) for name, own in scores.items()}, pairs=pairs)
    return {"baselines": baseline_records(scores), "comparisons": [asdict(own) for own in comparisons]}


def _outcome(prepared: PreparedProbes) -> dict[str, Any]:
    """Return what the probes depend on, as JSON values."""
    settings, store = prepared.settings, prepared.store
    return {
        "kind": LINEAR_PROBE,
        "sampling": store.sampling.record(),
        "manifest_digest": store.manifest.digest,
        "split": settings.split,
        "test_split": settings.test_split,
        "strengths": list(settings.strengths),
        "max_iter": settings.max_iter,
        "probes": [_identity(prepared, own) for own in prepared.probes],
        # So that evaluate scores it on the same videos; runs of the store's own splits never had it.
        **({} if prepared.splits is None else {"splits_sha256": digest(prepared.splits)}),
    }


def _identity(prepared: PreparedProbes, own: ProbePlan) -> dict[str, Any]:
    """Return what one probe depends on: backbones, clips and videos."""
    store = prepared.store
    videos = "\n".join(store.manifest.videos[index].video_id for index in (*own.training, *own.scored))
    return {
        "sources": [
            {"backbone": describe_backbone(store.backbone(source.backbone)), "clips": source.clips}
            for source in own.sources
        ],
        "num_training": len(own.training),
        "num_scored": len(own.scored),
        "videos_sha256": hashlib.sha256(videos.encode()).hexdigest(),
    }


def _fit_and_score(
    prepared: PreparedProbes, own: ProbePlan, directory: RunDirectory, progress: Progress
) -> tuple[dict[str, Any], RunScores]:
    """Fit one probe, write its files, and return its part of the document and its scores."""
    fit, fitted = _fit(prepared, own, progress)
    features = _pool(prepared, own, own.scored, progress)
    # The probe itself is one product of a vector and a matrix.
    gmacs = own.gmacs + fit.probe.coefficients.size / 1e9
    scores = _scores(prepared, own, fit, features, gmacs)
    folder = directory.path / own.name
    folder.mkdir(exist_ok=True)
    fit.probe.save(folder / PROBE_FILE)
    write_csv(folder / "predictions.csv", prediction_rows(prepared.store.manifest, scores))
    reasons = {prepared.store.manifest.videos[i].video_id: reason for i, reason in own.missing.items()}
    document = {
        "name": own.name,
        "sources": [asdict(source) for source in own.sources],
        "num_clips": own.num_clips,
        "num_features": features.shape[1],
        "gmacs": gmacs,
        **fitted,
        "metrics": scores.metrics.document(),
        "missing": scores.missing,
        "missing_training": {name: reason for name, reason in reasons.items() if name not in scores.missing},
        **class_record(scores),
    }
    return document, scores


def _fit(prepared: PreparedProbes, own: ProbePlan, progress: Progress) -> tuple[Fit, dict[str, Any]]:
    """Return the probe, and how its fitting went."""
    settings, manifest = prepared.settings, prepared.store.manifest
    labels = prepared.targets[list(own.training)]
    # scikit-learn learns only the classes that it sees, and numbers them from 0.
    seen, targets = np.unique(labels, return_inverse=True)
    classes = [manifest.classes[index] for index in seen]
    features = _pool(prepared, own, own.training, progress)
    num_strengths = len(settings.strengths)
    with under_way(progress, f"fit {own.name}", total=num_strengths + 1 if num_strengths > 1 else 1, unit="fit"):
        right = _held_out_accuracies(prepared, own, features, targets, classes, progress=progress)
        # Of equally good strengths the smallest: it is the simplest model, and their order does not matter.
        strength = max(right, key=lambda tried: (right[tried], -tried)) if right else settings.strengths[0]
        fit = fit_probe(features, targets=targets, classes=classes, strength=strength, max_iter=settings.max_iter)
        progress.advance()
    return fit, {
        "strength": strength,
        "held_out": [{"strength": tried, "accuracy": accuracy} for tried, accuracy in right.items()],
        "converged": fit.converged,
        "iterations": fit.iterations,
        "num_training": len(own.training),
        "train_accuracy": top_k_accuracy(fit.probe.scores(features), targets=targets, k=1),
    }


def _held_out_accuracies(
    prepared: PreparedProbes,
    own: ProbePlan,
    features: Features,
    targets: Targets,
    classes: list[str],
    *,
    progress: Progress,
) -> dict[float, float]:
    """Return strength -> accuracy on a fifth of each class's training videos, chosen by id; {} if there is only one."""
    if len(prepared.settings.strengths) == 1:
        return {}
    ids = np.array([prepared.store.manifest.videos[index].video_id for index in own.training])
    of_classes = {name: ids[targets == index].tolist() for index, name in enumerate(classes)}
    groups = {video.video_id: video.group for video in map(prepared.store.manifest.videos.__getitem__, own.training)}
    held = held_out_ids(of_classes, fraction=_HELD_OUT, key="probe", groups=groups)
    if not held:
        raise SettingsError(
            f"no class has two training videos, so none can be held out to choose {named('strengths')}; give one "
            f"{named('strengths')}"
        )
    return choose_strength(
        features,
        targets=targets,
        classes=classes,
        held_out=np.isin(ids, sorted(held)),
        strengths=prepared.settings.strengths,
        max_iter=prepared.settings.max_iter,
        progress=progress,
    )


def _pool(prepared: PreparedProbes, own: ProbePlan, videos: tuple[int, ...], progress: Progress) -> Features:
    """Return (V, D) float32, the sources' pooled maps, concatenated."""
    groups = [(prepared.store.backbone(source.backbone), source.clips) for source in own.sources]
    with under_way(progress, f"read {own.name}", total=len(videos) * len(groups), unit="video"):
        return np.concatenate(
            [pooled_features(group, videos, clips=clips, progress=progress) for group, clips in groups], axis=1
        )


def _scores(prepared: PreparedProbes, own: ProbePlan, fit: Fit, features: Features, gmacs: float) -> RunScores:
    """Return the predictions, and how good they are, over all classes of the manifest."""
    manifest = prepared.store.manifest
    missing = {manifest.videos[i].video_id: own.missing[i] for i in prepared.expected if i in own.missing}
    return scores_of(
        Subject(
            path=prepared.settings.out / own.name,
            kind=LINEAR_PROBE,
            method=PROBE,
            num_clips=own.num_clips,
            classes=fit.probe.classes,
        ),
        Predictions(
            scores=torch.from_numpy(fit.probe.scores(features)), gmacs=gmacs, videos=own.scored, missing=missing
        ),
        task=prepared.task,
        manifest=manifest,
        targets=prepared.targets,
        expected=prepared.expected,
        split=prepared.settings.test_split,
        classes=manifest.classes,
    )
