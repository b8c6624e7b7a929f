"""Pictures of a sweep: accuracy against cost as the number of clips grows, and the Pareto front over all settings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from .confidence import pareto_front
from .drawn_names import drawn_title
from .figures import save_figure, scale_cost, style_with
from .labels import Spot, extent, name_beside, place_names, settle
from .looks import DASHES, GREY, MARKERS, Dash, Look, colours_in_order, look_of

_MOST_LINES = 8  # in one panel
_TOGETHER = ""  # the title of a panel that holds all lines
_MOST_COLUMNS = 3  # of panels
_MOST_BEYOND = 15.0  # points of accuracy that the axis extends beyond the means to show error bars
_LABEL_SIZE = 7.5
_MARKER_SIZE = 5.5  # points
_MARKER_SIZES = (5.0, 9.0)  # of the fewest and the most clips
_KEY_HEIGHT = 0.2  # inches of a line of the legend
_WHOLE = 40.0  # points of accuracy: settings that spread over more are shown from 0 to 100 %
_NOTE = "bars: 95 % intervals; Student's t over seeds, Wilson's over videos where there is one run or all agree"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPoint:
    """One setting, its accuracy over seeds and its cost.

    Attributes:
        method: the aggregator's name, as it is shown.
        pattern: which clips are expensive, likewise.
        clips: N.
        gmacs: GMACs per video.
        accuracy: mean over seeds, in [0, 1].
        interval: the ends of its error bar, in the same unit; None: no bar.
        family: the aggregator's name in the registry, which decides its colour; empty: the method is.
    """

    method: str
    pattern: str
    clips: int
    gmacs: float
    accuracy: float
    interval: tuple[float, float] | None = None
    family: str = ""

    @property
    def look(self) -> Look:
        """How its method is drawn in every picture."""
        return look_of(self.family or self.method)

    @property
    def bars(self) -> tuple[float, float]:
        """How far its error bar goes down and up."""
        low, high = self.interval or (self.accuracy, self.accuracy)
        return max(0.0, self.accuracy - low), max(0.0, high - self.accuracy)

    @property
    def name(self) -> str:
        """A name that no other setting has."""
        return f"{self.method}, {self.pattern}, {self.clips} clips"


@dataclass(frozen=True, kw_only=True, slots=True)
class LineLook:
    """How a line through numbers of clips is drawn."""

    colour: str
    dash: Dash
    filling: str


def save_accuracy_by_clips(
    points: Sequence[SweepPoint], path: Path, *, title: str = "", chance: float | None = None
) -> None:
    """Draw accuracy against cost, a line for each method and pattern through its numbers of clips.

    Source: in the form of Figure 3 of the FASTER paper.

    Args:
        points: one per setting.
        path: of the PNG file.
        title: above the picture, such as the set and how many videos it has.
        chance: accuracy, in [0, 1], of answers that look at no video.
    """
    panels = arrange_panels(points)
    looks = line_looks(points)
    clips = sorted({point.clips for point in points})
    columns = min(_MOST_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    size = (6.8, 4.0) if len(panels) == 1 else (2.6 * columns + 1.4, 2.3 * rows + 0.7)  # inches
    size = (size[0], max(size[1], _KEY_HEIGHT * (len(looks) + len(clips) + 1) + 0.7))
    title, fonts = drawn_title(title)
    with rc_context(style_with(fonts)):
        figure = Figure(figsize=size, layout="constrained")
        every = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, (name, lines) in zip(every, panels.items(), strict=False):
            axes.set_title(name, fontsize=9)
            axes.tick_params(labelbottom=True, labelsize=8 if len(panels) == 1 else 7)
            for line, own in lines.items():
                _draw_line(axes, own, look=looks[line], clips=clips)
        for axes in every[len(panels) :]:
            axes.remove()
        words = _scale(every[: len(panels)].tolist(), points, chance)
        if title:
            figure.suptitle(title, fontsize=10)
        figure.supxlabel(f"GMACs a video\n{_NOTE}", fontsize=8)
        figure.supylabel(f"Top-1 accuracy (%){words}", fontsize=9)
        keys = [_line_key(name, own, panels=panels, clips=clips) for name, own in looks.items()]
        keys += [_key(f"{number} clips", color=GREY, marker=_marker(place)) for place, number in enumerate(clips)]
        keys += _chance_key(every[0], chance)
        figure.legend(handles=keys, loc="outside right upper", fontsize=8)
        save_figure(figure, path)


def line_looks(points: Sequence[SweepPoint]) -> dict[str, LineLook]:
    """Return line's name -> how it is drawn, in the order of the legend.

    Where lines are methods, colours are those that the methods have everywhere, and dashes tell patterns. Where all
    lines of a panel are of one method, colours tell patterns, and are none of a method's.
    """
    panels = arrange_panels(points)
    lines = {name: own[0] for panel in panels.values() for name, own in panel.items()}
    methods, patterns = ([*dict.fromkeys(own)] for own in zip(*((p.method, p.pattern) for p in points), strict=True))
    names = sorted(lines, key=lambda name: methods.index(name) if name in methods else len(methods))  # as in Figure 4
    if all(len({own[0].method for own in panel.values()}) == 1 for panel in panels.values()):
        colours = dict(zip(patterns, colours_in_order(len(patterns)), strict=True))
        return {name: _pattern_look(colours[lines[name].pattern]) for name in names}
    dashed = patterns if _TOGETHER in panels else []
    return {name: _method_look(lines[name], dashed) for name in names}


def _pattern_look(colour: str) -> LineLook:
    """Return the look of a line that stands for a pattern."""
    return LineLook(colour=colour, dash="-", filling=colour)


def _method_look(point: SweepPoint, patterns: Sequence[str]) -> LineLook:
    """Return the look of a method's line; of several patterns, the place of its own decides the dash."""
    look = point.look
    dash = DASHES[patterns.index(point.pattern) % len(DASHES)] if len(patterns) > 1 else look.dash
    return LineLook(colour=look.colour, dash=dash, filling=look.filling)


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
            title, name = _TOGETHER, f"{point.method}, {point.pattern}"
        own = panels.setdefault(title, {}).setdefault(name, [])
        own.append(point)
        own.sort(key=lambda point: point.clips)
    return panels


def save_pareto_front(
    points: Sequence[SweepPoint], path: Path, *, title: str = "", chance: float | None = None
) -> None:
    """Draw accuracy against cost, a point for each setting, and join and name those that no other beats in both.

    Colours tell methods, markers tell patterns, and their sizes tell numbers of clips.

    Source: in the form of Figure 4 of the FASTER paper.

    Args:
        points: one per setting.
        path: of the PNG file.
        title: above the picture, such as the set and how many videos it has.
        chance: accuracy, in [0, 1], of answers that look at no video.
    """
    methods = {point.method: point.look for point in points}
    patterns = list(dict.fromkeys(point.pattern for point in points))
    sizes = marker_sizes(point.clips for point in points)
    front = [points[place] for place in pareto_front([(point.gmacs, point.accuracy) for point in points])]
    title, fonts = drawn_title(title)
    with rc_context(style_with(fonts)):
        figure = Figure(figsize=(7.6, max(4.4, 0.17 * len(front) + 1.8)), layout="constrained")
        axes = figure.subplots()
        axes.plot(*_places(front), color=GREY, linewidth=1.4, zorder=1, drawstyle="steps-post")
        for point in sorted(points, key=lambda own: -own.clips):  # small markers over large ones
            look, marker, size = point.look, _marker(patterns.index(point.pattern)), sizes[point.clips]
            _draw_point(axes, point, color=look.colour, filling=look.filling, marker=marker, size=size)
        axes.margins(x=0.18)  # room for names
        words = _scale([axes], points, chance)
        axes.set(xlabel=f"GMACs a video\n{_NOTE}", ylabel=f"Top-1 accuracy (%){words}", title=title)
        axes.xaxis.label.set_fontsize(8)
        axes.title.set_fontsize(10)
        keys = [_key(name, color=own.colour, filling=own.filling, marker="o") for name, own in methods.items()]
        keys += [_key(name, color=GREY, marker=_marker(place)) for place, name in enumerate(patterns)]
        keys += [_key(words, color=GREY, marker="o", size=sizes[own]) for own, words in _clips_words(sizes).items()]
        keys += [_key("Pareto front", color=GREY, linestyle="-")] * (len(front) > 1)  # one point is no line
        keys += _chance_key(axes, chance)
        figure.legend(handles=keys, loc="outside lower center", ncols=6, fontsize=8)
        _name_points(figure, axes, points, front=front)
        save_figure(figure, path)


def marker_sizes(clips: Iterable[int]) -> dict[int, float]:
    """Return number of clips -> size of its markers in points, which grows evenly from one to the next."""
    every = sorted(set(clips))
    if len(every) == 1:
        return {every[0]: _MARKER_SIZE}
    low, high = _MARKER_SIZES
    return {own: low + (high - low) * place / (len(every) - 1) for place, own in enumerate(every)}


def _clips_words(sizes: Iterable[int]) -> dict[int, str]:
    """Return number of clips -> what the legend says of it, if there are several."""
    every = list(sizes)
    return {own: f"{own} clips" for own in every if len(every) > 1}


def _draw_line(axes: Axes, points: Sequence[SweepPoint], *, look: LineLook, clips: Sequence[int]) -> None:
    axes.plot(*_places(points), color=look.colour, linestyle=look.dash, linewidth=1.2)
    for point in points:
        marker = _marker(clips.index(point.clips))
        _draw_point(axes, point, color=look.colour, filling=look.filling, marker=marker)


def _draw_point(
    axes: Axes, point: SweepPoint, *, color: str, filling: str, marker: str, size: float = _MARKER_SIZE
) -> None:
    axes.errorbar(
        point.gmacs,
        100 * point.accuracy,
        yerr=None if point.interval is None else [[100 * own] for own in point.bars],
        fmt=marker,
        color=color,
        ecolor=(color, 0.45),
        elinewidth=1.0,
        markersize=size,
        markerfacecolor=filling,
        markeredgecolor="white" if filling == color else color,
        markeredgewidth=0.6 if filling == color else 1.0,
    )


def _places(points: Sequence[SweepPoint]) -> tuple[list[float], list[float]]:
    return [point.gmacs for point in points], [100 * point.accuracy for point in points]


def _scale(panels: Sequence[Axes], points: Sequence[SweepPoint], chance: float | None) -> str:
    """Make the axes contain all points, chance and, as long as that leaves the points apart, their error bars.

    Returns:
        What has to stand beside the axis: which part of 0 to 100 % it shows, if that is not all, and where chance is if
        that lies below.
    """
    scale_cost(panels[0], [point.gmacs for point in points])
    means = [100 * point.accuracy for point in points]
    bars = [[100 * own for own in point.bars] for point in points]
    low = max(min(mean - bar[0] for mean, bar in zip(means, bars, strict=True)), min(means) - _MOST_BEYOND)
    high = min(max(mean + bar[1] for mean, bar in zip(means, bars, strict=True)), max(means) + _MOST_BEYOND)
    room = 0.04 * (high - low) or 1.0
    low, high = max(low - room, -2.0), min(high + room, 102.0)
    if high - low > _WHOLE:  # then the settings lie apart on the whole axis too
        low, high = -2.0, 102.0
    panels[0].set_ylim(low, high)
    for axes in panels if chance is not None and low < 100 * chance < high else ():
        axes.axhline(100 * chance, color=GREY, linestyle="--", linewidth=0.9, zorder=0.9)  # pyright: ignore
    return (
        "" if low <= 0 and high >= 100 else f"\nonly {max(low, 0):.0f} to {min(high, 100):.0f}, to tell settings apart"
    )


def _name_points(figure: Figure, axes: Axes, points: Sequence[SweepPoint], *, front: Sequence[SweepPoint]) -> None:
    """Write the names of those on the front near them, or beside the axes if one of them would cover something."""
    settle(figure)
    taken = [extent(axes, _spot(point), figure.dpi) for point in points] + _steps(axes, front)
    taken += [line.get_window_extent().padded(1) for line in axes.lines if line.get_linestyle() == "--"]  # chance
    spots = [_spot(point) for point in front]
    if not place_names(figure, axes, spots, taken=taken, size=_LABEL_SIZE):
        name_beside(figure, axes, spots, size=_LABEL_SIZE)


def _spot(point: SweepPoint) -> Spot:
    down, up = point.bars
    return Spot(
        name=point.name, x=point.gmacs, y=100 * point.accuracy, bars=(100 * down, 100 * up), colour=point.look.colour
    )


def _steps(axes: Axes, front: Sequence[SweepPoint]) -> list[Bbox]:
    """Return the boxes, in pixels, that the line through the front takes."""
    at = [axes.transData.transform((point.gmacs, 100 * point.accuracy)) for point in front]
    steps = [((a, (b[0], a[1])), ((b[0], a[1]), b)) for a, b in pairwise(at)]
    return [Bbox(ends).padded(1) for step in steps for ends in step]


def _key(
    label: str,
    *,
    color: str,
    linestyle: Dash = "",
    marker: str = "",
    filling: str = "",
    size: float = _MARKER_SIZE,
) -> Line2D:
    return Line2D(
        [],
        [],
        color=color,
        linestyle=linestyle,
        marker=marker,
        markersize=size,
        markerfacecolor=filling or color,
        label=label,
    )


def _line_key(
    name: str, look: LineLook, *, panels: Mapping[str, Mapping[str, Sequence[SweepPoint]]], clips: Sequence[int]
) -> Line2D:
    """Return the legend's line for a line, or its marker if it is a single point wherever it is drawn."""
    longest = max((panel[name] for panel in panels.values() if name in panel), key=len)
    if len(longest) > 1:
        return _key(name, color=look.colour, linestyle=look.dash)
    return _key(name, color=look.colour, filling=look.filling, marker=_marker(clips.index(longest[0].clips)))


def _chance_key(axes: Axes, chance: float | None) -> list[Line2D]:
    """Return the legend's line for chance, which says so where it is not in the picture."""
    if chance is None:
        return []
    low, high = axes.get_ylim()
    is_shown = low < 100 * chance < high
    words = "" if is_shown else ", below" if 100 * chance <= low else ", above"
    return [_key(f"chance: {100 * chance:.1f} %{words}", color=GREY, linestyle="--" if is_shown else "")]


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]
