"""The scores of runs on a split of a feature store or of videos: how good the predictions are, and what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.evaluation.metrics import SCORERS, Metrics
from ...pipeline.execution import SILENT, Progress
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.runs import Predictions
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.training.learning_split import check_some_labelled, labelled, unlabelled_words
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.split_choice import videos_of_split
from ...pipeline.training.tasks import targets_by_place, task_of, task_of_run
from .plan import check_classes, check_fits, check_has_backbones, check_weights, other_clips, splits_of
from .predictions import predict_decoded, predict_stored
from .settings import EvaluateSettings

Predict = Callable[[RunDirectory, tuple[int, ...]], Predictions]  # a run, the videos that it should predict


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores:
    """One run's predictions and how good they are.

    Attributes:
        run: the run directory, opened.
        gmacs: 10^9 multiply-accumulates per video, backbones included.
        metrics: how good the predictions are.
        expected: indices into the manifest of the videos of the run's split that have a label.
        videos: those of them that are scored.
        probabilities: (V, K) float32 of the scored videos.
        missing: id -> reason, of the expected videos without a prediction.
        unlabelled: how many videos of the split have no label, and are not scored.
        other_clips: as `plan.other_clips` returns it; empty unless an end-to-end run is scored on a store.
    """

    run: RunDirectory
    gmacs: float
    metrics: Metrics
    expected: tuple[int, ...]
    videos: tuple[int, ...]
    probabilities: npt.NDArray[np.float32]
    missing: dict[str, str]
    unlabelled: int = 0
    other_clips: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """All runs' scores on one split.

    Attributes:
        manifest: the videos of the store, or those that were decoded.
        targets: (V, …) their labels as the task encodes them; for single-label (V,) class indices.
    """

    settings: EvaluateSettings
    manifest: Manifest
    targets: npt.NDArray[Any]
    runs: tuple[RunScores, ...]


def evaluate(settings: EvaluateSettings, *, progress: Progress = SILENT) -> Evaluation:
    """Score every run; writes nothing.

    Args:
        settings: what to score, on what.
        progress: advanced by each video that is decoded, run by run; not used if a store is read.

    Raises:
        SettingsError, ManifestError, StoreError: if the store or manifest lacks something, or does not allow it.
        RunError: if a run is unfinished, of another kind, or made from other backbones or classes.
        WeightsError: if a run's weights are damaged.
        VideoError: if no video of the split can be read.
    """
    runs = [RunDirectory.open(path) for path in settings.runs]
    device, store = resolve_device(settings.device), None
    if settings.store is not None:
        store = FeatureStore.open(settings.store)
        manifest, predict_run = store.manifest, partial(predict_stored, settings=settings, store=store, device=device)
        check_some_labelled(manifest)
        # All runs are checked before the first is scored.
        for run in runs:
            check_fits(run, store)
    else:
        assert settings.manifest is not None  # as the settings have checked
        manifest = _manifest_of(settings.manifest, runs)
        predict_run = partial(predict_decoded, settings=settings, manifest=manifest, progress=progress)
    targets = targets_by_place(task_of(manifest), manifest)
    scores = tuple(
        _score(run, split=settings.split, manifest=manifest, store=store, targets=targets, predict_run=predict_run)
        for run in runs
    )
    if left_out := max((own.unlabelled for own in scores), default=0):
        progress.milestone(unlabelled_words(left_out))
    return Evaluation(settings=settings, manifest=manifest, targets=targets, runs=scores)


def _manifest_of(path: Path, runs: Sequence[RunDirectory]) -> Manifest:
    """Return the videos to score ``runs`` on, after checking that these can be."""
    for run in runs:
        check_has_backbones(run)
    manifest = read_manifest(path)
    check_some_labelled(manifest)
    for run in runs:
        check_classes(run, manifest, path=path)
        check_weights(run)
    return manifest


def _score(
    run: RunDirectory,
    *,
    split: str,
    manifest: Manifest,
    store: FeatureStore | None,
    targets: npt.NDArray[Any],
    predict_run: Predict,
) -> RunScores:
    """Predict the videos of the split, by the run's own splits if it has some, and score the predictions.

    Raises:
        ManifestError: if there is no such split.
    """
    # A run trained on other splits than the store's is tested on these too, or it would be tested on training videos.
    listed = videos_of_split(manifest, split, splits=splits_of(run, manifest)).tolist()
    expected = labelled(manifest, listed, split=split)
    found, task = predict_run(run, expected), task_of_run(run.settings)
    metrics = SCORERS[task.name](
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
        probabilities=task.probabilities(found.scores).numpy(),
        missing=found.missing,
        unlabelled=len(listed) - len(expected),
        other_clips={} if store is None else other_clips(run, store),
    )
