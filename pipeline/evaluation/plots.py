"""Pictures, drawn without a display: training curves, and accuracy against cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from .looks import BLUE, GREY, VERMILLION, look_of

_LABEL_SIZE = 8
# Behind a name, so that no line of the grid runs through it; names lie over the grid, and under all that is drawn.
_PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
_OVER_GRID = 0.8
# Where a horizontal line may be named: x in the axes, alignment, points above it, alignment.
_LINE_ENDS = (
    (0.995, "right", 3.0, "bottom"),
    (0.995, "right", -3.0, "top"),
    (0.005, "left", 3.0, "bottom"),
    (0.005, "left", -3.0, "top"),
)
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
            marker = "." if len(found) <= 60 else ""
            axes.plot(epochs, values, style, color=colour, label=label, linewidth=1.5, marker=marker, markersize=4)
    axes.set(xlabel="Epoch", ylabel=name.capitalize())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if name != "loss":
        axes.set_ylim(-0.02, 1.02)


def save_accuracy_against_cost(
    points: Sequence[CostPoint], path: Path, *, title: str = "", lines: Sequence[Line] = (), note: str = ""
) -> None:
    """Draw top-1 accuracy, from 0 to 100 %, against GMACs per video, each point with its name beside it.

    Args:
        points: one per method.
        path: of the PNG file.
        title: above the picture.
        lines: what every method has to be compared with, such as chance.
        note: below the picture, such as what the bars are.
    """
    names, fonts = _names(points)
    title, more = drawn_title(title)
    with rc_context(style_with([*fonts, *more])):
        figure = Figure(figsize=(6.4, max(4.0, 0.17 * len(points) + 1.6)), layout="constrained")
        axes = figure.subplots()
        for point in points:
            _draw_point(axes, point)
        scale_cost(axes, [point.gmacs for point in points])
        axes.margins(x=0.18)
        axes.set_ylim(_LOWEST, _HIGHEST)
        axes.yaxis.set_major_locator(MultipleLocator(20))
        axes.set(xlabel="GMACs a video", ylabel="Top-1 accuracy (%)", title=title)
        axes.title.set_fontsize(10)
        heights = _draw_lines(axes, lines)
        if note:
            figure.supxlabel(note, fontsize=7, color=GREY)
        figure.draw_without_rendering()  # settles the layout, so that places can be measured
        lowest = _LOWEST
        taken = _name_lines(figure, axes, points, heights)
        if taken is None:
            taken, lowest = [], _name_lines_beside(axes, heights)
        if not _place_labels(figure, axes, points, names, heights=list(heights), taken=taken):
            _name_beside(figure, axes, points, [name.replace("\n", ": ") for name in names], lowest=lowest)
        save_figure(figure, path)


def _names(points: Sequence[CostPoint]) -> tuple[list[str], tuple[str, ...]]:
    """Return what is written at each point, a run's name on a line before the label, and the families for that."""
    labels = drawn_names([point.label for point in points])
    runs = [drawn_title(shorten(point.run)) for point in points]
    names = [f"{run}\n{label}" if run else label for (run, _), label in zip(runs, labels.shown, strict=True)]
    return names, (*labels.fonts, *(font for _, fonts in runs for font in fonts))


def _draw_point(axes: Axes, point: CostPoint) -> None:
    look = look_of(point.family)
    ends = None if point.interval is None else [[100 * own] for own in _bars(point)]
    axes.errorbar(
        point.gmacs,
        100 * point.accuracy,
        yerr=ends,
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
    """Return how far the error bar goes down and up from the point."""
    low, high = point.interval or (point.accuracy, point.accuracy)
    # Means of equal values are off in the last bit, and bars must not be negative.
    return max(0.0, point.accuracy - low), max(0.0, high - point.accuracy)


def _draw_lines(axes: Axes, lines: Sequence[Line]) -> dict[float, str]:
    """Draw horizontal lines, and return height in % -> name, from the lowest up; lines at one height share a name."""
    labels: dict[float, list[str]] = {}
    for line in lines:
        labels.setdefault(round(100 * line.accuracy, 1), []).append(line.label)
    for height in labels:
        axes.axhline(height, color=GREY, linestyle="--", linewidth=0.9, zorder=0.9)
    return {height: f"{', '.join(labels[height])}: {height:.1f} %" for height in sorted(labels)}


def _name_lines(
    figure: Figure, axes: Axes, points: Sequence[CostPoint], heights: Mapping[float, str]
) -> list[Bbox] | None:
    """Write the names of horizontal lines at their ends, above or below them, inside the axes.

    Returns:
        The boxes that the names take, in pixels; None if there is no place that overlaps nothing for each of them, and
        then nothing is written.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    inside = axes.get_window_extent(renderer)
    taken = [*(_extent(axes, point, figure.dpi) for point in points), *_bands(axes, inside, heights)]
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
                fontsize=_LABEL_SIZE,
                color=GREY,
                bbox=_PAPER,
                zorder=_OVER_GRID,
            )
            box = text.get_window_extent(renderer).padded(1)
            if _covered(box, [*taken, *boxes]) + _outside(box, inside) == 0:
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
            fontsize=_LABEL_SIZE,
            color=GREY,
        )
    return places[-1] + gap if places else _LOWEST


def spread_out(places: Sequence[float], *, gap: float, highest: float = 1.0) -> list[float]:
    """Return increasing ``places``, moved as little as needed to lie ``gap`` apart and not above ``highest``."""
    # Upwards first, where names push each other; then down again from the top as far as they were pushed out.
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    limit = highest
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved


def _place_labels(
    figure: Figure,
    axes: Axes,
    points: Sequence[CostPoint],
    names: Sequence[str],
    *,
    heights: Sequence[float],
    taken: Sequence[Bbox],
) -> bool:
    """Write each point's name where it overlaps no point, bar, line or other name and stays inside the axes.

    Args:
        figure: with its layout settled.
        axes: to write in.
        points: to be named.
        names: of each.
        heights: of the horizontal lines, in %.
        taken: boxes, in pixels, of the names of these lines.

    Returns:
        Whether there is such a place for each; if not, nothing is written.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    inside = axes.get_window_extent(renderer)
    extents = [_extent(axes, point, figure.dpi) for point in points]
    taken = [*extents, *_bands(axes, inside, heights), *taken]
    written = []
    for point, name, own in zip(points, names, extents, strict=True):
        candidates = []
        for x, y, horizontal, vertical in _offsets(own, figure.dpi):
            text = axes.annotate(
                name,
                (point.gmacs, 100 * point.accuracy),
                xytext=(x, y),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=_LABEL_SIZE,
                color=look_of(point.family).colour,
                bbox=_PAPER,
                zorder=_OVER_GRID,
            )
            box = text.get_window_extent(renderer).padded(1)
            candidates.append((_covered(box, taken) + _outside(box, inside), text, box))
        covered, best, box = min(candidates, key=lambda candidate: candidate[0])
        written.append(best)
        for _, text, _ in candidates:
            if text is not best:
                text.remove()
        if covered > 0:
            for text in written:
                text.remove()
            return False
        taken.append(box)
    return True


def _name_beside(
    figure: Figure, axes: Axes, points: Sequence[CostPoint], names: Sequence[str], *, lowest: float
) -> None:
    """Write the names in a column beside the axes, each joined to its point, in the order of the accuracy.

    The column is moved downwards only as far as ``lowest`` if there is room above.
    """
    height = axes.get_window_extent(FigureCanvasAgg(figure).get_renderer()).height
    gap = 1.35 * _LABEL_SIZE / 72 * figure.dpi / height * (_HIGHEST - _LOWEST)
    # A point further left comes below, so that the lines of points at one height cross least.
    order = sorted(range(len(points)), key=lambda i: (points[i].accuracy, points[i].gmacs))
    wanted = [max(100 * points[i].accuracy, lowest) for i in order]
    for i, place in zip(order, spread_out(wanted, gap=gap, highest=_HIGHEST), strict=True):
        axes.annotate(
            names[i],
            (points[i].gmacs, 100 * points[i].accuracy),
            xytext=(1.03, place),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=_LABEL_SIZE,
            color=look_of(points[i].family).colour,
            arrowprops=LEADER,
            zorder=0.5,
        )


LEADER: dict[str, Any] = {  # from a name beside the axes to its point
    "arrowstyle": "-",
    "color": "#AAAAAA",
    "linewidth": 0.7,
    "linestyle": ":",
    "relpos": (0, 0.5),
    "shrinkB": 3,
}


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
    down, up = _bars(point)
    low, high = (
        axes.transData.transform((point.gmacs, 100 * value)) for value in (point.accuracy - down, point.accuracy + up)
    )
    return Bbox([(low[0] - radius, low[1] - radius), (high[0] + radius, high[1] + radius)])


def _covered(box: Bbox, taken: Sequence[Bbox]) -> float:
    """Return how much of ``box`` is covered by others, in square pixels."""
    overlaps = (Bbox.intersection(box, other) for other in taken)
    return sum(overlap.width * overlap.height for overlap in overlaps if overlap is not None)


def _outside(box: Bbox, frame: Bbox) -> float:
    """Return how much of ``box`` lies outside ``frame``, in square pixels."""
    within = Bbox.intersection(box, frame)
    return box.width * box.height - (within.width * within.height if within is not None else 0.0)
