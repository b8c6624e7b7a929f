"""How far a training has come: what a checkpoint holds, and how it is written and read back."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..errors import RunError
from .run_directory import Record, RunDirectory
from .settings import OptimisationSettings


@dataclass(kw_only=True, slots=True)
class Position:
    """How far training has come; together with `Trained`, what a checkpoint holds.

    Attributes:
        history: a record for each whole epoch.
        best_epoch: the best of them, from 0; -1 before the first.
        best_state: its weights, on the CPU.
        batches: how many are done in the current epoch.
        counted: those of them that had something to learn from.
        sums: their figures, summed.
        seconds: how long they took.
    """

    history: list[Record] = field(default_factory=list)
    best_epoch: int = -1
    best_state: dict[str, Tensor] = field(default_factory=dict)
    batches: int = 0
    counted: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return len(self.history)

    def is_over(self, settings: OptimisationSettings) -> bool:
        """Whether every epoch is done, or patience has run out."""
        waited = self.epoch - 1 - self.best_epoch
        return self.epoch >= settings.epochs or 0 < settings.patience <= waited

    def add(self, figures: dict[str, Tensor]) -> None:
        """Count one more batch with its ``figures``, detached scalars; empty for a batch that could not be read."""
        for name, value in figures.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.batches += 1
        self.counted += bool(figures)

    def conclude(self, record: Record, model: nn.Module, *, monitor: str | None) -> None:
        """Add a whole epoch's record, and keep its weights if it is the best so far; without ``monitor``, always."""
        best = self.history[self.best_epoch] if self.history else None
        self.history.append(record)
        self.batches, self.counted, self.sums, self.seconds = 0, 0, {}, 0.0
        if best is None or monitor is None or _quality(record, monitor) > _quality(best, monitor):
            self.best_epoch = self.epoch - 1
            self.best_state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What training changes.

    Attributes:
        model: on its device.
        optimizer: over its parameters.
        average: the moving average of its weights, if one is kept.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None


def save_position(run: RunDirectory, trained: Trained, position: Position) -> None:
    """Replace the run's checkpoint by the present state of training."""
    own = {name: getattr(position, name) for name in Position.__slots__}
    run.save_checkpoint(
        {
            "model": trained.model.state_dict(),
            "optimizer": trained.optimizer.state_dict(),
            "average": None if trained.average is None else trained.average.state_dict(),
            **own,
        }
    )


def restore_position(run: RunDirectory, trained: Trained) -> Position:
    """Load the run's checkpoint, if there is one, into ``trained``, and return how far training has come.

    Raises:
        RunError: if the checkpoint does not fit.
    """
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        return Position()
    try:
        trained.model.load_state_dict(checkpoint["model"])
        trained.optimizer.load_state_dict(checkpoint["optimizer"])
        if trained.average is not None:
            trained.average.load_state_dict(checkpoint["average"])
        return Position(**{name: checkpoint[name] for name in Position.__slots__})
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RunError(f"the checkpoint in {run.path} does not fit the network: {error}") from error


def _quality(record: Record, monitor: str) -> tuple[float, float]:
    return record[monitor], -record.get("val_loss", 0.0)
