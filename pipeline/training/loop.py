"""The training loop of every stage that trains: epochs, early stopping, checkpoints, and going on after a kill.

A run that is killed at any moment and started again ends with the same weights, on a CPU bit for bit, as one left in
peace: all randomness of a batch derives from (seed, epoch, batch), and a checkpoint is written between two batches. The
processes that torchrun starts train one model together. How far training has come is told to whoever asks.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import RunError, named
from ..execution import SILENT, Progress, under_way
from ..seeds import derived_seed
from .distributed import average_statistics, is_first, rank, sum_gradients, sum_over_processes, wait_for_all
from .optimisation import build_optimizer, cosine_schedule, mixed_precision, set_rates
from .position import Position, Trained, restore_position, save_position
from .run_directory import Record, RunDirectory
from .settings import OptimisationSettings
from .tensorboard import Curves
from .weight_average import averaged_weights, build_average

Figures = Mapping[str, Tensor]
TrainBatches = Callable[[int, int], Iterable[Any]]
Gradients = Callable[[Any], Iterator[Figures]]
Loss = Callable[[Any], tuple[Tensor, Figures]]
Validate = Callable[[], Mapping[str, float]]

WITHIN_AN_EPOCH = 12  # times as seldom as at an epoch's end: a minute by default, against an epoch of perhaps a day


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How long training lasts and what is kept of it.

    Attributes:
        steps_per_epoch: batches of an epoch.
        monitor: the validation's figure to maximise; ties go to the lower "val_loss", then to the earlier epoch.
        checkpoint_every_seconds: at an epoch's end, and before its validation, write a checkpoint if the last one is at
            least this old; between two batches, if it is `WITHIN_AN_EPOCH` times as old.
        rates: part of the model -> its peak learning rate, where it is not the settings'; see `build_optimizer`.
    """

    steps_per_epoch: int
    monitor: str = "val_accuracy"
    checkpoint_every_seconds: float = 5.0
    rates: Mapping[str, float] | None = None


def fit(
    model: nn.Module,
    *,
    settings: OptimisationSettings,
    schedule: Schedule,
    run: RunDirectory,
    train_batches: TrainBatches,
    gradients: Gradients,
    validate: Validate | None = None,
    progress: Progress = SILENT,
) -> FitResult:
    """Train ``model``, going on from the run's checkpoint where there is one, and return the best weights.

    Build the model under ``torch.manual_seed(settings.seed)``. When this returns, write what the run is to leave and
    call ``run.finish``; killed before that, the same call returns the same without training again.

    Args:
        model: on its device; holds the best weights afterwards.
        settings: how to optimise.
        schedule: how many batches, rates, checkpoints.
        run: where metrics and checkpoints go.
        train_batches: (epoch, n) -> its batches but the first n, of any form that ``gradients`` takes; their order and
            content may depend on the seed and the epoch alone.
        gradients: batch -> an iterator that leaves gradients on the parameters and yields scalar figures, "loss" among
            them, each time an optimizer's step is due, and not at all for a batch of nothing; `one_step` makes it of a
            loss. Of several processes each sees a part of the batch; gradients and figures are summed over them.
        validate: gives the validation's figures, called in eval mode without gradients, in every process; None = the
            last epoch is best.
        progress: told of each batch and epoch, in the first process alone.

    Raises:
        RunError: if the loss is not finite, or the checkpoint does not fit the model.
    """
    trained = Trained(
        model=model,
        optimizer=build_optimizer(model, settings=settings, rates=schedule.rates),
        average=build_average(model, decay=settings.ema),
    )
    position = restore_position(run, trained)
    if is_first():
        run.write_metrics(position.history)
    wait_for_all()
    loop = _Loop(settings, schedule, run, trained, position, progress if is_first() else SILENT)
    with loop.curves, loop.under_way(), torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
        while not position.is_over(settings):
            record = loop.train_epoch(train_batches, gradients)
            if validate is not None:
                loop.save_if_due()  # a validation may take as long as an epoch, and a kill in it would lose both
            with averaged_weights(model, trained.average):
                record |= _validation(model, validate)
                position.conclude(record, model, monitor=schedule.monitor if validate else None)
            loop.report(record)
            loop.save_if_due(over=position.is_over(settings))
    wait_for_all()
    model.load_state_dict(position.best_state)
    return FitResult(state=position.best_state, best_epoch=position.best_epoch, history=position.history)


def one_step(model: nn.Module, *, loss: Loss, precision: str) -> Gradients:
    """Return `Gradients` of one backward pass and one step a batch.

    Args:
        model: what is trained.
        loss: batch -> the scalar to minimise, and scalars to be averaged into the epoch's record; a batch of None is
            passed over.
        precision: of the forward pass.
    """

    def gradients(batch: Any) -> Iterator[Figures]:
        if batch is None:
            return
        with mixed_precision(next(model.parameters()).device, precision=precision):
            value, figures = loss(batch)
        value.backward()
        yield {"loss": value, **figures}

    return gradients


class _Loop:
    """The parts of `fit` that share its state."""

    def __init__(
        self,
        settings: OptimisationSettings,
        schedule: Schedule,
        run: RunDirectory,
        trained: Trained,
        position: Position,
        progress: Progress,
    ) -> None:
        self.settings, self.schedule, self.run = settings, schedule, run
        self.trained, self.position, self.progress = trained, position, progress
        self.saved_at = time.monotonic()
        self.curves = Curves(run.path, first_epoch=position.epoch)

    def under_way(self) -> AbstractContextManager[Progress]:
        """Return the context in which batches are counted."""
        steps, position = self.schedule.steps_per_epoch, self.position
        done = position.epoch * steps + position.batches
        return under_way(self.progress, "training", total=self.settings.epochs * steps, unit="step", done=done)

    def train_epoch(self, train_batches: TrainBatches, gradients: Gradients) -> Record:
        """Take what is left of an epoch's batches and return its record, without the validation."""
        position, own = self.position, self.settings
        self.trained.model.train()
        began = time.monotonic() - position.seconds
        for batch in train_batches(position.epoch, position.batches):
            torch.manual_seed(derived_seed(own.seed, "batch", position.epoch, position.batches) + rank())
            position.add(self._step(gradients, batch))
            position.seconds = time.monotonic() - began
            self.progress.advance()
            if position.batches < self.schedule.steps_per_epoch:
                self.save_if_due(patience=WITHIN_AN_EPOCH)
        if not position.counted:
            raise RunError(
                f"no video of epoch {position.epoch} could be read; look for reasons by vidpipe manifest check"
            )
        means = {name: float(value) / position.counted for name, value in sorted(position.sums.items())}
        if not math.isfinite(means.get("loss", math.nan)):
            raise RunError(
                f"training diverged: the loss of epoch {position.epoch} is {means.get('loss')}; lower "
                f"{named('learning_rate')}"
            )
        rate = max(group["lr"] for group in self.trained.optimizer.param_groups)
        return {"epoch": position.epoch, "learning_rate": rate, **means, "seconds": round(position.seconds, 3)}

    def _step(self, gradients: Gradients, batch: Any) -> dict[str, Tensor]:
        """Take the steps of one batch and return the mean of their figures, over all processes; none without a step."""
        model, optimizer, schedule = self.trained.model, self.trained.optimizer, self.schedule
        total = self.settings.epochs * schedule.steps_per_epoch
        warmup = round((self.settings.warmup_epochs or 0.0) * schedule.steps_per_epoch)
        done = self.position.epoch * schedule.steps_per_epoch + self.position.batches
        set_rates(optimizer, factor=cosine_schedule(done, total=total, warmup=warmup))
        optimizer.zero_grad(set_to_none=True)
        seen: list[Figures] = []
        for figures in gradients(batch):
            sum_gradients(model.parameters())
            if self.settings.clip_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.clip_norm)
            optimizer.step()
            average_statistics(model)
            if self.trained.average is not None:
                self.trained.average.update_parameters(model)
            optimizer.zero_grad(set_to_none=True)
            seen.append({name: figure.detach().float() for name, figure in figures.items()})
        if not seen:
            return {}
        names = list(seen[0])
        means = torch.stack([torch.stack([figures[name] for name in names]) for figures in seen]).mean(dim=0)
        return dict(zip(names, sum_over_processes(means), strict=True))

    def report(self, record: Record) -> None:
        """Write an epoch's record wherever it is to be seen."""
        if not is_first():
            return
        self.run.append_metrics(record)
        self.curves.add(record)
        shown = (name for name in ("loss", self.schedule.monitor) if name in record)
        figures = ", ".join(f"{name} {record[name]:.3g}" for name in shown)
        self.progress.milestone(f"epoch {record['epoch'] + 1} of {self.settings.epochs}: {figures}")

    def save_if_due(self, *, patience: float = 1, over: bool = False) -> None:
        """Write a checkpoint if the last one is old enough, or if training is ``over``."""
        due = time.monotonic() - self.saved_at >= self.schedule.checkpoint_every_seconds * patience
        if is_first() and (over or due):
            save_position(self.run, self.trained, self.position)
            self.saved_at = time.monotonic()


@torch.no_grad()
def _validation(model: nn.Module, validate: Validate | None) -> Record:
    if validate is None:
        return {}
    model.eval()
    return {name: float(value) for name, value in validate().items()}
