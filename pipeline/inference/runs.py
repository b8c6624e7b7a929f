"""Predictions of finished end-to-end runs: their backbones and their aggregator, as trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..aggregators.video_model import VideoModel
from ..aggregators.weights import load_aggregator
from ..backbones.devices import resolve_device
from ..backbones.engine_settings import EngineSettings
from ..backbones.weights import Weights, load_weights
from ..errors import RunError, VideoError
from ..features.patterns import Pattern
from ..manifests.manifest import Video
from ..training.batches import decoding_threads
from ..training.run_directory import RunDirectory
from ..training.run_kinds import WEIGHTS_FILE, backbone_file, backbones_of
from ..videos.clips import ClipSampling
from ..videos.reading import Reading
from .live_inputs import LiveInputs
from .predict import Advance, predict, video_gmacs


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What a run predicts for videos, and at what cost.

    Attributes:
        scores: (V, K) float32, on the CPU.
        gmacs: 10^9 multiply-accumulates per video, backbones included.
        videos: indices of the V videos among those requested.
        missing: id -> reason, of the requested videos without a prediction.
    """

    scores: Tensor
    gmacs: float
    videos: tuple[int, ...]
    missing: dict[str, str]


def predict_videos(
    run: RunDirectory,
    videos: Sequence[Video],
    *,
    engine: EngineSettings,
    workers: int | None = None,
    reading: Reading | None = None,
    batch_size: int = 32,
    advance: Advance = lambda: None,
) -> Predictions:
    """Decode the videos, and predict those that can be read; there may be none.

    Args:
        run: a finished end-to-end run.
        videos: to decode; their labels are not read.
        engine: how to run the backbones; the aggregator runs on the same device.
        workers: threads that decode; None: as many as the machine has cores.
        reading: what is done about damage, HDR and large pictures; None: as in the run's training.
        batch_size: videos per step of the aggregator.
        advance: called after each video.

    Raises:
        SettingsError: if this machine lacks the device or the precision.
        WeightsError: if the run's weights are damaged.
        RunError: if a backbone is not the one that the run trained.
    """
    model = model_of(run, device=resolve_device(engine.device))
    sampling = ClipSampling.of_record(run.settings["sampling"])
    inputs = LiveInputs(
        weights_of(run),
        videos=videos,
        pattern=Pattern.parse(run.settings["pattern"]),
        sampling=replace(sampling, reading=reading or sampling.reading),
        engine=engine,
        workers=decoding_threads(workers),
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
    )
    failed: dict[int, VideoError] = {}
    asked = range(len(videos))
    return Predictions(
        scores=predict(model, inputs, asked, batch_size=batch_size, failed=failed, advance=advance),
        gmacs=video_gmacs(model, inputs),
        videos=tuple(i for i in asked if i not in failed),
        missing={videos[i].video_id: str(reason) for i, reason in failed.items()},
    )


def model_of(run: RunDirectory, *, device: torch.device) -> VideoModel:
    """Return the aggregator of a run, in evaluation mode on ``device``.

    Raises:
        WeightsError: if its file is gone or damaged.
    """
    model, _ = load_aggregator(run.path / WEIGHTS_FILE)
    return model.to(device)


def weights_of(run: RunDirectory) -> dict[str, Weights]:
    """Return role -> the backbone of an end-to-end run, as trained.

    Raises:
        WeightsError: if a file is gone or damaged.
        RunError: if one is not what the run trained.
    """
    weights = {}
    for role, own in backbones_of(run).items():
        path = run.path / backbone_file(role)
        weights[role] = load_weights(path)
        if weights[role].digest != own["weights_sha256"] or list(weights[role].classes) != run.settings["classes"]:
            raise RunError(f"{path} is not what the run has trained; bring the file back, or train the run again")
    return weights
