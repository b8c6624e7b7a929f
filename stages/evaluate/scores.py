"""The scores of runs on a split of a feature store, or of videos: how right they are, and what that costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...pipeline.backbones.engine import resolve_device
from ...pipeline.evaluation.metrics import Metrics, score_predictions
from ...pipeline.features.store import FeatureStore
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.training.learning_split import class_indices
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.split_choice import videos_of_split
from .plan import check_classes, check_fits, check_has_backbones, check_weights, splits_of
from .predictions import Predictions, Started, predict_stored, predict_videos
from .settings import EvaluateSettings

Predict = Callable[[RunDirectory, tuple[int, ...]], Predictions]  # a run, the videos expected of it


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores:
    """One run's predictions and how good they are.

    Attributes:
        run: the run directory, opened.
        gmacs: 10^9 multiply-accumulates a video, backbones included.
        metrics: how good the predictions are.
        expected: indices into the manifest of the videos of the run's split.
        videos: those of them that are scored.
        probabilities: (V, K) float32 of the scored videos.
        missing: id -> reason, of the expected videos that have no prediction.
        other_clips: as `evaluate_plan.other_clips` returns it; empty where no end-to-end run is scored on a store.
    """

    run: RunDirectory
    gmacs: float
    metrics: Metrics
    expected: tuple[int, ...]
    videos: tuple[int, ...]
    probabilities: npt.NDArray[np.float32]
    missing: dict[str, str]
    other_clips: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """All runs' scores on one split.

    Attributes:
        manifest: the videos; a store's, or those that were decoded.
        targets: (V,) the class index of each of them.
    """

    settings: EvaluateSettings
    manifest: Manifest
    targets: npt.NDArray[np.int64]
    runs: tuple[RunScores, ...]


def evaluate(settings: EvaluateSettings, *, started: Started = lambda _run, _total: lambda: None) -> Evaluation:
    """Score every run; writes nothing.

    Args:
        settings: what to score, on what.
        started: called with each run's directory and its number of videos before they are decoded; returns what is
            called after each. Not called where a store is read.

    Raises:
        SettingsError, ManifestError, StoreError: for what the store or manifest does not hold or allow.
        RunError: if a run is unfinished, of another kind, or made from other backbones or classes.
        WeightsError: if a run's weights are damaged.
        VideoError: if no video of the split can be read.
    """
    runs = [RunDirectory.open(path) for path in settings.runs]
    device = resolve_device(settings.device)
    if settings.store is not None:
        store = FeatureStore.open(settings.store)
        manifest, predict_run = store.manifest, partial(predict_stored, settings=settings, store=store, device=device)
        for run in runs:
            check_fits(run, store)
    else:
        assert settings.manifest is not None  # as the settings have checked
        manifest = _manifest_of(settings.manifest, runs)
        predict_run = partial(predict_videos, settings=settings, manifest=manifest, device=device, started=started)
    targets = class_indices(manifest)
    scores = tuple(
        _score(run, split=settings.split, manifest=manifest, targets=targets, predict_run=predict_run) for run in runs
    )
    return Evaluation(settings=settings, manifest=manifest, targets=targets, runs=scores)


def _manifest_of(path: Path, runs: Sequence[RunDirectory]) -> Manifest:
    """Return the videos to run ``runs`` over, which are refused where they cannot be."""
    for run in runs:
        check_has_backbones(run)
    manifest = read_manifest(path)
    for run in runs:
        check_classes(run, manifest, path=path)
        check_weights(run)
    return manifest


def _score(
    run: RunDirectory, *, split: str, manifest: Manifest, targets: npt.NDArray[np.int64], predict_run: Predict
) -> RunScores:
    """Predict the videos of the split, as the run divides the videos, and score the predictions.

    Raises:
        ManifestError: if there is no such split.
    """
    expected = tuple(videos_of_split(manifest, split, splits=splits_of(run, manifest)).tolist())
    found = predict_run(run, expected)
    metrics = score_predictions(
        found.scores.numpy(),
        targets=targets[list(found.videos)],
        classes=run.settings["classes"],
        num_expected=len(expected),
    )
    return RunScores(
        run=run,
        gmacs=found.gmacs,
        metrics=metrics,
        expected=expected,
        videos=found.videos,
        probabilities=found.scores.softmax(dim=1).numpy(),
        missing=found.missing,
        other_clips=found.other_clips,
    )
