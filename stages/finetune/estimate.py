"""What an end-to-end training will cost, before it begins: time from a few real steps, memory, and disk."""

from dataclasses import dataclass, replace
from functools import partial

import torch

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.end_to_end.memory.estimate import with_headroom
from ...pipeline.end_to_end.strategies import BATCH_REDUCTION, STRATEGIES, StrategySettings
from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.training.forecast import (
    ReadingTimes,
    epochs_behind,
    reading_seconds,
    side_by_side,
    time_reading,
    total_seconds,
)
from ...pipeline.training.keeping import Outlook, fits_in_memory, look_ahead, memory_share
from ...pipeline.training.optimisation import resolved
from .memory import check_memory, memory_limit, step_bytes
from .model import build_model
from .named import named_backbones
from .plan import PreparedFinetuning, outcome, prepare
from .run import OPTIONS, video_gmacs
from .settings import FinetuneSettings
from .timing import NetworkTimes, clips_of, time_network
from .videos import crop_of, order_of, training_videos

FLOAT_BYTES = 4
# Copies of the weights: two checkpoints (model, optimizer twice, average, best), as the new one is written before the
# old one goes, and the result.
_COPIES_ON_DISK = 11


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneEstimate:
    """What a training will probably cost.

    Attributes:
        gmacs: 10^9 multiply-accumulates per video, at test.
        epochs: at most.
        epochs_done: of an unfinished run.
        already_done: whether the run is finished.
        step_seconds: of a training step on clips that are ready.
        validation_seconds: of the network on all held-out videos, once.
        decode_seconds: to decode and reduce a whole video, on one thread.
        kept_clips_seconds: to make the clips of a video that is kept, on one thread.
        read_clips_seconds: to make the clips of a video that is not kept, on one thread.
        first_epoch_seconds: the epoch that decodes what is not kept yet.
        epoch_seconds: any other.
        total_seconds: all epochs that are left.
        memory_bytes: strategy -> the most that a process should take for a step with it.
        memory_limit_bytes: what is available.
        disk_bytes: of the run, its checkpoint included.
        kept: the decoded videos on disk.
        in_memory: whether they are kept in memory instead.
    """

    num_training: int
    num_validation: int
    epochs: int
    epochs_done: int
    already_done: bool
    steps_per_epoch: int
    gmacs: float
    step_seconds: float
    validation_seconds: float
    decode_seconds: float
    kept_clips_seconds: float
    read_clips_seconds: float
    first_epoch_seconds: float
    epoch_seconds: float
    total_seconds: float
    strategy: str
    memory_bytes: dict[str, int]
    memory_limit_bytes: int
    disk_bytes: int
    kept: Outlook
    in_memory: bool


def estimate(settings: FinetuneSettings, *, progress: Progress = SILENT) -> FinetuneEstimate:
    """Time a few steps and videos, and estimate the rest; writes nothing.

    Args:
        settings: of the training.
        progress: advanced by each part of the estimate.

    Raises:
        SettingsError, ManifestError, WeightsError, RunError: as the training itself.
        VideoError: if none of the first videos can be read.
    """
    optimisation = resolved(settings.optimisation, device=settings.device)
    settings = replace(named_backbones(settings), optimisation=optimisation)
    prepared, device = prepare(settings), resolve_device(settings.device)
    epochs_done, already_done = epochs_behind(settings.out, made=outcome(settings, prepared), options=OPTIONS)
    limit = memory_limit(settings, device)
    check_memory(settings, prepared, limit=limit)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = build_model(settings, prepared).to(device)
    num_weights = sum(weight.numel() for weight in model.parameters())
    lists = (prepared.training, prepared.validation)
    sources = [training_videos(settings, prepared, places).source for places in lists]
    # Each part takes another time than the others, so that none foretells them.
    with under_way(progress, "estimating", total=3, unit="part", untypical=3):
        kept = look_ahead(sources, settings=settings.keeping)
        progress.advance()
        reading = time_reading(sources[0], crop=crop_of(prepared), look_at=partial(clips_of, settings, prepared))
        progress.advance()
        network = time_network(settings, prepared, model)
        progress.advance()
    in_memory = fits_in_memory(kept, memory_bytes=memory_share(settings.cache_gib))
    steps, epochs = len(order_of(settings, prepared, epoch=0)), settings.optimisation.epochs
    num_validation = len(prepared.validation)
    first, later = epoch_seconds(
        settings, network, reading, kept, steps=steps, num_validation=num_validation, in_memory=in_memory
    )
    return FinetuneEstimate(
        num_training=len(prepared.training),
        num_validation=num_validation,
        epochs=epochs,
        epochs_done=epochs_done,
        already_done=already_done,
        steps_per_epoch=steps,
        gmacs=video_gmacs(settings, prepared),
        step_seconds=network.step_seconds,
        validation_seconds=num_validation * network.validation_seconds,
        decode_seconds=reading.decode_seconds,
        kept_clips_seconds=reading.kept_clip_seconds,
        read_clips_seconds=reading.read_clip_seconds,
        first_epoch_seconds=first,
        epoch_seconds=later,
        total_seconds=total_seconds(first, later, epochs=0 if already_done else epochs - epochs_done),
        strategy=settings.strategy.name,
        memory_bytes=_memory_by_strategy(settings, prepared),
        memory_limit_bytes=limit,
        disk_bytes=num_weights * FLOAT_BYTES * _COPIES_ON_DISK,
        kept=kept,
        in_memory=in_memory,
    )


def _memory_by_strategy(settings: FinetuneSettings, prepared: PreparedFinetuning) -> dict[str, int]:
    """Return the memory of a step with each strategy: the chosen one as it is set, the others with their defaults.

    Batch reduction is left out if the batch is too small for it.
    """
    own = settings.strategy
    found = {}
    for name in STRATEGIES:
        strategy = own if name == own.name else StrategySettings(name=name, granularity=own.granularity)
        if name != BATCH_REDUCTION or settings.optimisation.batch_size >= len(prepared.roles):
            other = replace(settings, strategy=strategy)
            per_step = other.videos_per_step(len(prepared.roles))
            found[name] = with_headroom(step_bytes(other, replace(prepared, videos_per_step=per_step)))
    return found


def epoch_seconds(
    settings: FinetuneSettings,
    network: NetworkTimes,
    reading: ReadingTimes,
    kept: Outlook,
    *,
    steps: int,
    num_validation: int,
    in_memory: bool,
) -> tuple[float, float]:
    """Return the seconds of the first epoch of this process, and of any other."""
    busy = steps * network.step_seconds + num_validation * network.validation_seconds
    device = resolve_device(settings.device)
    first, later = (
        side_by_side(busy, seconds, workers=settings.workers, device=device)
        for seconds in reading_seconds(reading, kept=kept, in_memory=in_memory)
    )
    return first, later
