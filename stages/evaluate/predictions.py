"""What runs predict of videos: from what a feature store holds of them, or from the videos themselves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ...pipeline.aggregators.video_model import VideoModel
from ...pipeline.errors import SettingsError, VideoError, named
from ...pipeline.features.clip_selection import select
from ...pipeline.features.format import Status
from ...pipeline.features.patterns import Pattern
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.predict import Advance, predict, video_gmacs
from ...pipeline.inference.runs import Predictions, model_of, predict_videos
from ...pipeline.inference.stored_inputs import AggregatorInputs
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import backbones_of
from .settings import EvaluateSettings

Started = Callable[[Path, int], Advance]  # a run and its number of videos -> what is called after each of them


def predict_stored(
    run: RunDirectory,
    expected: tuple[int, ...],
    *,
    settings: EvaluateSettings,
    store: FeatureStore,
    device: torch.device,
) -> Predictions:
    """Predict those of the videos that are extracted.

    Raises:
        SettingsError: if none is extracted, or the store lacks what the run's pattern needs.
        WeightsError: if the run's weights are damaged.
    """
    model = model_of(run, device=device)
    inputs = _inputs_of(run, model, store, local_copies=settings.local_copies)
    status = inputs.statuses()
    videos = tuple(i for i in expected if status[i] == Status.DONE)
    if not videos:
        raise SettingsError(
            f"none of the {len(expected)} videos of the split {settings.split!r} is extracted in {store.path}. "
            f"Run vidpipe extract with {named('split')} {settings.split} first"
        )
    return Predictions(
        scores=predict(model, inputs, videos, batch_size=settings.batch_size),
        gmacs=video_gmacs(model, inputs),
        videos=videos,
        missing=_missing(inputs, [i for i in expected if status[i] != Status.DONE]),
    )


def _inputs_of(
    run: RunDirectory, model: VideoModel, store: FeatureStore, *, local_copies: Path | None
) -> AggregatorInputs:
    """Return what the run's aggregator reads from the store."""
    made = run.settings
    selection = select(
        store,
        pattern=Pattern.parse(made["pattern"]),
        num_clips=made["num_clips"],
        names={role: own["name"] for role, own in backbones_of(run).items()},
    )
    return AggregatorInputs(
        store,
        selection=selection,
        classes=made["classes"],
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
        local_copies=local_copies,
    )


def _missing(inputs: AggregatorInputs, videos: list[int]) -> dict[str, str]:
    """Return id -> why there is no prediction."""
    errors: dict[int, str] = {}
    for group in inputs.groups.values():
        errors |= group.errors()
    manifest = inputs.store.manifest
    return {manifest.videos[i].video_id: errors.get(i, "not extracted yet") for i in videos}


def predict_decoded(
    run: RunDirectory,
    expected: tuple[int, ...],
    *,
    settings: EvaluateSettings,
    manifest: Manifest,
    started: Started,
) -> Predictions:
    """Decode the videos, and predict those that can be read.

    Raises:
        SettingsError: if the precision is not to be had here.
        WeightsError: if the run's weights are damaged.
        VideoError: if no video can be read.
    """
    found = predict_videos(
        run,
        [manifest.videos[i] for i in expected],
        engine=settings.engine,
        workers=settings.workers,
        batch_size=settings.batch_size,
        advance=started(run.path, len(expected)),
    )
    if not found.videos:
        name, reason = next(iter(found.missing.items()))
        raise VideoError(
            f"none of the {len(expected)} videos of the split can be scored; the first, {name!r}: {reason}"
        )
    return replace(found, videos=tuple(expected[i] for i in found.videos))
