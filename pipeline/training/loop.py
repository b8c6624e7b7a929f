"""The training loop of every stage that trains: epochs, early stopping, checkpoints, and resuming after a kill.

A run that is killed at any moment and started again ends with the same weights, on a CPU bit for bit, as one that was
not disturbed: all randomness of a batch derives from (seed, epoch, batch), and checkpoints are written between batches.
The processes that torchrun starts train one model together. A callback follows how far training has come.
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

# Within an epoch checkpoints are this many times rarer than between epochs: one a minute by default. Most epochs are
# shorter and need none, but one on Kinetics may take a day.
_WITHIN_AN_EPOCH = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """The outcome of training.

    Attributes:
        state: the weights of the best epoch (the last one if nothing is validated), on the CPU.
        best_epoch: that epoch, from 0.
        history: one record per epoch.
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
    """How long training lasts and what is kept.

    Attributes:
        steps_per_epoch: batches in an epoch.
        monitor: the figure of the validation to maximise; ties go to the lower "val_loss", then to the earlier epoch.
        checkpoint_every_seconds: at an epoch's end, and before its validation, write a checkpoint if the last one is at
            least this old; between two batches, if it is `_WITHIN_AN_EPOCH` times as old.
        rates: part of the model -> its peak learning rate, if it is not the settings'; see `build_optimizer`.
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
    """Train ``model``, from the run's checkpoint if there is one, and return the best weights.

    Build the model under ``torch.manual_seed(settings.seed)``. When this returns, write the run's files and call
    ``run.finish``; if the process is killed before that, the same call returns the same without training again.

    Args:
        model: on its device; holds the best weights afterwards.
        settings: how to optimise.
        schedule: how many batches, rates, checkpoints.
        run: where metrics and checkpoints go.
        train_batches: (epoch, n) -> its batches without the first n, in any form that ``gradients`` takes; their order
            and content may depend only on the seed and the epoch.
        gradients: batch -> an iterator that leaves gradients on the parameters and yields scalar figures, "loss" among
            them, each time an optimizer step is due; for an empty batch it yields nothing. `one_step` makes one from a
            loss. Each of several processes sees a part of the batch; gradients and figures are summed over them.
        validate: returns the validation's figures; called in eval mode without gradients, in every process. None: the
            last epoch is best.
        progress: advanced by each batch and epoch, in the first process only.

    Raises:
        RunError: if the loss is not finite, or the checkpoint does not fit the model.
    """
    trained = Trained(
        model=model,
        optimizer=build_optimizer(model, settings=settings, rates=schedule.rates),
        average=build_average(model, decay=settings.ema),
    )
    position = restore_position(run, trained)
    # Records beyond the checkpoint go: their epochs are trained again. The others wait, so that nobody reads the old
    # file.
    if is_first():
        run.write_metrics(position.history)
    wait_for_all()
    loop = _Loop(settings, schedule, run, trained, position, progress if is_first() else SILENT)
    with loop.curves, loop.under_way(), torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False):
        while not position.is_over(settings):
            record = loop.train_epoch(train_batches, gradients)
            if validate is not None:
                loop.save_if_due()  # validation may take as long as an epoch, and a kill during it would lose both
            with averaged_weights(model, trained.average):
                record |= _validation(model, validate)
                position.conclude(record, model, monitor=schedule.monitor if validate else None)
            loop.report(record)
            loop.save_if_due(over=position.is_over(settings))
    wait_for_all()
    model.load_state_dict(position.best_state)
    return FitResult(state=position.best_state, best_epoch=position.best_epoch, history=position.history)


def one_step(model: nn.Module, *, loss: Loss, precision: str) -> Gradients:
    """Return `Gradients` with one backward pass and one step per batch.

    Args:
        model: what is trained.
        loss: batch -> the scalar to minimise, and scalars to average into the epoch's record; a batch of None is
            skipped.
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
        # The first epoch of a process may decode what later ones find, and warms up everything else.
        left = steps - position.batches
        return under_way(
            self.progress,
            "training",
            total=self.settings.epochs * steps,
            unit="step",
            done=done,
            untypical=left if position.epoch + 1 < self.settings.epochs else 0,
        )

    def train_epoch(self, train_batches: TrainBatches, gradients: Gradients) -> Record:
        """Train on what is left of an epoch's batches, and return its record without the validation."""
        position, own = self.position, self.settings
        self.trained.model.train()
        began = time.monotonic() - position.seconds
        for batch in train_batches(position.epoch, position.batches):
            # A seed per batch makes dropout the same after a resume; plus the rank, else all processes would drop
            # alike.
            torch.manual_seed(derived_seed(own.seed, "batch", position.epoch, position.batches) + rank())
            position.add(self._step(gradients, batch))
            position.seconds = time.monotonic() - began
            self.progress.advance()
            if position.batches < self.schedule.steps_per_epoch:
                self.save_if_due(patience=_WITHIN_AN_EPOCH)
        if not position.counted:
            raise RunError(
                f"no video of epoch {position.epoch} could be read; look for reasons by vidpipe manifest check"
            )
        # Only here do figures leave the device: looking at each batch's loss would make a GPU wait for it.
        means = {name: float(value) / position.counted for name, value in sorted(position.sums.items())}
        if not math.isfinite(means.get("loss", math.nan)):
            raise RunError(
                f"training diverged: the loss of epoch {position.epoch} is {means.get('loss')}; lower "
                f"{named('learning_rate')}"
            )
        rate = max(group["lr"] for group in self.trained.optimizer.param_groups)
        return {"epoch": position.epoch, "learning_rate": rate, **means, "seconds": round(position.seconds, 3)}

    def _step(self, gradients: Gradients, batch: Any) -> dict[str, Tensor]:
        """Take the steps of one batch; return their figures' means, summed over processes; empty without a step."""
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
        """Write an epoch's record to the metrics, the curves and the progress."""
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
