"""Pictures, drawn without a display: training curves, accuracy against cost, confusion matrices.

The colours are Okabe and Ito's, which colour-blind readers can tell apart; groups also differ by marker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter
from matplotlib.transforms import Bbox

from ..files import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")  # eight of each: as many as aggregators
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.dpi": 200,
}
_MATRIX_STYLE: dict[Any, Any] = STYLE | {"axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}
_LOG_SPAN = 5.0  # costs that differ by more than this factor get a logarithmic axis
_MOST_NUMBERED_CLASSES, _MOST_NAMED_CLASSES = 50, 100
_LONGEST_CLASS_NAME = 28


@dataclass(frozen=True, kw_only=True, slots=True)
class CostPoint:
    """One method in the picture of accuracy against cost.

    Attributes:
        label: its name.
        gmacs: its cost, in GMACs per video.
        accuracy: in [0, 1]; the mean, if there are several seeds.
        spread: half the length of its error bar, in the same unit; None: no bar.
        family: points of one family share colour and marker.
    """

    label: str
    gmacs: float
    accuracy: float
    spread: float | None = None
    family: str = ""


def save_curves(records: Sequence[Mapping[str, Any]], path: Path, *, title: str = "", figure: str = "accuracy") -> None:
    """Draw loss and a figure in [0, 1] against the epoch, for training and, if there is one, validation.

    Args:
        records: one per epoch, as in metrics.jsonl: "epoch", "loss", the figure, and these two with "val_" before.
        path: of the PNG file.
        title: above the picture.
        figure: its name in the records.
    """
    with rc_context(STYLE):
        picture = Figure(figsize=(7.0, 2.9), layout="constrained")
        for axes, name in zip(picture.subplots(1, 2), ("loss", figure), strict=True):
            _draw_curve(axes, records, name)
        if title:
            picture.suptitle(title, fontsize=10)
        save_figure(picture, path)


def save_accuracy_against_cost(points: Sequence[CostPoint], path: Path, *, title: str = "") -> None:
    """Draw top-1 accuracy against GMACs per video, each point with its name beside it.

    Args:
        points: one per method.
        path: of the PNG file.
        title: above the picture.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        families = list(dict.fromkeys(point.family for point in points))
        looks = [families.index(point.family) for point in points]
        for point, look in zip(points, looks, strict=True):
            _draw_point(axes, point, COLOURS[look % len(COLOURS)], MARKERS[look % len(MARKERS)])
        scale_cost(axes, [point.gmacs for point in points])
        axes.margins(x=0.18, y=0.22)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -4), min(high, 104))  # no ticks beyond 0 and 100 %
        axes.set(xlabel="GMACs a video", ylabel="Top-1 accuracy (%)", title=title)
        axes.title.set_fontsize(10)
        _place_labels(figure, axes, points, [COLOURS[look % len(COLOURS)] for look in looks])
        save_figure(figure, path)


def save_confusion_matrix(
    matrix: npt.NDArray[np.int64], path: Path, *, classes: Sequence[str], title: str = ""
) -> None:
    """Draw a confusion matrix, each row coloured by its shares, with counts in the cells up to 50 classes.

    Args:
        matrix: (K, K) counts; rows are true classes, columns predicted ones.
        path: of the PNG file.
        classes: K names.
        title: above the picture.
    """
    number = len(classes)
    numbered = number <= _MOST_NUMBERED_CLASSES
    digits = len(str(matrix.max(initial=0)))
    cell = max(0.24, 0.075 * digits + 0.09) if numbered else max(0.02, 7.0 / number)  # inches
    named = number <= _MOST_NAMED_CLASSES
    longest = max(len(_shorten(name)) for name in classes) if named else 4
    side, names = max(2.2, cell * number), 0.075 * longest + 0.5
    with rc_context(_MATRIX_STYLE):
        figure = Figure(figsize=(side + names + 0.7, side + names + (0.35 if title else 0.1)), layout="constrained")
        axes = figure.subplots()
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        bar = axes.inset_axes((1 + 0.12 / side, 0, 0.14 / side, 1))  # inches over inches: the same width at any size
        figure.colorbar(image, cax=bar, label="Share of the true class")
        axes.set(xlabel="Predicted class", ylabel="True class", title=title)
        axes.title.set_fontsize(10)
        if named:
            _name_classes(axes, classes, cell=side / number)
        if numbered:
            _number_cells(axes, matrix, shares)
        save_figure(figure, path)


def _shorten(name: str) -> str:
    """Return a class name, cut to the length of a tick label."""
    return name if len(name) <= _LONGEST_CLASS_NAME else name[: _LONGEST_CLASS_NAME - 1] + "…"


def _draw_curve(axes: Axes, records: Sequence[Mapping[str, Any]], name: str) -> None:
    for key, label, colour, style in (
        (name, "training", COLOURS[0], "-"),
        (f"val_{name}", "validation", COLOURS[1], "--"),
    ):
        found = [(record["epoch"] + 1, record[key]) for record in records if key in record]
        if found:
            epochs, values = zip(*found, strict=True)
            marker = "." if len(found) <= 60 else ""
            axes.plot(epochs, values, style, color=colour, label=label, linewidth=1.5, marker=marker, markersize=4)
    axes.set(xlabel="Epoch", ylabel=name.capitalize())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if name != "loss":
        axes.set_ylim(-0.02, 1.02)
    if axes.lines:
        axes.legend()


def _draw_point(axes: Axes, point: CostPoint, colour: str, marker: str) -> None:
    spread = None if point.spread is None else 100 * point.spread
    axes.errorbar(
        point.gmacs,
        100 * point.accuracy,
        yerr=spread,
        fmt=marker,
        color=colour,
        markersize=7,
        markeredgecolor="white",
        markeredgewidth=0.8,
        capsize=3,
        linewidth=1.2,
    )


def scale_cost(axes: Axes, costs: Sequence[float]) -> None:
    """Make the cost axis logarithmic if the costs have a wide range, with plain numbers on it."""
    if min(costs, default=0) > 0 and max(costs) / min(costs) > _LOG_SPAN:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        formatter = ScalarFormatter()
        formatter.set_scientific(False)
        axes.xaxis.set_major_formatter(formatter)
        axes.xaxis.set_minor_formatter(NullFormatter())


def _place_labels(figure: Figure, axes: Axes, points: Sequence[CostPoint], colours: Sequence[str]) -> None:
    """Write each point's name where it overlaps no point, bar or other name and stays inside the axes."""
    figure.draw_without_rendering()  # settles the layout, so that places can be measured
    renderer = FigureCanvasAgg(figure).get_renderer()
    inside = axes.get_window_extent(renderer)
    taken = [_extent(axes, point, figure.dpi) for point in points]
    for point, colour, own in zip(points, colours, list(taken), strict=True):
        candidates = []
        for x, y, horizontal, vertical in _offsets(own, figure.dpi):
            text = axes.annotate(
                point.label,
                (point.gmacs, 100 * point.accuracy),
                xytext=(x, y),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=8,
                color=colour,
            )
            box = text.get_window_extent(renderer).padded(1)
            candidates.append((_covered(box, taken) + _outside(box, inside), text, box))
        _, best, box = min(candidates, key=lambda candidate: candidate[0])
        for _, text, _ in candidates:
            if text is not best:
                text.remove()
        taken.append(box)


def _offsets(own: Bbox, dpi: float) -> list[tuple[float, float, str, str]]:
    """Return places for a label around a point of extent ``own``, best first, in points: x, y, and the alignments."""
    above, aside = own.height / 2 * 72 / dpi + 2, 7.0
    near = [(aside, 0.0, "left", "center"), (0.0, above, "center", "bottom"), (0.0, -above, "center", "top")]
    corners = [(aside, 6.0, "left", "bottom"), (aside, -6.0, "left", "top"), (-aside, 0.0, "right", "center")]
    far = [(-aside, 6.0, "right", "bottom"), (-aside, -6.0, "right", "top")]
    further = [(aside, 16.0, "left", "bottom"), (aside, -16.0, "left", "top"), (-aside, 16.0, "right", "bottom")]
    return near + corners + far + further + [(-aside, -16.0, "right", "top")]


def _extent(axes: Axes, point: CostPoint, dpi: float) -> Bbox:
    """Return the box, in pixels, that a point and its error bar take."""
    radius = 5 * dpi / 72
    spread = 100 * (point.spread or 0.0)
    low, high = (axes.transData.transform((point.gmacs, 100 * point.accuracy + sign * spread)) for sign in (-1, 1))
    return Bbox([(low[0] - radius, low[1] - radius), (high[0] + radius, high[1] + radius)])


def _covered(box: Bbox, taken: Sequence[Bbox]) -> float:
    """Return how much of ``box`` is covered by others, in square pixels."""
    overlaps = (Bbox.intersection(box, other) for other in taken)
    return sum(overlap.width * overlap.height for overlap in overlaps if overlap is not None)


def _outside(box: Bbox, frame: Bbox) -> float:
    """Return how much of ``box`` lies outside ``frame``, in square pixels."""
    within = Bbox.intersection(box, frame)
    return box.width * box.height - (within.width * within.height if within is not None else 0.0)


def _name_classes(axes: Axes, classes: Sequence[str], *, cell: float) -> None:
    """Write the classes beside the rows and below the columns, upright where none is wider than its ``cell`` inches."""
    names = [_shorten(name) for name in classes]
    size = 8 if len(names) <= 30 else 7 if len(names) <= _MOST_NUMBERED_CLASSES else 5
    upright = 0.65 * size / 72 * max(map(len, names)) < cell  # a letter is about 0.6 of its size wide
    axes.set_xticks(range(len(names)), names, rotation=0 if upright else 90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=2)


def _number_cells(axes: Axes, matrix: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> None:
    for row, column in np.argwhere(matrix > 0):
        colour = "white" if shares[row, column] > 0.65 else "black"
        text = axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=7)
        text.set_in_layout(False)  # it is inside the axes, and laying out thousands takes long


def save_figure(figure: Figure, path: Path) -> None:
    """Write ``figure`` as PNG, cut to what is drawn, whole or not at all."""
    write_atomically(path, lambda partial: figure.savefig(partial, format="png", bbox_inches="tight", pad_inches=0.06))
