"""What runs predict of videos: from what a feature store holds of them, or from the videos themselves."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...pipeline.aggregators.video_model import VideoModel
from ...pipeline.aggregators.weights import load_aggregator
from ...pipeline.errors import SettingsError, VideoError, named
from ...pipeline.features.clip_selection import select
from ...pipeline.features.format import Status
from ...pipeline.features.patterns import Pattern
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.live_inputs import LiveInputs
from ...pipeline.inference.predict import aggregator_gmacs, predict, predict_clips, video_gmacs
from ...pipeline.inference.stored_inputs import AggregatorInputs, Clips
from ...pipeline.manifests.manifest import Manifest, Video
from ...pipeline.training.batches import decoding_threads
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.videos.clips import ClipSampling
from ..run_kinds import WEIGHTS_FILE, backbones_of
from .plan import other_clips, weights_of
from .settings import EvaluateSettings

Advance = Callable[[], None]
Started = Callable[[Path, int], Advance]  # a run and its number of videos -> what is called after each of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What a run says of videos, and at what cost.

    Attributes:
        scores: (V, K) float32, on the CPU.
        gmacs: 10^9 multiply-accumulates a video, backbones included.
        videos: indices into the manifest of the V videos.
        missing: id -> reason, of the videos asked for that have no prediction.
        other_clips: as `evaluate_plan.other_clips` returns it; empty where no store is read.
    """

    scores: Tensor
    gmacs: float
    videos: tuple[int, ...]
    missing: dict[str, str]
    other_clips: dict[str, dict[str, Any]] = field(default_factory=dict)


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
    model = _load(run, device)
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
        other_clips=other_clips(run, store),
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


def predict_videos(
    run: RunDirectory,
    expected: tuple[int, ...],
    *,
    settings: EvaluateSettings,
    manifest: Manifest,
    device: torch.device,
    started: Started,
) -> Predictions:
    """Decode the videos, and predict those that can be read.

    Raises:
        SettingsError: if the precision is not to be had here.
        WeightsError: if the run's weights are damaged.
        VideoError: if no video can be read.
    """
    model = _load(run, device)
    inputs = LiveInputs(
        weights_of(run),
        pattern=Pattern.parse(run.settings["pattern"]),
        sampling=ClipSampling(**run.settings["sampling"]),
        engine=settings.engine,
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
    )
    videos, missing = [manifest.videos[i] for i in expected], {}
    found = inputs.read(videos, workers=decoding_threads(settings.workers))
    clips = _readable(zip(videos, found, strict=True), missing=missing, advance=started(run.path, len(videos)))
    scores = predict_clips(model, clips, roles=inputs.roles, batch_size=settings.batch_size)
    own = aggregator_gmacs(model, roles=inputs.roles, shapes=inputs.shapes, num_scores=inputs.num_scores)
    return Predictions(
        scores=scores,
        gmacs=inputs.backbone_gmacs + own,
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


def _load(run: RunDirectory, device: torch.device) -> VideoModel:
    model, _ = load_aggregator(run.path / WEIGHTS_FILE)
    return model.to(device)
