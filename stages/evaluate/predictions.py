"""The predictions of runs, from a feature store or from the videos themselves."""

from dataclasses import replace
from pathlib import Path

import torch

from ...pipeline.aggregators.video_model import VideoModel
from ...pipeline.errors import SettingsError, VideoError, named
from ...pipeline.execution import Progress, under_way
from ...pipeline.features.clip_selection import keep_to, missing_videos, select
from ...pipeline.features.format import Status
from ...pipeline.features.patterns import Pattern
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.predict import predict, video_gmacs
from ...pipeline.inference.runs import Predictions, model_of, predict_videos
from ...pipeline.inference.stored_inputs import AggregatorInputs
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import CLIPS_FIELD, backbones_of
from ...pipeline.videos.reading import Reading
from .settings import EvaluateSettings


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
        scores=predict(model, inputs, videos, batch_size=settings.videos_at_once),
        gmacs=video_gmacs(model, inputs),
        videos=videos,
        missing=missing_videos(store, expected, selection=inputs.selection),
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
    # In a store of another sampling, whose clips lie elsewhere, the clips' numbers mean nothing.
    if {**made["sampling"], "crops": 1} == {**store.sampling.record(), "crops": 1}:
        selection = keep_to(store, selection, made.get(CLIPS_FIELD))
    return AggregatorInputs(
        store,
        selection=selection,
        classes=made["classes"],
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
        local_copies=local_copies,
    )


def predict_decoded(
    run: RunDirectory,
    expected: tuple[int, ...],
    *,
    settings: EvaluateSettings,
    manifest: Manifest,
    progress: Progress,
) -> Predictions:
    """Decode the videos, and predict those that can be read.

    Raises:
        SettingsError: if this machine lacks the precision.
        WeightsError: if the run's weights are damaged.
        VideoError: if no video can be read.
    """
    with under_way(progress, run.path.name, total=len(expected), unit="video"):
        found = predict_videos(
            run,
            [manifest.videos[i] for i in expected],
            engine=settings.engine,
            workers=settings.workers,
            reading=settings.reading_after(Reading.of_record(run.settings["sampling"])),
            batch_size=settings.videos_at_once,
            advance=progress.advance,
        )
    if not found.videos:
        name, reason = next(iter(found.missing.items()))
        raise VideoError(
            f"none of the {len(expected)} videos of the split can be scored; the first, {name!r}: {reason}"
        )
    return replace(found, videos=tuple(expected[i] for i in found.videos))
