"""Where names stand in a picture: beside their points where that covers nothing, and otherwise in a column."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

LABEL_SIZE = 8
# Behind a name, so that no line of the grid runs through it; names lie over the grid, and under all that is drawn.
PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
OVER_GRID = 0.8
LEADER: dict[str, Any] = {  # from a name beside the axes to its point
    "arrowstyle": "-",
    "color": "#AAAAAA",
    "linewidth": 0.7,
    "linestyle": ":",
    "relpos": (0, 0.5),
    "shrinkB": 3,
}
Leader = tuple[tuple[float, float], tuple[float, float]]  # from a point to its name, x and y of each
Side = Literal["", "left", "between", "right"]
_RADIUS = 5.0  # points, of a marker and what has to be free around it
_BESIDE = 8.0  # points between the centres of markers that stand side by side
_ONE_HEIGHT = 3.5  # points: half a marker
_LINE = 1.35  # of a letter's height, from one line of the column to the next


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A point of a picture with its name.

    Attributes:
        name: written at it.
        x: in units of the axis.
        y: likewise.
        bars: how far its error bar goes down and up, likewise.
        colour: of the name.
        side: where the name may stand; empty: anywhere. Others stand to its right and left if it is "between".
    """

    name: str
    x: float
    y: float
    bars: tuple[float, float] = (0.0, 0.0)
    colour: str = "black"
    side: Side = ""


def side_by_side(axes: Axes, places: Sequence[tuple[float, float]]) -> list[tuple[float, Side]]:
    """Return where to draw points so that none hides another: at one height they move apart in x, in their order.

    Args:
        axes: with its limits and layout settled.
        places: x and y of each, in units of the axes; equal ones are ordered as they are given.

    Returns:
        For each its x, which is its own where it hides nothing, and on which side its name keeps the names of those
        that it stands side by side with in the order of the points.
    """
    scale = (axes.figure.dpi if axes.figure else 72.0) / 72
    at = [tuple(map(float, axes.transData.transform(place))) for place in places]
    found: list[tuple[float, Side]] = [(x, "") for x, _ in places]
    for band in _bands_of_height([y for _, y in at], height=_ONE_HEIGHT * scale):
        for centre, members in _pushed_apart(band, [x for x, _ in at], gap=_BESIDE * scale):
            for rank, place in enumerate(members if len(members) > 1 else ()):
                x = centre + (rank - (len(members) - 1) / 2) * _BESIDE * scale
                side: Side = "left" if rank == 0 else "right" if rank == len(members) - 1 else "between"
                found[place] = (float(axes.transData.inverted().transform((x, at[place][1]))[0]), side)
    return found


def _bands_of_height(heights: Sequence[float], *, height: float) -> list[list[int]]:
    """Return the places of ``heights`` in groups, in each of which none is further than ``height`` from the lowest."""
    bands: list[list[int]] = []
    for place in sorted(range(len(heights)), key=lambda i: heights[i]):
        if bands and heights[place] - heights[bands[-1][0]] <= height:
            bands[-1].append(place)
        else:
            bands.append([place])
    return bands


def _pushed_apart(band: Sequence[int], xs: Sequence[float], *, gap: float) -> list[tuple[float, list[int]]]:
    """Return groups of points in which each is ``gap`` right of the one before, as (centre, members), from the left.

    The groups keep that distance too. The centre is the members' mean, so that together they move as little as can be.
    """
    groups: list[tuple[float, list[int]]] = []
    for place in sorted(band, key=lambda i: (xs[i], i)):
        groups.append((xs[place], [place]))
        while len(groups) > 1 and _edge(groups[-2], gap, 1) + gap > _edge(groups[-1], gap, -1) + 1e-6:
            members = [*groups[-2][1], *groups.pop()[1]]
            groups[-1] = (math.fsum(xs[i] for i in members) / len(members), members)
    return groups


def _edge(group: tuple[float, list[int]], gap: float, direction: int) -> float:
    return group[0] + direction * gap * (len(group[1]) - 1) / 2


def settle(figure: Figure) -> None:
    """Lay the figure out, once and for all, so that places can be measured: names beside the axes make it wider."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def place_names(
    figure: Figure, axes: Axes, spots: Sequence[Spot], *, taken: Sequence[Bbox], size: float = LABEL_SIZE
) -> bool:
    """Write each spot's name near it, where it covers nothing and stays inside the axes.

    Args:
        figure: with its layout settled.
        axes: to write in.
        spots: to be named.
        taken: boxes, in pixels, that no name may cover: points with their bars, lines, other names.
        size: of the letters, in points.

    Returns:
        Whether there is such a place for each; if not, nothing is written.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    inside = axes.get_window_extent(renderer).padded(-2)
    covered, written = list(taken), list[Annotation]()
    for spot in sorted(spots, key=lambda own: not own.side):  # first those that have few places
        for x, y, horizontal, vertical in _offsets(spot, *_reach(axes, spot, figure.dpi)):
            text = axes.annotate(
                spot.name,
                (spot.x, spot.y),
                xytext=(x, y),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=size,
                color=spot.colour,
                bbox=PAPER,
                zorder=OVER_GRID,
            )
            box = text.get_window_extent(renderer).padded(1)
            if covered_area(box, covered) + area_outside(box, inside) == 0:
                covered.append(box)
                written.append(text)
                break
            text.remove()
        else:
            for text in written:
                text.remove()
            return False
    return True


def name_beside(
    figure: Figure, axes: Axes, spots: Sequence[Spot], *, lowest: float | None = None, size: float = LABEL_SIZE
) -> None:
    """Write the names in a column beside the axes, each joined to its spot, so that no two of these leaders cross.

    Args:
        figure: with its layout settled.
        axes: beside which they are written.
        spots: to be named.
        lowest: height, as a share of the axes, below which the column goes only if there is no room above.
        size: of the letters, in points.
    """
    frame = axes.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    to_axes = axes.transData + axes.transAxes.inverted()
    at = [tuple(map(float, to_axes.transform((spot.x, spot.y)))) for spot in spots]
    wanted = sorted(y if lowest is None else max(y, lowest) for _, y in at)
    heights = spread_out(wanted, gap=_LINE * size / 72 * figure.dpi / frame.height)
    pixels = [(x * frame.width, y * frame.height) for x, y in at]
    ends = [(_COLUMN * frame.width, height * frame.height) for height in heights]
    for spot, end in zip(spots, uncrossed(pixels, ends), strict=True):
        axes.annotate(
            spot.name,
            (spot.x, spot.y),
            xytext=(_COLUMN, heights[end]),
            textcoords="axes fraction",
            va="center",
            fontsize=size,
            color=spot.colour,
            arrowprops=LEADER,
            zorder=0.5,
        )


_COLUMN = 1.03  # where it begins, as a share of the axes


def uncrossed(starts: Sequence[tuple[float, float]], ends: Sequence[tuple[float, float]]) -> list[int]:
    """Return for each start the place of its end, each used once, so that no two straight lines between them cross.

    Args:
        starts: x and y of each.
        ends: likewise, right of all starts, from the lowest up.
    """
    chosen = _in_order(starts, ends)
    # Two lines that cross get shorter together if they swap their ends, so this ends.
    is_changed = True
    while is_changed:
        is_changed = False
        for one, other in itertools.combinations(range(len(starts)), 2):
            if cross((starts[one], ends[chosen[one]]), (starts[other], ends[chosen[other]])):
                chosen[one], chosen[other] = chosen[other], chosen[one]
                is_changed = True
    return chosen


def _in_order(starts: Sequence[tuple[float, float]], ends: Sequence[tuple[float, float]]) -> list[int]:
    """Return for each start the place of its end, a lower one's below; those at one height are ordered by their x.

    Of these the left ones get the ends that are not above them, from below; to the others, from above: so lines that
    go up or down from one height do not cross.
    """
    chosen = [0] * len(starts)
    order = sorted(range(len(starts)), key=lambda i: (round(starts[i][1], 6), starts[i][0]))
    first = 0
    for height, group in itertools.groupby(order, key=lambda i: round(starts[i][1], 6)):
        members = list(group)
        own = range(first, first + len(members))
        below = [end for end in own if ends[end][1] <= height + 1e-6]
        for member, end in zip(members, [*below, *reversed(own[len(below) :])], strict=True):
            chosen[member] = end
        first += len(members)
    return chosen


def cross(one: Leader, other: Leader) -> bool:
    """Return whether two straight lines, each from a start to an end, have a point inside both in common."""
    return all(_side(*own, start) * _side(*own, end) < 0 for own, (start, end) in ((one, other), (other, one)))


def _side(start: tuple[float, float], end: tuple[float, float], point: tuple[float, float]) -> float:
    """Return on which side of a line a point lies: above 0 on its left, 0 on it."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


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


def _reach(axes: Axes, spot: Spot, dpi: float) -> tuple[float, float]:
    """Return how far a spot and its error bar reach down and up from its middle, in points."""
    own, y = extent(axes, spot, dpi), float(axes.transData.transform((spot.x, spot.y))[1])
    return (y - own.y0) * 72 / dpi, (own.y1 - y) * 72 / dpi


def _offsets(spot: Spot, down: float, up: float) -> list[tuple[float, float, str, str]]:
    """Return places for the name of a spot that reaches so far, best first, in points: x, y, and the alignments."""
    aside = 7.0
    middle = [(0.0, up + 2, "center", "bottom"), (0.0, -down - 2, "center", "top")]
    right: list[tuple[float, float, str, str]] = [(aside, 0.0, "left", "center")]
    right += [(aside, y, "left", "bottom" if y > 0 else "top") for y in (6.0, -6.0, 16.0, -16.0)]
    left = [(-x, y, "right", vertical) for x, y, _, vertical in right]
    if spot.side:  # beyond its bar too; centres of names keep the order of the points whichever of these they take
        left += [(_RADIUS, y, "right", vertical) for _, y, _, vertical in middle] + middle
        right += [(-_RADIUS, y, "left", vertical) for _, y, _, vertical in middle] + middle
        return {"left": left, "between": middle, "right": right}[spot.side]
    near = [right[0], *middle, *right[1:3], *left[:3]]
    return near + right[3:] + left[3:]


def extent(axes: Axes, spot: Spot, dpi: float) -> Bbox:
    """Return the box, in pixels, that a spot and its error bar take."""
    radius = _RADIUS * dpi / 72
    down, up = spot.bars
    low, high = (axes.transData.transform((spot.x, y)) for y in (spot.y - down, spot.y + up))
    return Bbox([(low[0] - radius, low[1] - radius), (high[0] + radius, high[1] + radius)])


def covered_area(box: Bbox, taken: Sequence[Bbox]) -> float:
    """Return how much of ``box`` is covered by others, in square pixels."""
    overlaps = (Bbox.intersection(box, other) for other in taken)
    return sum(overlap.width * overlap.height for overlap in overlaps if overlap is not None)


def area_outside(box: Bbox, frame: Bbox) -> float:
    """Return how much of ``box`` lies outside ``frame``, in square pixels."""
    within = Bbox.intersection(box, frame)
    return box.width * box.height - (within.width * within.height if within is not None else 0.0)
