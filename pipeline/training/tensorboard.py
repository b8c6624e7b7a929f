"""A run's curves for TensorBoard, beside its metrics.jsonl, if the tensorboard package is installed."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_FOLDER = "tensorboard"


class Curves:
    """Writes the figures of each epoch into the run's folder ``tensorboard``; without the package it does nothing.

    Args:
        path: the run directory.
        first_epoch: the next epoch; what an earlier process wrote about it or later ones is discarded.
    """

    def __init__(self, path: Path, *, first_epoch: int) -> None:
        self.path, self.first_epoch = path, first_epoch
        self._writer: Any = None

    def __enter__(self) -> "Curves":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one epoch's figures, a curve each; training and validation of the same name share a plot."""
        if importlib.util.find_spec("tensorboard") is None:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # takes two seconds: only if needed

            self._writer = SummaryWriter(str(self.path / _FOLDER), purge_step=self.first_epoch)
        for name, value in record.items():
            if name != "epoch":
                kind, base = ("validation", name[4:]) if name.startswith("val_") else ("training", name)
                self._writer.add_scalar(f"{base}/{kind}", value, record["epoch"])
        self._writer.flush()
