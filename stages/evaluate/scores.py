"""The scores of runs on a split of a feature store or of videos: how good the predictions are, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.evaluation.metrics import SCORERS, Metrics, rank_classes
from ...pipeline.execution import SILENT, Progress
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.runs import Predictions
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.training.learning_split import check_some_labelled, labelled, unlabelled_words
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import LINEAR_PROBE
from ...pipeline.training.split_choice import videos_of_split
from ...pipeline.training.tasks import Task, targets_by_place, task_of, task_of_run
from .plan import check_classes, check_fits, check_has_backbones, check_weights, other_clips, splits_of
from .predictions import predict_decoded, predict_stored
from .settings import EvaluateSettings
from .subjects import Scored, Subject, scored_backbone, scored_probes, subject_of_run

SHOWN_CLASSES = 5  # of a prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores:
    """The predictions of one subject and how good they are.

    Attributes:
        subject: the run, probe or backbone.
        gmacs: 10^9 multiply-accumulates per video, backbones included.
        metrics: how good the predictions are.
        expected: indices into the manifest of the videos of the run's split that have a label.
        videos: those of them that are scored.
        classes: K names: those that the subject can answer, then those of expected videos that it does not know.
        targets: (V, …) of the scored videos, as the task encodes them; for single-label (V,) indices into ``classes``.
        probabilities: (V, K) float32 of the scored videos; 0 for a class that cannot be answered.
        ranked: (V, k) indices into ``classes`` of the k highest scores, best first; at most five.
        missing: id -> reason, of the expected videos without a prediction.
        split: the name of the split that all the expected videos are in, be it the manifest's or the run's own.
        unlabelled: how many videos of the split have no label, and are not scored.
        other_clips: as `plan.other_clips` returns it; empty unless an end-to-end run is scored on a store.
    """

    subject: Subject
    gmacs: float
    metrics: Metrics
    expected: tuple[int, ...]
    videos: tuple[int, ...]
    classes: tuple[str, ...]
    targets: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float32]
    ranked: npt.NDArray[np.int64]
    missing: dict[str, str]
    split: str
    unlabelled: int = 0
    other_clips: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(V,) whether the highest score of each scored video is that of its own class."""
        return self.ranked[:, 0] == self.targets


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """All runs' scores on one split.

    Attributes:
        manifest: the videos of the store, or those that were decoded.
    """

    settings: EvaluateSettings
    manifest: Manifest
    runs: tuple[RunScores, ...]


def evaluate(settings: EvaluateSettings, *, progress: Progress = SILENT) -> Evaluation:
    """Score every run, probe and backbone; writes nothing.

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
    store = None if settings.store is None else FeatureStore.open(settings.store)
    if store is not None:
        manifest = store.manifest
        check_some_labelled(manifest)
        scored = _on_store(settings, runs, store)
    else:
        assert settings.manifest is not None  # as the settings have checked
        manifest = _manifest_of(settings.manifest, runs)
        predict = partial(predict_decoded, settings=settings, manifest=manifest, progress=progress)
        scored = [Scored(subject=subject_of_run(run), predict=partial(predict, run)) for run in runs]
    # Before the first is predicted, which may take hours.
    targets = targets_by_place(task_of(manifest), manifest)
    scores = tuple(_score(own, split=settings.split, manifest=manifest, store=store, targets=targets) for own in scored)
    if left_out := max((own.unlabelled for own in scores), default=0):
        progress.milestone(unlabelled_words(left_out))
    return Evaluation(settings=settings, manifest=manifest, runs=scores)


def _on_store(settings: EvaluateSettings, runs: Sequence[RunDirectory], store: FeatureStore) -> list[Scored]:
    """Return all that is to be scored; every one is checked before the first is scored."""
    device = resolve_device(settings.device)
    found: list[Scored] = []
    for run in runs:
        if run.settings.get("kind") == LINEAR_PROBE:
            found += scored_probes(run, store)
            continue
        check_fits(run, store)
        predict = partial(predict_stored, run, settings=settings, store=store, device=device)
        found.append(Scored(subject=subject_of_run(run), predict=predict))
    return found + [scored_backbone(name, store) for name in settings.backbones]


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
    scored: Scored, *, split: str, manifest: Manifest, store: FeatureStore | None, targets: npt.NDArray[Any]
) -> RunScores:
    """Predict the videos of the split, by the run's own splits if it has some, and score the predictions.

    Raises:
        ManifestError: if there is no such split.
    """
    run = scored.subject.run
    # A run trained on other splits than the store's is tested on these too, or it would be tested on training videos.
    splits = None if run is None else splits_of(run, manifest)
    listed = videos_of_split(manifest, split, splits=splits).tolist()
    expected = labelled(manifest, listed, split=split)
    task = task_of(manifest) if run is None else task_of_run(run.settings)
    return scores_of(
        scored.subject,
        scored.predict(expected),
        task=task,
        manifest=manifest,
        targets=targets,
        expected=expected,
        split=split,
        unlabelled=len(listed) - len(expected),
        other_clips=other_clips(run, store) if store is not None and run is not None else {},
    )


def scores_of(
    subject: Subject,
    found: Predictions,
    *,
    task: Task,
    manifest: Manifest,
    targets: npt.NDArray[Any],
    expected: tuple[int, ...],
    split: str,
    classes: tuple[str, ...] = (),
    unlabelled: int = 0,
    other_clips: dict[str, dict[str, Any]] | None = None,
) -> RunScores:
    """Return how good predictions are.

    Videos of classes that the subject does not know are scored like all others, and so always wrong.

    Args:
        subject: the run, probe or backbone.
        found: its predictions of the ``expected`` videos, over the subject's own classes.
        task: of the labels.
        manifest: the videos.
        targets: (V,) of all videos of the manifest, indices into its classes.
        expected: indices into the manifest of the videos that should have a prediction.
        split: what these videos are called.
        classes: all that the subject can answer or that a video shows, in this order; empty: as `RunScores` has them.
        unlabelled: how many videos of the split have no label.
        other_clips: as `plan.other_clips` returns it.
    """
    shown = {label for i in expected for label in manifest.videos[i].labels}
    classes = classes or (*subject.classes, *sorted(shown - set(subject.classes)))
    place = {name: index for index, name in enumerate(classes)}
    # No score is lower than that of a class that cannot be answered, and no probability is left for it.
    scores = torch.full((len(found.scores), len(classes)), -torch.inf, dtype=found.scores.dtype)
    scores[:, [place[name] for name in subject.classes]] = found.scores
    # A class that no expected video shows may be no class of the subject either.
    translated = np.array([place.get(name, -1) for name in manifest.classes])
    own = translated[targets[list(found.videos)]]
    metrics = SCORERS[task.name](scores.numpy(), targets=own, classes=classes, num_expected=len(expected))
    return RunScores(
        subject=subject,
        gmacs=found.gmacs,
        metrics=metrics,
        expected=expected,
        videos=found.videos,
        classes=classes,
        targets=own,
        probabilities=task.probabilities(scores).numpy().astype(np.float32),
        ranked=rank_classes(scores.numpy(), most=min(SHOWN_CLASSES, len(subject.classes))),
        missing=found.missing,
        split=split,
        unlabelled=unlabelled,
        other_clips=other_clips or {},
    )
