"""Pictures, drawn without a display: training curves, and accuracy against cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from matplotlib.transforms import Bbox

from .drawn_names import drawn_names, drawn_title, shorten
from .figures import save_figure, scale_cost, style_with
from .labels import (
    LABEL_SIZE,
    OVER_GRID,
    PAPER,
    Spot,
    area_outside,
    covered_area,
    extent,
    name_beside,
    place_names,
    settle,
    side_by_side,
    spread_out,
)
from .looks import BLUE, GREY, VERMILLION, look_of

# Where a horizontal line may be named: x in the axes, alignment, points above it, alignment.
_LINE_ENDS = (
    (0.995, "right", 3.0, "bottom"),
    (0.995, "right", -3.0, "top"),
    (0.005, "left", 3.0, "bottom"),
    (0.005, "left", -3.0, "top"),
)
# A loss that changes by less than a tenth of itself has hardly moved, and should look so: chance on ten classes is
# 2.30, and a run that learns nothing wanders around it in the fourth digit. From 0, the axis would flatten how a
# fine-tuning falls, which begins low.
_LEAST_SPAN = 0.1
_MOST_MARKERS = 30  # epochs, beyond which markers would run into each other
# One inside the other where they meet, as in a run of one epoch.
_MARKERS: dict[str, dict[str, Any]] = {
    "training": {"marker": "o", "markersize": 3.0},
    "validation": {"marker": "s", "markersize": 6.0, "markerfacecolor": "none", "markeredgewidth": 1.0},
}
_MOVED = "points at one place are drawn side by side"
_LOWEST, _HIGHEST = -2.0, 103.0  # of the axis of accuracies, in %: all of 0 to 100, and room for markers


@dataclass(frozen=True, kw_only=True, slots=True)
class CostPoint:
    """One method in the picture of accuracy against cost.

    Attributes:
        label: what it is; no other point's.
        gmacs: its cost, in GMACs per video.
        accuracy: in [0, 1]; the mean, if there are several seeds.
        interval: the ends of its error bar, in the same unit; None: no bar.
        family: the method, which decides colour and marker.
        run: the name of the run that it is, written before the label; empty: none, or several.
    """

    label: str
    gmacs: float
    accuracy: float
    interval: tuple[float, float] | None = None
    family: str = ""
    run: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A horizontal line in the picture of accuracy against cost, such as chance.

    Attributes:
        label: written beside it.
        accuracy: in [0, 1].
    """

    label: str
    accuracy: float


def save_curves(records: Sequence[Mapping[str, Any]], path: Path, *, title: str = "", figure: str = "accuracy") -> None:
    """Draw loss and a figure in [0, 1] against the epoch, for training and, if there is one, validation.

    Args:
        records: one per epoch, as in metrics.jsonl: "epoch", "loss", the figure, and these two with "val_" before.
        path: of the PNG file.
        title: above the picture.
        figure: its name in the records.
    """
    keys = {key for record in records for key in record}
    shown = [name for name in ("loss", figure) if {name, f"val_{name}"} & keys] or ["loss"]
    title, fonts = drawn_title(title)
    with rc_context(style_with(fonts)):
        picture = Figure(figsize=(3.5 * len(shown), 2.9), layout="constrained")
        for axes, name in zip(picture.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            _draw_curve(axes, records, name)
        # Beside the panels, where no curve runs.
        handles, labels = picture.axes[0].get_legend_handles_labels()
        if handles:
            picture.legend(handles, labels, loc="outside right upper")
        if title:
            picture.suptitle(title, fontsize=10)
        save_figure(picture, path)


def _draw_curve(axes: Axes, records: Sequence[Mapping[str, Any]], name: str) -> None:
    for key, label, colour, style in ((name, "training", BLUE, "-"), (f"val_{name}", "validation", VERMILLION, "--")):
        found = [(record["epoch"] + 1, record[key]) for record in records if key in record]
        if found:
            epochs, values = zip(*found, strict=True)
            axes.plot(
                epochs,
                values,
                style,
                color=colour,
                label=label,
                linewidth=1.5,
                **(_MARKERS[label] if len(found) <= _MOST_MARKERS else {}),
            )
    axes.set(xlabel="Epoch", ylabel=name.capitalize())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if name != "loss":
        axes.set_ylim(-0.02, 1.02)
    else:
        _widen(axes)


def _widen(axes: Axes) -> None:
    """Make the axis of a loss span at least `_LEAST_SPAN` of its upper end, around what it shows."""
    low, high = axes.get_ylim()
    if (missing := _LEAST_SPAN * abs(high) - (high - low)) > 0:
        axes.set_ylim(low - missing / 2, high + missing / 2)


def save_accuracy_against_cost(
    points: Sequence[CostPoint], path: Path, *, title: str = "", lines: Sequence[Line] = (), note: str = ""
) -> None:
    """Draw top-1 accuracy, from 0 to 100 %, against GMACs per video, each point with its name beside it.

    Points at one place, of which only the last would be seen, stand side by side, and the picture says so.

    Args:
        points: one per method.
        path: of the PNG file.
        title: above the picture.
        lines: what every method has to be compared with, such as chance.
        note: below the picture, such as what the bars are.
    """
    names, fonts = _names(points)
    are_equal = len({(point.gmacs, point.accuracy) for point in points}) < len(points)
    title, more = drawn_title(title)
    with rc_context(style_with([*fonts, *more])):
        figure = Figure(figsize=(6.4, max(4.0, 0.17 * len(points) + 1.6)), layout="constrained")
        axes = figure.subplots()
        axes.update_datalim([(point.gmacs, 0.0) for point in points])
        scale_cost(axes, [point.gmacs for point in points])
        axes.margins(x=0.25 if are_equal else 0.18)  # room for a name on either side
        axes.autoscale_view()
        axes.set_xlim(axes.get_xlim())  # settled: points that move apart must not change what moves them
        axes.set_ylim(_LOWEST, _HIGHEST)
        axes.yaxis.set_major_locator(MultipleLocator(20))
        axes.set(xlabel="GMACs a video", ylabel="Top-1 accuracy (%)", title=title)
        axes.title.set_fontsize(10)
        heights = _draw_lines(axes, lines)
        _write_note(figure, note)
        spots = _spots(axes, points, names)
        if any(own.side for own in spots):
            _write_note(figure, f"{note}\n{_MOVED}".strip())
        settle(figure)
        spots = _spots(axes, points, names)
        for point, spot in zip(points, spots, strict=True):
            _draw_point(axes, point, spot=spot)
        lowest = _LOWEST
        taken = _name_lines(figure, axes, spots, heights)
        if taken is None:
            taken, lowest = [], _name_lines_beside(axes, heights)
        inside = axes.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        taken = [*(extent(axes, own, figure.dpi) for own in spots), *_bands(axes, inside, heights), *taken]
        # Names of points that merely lie close may stand in any order if that keeps them near.
        orders = [spots] if are_equal else [spots, [replace(own, side="") for own in spots]]
        if not any(place_names(figure, axes, own, taken=taken) for own in orders):
            in_a_line = [replace(own, name=own.name.replace("\n", ": ")) for own in spots]
            name_beside(figure, axes, in_a_line, lowest=(lowest - _LOWEST) / (_HIGHEST - _LOWEST))
        save_figure(figure, path)


def _write_note(figure: Figure, note: str) -> None:
    """Write a note below the picture, and lay it out around that."""
    if note:
        figure.supxlabel(note, fontsize=7, color=GREY)
    figure.draw_without_rendering()


def _spots(axes: Axes, points: Sequence[CostPoint], names: Sequence[str]) -> list[Spot]:
    """Return where each point is drawn, in %: those at one place stand side by side."""
    places = side_by_side(axes, [(point.gmacs, 100 * point.accuracy) for point in points])
    return [
        Spot(
            name=name,
            x=x,
            y=100 * point.accuracy,
            bars=_bars(point),
            colour=look_of(point.family).colour,
            side=side,
        )
        for point, name, (x, side) in zip(points, names, places, strict=True)
    ]


def _names(points: Sequence[CostPoint]) -> tuple[list[str], tuple[str, ...]]:
    """Return what is written at each point, a run's name on a line before the label, and the families for that."""
    labels = drawn_names([point.label for point in points])
    runs = [drawn_title(shorten(point.run)) for point in points]
    names = [f"{run}\n{label}" if run else label for (run, _), label in zip(runs, labels.shown, strict=True)]
    return names, (*labels.fonts, *(font for _, fonts in runs for font in fonts))


def _draw_point(axes: Axes, point: CostPoint, *, spot: Spot) -> None:
    look = look_of(point.family)
    axes.errorbar(
        spot.x,
        spot.y,
        yerr=None if point.interval is None else [[own] for own in spot.bars],
        fmt=look.marker,
        color=look.colour,
        markersize=7,
        markerfacecolor=look.filling,
        markeredgecolor=look.colour if look.is_hollow else "white",
        markeredgewidth=1.2 if look.is_hollow else 0.8,
        capsize=3,
        linewidth=1.2,
    )


def _bars(point: CostPoint) -> tuple[float, float]:
    """Return how far, in points of accuracy, the error bar goes down and up from the point."""
    low, high = point.interval or (point.accuracy, point.accuracy)
    # Means of equal values are off in the last bit, and bars must not be negative.
    return max(0.0, 100 * (point.accuracy - low)), max(0.0, 100 * (high - point.accuracy))


def _draw_lines(axes: Axes, lines: Sequence[Line]) -> dict[float, str]:
    """Draw horizontal lines, and return height in % -> name, from the lowest up; lines at one height share a name."""
    labels: dict[float, list[str]] = {}
    for line in lines:
        labels.setdefault(round(100 * line.accuracy, 1), []).append(line.label)
    for height in labels:
        axes.axhline(height, color=GREY, linestyle="--", linewidth=0.9, zorder=0.9)
    return {height: f"{', '.join(labels[height])}: {height:.1f} %" for height in sorted(labels)}


def _name_lines(figure: Figure, axes: Axes, spots: Sequence[Spot], heights: Mapping[float, str]) -> list[Bbox] | None:
    """Write the names of horizontal lines at their ends, above or below them, inside the axes.

    Returns:
        The boxes that the names take, in pixels; None if there is no place that overlaps nothing for each of them, and
        then nothing is written.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    inside = axes.get_window_extent(renderer)
    taken = [*(extent(axes, own, figure.dpi) for own in spots), *_bands(axes, inside, heights)]
    boxes, written = [], []
    for height, name in heights.items():
        for x, horizontal, y, vertical in _LINE_ENDS:
            text = axes.annotate(
                name,
                (x, height),
                xycoords=("axes fraction", "data"),
                xytext=(0, y),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=LABEL_SIZE,
                color=GREY,
                bbox=PAPER,
                zorder=OVER_GRID,
            )
            box = text.get_window_extent(renderer).padded(1)
            if covered_area(box, [*taken, *boxes]) + area_outside(box, inside) == 0:
                boxes.append(box)
                written.append(text)
                break
            text.remove()
        else:
            for text in written:
                text.remove()
            return None
    return boxes


def _bands(axes: Axes, inside: Bbox, heights: Iterable[float]) -> list[Bbox]:
    """Return the boxes, in pixels, that horizontal lines take."""
    at = [axes.transData.transform((axes.get_xlim()[0], height))[1] for height in heights]
    return [Bbox([(inside.x0, y - 1), (inside.x1, y + 1)]) for y in at]


def _name_lines_beside(axes: Axes, heights: Mapping[float, str]) -> float:
    """Write the names of horizontal lines beside the axes.

    Returns:
        The height, in %, above which there is room for other names beside the axes.
    """
    gap = 5.0  # points of accuracy that a name takes
    places = spread_out(list(heights), gap=gap, highest=100.0)
    for (height, name), place in zip(heights.items(), places, strict=True):
        axes.annotate(
            name,
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(1.015, place),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=LABEL_SIZE,
            color=GREY,
        )
    return places[-1] + gap if places else _LOWEST
