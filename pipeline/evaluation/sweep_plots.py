"""Pictures of a sweep: accuracy against cost as the number of clips grows, and the Pareto front over all settings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .confidence import pareto_front
from .plots import COLOURS, MARKERS, STYLE, save_figure, scale_cost

Dash = Literal["", "-", "--", ":"]
_DASHES: tuple[Dash, ...] = ("-", "--", ":")
_MOST_LINES = 8  # in one panel
_MOST_COLUMNS = 3  # of panels
_MOST_BEYOND = 15.0  # points of accuracy that the axis extends beyond the means to show error bars
_GREY = "#777777"
_LABEL_SIZE = 7.5


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPoint:
    """One setting, its accuracy over seeds and its cost.

    Attributes:
        method: the aggregator's name, as it is shown.
        pattern: which clips are expensive, likewise.
        clips: N.
        gmacs: GMACs per video.
        accuracy: mean over seeds, in [0, 1].
        spread: half the length of its error bar, in the same unit; None: no bar.
    """

    method: str
    pattern: str
    clips: int
    gmacs: float
    accuracy: float
    spread: float | None = None

    @property
    def name(self) -> str:
        """A name that no other setting has."""
        return f"{self.method}, {self.pattern}, {self.clips} clips"


def save_accuracy_by_clips(points: Sequence[SweepPoint], path: Path) -> None:
    """Draw accuracy against cost, a line for each method and pattern through its numbers of clips.

    Source: in the form of Figure 3 of the FASTER paper.

    Args:
        points: one per setting.
        path: of the PNG file.
    """
    panels = arrange_panels(points)
    methods = list(dict.fromkeys(point.method for point in points))  # in the order of Figure 4, and so its colours
    found = dict.fromkeys(name for lines in panels.values() for name in lines)
    names = sorted(found, key=lambda name: methods.index(name) if name in methods else len(methods))
    clips = sorted({point.clips for point in points})
    columns = min(_MOST_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (6.8, 3.8) if len(panels) == 1 else (2.6 * columns + 1.4, 2.3 * rows + 0.5)  # inches
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        every = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, (title, lines) in zip(every, panels.items(), strict=False):
            axes.set_title(title, fontsize=9)
            axes.tick_params(labelbottom=True, labelsize=8 if len(panels) == 1 else 7)
            for name, own in lines.items():
                _draw_line(axes, own, look=names.index(name), clips=clips)
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        _scale(every[0], points)
        figure.supxlabel("GMACs a video", fontsize=9)
        figure.supylabel("Top-1 accuracy (%)", fontsize=9)
        keys = [_key(name, color=_colour(place), linestyle=_dash(place)) for place, name in enumerate(names)]
        keys += [_key(f"{number} clips", color=_GREY, marker=_marker(place)) for place, number in enumerate(clips)]
        figure.legend(handles=keys, loc="outside right upper", fontsize=8)
        save_figure(figure, path)


def arrange_panels(points: Sequence[SweepPoint]) -> dict[str, dict[str, list[SweepPoint]]]:
    """Return panel's title -> line's name -> its points, by increasing N.

    Up to eight lines share one panel, without a title. More get a panel for each method, or for each pattern if there
    are fewer patterns.
    """
    together = len({(point.method, point.pattern) for point in points}) <= _MOST_LINES
    by_method = len({point.method for point in points}) <= len({point.pattern for point in points})
    panels: dict[str, dict[str, list[SweepPoint]]] = {}
    for point in points:
        title, name = (point.method, point.pattern) if by_method else (point.pattern, point.method)
        if together:
            title, name = "", f"{point.method}, {point.pattern}"
        own = panels.setdefault(title, {}).setdefault(name, [])
        own.append(point)
        own.sort(key=lambda point: point.clips)
    return panels


def save_pareto_front(points: Sequence[SweepPoint], path: Path) -> None:
    """Draw accuracy against cost, a point for each setting, and join and name those that no other beats in both.

    Source: in the form of Figure 4 of the FASTER paper.

    Args:
        points: one per setting.
        path: of the PNG file.
    """
    methods = list(dict.fromkeys(point.method for point in points))
    patterns = list(dict.fromkeys(point.pattern for point in points))
    front = [points[place] for place in pareto_front([(point.gmacs, point.accuracy) for point in points])]
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, max(4.0, 0.17 * len(front) + 1.4)), layout="constrained")
        axes = figure.subplots()
        axes.plot(*_places(front), color=_GREY, linewidth=1.4, zorder=1, drawstyle="steps-post")
        for point in points:
            look = {"color": _colour(methods.index(point.method)), "marker": _marker(patterns.index(point.pattern))}
            _draw_point(axes, point, **look)
        _scale(axes, points)
        axes.set(xlabel="GMACs a video", ylabel="Top-1 accuracy (%)")
        _name_points(figure, axes, front)
        keys = [_key(name, color=_colour(place), marker="o") for place, name in enumerate(methods)]
        keys += [_key(name, color=_GREY, marker=_marker(place)) for place, name in enumerate(patterns)]
        keys.append(_key("Pareto front", color=_GREY, linestyle="-"))
        figure.legend(handles=keys, loc="outside lower center", ncols=6, fontsize=8)
        save_figure(figure, path)


def _draw_line(axes: Axes, points: Sequence[SweepPoint], *, look: int, clips: Sequence[int]) -> None:
    axes.plot(*_places(points), color=_colour(look), linestyle=_dash(look), linewidth=1.2)
    for point in points:
        _draw_point(axes, point, color=_colour(look), marker=_marker(clips.index(point.clips)))


def _draw_point(axes: Axes, point: SweepPoint, *, color: str, marker: str) -> None:
    axes.errorbar(
        point.gmacs,
        100 * point.accuracy,
        yerr=None if point.spread is None else 100 * point.spread,
        fmt=marker,
        color=color,
        ecolor=(color, 0.45),
        elinewidth=1.0,
        markersize=5.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
    )


def _places(points: Sequence[SweepPoint]) -> tuple[list[float], list[float]]:
    return [point.gmacs for point in points], [100 * point.accuracy for point in points]


def _scale(axes: Axes, points: Sequence[SweepPoint]) -> None:
    """Make the axes contain all points and, as long as that leaves the points apart, their error bars."""
    scale_cost(axes, [point.gmacs for point in points])
    means = [100 * point.accuracy for point in points]
    bars = [100 * (point.spread or 0.0) for point in points]
    low = max(min(mean - bar for mean, bar in zip(means, bars, strict=True)), min(means) - _MOST_BEYOND)
    high = min(max(mean + bar for mean, bar in zip(means, bars, strict=True)), max(means) + _MOST_BEYOND)
    room = 0.04 * (high - low) or 1.0
    axes.set_ylim(max(low - room, -2.0), min(high + room, 102.0))


def _name_points(figure: Figure, axes: Axes, points: Sequence[SweepPoint]) -> None:
    """Write the points' names in a column beside the axes, each joined to its point, in the order of the accuracy."""
    figure.draw_without_rendering()  # settles the layout, so that places can be measured
    height = axes.get_window_extent(FigureCanvasAgg(figure).get_renderer()).height
    gap = 1.35 * _LABEL_SIZE / 72 * figure.dpi / height
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform((point.gmacs, 100 * point.accuracy))[1]) for point in points]
    for point, place in zip(points, spread_out(wanted, gap=gap), strict=True):
        axes.annotate(
            point.name,
            (point.gmacs, 100 * point.accuracy),
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            fontsize=_LABEL_SIZE,
            arrowprops={
                "arrowstyle": "-",
                "color": "#AAAAAA",
                "linewidth": 0.7,
                "linestyle": ":",
                "relpos": (0, 0.5),
                "shrinkB": 3,
            },
            zorder=0.5,
        )


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


def _key(label: str, *, color: str, linestyle: Dash = "", marker: str = "") -> Line2D:
    return Line2D([], [], color=color, linestyle=linestyle, marker=marker, markersize=5.5, label=label)


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _dash(place: int) -> Dash:
    return _DASHES[place // len(COLOURS) % len(_DASHES)]


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]
