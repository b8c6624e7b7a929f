"""The training loop of every stage that trains: epochs, early stopping, checkpoints, and going on after a kill.

A run that is killed at any moment and started again ends with the same weights, bit for bit, as one left in peace:
state is kept at epoch boundaries only, and all randomness within an epoch derives from (seed, epoch).
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .errors import RunError
from .optimisation import OptimisationSettings, build_optimizer, cosine_schedule, mixed_precision
from .run_directory import Record, RunDirectory
from .seeds import derived_seed

TrainBatches = Callable[[int], Iterable[Any]]
Loss = Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]]
Validate = Callable[[], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """What training came to.

    Attributes:
        state: the weights of the best epoch (the last one where nothing is validated), on the CPU.
        best_epoch: that epoch, from 0.
        history: one record an epoch.
    """

    state: dict[str, Tensor]
    best_epoch: int
    history: list[Record]

    @property
    def best(self) -> Record:
        """The best epoch's record."""
        return self.history[self.best_epoch]


@dataclass(kw_only=True, slots=True)
class _Progress:
    """Where training stands after some whole epochs; with model and optimizer, what a checkpoint holds."""

    history: list[Record] = field(default_factory=list)
    best_epoch: int = -1
    best_state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The next epoch."""
        return len(self.history)

    def is_over(self, settings: OptimisationSettings) -> bool:
        """Whether every epoch is done, or patience has run out."""
        waited = self.epoch - 1 - self.best_epoch
        return self.epoch >= settings.epochs or 0 < settings.patience <= waited


def fit(
    model: nn.Module,
    *,
    settings: OptimisationSettings,
    run: RunDirectory,
    train_batches: TrainBatches,
    steps_per_epoch: int,
    loss: Loss,
    validate: Validate | None = None,
    monitor: str = "val_accuracy",
    checkpoint_every_seconds: float = 5.0,
) -> FitResult:
    """Train ``model``, going on from the run's checkpoint where there is one, and return the best weights.

    Build the model under ``torch.manual_seed(settings.seed)``. When this returns, write what the run is to leave and
    call ``run.finish``; killed before that, the same call returns the same without training again.

    Args:
        model: on its device; holds the best weights afterwards.
        settings: how to optimise.
        run: where metrics and checkpoints go.
        train_batches: epoch -> its batches, of any form that ``loss`` takes; their order and content may depend on
            the seed and the epoch alone.
        steps_per_epoch: the number of those batches.
        loss: batch -> the scalar to minimise, and scalars to be averaged into the epoch's record.
        validate: gives the validation's figures, called in eval mode without gradients; None = the last epoch is best.
        monitor: the figure of ``validate`` to maximise; ties go to the lower "val_loss", then to the earlier epoch.
        checkpoint_every_seconds: at an epoch's end, write a checkpoint if the last one is at least this old.

    Raises:
        RunError: if the loss is not finite, or the checkpoint does not fit the model.
    """
    optimizer = build_optimizer(model, settings=settings)
    progress = _restore(model, optimizer, run)
    bar = tqdm(
        total=settings.epochs * steps_per_epoch, initial=progress.epoch * steps_per_epoch, unit="batch", disable=None
    )
    saved_at = time.monotonic()
    with bar, torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
        while not progress.is_over(settings):
            record = _train_epoch(model, optimizer, settings, progress.epoch, train_batches, steps_per_epoch, loss, bar)
            record |= _validation(model, validate)
            _conclude_epoch(model, progress, record, monitor=monitor if validate else None)
            run.append_metrics(record)
            bar.set_postfix_str(" ".join(f"{name} {record[name]:.3g}" for name in ("loss", monitor) if name in record))
            if progress.is_over(settings) or time.monotonic() - saved_at >= checkpoint_every_seconds:
                _save(model, optimizer, run, progress)
                saved_at = time.monotonic()
    model.load_state_dict(progress.best_state)
    return FitResult(state=progress.best_state, best_epoch=progress.best_epoch, history=progress.history)


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: OptimisationSettings,
    epoch: int,
    train_batches: TrainBatches,
    steps_per_epoch: int,
    loss: Loss,
    bar: "tqdm[Any]",
) -> Record:
    """Take one epoch's steps and return its record, without the validation."""
    began = time.monotonic()
    torch.manual_seed(derived_seed(settings.seed, "epoch", epoch))
    model.train()
    total, warmup = settings.epochs * steps_per_epoch, round(settings.warmup_epochs * steps_per_epoch)
    sums: dict[str, Tensor] = {}
    for index, batch in enumerate(train_batches(epoch)):
        factor = cosine_schedule(epoch * steps_per_epoch + index, total=total, warmup=warmup)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        for name, value in _step(model, optimizer, settings, loss, batch).items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value
        bar.update()
    means = {name: float(value) / steps_per_epoch for name, value in sums.items()}
    if not math.isfinite(means.get("loss", math.nan)):
        raise RunError(f"training diverged: the loss of epoch {epoch} is {means.get('loss')}; lower --learning-rate")
    rate = optimizer.param_groups[0]["lr"]
    return {"epoch": epoch, "learning_rate": rate, **means, "seconds": round(time.monotonic() - began, 3)}


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, settings: OptimisationSettings, loss: Loss, batch: Any
) -> dict[str, Tensor]:
    """Take one step and return its detached figures, the loss among them."""
    device = next(model.parameters()).device
    optimizer.zero_grad(set_to_none=True)
    with mixed_precision(device, precision=settings.precision):
        value, figures = loss(batch)
    value.backward()
    if settings.clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    optimizer.step()
    return {"loss": value.detach().float(), **{name: figure.detach().float() for name, figure in figures.items()}}


@torch.no_grad()
def _validation(model: nn.Module, validate: Validate | None) -> Record:
    if validate is None:
        return {}
    model.eval()
    return {name: float(value) for name, value in validate().items()}


def _conclude_epoch(model: nn.Module, progress: _Progress, record: Record, *, monitor: str | None) -> None:
    """Add the epoch's record to the history, and keep its weights if it is the best so far."""
    best = progress.history[progress.best_epoch] if progress.history else None
    progress.history.append(record)
    if best is None or monitor is None or _quality(record, monitor) > _quality(best, monitor):
        progress.best_epoch = progress.epoch - 1
        progress.best_state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _quality(record: Record, monitor: str) -> tuple[float, float]:
    return record[monitor], -record.get("val_loss", 0.0)


def _save(model: nn.Module, optimizer: torch.optim.Optimizer, run: RunDirectory, progress: _Progress) -> None:
    run.save_checkpoint(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": progress.history,
            "best_epoch": progress.best_epoch,
            "best_state": progress.best_state,
        }
    )


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer, run: RunDirectory) -> _Progress:
    """Load the run's checkpoint into model and optimizer, and cut its metrics back to it."""
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        run.write_metrics([])
        return _Progress()
    try:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise RunError(f"the checkpoint in {run.path} does not fit the network: {error}") from error
    run.write_metrics(checkpoint["history"])
    keys = ("history", "best_epoch", "best_state")
    return _Progress(**{key: checkpoint[key] for key in keys})
