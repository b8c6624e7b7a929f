"""A few real steps of an end-to-end training, timed on clips that are ready."""

from dataclasses import dataclass
from functools import partial

import torch

from ...pipeline.end_to_end.network import EndToEnd
from ...pipeline.end_to_end.steps import ClipBatch, predict, strategy_gradients
from ...pipeline.end_to_end.videos import TrainingVideos, batch_of
from ...pipeline.errors import VideoError
from ...pipeline.training.clips import VideoSource
from ...pipeline.training.forecast import Look, seconds_after_the_first
from .plan import PreparedFinetuning
from .run import objective_of
from .settings import FinetuneSettings
from .videos import order_of, training_videos, videos_of

_MOST_VIDEOS = 6  # whose clips are made for the timed batch, which repeats them


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkTimes:
    """Seconds of a training step, and of a held-out video, on clips that are ready."""

    step_seconds: float
    validation_seconds: float


def clips_of(settings: FinetuneSettings, prepared: PreparedFinetuning, source: VideoSource) -> Look:
    """Return how an epoch takes its clips of each video of ``source``."""
    videos = videos_of(settings, prepared, source, labels=[0] * len(source.videos))
    return lambda place, epoch: videos.random_clips(place, epoch=epoch)


def time_network(settings: FinetuneSettings, prepared: PreparedFinetuning, model: EndToEnd) -> NetworkTimes:
    """Train on one batch, and score one video, a few times each.

    Raises:
        VideoError: if none of the first videos can be read.
    """
    device = next(model.parameters()).device
    batch = _batch(training_videos(settings, prepared, prepared.training), settings, prepared)
    gradients = strategy_gradients(
        model, strategy=settings.strategy, objective=objective_of(settings, prepared), accumulate=settings.accumulate
    )

    def step() -> None:
        for _ in gradients(batch):
            model.zero_grad(set_to_none=True)

    model.train()
    step_seconds = seconds_after_the_first(step, device)
    model.eval()
    one = batch.on(device, part=slice(1))
    validate = partial(_predict, model, one, settings)
    return NetworkTimes(
        step_seconds=step_seconds,
        validation_seconds=seconds_after_the_first(validate, device) if prepared.validation else 0.0,
    )


def _batch(videos: TrainingVideos, settings: FinetuneSettings, prepared: PreparedFinetuning) -> ClipBatch:
    """Return a batch of the usual size."""
    size = len(order_of(settings, prepared, epoch=0)[0])
    few = [videos.random_clips(place, epoch=0) for place in range(min(size, _MOST_VIDEOS))]
    readable = [own for own in few if own is not None]
    if not readable:
        raise VideoError(f"none of {len(few)} videos can be read; look for reasons by vidpipe manifest check")
    return batch_of([readable[place % len(readable)] for place in range(size)])


@torch.no_grad()
def _predict(model: EndToEnd, batch: ClipBatch, settings: FinetuneSettings) -> None:
    predict(model, batch, strategy=settings.strategy, precision=settings.optimisation.precision)
