"""What an end-to-end training will cost, before it begins: time from a few real steps, memory, and disk."""

import time
from dataclasses import dataclass, replace
from itertools import chain, count, islice

import torch

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.end_to_end.memory.estimate import with_headroom
from ...pipeline.end_to_end.network import EndToEnd
from ...pipeline.end_to_end.steps import predict, strategy_gradients
from ...pipeline.end_to_end.strategies import BATCH_REDUCTION, STRATEGIES, StrategySettings
from ...pipeline.end_to_end.videos import batch_of
from ...pipeline.training.keeping import Outlook, fits_in_memory, look_ahead, memory_share
from ...pipeline.training.optimisation import resolved
from .memory import check_memory, memory_limit, step_bytes
from .model import build_model
from .named import named_backbones
from .plan import PreparedFinetuning, prepare
from .run import objective_of, video_gmacs
from .settings import FinetuneSettings
from .videos import order_of, train_batches, training_videos

_TIMED_STEPS = 3  # after a first one, which chooses kernels and allocates memory
FLOAT_BYTES = 4
# Copies of the weights: two checkpoints (model, optimizer twice, average, best), as the new one is written before the
# old one goes, and the result.
_COPIES_ON_DISK = 11


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneEstimate:
    """What a training will probably cost.

    Attributes:
        gmacs: 10^9 multiply-accumulates per video, at test.
        step_seconds: a training step, clips included.
        validation_seconds: the held-out videos, once.
        total_seconds: all epochs.
        memory_bytes: strategy -> the most that a process should take for a step with it.
        memory_limit_bytes: what is available.
        disk_bytes: of the run, its checkpoint included.
        kept: the decoded videos on disk.
        in_memory: whether they are kept in memory instead.
    """

    num_training: int
    num_validation: int
    epochs: int
    steps_per_epoch: int
    gmacs: float
    step_seconds: float
    validation_seconds: float
    total_seconds: float
    strategy: str
    memory_bytes: dict[str, int]
    memory_limit_bytes: int
    disk_bytes: int
    kept: Outlook
    in_memory: bool


def estimate(settings: FinetuneSettings) -> FinetuneEstimate:
    """Time a few steps on the first videos and estimate the rest; writes nothing.

    Raises:
        SettingsError, ManifestError, WeightsError, RunError: as the training itself.
    """
    optimisation = resolved(settings.optimisation, device=settings.device)
    settings = replace(named_backbones(settings), optimisation=optimisation)
    prepared, device = prepare(settings), resolve_device(settings.device)
    limit = memory_limit(settings, device)
    check_memory(settings, prepared, limit=limit)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = build_model(settings, prepared).to(device)
    num_weights = sum(weight.numel() for weight in model.parameters())
    step = _step_seconds(settings, prepared, model.train())
    validation = _validation_seconds(settings, prepared, model.eval()) if prepared.validation else 0.0
    lists = (prepared.training, prepared.validation)
    sources = [training_videos(settings, prepared, places).source for places in lists]
    kept = look_ahead(sources, settings=settings.keeping)
    steps, epochs = len(order_of(settings, prepared, epoch=0)), settings.optimisation.epochs
    return FinetuneEstimate(
        num_training=len(prepared.training),
        num_validation=len(prepared.validation),
        epochs=epochs,
        steps_per_epoch=steps,
        gmacs=video_gmacs(settings, prepared),
        step_seconds=step,
        validation_seconds=validation,
        total_seconds=epochs * (steps * step + validation),
        strategy=settings.strategy.name,
        memory_bytes=_memory_by_strategy(settings, prepared),
        memory_limit_bytes=limit,
        disk_bytes=num_weights * FLOAT_BYTES * _COPIES_ON_DISK,
        kept=kept,
        in_memory=fits_in_memory(kept, memory_bytes=memory_share(settings.cache_gib)),
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


def _step_seconds(settings: FinetuneSettings, prepared: PreparedFinetuning, model: EndToEnd) -> float:
    """Return the seconds of a step, clips included, over a few steps after the first."""
    videos = training_videos(settings, prepared, prepared.training)
    gradients = strategy_gradients(
        model, strategy=settings.strategy, objective=objective_of(settings, prepared), accumulate=settings.accumulate
    )
    epochs = (train_batches(settings, prepared, videos, epoch, 0) for epoch in count())
    began = 0.0
    for place, batch in enumerate(islice(chain.from_iterable(epochs), 1 + _TIMED_STEPS)):
        for _ in gradients(batch):
            model.zero_grad(set_to_none=True)
        if place in (0, _TIMED_STEPS) and torch.cuda.is_available():
            torch.cuda.synchronize()  # calls return before the GPU has done the work
        began = time.perf_counter() if place == 0 else began
    return (time.perf_counter() - began) / _TIMED_STEPS


@torch.no_grad()
def _validation_seconds(settings: FinetuneSettings, prepared: PreparedFinetuning, model: EndToEnd) -> float:
    """Return the seconds of all held-out videos, estimated from the first of them."""
    videos = training_videos(settings, prepared, prepared.validation)
    began = time.perf_counter()
    batch = batch_of([videos.spread_clips(0)])
    if len(batch):
        batch = batch.on(next(model.parameters()).device, part=slice(1))
        predict(model, batch, strategy=settings.strategy, precision=settings.optimisation.precision)
    return (time.perf_counter() - began) * len(prepared.validation)
