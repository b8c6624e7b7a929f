"""Confusion matrices as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .drawn_names import DrawnNames, columns, drawn_names, drawn_title
from .figures import save_figure, style_with

_STYLE: dict[Any, Any] = {"axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}
_MOST_NUMBERED_CLASSES, MOST_NAMED_CLASSES = 50, 100  # with counts in the cells, and with names
_NO_VIDEOS = "#DDDDDD"  # rows of classes that do not occur
_COLUMN = 0.075  # inches a letter takes


def save_confusion_matrix(
    matrix: npt.NDArray[np.int64], path: Path, *, classes: Sequence[str], title: str = ""
) -> None:
    """Draw a confusion matrix, each row coloured by its shares, with counts in the cells up to 50 classes.

    Up to 100 classes are named; of more, and of those whose name cannot be drawn, the number is shown, counted from 1
    in the order of the classes. Rows without a video are grey.

    Args:
        matrix: (K, K) counts; rows are true classes, columns predicted ones.
        path: of the PNG file.
        classes: K names.
        title: above the picture.
    """
    number = len(classes)
    has_counts = number <= _MOST_NUMBERED_CLASSES
    digits = len(str(matrix.max(initial=0)))
    cell = max(0.24, 0.075 * digits + 0.09) if has_counts else max(0.02, 7.0 / number)  # inches
    names = drawn_names(classes if number <= MOST_NAMED_CLASSES else [])
    longest = max(map(columns, names.shown), default=4)
    side, room = max(2.2, cell * number), _COLUMN * longest + 0.5
    title, fonts = drawn_title(title)
    above = 0.1 + 0.2 * len(title.splitlines())
    with rc_context(style_with([*names.fonts, *fonts]) | _STYLE):
        figure = Figure(figsize=(side + room + 0.7, side + room + above), layout="constrained")
        axes = figure.subplots()
        totals = matrix.sum(axis=1, keepdims=True)
        shares = matrix / np.maximum(totals, 1)
        colours = colormaps["Blues"].with_extremes(bad=_NO_VIDEOS)
        absent = np.broadcast_to(totals == 0, matrix.shape)
        image = axes.imshow(np.ma.array(shares, mask=absent), cmap=colours, vmin=0, vmax=1)
        bar = axes.inset_axes((1 + 0.12 / side, 0, 0.14 / side, 1))  # inches over inches: the same width at any size
        figure.colorbar(image, cax=bar, label="Share of the true class" + ("; grey: no videos" if absent.any() else ""))
        key = "" if names.shown and not names.numbered else " (numbers: classes.csv)"
        axes.set(xlabel=f"Predicted class{key}", ylabel=f"True class{key}", title=title)
        axes.title.set_fontsize(10)
        _name_classes(axes, names, cell=side / number)
        if has_counts:
            _number_cells(axes, matrix, shares)
        save_figure(figure, path)


def _name_classes(axes: Axes, names: DrawnNames, *, cell: float) -> None:
    """Write the classes beside the rows and below the columns, upright where none is wider than its ``cell`` inches."""
    axes.tick_params(length=2)
    if not names.shown:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
            axis.set_major_formatter(FuncFormatter(lambda place, _: f"{place + 1:.0f}"))
        return
    shown = names.shown
    size = 8 if len(shown) <= 30 else 7 if len(shown) <= _MOST_NUMBERED_CLASSES else 5
    upright = 0.65 * size / 72 * max(map(columns, shown)) < cell  # a letter is about 0.6 of its size wide
    axes.set_xticks(range(len(shown)), shown, rotation=0 if upright else 90, fontsize=size)
    axes.set_yticks(range(len(shown)), shown, fontsize=size)


def _number_cells(axes: Axes, matrix: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> None:
    for row, column in np.argwhere(matrix > 0):
        colour = "white" if shares[row, column] > 0.65 else "black"
        text = axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=7)
        text.set_in_layout(False)  # it is inside the axes, and laying out thousands takes long
