"""The scores of runs on a split of a feature store, or of videos: how right they are, and what that costs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..pipeline.aggregator_inference import aggregator_gmacs, predict, predict_clips, video_gmacs
from ..pipeline.aggregator_inputs import AggregatorInputs, Clips
from ..pipeline.aggregators.video_model import VideoModel
from ..pipeline.aggregators.weights import load_aggregator
from ..pipeline.clip_selection import select
from ..pipeline.clips import ClipSampling
from ..pipeline.engine import resolve_device
from ..pipeline.errors import SettingsError, VideoError
from ..pipeline.learning_split import class_indices
from ..pipeline.live_inputs import LiveInputs
from ..pipeline.manifest import Manifest, Video, read_manifest
from ..pipeline.metrics import Metrics, score_predictions
from ..pipeline.patterns import Pattern
from ..pipeline.run_directory import RunDirectory
from ..pipeline.split_choice import videos_of_split
from ..pipeline.store import FeatureStore
from ..pipeline.store_format import Status
from .evaluate_plan import (
    EvaluateSettings,
    check_classes,
    check_fits,
    check_has_backbones,
    splits_of,
    weights_of,
)
from .run_kinds import WEIGHTS_FILE, backbones_of

Advance = Callable[[], None]
Started = Callable[[Path, int], Advance]  # a run and its number of videos -> what is called after each of them


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
    """

    run: RunDirectory
    gmacs: float
    metrics: Metrics
    expected: tuple[int, ...]
    videos: tuple[int, ...]
    probabilities: npt.NDArray[np.float32]
    missing: dict[str, str]


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
    if settings.store is not None:
        return _evaluate_store(settings, FeatureStore.open(settings.store), runs)
    assert settings.manifest is not None  # as the settings have checked
    return _evaluate_videos(settings, settings.manifest, runs, started)


def _evaluate_store(settings: EvaluateSettings, store: FeatureStore, runs: Sequence[RunDirectory]) -> Evaluation:
    targets = class_indices(store.manifest)
    for run in runs:
        check_fits(run, store)
    scores = tuple(_score_store(run, settings=settings, store=store, targets=targets) for run in runs)
    return Evaluation(settings=settings, manifest=store.manifest, targets=targets, runs=scores)


def _evaluate_videos(
    settings: EvaluateSettings, path: Path, runs: Sequence[RunDirectory], started: Started
) -> Evaluation:
    for run in runs:
        check_has_backbones(run)
    manifest = read_manifest(path)
    targets = class_indices(manifest)
    for run in runs:
        check_classes(run, manifest, path=path)
        _ = weights_of(run), _load(run, settings)  # refuses damaged files before hours are spent on other runs
    scores = tuple(
        _score_videos(run, settings=settings, manifest=manifest, targets=targets, started=started) for run in runs
    )
    return Evaluation(settings=settings, manifest=manifest, targets=targets, runs=scores)


def _score_store(
    run: RunDirectory, *, settings: EvaluateSettings, store: FeatureStore, targets: npt.NDArray[np.int64]
) -> RunScores:
    """Predict every extracted video of the split, as the run divides the videos, and score the predictions.

    Raises:
        ManifestError: if there is no such split.
        SettingsError: if none is extracted, or the store lacks what the run's pattern needs.
        WeightsError: if the run's weights are damaged.
    """
    made = run.settings
    expected = _expected(run, settings, store.manifest)
    selection = select(
        store,
        pattern=Pattern.parse(made["pattern"]),
        num_clips=made["num_clips"],
        names={role: own["name"] for role, own in backbones_of(run).items()},
    )
    model = _load(run, settings)
    inputs = AggregatorInputs(
        store,
        selection=selection,
        classes=made["classes"],
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
        local_copies=settings.local_copies,
    )
    status = inputs.statuses()
    videos = tuple(i for i in expected if status[i] == Status.DONE)
    if not videos:
        raise SettingsError(
            f"none of the {len(expected)} videos of the split {settings.split!r} is extracted in {store.path}. "
            f"Run vidpipe extract with --split {settings.split} first"
        )
    return _run_scores(
        run,
        predict(model, inputs, videos, batch_size=settings.batch_size),
        gmacs=video_gmacs(model, inputs),
        targets=targets,
        expected=expected,
        videos=videos,
        missing=_missing(inputs, [i for i in expected if status[i] != Status.DONE]),
    )


def _missing(inputs: AggregatorInputs, videos: list[int]) -> dict[str, str]:
    """Return id -> why there is no prediction."""
    errors: dict[int, str] = {}
    for group in inputs.groups.values():
        errors |= group.errors()
    manifest = inputs.store.manifest
    return {manifest.videos[i].video_id: errors.get(i, "not extracted yet") for i in videos}


def _score_videos(
    run: RunDirectory,
    *,
    settings: EvaluateSettings,
    manifest: Manifest,
    targets: npt.NDArray[np.int64],
    started: Started,
) -> RunScores:
    """Decode every video of the split, predict those that can be read, and score the predictions.

    Raises:
        ManifestError: if there is no such split.
        SettingsError: if device or precision are not to be had here.
        WeightsError: if the run's weights are damaged.
        VideoError: if no video can be read.
    """
    made = run.settings
    expected = _expected(run, settings, manifest)
    model = _load(run, settings)
    inputs = LiveInputs(
        weights_of(run),
        pattern=Pattern.parse(made["pattern"]),
        sampling=ClipSampling(**made["sampling"]),
        engine=settings.engine,
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
    )
    videos, missing = [manifest.videos[i] for i in expected], {}
    found = inputs.read(videos, workers=settings.decoders)
    clips = _readable(zip(videos, found, strict=True), missing=missing, advance=started(run.path, len(videos)))
    scores = predict_clips(model, clips, roles=inputs.roles, batch_size=settings.batch_size)
    return _run_scores(
        run,
        scores,
        gmacs=inputs.backbone_gmacs
        + aggregator_gmacs(model, roles=inputs.roles, shapes=inputs.shapes, num_scores=inputs.num_scores),
        targets=targets,
        expected=expected,
        videos=tuple(i for i in expected if manifest.videos[i].video_id not in missing),
        missing=missing,
    )


def _readable(
    found: Iterable[tuple[Video, Clips | VideoError]], *, missing: dict[str, str], advance: Advance
) -> Iterator[Clips]:
    """Yield the clips of the videos that have some, and note in ``missing``, by id, why the others have none.

    Raises:
        VideoError: at the end, if no video has clips.
    """
    readable = False
    for video, clips in found:
        if isinstance(clips, VideoError):
            missing[video.video_id] = str(clips)
        else:
            readable = True
            yield clips
        advance()
    if not readable:
        name, reason = next(iter(missing.items()))
        raise VideoError(f"none of the {len(missing)} videos of the split can be scored; the first, {name!r}: {reason}")


def _expected(run: RunDirectory, settings: EvaluateSettings, manifest: Manifest) -> tuple[int, ...]:
    """Return the indices of the videos to score."""
    return tuple(videos_of_split(manifest, settings.split, splits=splits_of(run, manifest)).tolist())


def _load(run: RunDirectory, settings: EvaluateSettings) -> VideoModel:
    model, _ = load_aggregator(run.path / WEIGHTS_FILE)
    return model.to(resolve_device(settings.device))


def _run_scores(
    run: RunDirectory,
    scores: Tensor,
    *,
    gmacs: float,
    targets: npt.NDArray[np.int64],
    expected: tuple[int, ...],
    videos: tuple[int, ...],
    missing: dict[str, str],
) -> RunScores:
    metrics = score_predictions(
        scores.numpy(), targets=targets[list(videos)], classes=run.settings["classes"], num_expected=len(expected)
    )
    return RunScores(
        run=run,
        gmacs=gmacs,
        metrics=metrics,
        expected=expected,
        videos=videos,
        probabilities=scores.softmax(dim=1).numpy(),
        missing=missing,
    )
