"""A few real training steps and real videos, timed."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.backbones.interface import Backbone
from ...pipeline.errors import VideoError
from ...pipeline.training.clips import TrainingClips, VideoSource, collate
from ...pipeline.training.loop import one_step
from ...pipeline.training.optimisation import build_optimizer
from ...pipeline.videos.transforms import normalise
from .plan import PreparedBackboneTraining
from .run import batch_loss, build_model

_TIMED_STEPS = 3  # after a first one, which chooses kernels and allocates memory
_TIMED_VIDEOS, _TIMED_CLIPS = 3, 4  # of each video
_BATCHES_AHEAD = 3  # that threads make while one is trained on


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkTimes:
    """Seconds of a training step and of a validation batch, and the greatest memory of both."""

    step_seconds: float
    validation_seconds: float
    memory_bytes: int
    gpu_bytes: int | None
    num_weights: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingTimes:
    """Seconds of one thread for a video, or for a clip of one."""

    decode_seconds: float
    kept_clip_seconds: float
    read_clip_seconds: float


def time_reading(clips: TrainingClips) -> ReadingTimes:
    """Return what videos cost a thread, as the mean over a few of them.

    Raises:
        VideoError: if none of them can be read.
    """
    videos = clips.source.videos
    spread = videos[:: max(1, len(videos) // _TIMED_VIDEOS)][:_TIMED_VIDEOS]
    some = [videos.index(video) for video in spread]
    clips.random_clip(some[0], epoch=0)  # the first one ever loads libraries
    read = _seconds_each(lambda place: clips.random_clip(place, epoch=0), some)
    source = VideoSource(
        spread,
        crop=clips.preprocessing.crop,
        cache=True,
        reading=clips.source.reduction.reading,
    )
    held = TrainingClips(
        source,
        labels=[0] * len(spread),
        sampling=clips.sampling,
        preprocessing=clips.preprocessing,
    )
    decode = _seconds_each(lambda place: held.random_clip(place, epoch=0), range(len(spread)))
    kept = [
        _seconds_each(lambda place, epoch=epoch: held.random_clip(place, epoch=epoch), range(len(spread)))
        for epoch in range(_TIMED_CLIPS)
    ]
    if len(source.failures) == len(spread):
        raise VideoError(f"none of {len(spread)} videos can be read; the first: {next(iter(source.failures.values()))}")
    return ReadingTimes(decode_seconds=decode, kept_clip_seconds=sum(kept) / len(kept), read_clip_seconds=read)


def _seconds_each(do: Callable[[int], object], places: Sequence[int]) -> float:
    began = time.perf_counter()
    for place in places:
        do(place)
    return (time.perf_counter() - began) / len(places)


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
    few = [clips.random_clip(place, epoch=0) for place in range(min(size, 2 * _TIMED_VIDEOS))]
    readable = [clip for clip in few if clip is not None]
    if not readable:
        raise VideoError(f"none of {len(few)} videos can be read; look for reasons by vidpipe manifest check")
    batch = collate([readable[place % len(readable)] for place in range(size)])
    assert batch is not None
    model = build_model(prepared)
    step = partial(_step, model, build_optimizer(model, settings=own), prepared, batch)
    step_seconds = _seconds_after_the_first(step, device)
    validate = partial(_forward, model.eval(), prepared, batch)
    seconds = _seconds_after_the_first(validate, device) if prepared.validation else 0.0
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


def _seconds_after_the_first(do: Callable[[], None], device: torch.device) -> float:
    do()
    _wait_for(device)
    began = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        do()
    _wait_for(device)
    return (time.perf_counter() - began) / _TIMED_STEPS


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # calls return before the GPU has done the work
