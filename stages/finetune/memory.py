"""Whether an end-to-end training fits into memory, and what would: before it begins, and after it ran out."""

from dataclasses import replace

import torch

from ...pipeline.end_to_end.memory.available import available_bytes
from ...pipeline.end_to_end.memory.estimate import TrainingShape, advice, estimated_bytes, with_headroom
from ...pipeline.end_to_end.strategies import BATCH_REDUCTION, FROZEN, MULTI_ITERATION, PLAIN
from ...pipeline.errors import OutOfMemoryError, SettingsError, named
from ...pipeline.sizes import size_text
from ...pipeline.training.distributed import local_processes, world_size
from .plan import PreparedFinetuning
from .settings import FinetuneSettings
from .videos import order_of


def step_bytes(settings: FinetuneSettings, prepared: PreparedFinetuning) -> int:
    """Return the estimated bytes of a step of one process."""
    name = settings.strategy.name
    # The batch is reduced already here, and the estimate would reduce it once more.
    strategy = replace(settings.strategy, name=PLAIN) if name == BATCH_REDUCTION else settings.strategy
    return estimated_bytes(training_shape(settings, prepared), strategy=strategy)


def training_shape(settings: FinetuneSettings, prepared: PreparedFinetuning) -> TrainingShape:
    """Return what the memory of a step depends on: the videos that one process runs at once, and the networks."""
    # A remainder of one joins the last batch, so that one may be larger than the batch size.
    most = max(len(batch) for batch in order_of(settings, prepared, epoch=0))
    own = -(-most // world_size())
    return TrainingShape(
        backbones={role: settings.backbones[role].backbone for role in prepared.shapes},
        roles=prepared.roles,
        num_frames=prepared.sampling.num_frames,
        crops={role: preprocessing.crop for role, preprocessing in prepared.preprocessing.items()},
        num_classes=len(prepared.classes),
        aggregator=prepared.spec,
        batch_size=-(-own // settings.accumulate),
        precision=settings.optimisation.precision,
        optimizer=settings.optimisation.optimizer,
        ema=bool(settings.optimisation.ema),
        trained=prepared.trained,
        distributed=world_size() > 1,
    )


def memory_limit(settings: FinetuneSettings, device: torch.device) -> int:
    """Return how many bytes training may take on ``device``; call it before networks are built."""
    if settings.memory_gb is not None:
        return round(settings.memory_gb * 1e9)
    return available_bytes(device, processes=local_processes())


def check_memory(settings: FinetuneSettings, prepared: PreparedFinetuning, *, limit: int) -> None:
    """Refuse a training that by estimate does not fit: a system that kills such a process gives no reason.

    Raises:
        SettingsError: the message names settings that would fit.
    """
    needed = with_headroom(step_bytes(settings, prepared))
    if needed > limit:
        raise SettingsError(
            f"{_what(settings, prepared)} needs up to {size_text(needed)} by estimate, and there are "
            f"{size_text(limit)}; {_advice(settings, prepared, limit)}. ({named('memory_gb')} sets another limit)"
        )


def out_of_memory(settings: FinetuneSettings, prepared: PreparedFinetuning, *, limit: int) -> OutOfMemoryError:
    """Return the error for a training that ran out of memory when ``limit`` bytes had been available."""
    # The estimate was too low, so only settings below it are offered.
    less = min(limit, with_headroom(step_bytes(settings, prepared)) - 1)
    kept = "its checkpoint is kept" if (settings.out / "checkpoint.pt").exists() else "nothing was trained yet"
    return OutOfMemoryError(
        f"out of memory in {settings.out}, by {_what(settings, prepared)}; {kept}. Run it again with less: "
        f"{_advice(settings, prepared, less)}"
    )


def _what(settings: FinetuneSettings, prepared: PreparedFinetuning) -> str:
    shape = training_shape(settings, prepared)
    return f"{named('strategy')} {settings.strategy.name} with {shape.batch_size} videos of {len(shape.roles)} clips"


def _advice(settings: FinetuneSettings, prepared: PreparedFinetuning, limit: int) -> str:
    """Return settings that would fit, and whether an existing run could go on with them."""
    offered = advice(
        training_shape(settings, prepared),
        available=limit,
        strategy=settings.strategy.name,
        accumulate=settings.accumulate,
    )
    exact = prepared.statistics == FROZEN and settings.strategy.name not in (BATCH_REDUCTION, MULTI_ITERATION)
    if exact or not settings.out.exists():
        return offered
    return (
        f"{offered}. With {named('statistics')} tracked, a run that was begun by plain goes on by checkpoint alone; "
        f"for the others give another {named('out')}"
    )
