"""Plain text tables for the terminal."""

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..pipeline.sizes import size_text

if TYPE_CHECKING:
    from ..pipeline.training.keeping import Outlook


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Container[int] = ()) -> str:
    """Return a table with a rule below its header, two blanks between columns and none at the ends of lines.

    Args:
        header: one word per column.
        rows: each as long as the header.
        right: the columns to align to the right, by index.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(_line(cells, widths, right) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int], right: Container[int]) -> str:
    padded = [
        cell.rjust(width) if index in right else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def duration_text(seconds: float) -> str:
    """Return a duration for people to read."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def kept_text(kept: "Outlook", *, in_memory: bool) -> str:
    """Return where a training will keep decoded videos, as a line of text."""
    if in_memory:
        return f"decoded videos: {size_text(kept.num_bytes)} in memory"
    if not kept.most_bytes:
        return f"decoded videos: {size_text(kept.num_bytes)}, which are not kept"
    there = f", {size_text(kept.kept_bytes)} of it there already" if kept.num_kept else ""
    most = f"at most {size_text(kept.most_bytes)}{'' if kept.fits else ': not all can be kept'}"
    return f"decoded videos: {size_text(kept.num_bytes)} in {kept.folder}{there}, {most}"


class _Foreseen(Protocol):
    """What is foreseen of a training's epochs."""

    @property
    def epochs(self) -> int: ...
    @property
    def epochs_done(self) -> int: ...
    @property
    def already_done(self) -> bool: ...
    @property
    def first_epoch_seconds(self) -> float: ...
    @property
    def epoch_seconds(self) -> float: ...
    @property
    def total_seconds(self) -> float: ...


def figures_text(metrics: Mapping[str, Any], *, chance: float) -> str:
    """Return a training's figures, with ``chance`` beside the training accuracy, as a part of a line."""
    names = {"loss": "training loss", "accuracy": "training accuracy", "val_accuracy": "val_accuracy"}
    parts = [f"{words} {metrics[name]:.3g}" for name, words in names.items() if name in metrics]
    return ", ".join(f"{part} (chance {chance:.3g})" if "training accuracy" in part else part for part in parts)


def epochs_text(foreseen: _Foreseen, *, where: str) -> str:
    """Return how long a training's epochs will take, as a line of text."""
    if foreseen.already_done:
        return "nothing is left to do: this run is finished"
    done = f"; {foreseen.epochs_done} of {foreseen.epochs} epochs are done" if foreseen.epochs_done else ""
    return (
        f"about {duration_text(foreseen.total_seconds)} in all {where}: {foreseen.first_epoch_seconds:.1f} s for "
        f"the first epoch, {foreseen.epoch_seconds:.1f} s for each other one{done}"
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is one."""
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural}"
