"""A few real training steps and real videos, timed."""

import resource
from dataclasses import dataclass
from functools import partial

import torch

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.backbones.interface import Backbone
from ...pipeline.errors import VideoError
from ...pipeline.training.clips import TrainingClips, VideoSource, collate
from ...pipeline.training.forecast import Look, seconds_after_the_first
from ...pipeline.training.loop import one_step
from ...pipeline.training.optimisation import build_optimizer
from ...pipeline.videos.transforms import normalise
from .plan import PreparedBackboneTraining
from .run import batch_loss, build_model

_MOST_CLIPS = 6  # made for the timed batch, which repeats them
_BATCHES_AHEAD = 3  # that threads make while one is trained on


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkTimes:
    """Seconds of a training step and of a validation batch, and the greatest memory of both."""

    step_seconds: float
    validation_seconds: float
    memory_bytes: int
    gpu_bytes: int | None
    num_weights: int


def clips_of(prepared: PreparedBackboneTraining, source: VideoSource) -> Look:
    """Return how an epoch takes its clip of each video of ``source``."""
    own = prepared.training
    clips = TrainingClips(
        source, labels=[0] * len(source.videos), sampling=own.sampling, preprocessing=own.preprocessing
    )
    return lambda place, epoch: clips.random_clip(place, epoch=epoch)


def time_network(prepared: PreparedBackboneTraining) -> NetworkTimes:
    """Train and validate on one batch, a few times.

    Raises:
        VideoError: if fewer than two of its videos can be read.
    """
    settings, clips = prepared.settings, prepared.training
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device, own = resolve_device(settings.device), settings.optimisation
    size = min(own.batch_size, len(clips.source.videos))
    few = [clips.random_clip(place, epoch=0) for place in range(min(size, _MOST_CLIPS))]
    readable = [clip for clip in few if clip is not None]
    if not readable:
        raise VideoError(f"none of {len(few)} videos can be read; look for reasons by vidpipe manifest check")
    batch = collate([readable[place % len(readable)] for place in range(size)])
    assert batch is not None
    model = build_model(prepared)
    step = partial(_step, model, build_optimizer(model, settings=own), prepared, batch)
    step_seconds = seconds_after_the_first(step, device)
    validate = partial(_forward, model.eval(), prepared, batch)
    seconds = seconds_after_the_first(validate, device) if prepared.validation else 0.0
    return NetworkTimes(
        step_seconds=step_seconds,
        validation_seconds=seconds,
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + _BATCHES_AHEAD * batch[0].nbytes,
        gpu_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        num_weights=sum(weight.numel() for weight in model.parameters()),
    )


def _step(
    model: Backbone,
    optimizer: torch.optim.Optimizer,
    prepared: PreparedBackboneTraining,
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    loss = batch_loss(prepared, model)
    for _ in one_step(model, loss=loss, precision=prepared.settings.optimisation.precision)(batch):
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def _forward(model: Backbone, prepared: PreparedBackboneTraining, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    model(normalise(batch[0].to(next(model.parameters()).device), prepared.training.preprocessing))
