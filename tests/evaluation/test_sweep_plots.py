"""Pictures of sweeps: lines and panels as they should be, the Pareto front joined, and no name over another."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from vidpipe.pipeline.evaluation import sweep_plots as plotting_sweep
from vidpipe.pipeline.evaluation.labels import spread_out
from vidpipe.pipeline.evaluation.looks import LOOKS, look_of
from vidpipe.pipeline.evaluation.sweep_plots import (
    SweepPoint,
    arrange_panels,
    line_looks,
    save_accuracy_by_clips,
    save_pareto_front,
)

METHODS = ("Avg. pool", "Concat", "LSTM", "GRU", "FAST-GRU")
PATTERNS = ("all-expensive", "1:1", "1:3", "1:7", "first", "all-cheap")
EXPENSIVE_SHARE = {"all-expensive": 1.0, "1:1": 1 / 2, "1:3": 1 / 4, "1:7": 1 / 8, "first": 0.0, "all-cheap": 0.0}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list that fills with every figure that is written."""
    figures: list[Figure] = []
    write = plotting_sweep.save_figure

    def save(figure: Figure, path: Path) -> None:
        write(figure, path)
        figures.append(figure)

    monkeypatch.setattr(plotting_sweep, "save_figure", save)
    return figures


def points(
    *, methods: tuple[str, ...] = METHODS, patterns: tuple[str, ...] = PATTERNS, seed: int = 0
) -> list[SweepPoint]:
    """Return made-up results of N = 2, 8, 32, in which cost and accuracy rise with the expensive clips."""
    rng = np.random.default_rng(seed)
    return [
        SweepPoint(
            method=method,
            pattern=pattern,
            clips=clips,
            gmacs=clips * (3 + 27 * EXPENSIVE_SHARE[pattern] + 0.1 * METHODS.index(method)),
            accuracy=0.5 + 0.04 * math.log2(clips) + 0.1 * EXPENSIVE_SHARE[pattern] + rng.normal(0, 0.01),
            interval=(0.4, 0.95),
        )
        for method, pattern, clips in itertools.product(methods, patterns, (2, 8, 32))
    ]


def test_a_few_lines_share_a_panel_and_run_through_the_numbers_of_clips(tmp_path: Path, drawn: list[Figure]) -> None:
    few = points(patterns=("first",))
    save_accuracy_by_clips(list(reversed(few)), tmp_path / "figure3.png")
    (axes,) = drawn[0].axes
    lines = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 3]
    assert len(lines) == len(METHODS)
    for line, method in zip(lines, reversed(METHODS), strict=True):
        own = [point for point in few if point.method == method]
        np.testing.assert_allclose(np.asarray(line.get_xdata()), [point.gmacs for point in own])
        np.testing.assert_allclose(np.asarray(line.get_ydata()), [100 * point.accuracy for point in own])
    named = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert named == [*(f"{method}, first" for method in reversed(METHODS)), "2 clips", "8 clips", "32 clips"]


def test_a_legend_has_a_line_only_for_what_is_drawn_as_one(tmp_path: Path, drawn: list[Figure]) -> None:
    given = [*points(methods=("GRU",), patterns=("first",)), *points(methods=("GRU",), patterns=("1:3",))[1:2]]
    save_accuracy_by_clips(given, tmp_path / "figure3.png")
    whole, alone = drawn[0].legends[0].get_lines()[:2]
    assert (whole.get_linestyle(), whole.get_marker()) == ("-", "")
    of_8_clips = drawn[0].legends[0].get_lines()[3]
    assert (alone.get_linestyle(), alone.get_marker()) == ("None", of_8_clips.get_marker())
    assert alone.get_color() != whole.get_color()


def test_many_lines_get_a_panel_a_method_each_with_the_same_colours(tmp_path: Path, drawn: list[Figure]) -> None:
    save_accuracy_by_clips(points(), tmp_path / "figure3.png")
    shown = [axes for axes in drawn[0].axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == list(METHODS)
    colours = [[line.get_color() for line in axes.lines if len(np.asarray(line.get_xdata())) == 3] for axes in shown]
    assert len({tuple(own) for own in colours}) == 1
    assert len(set(colours[0])) == len(PATTERNS)


@pytest.mark.parametrize(("methods", "patterns", "panels"), [(2, 4, 1), (2, 6, 2), (5, 2, 2), (1, 1, 1)])
def test_panels_hold_every_point_once(methods: int, patterns: int, panels: int) -> None:
    given = points(methods=METHODS[:methods], patterns=PATTERNS[:patterns])
    arranged = arrange_panels(given)
    assert len(arranged) == panels
    held = [point for lines in arranged.values() for own in lines.values() for point in own]
    assert sorted(held, key=repr) == sorted(given, key=repr)


def names(figure: Figure) -> list[Annotation]:
    return [text for text in figure.axes[0].texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("seed", range(3))
def test_the_names_on_the_front_cover_neither_each_other_nor_points(
    tmp_path: Path, drawn: list[Figure], seed: int
) -> None:
    given = points(seed=seed)
    save_pareto_front(given, tmp_path / "figure4.png")
    axes, renderer = drawn[0].axes[0], FigureCanvasAgg(drawn[0]).get_renderer()
    labels = names(drawn[0])
    boxes = [text.get_window_extent(renderer) for text in labels]
    texts = [super(Annotation, text).get_window_extent(renderer) for text in labels]  # without their lines
    assert len(boxes) >= 4
    for one, other in itertools.combinations(texts, 2):
        assert not one.overlaps(other)
    at = axes.transData.transform([(point.gmacs, 100 * point.accuracy) for point in given])
    assert not any(box.contains(x, y) for box in texts for x, y in at)


def test_exactly_the_settings_that_none_beats_are_named(tmp_path: Path, drawn: list[Figure]) -> None:
    given = points()
    save_pareto_front(given, tmp_path / "figure4.png")

    def is_beaten(own: SweepPoint) -> bool:
        return any(other != own and other.gmacs <= own.gmacs and other.accuracy >= own.accuracy for other in given)

    assert {text.get_text() for text in names(drawn[0])} == {own.name for own in given if not is_beaten(own)}


def test_one_setting_without_a_spread_can_be_drawn(tmp_path: Path) -> None:
    alone = [SweepPoint(method="Avg. pool", pattern="first", clips=1, gmacs=3.0, accuracy=1.0)]
    save_accuracy_by_clips(alone, tmp_path / "figure3.png")
    save_pareto_front(alone, tmp_path / "figure4.png")
    assert (tmp_path / "figure4.png").stat().st_size > 5000


def test_wide_intervals_do_not_squeeze_the_means(tmp_path: Path, drawn: list[Figure]) -> None:
    wide = [
        SweepPoint(method="GRU", pattern="first", clips=n, gmacs=n, accuracy=0.5 + 0.01 * n, interval=(-2.0, 3.0))
        for n in (2, 4)
    ]
    save_pareto_front(wide, tmp_path / "figure4.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert 35 < low < 52 and 54 < high < 72


@given(
    places=st.lists(st.floats(0, 1), min_size=1, max_size=20).map(sorted),
    gap=st.floats(0.01, 0.05),
)
def test_spread_out_keeps_order_gap_and_what_need_not_move(places: list[float], gap: float) -> None:
    moved = spread_out(places, gap=gap)
    assert all(later - earlier >= gap - 1e-9 for earlier, later in itertools.pairwise(moved))
    assert moved[-1] <= 1.0
    if all(later - earlier >= gap for earlier, later in itertools.pairwise(places)):
        np.testing.assert_allclose(moved, places, atol=1e-9)


def test_pictures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    few = points(methods=METHODS[:2], patterns=("first",))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_accuracy_by_clips(few, tmp_path / folder / "figure3.png")
        save_pareto_front(few, tmp_path / folder / "figure4.png")
    for name in ("figure3.png", "figure4.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_method_has_its_colour_whatever_else_is_drawn() -> None:
    names = {"Avg. pool": "average", "GRU": "gru", "FAST-GRU": "fast-gru"}

    def colours(methods: tuple[str, ...], patterns: tuple[str, ...]) -> dict[str, set[str]]:
        given = [replace(own, family=names[own.method]) for own in points(methods=methods, patterns=patterns)]
        found: dict[str, set[str]] = {}
        for line, look in line_looks(given).items():
            found.setdefault(line.split(", ")[0], set()).add(look.colour)
        return found

    every = colours(tuple(names), ("first",))
    assert every == {method: {look_of(name).colour} for method, name in names.items()}
    for few in (("GRU", "Avg. pool"), ("FAST-GRU", "GRU")):
        assert all(own == every[method] for method, own in colours(few, ("1:3", "first")).items())
    # Colours that tell patterns are no method's.
    (alone,) = colours(("GRU",), PATTERNS).values()
    assert len(alone) == len(PATTERNS) and not alone & {own.colour.lower() for own in LOOKS.values()}


def test_an_axis_that_shows_a_part_says_so_and_where_chance_is(tmp_path: Path, drawn: list[Figure]) -> None:
    near = [SweepPoint(method="GRU", pattern="first", clips=n, gmacs=n, accuracy=0.9 + 0.005 * n) for n in (2, 4)]
    far = [replace(own, accuracy=own.accuracy - 0.4 * place) for place, own in enumerate(near)]
    for points_of_one in (near, far):
        save_pareto_front(points_of_one, tmp_path / "figure4.png", title="test, n = 50 videos", chance=0.1)
    words = [figure.axes[0].get_ylabel() for figure in drawn]
    keys = [figure.legends[0].get_texts()[-1].get_text() for figure in drawn]
    assert words == ["Top-1 accuracy (%)\nonly 91 to 92, to tell settings apart", "Top-1 accuracy (%)"]
    assert keys == ["chance: 10.0 %, below", "chance: 10.0 %"]
    low, high = drawn[1].axes[0].get_ylim()
    assert low <= 0 and high >= 100


def at_one_height() -> list[SweepPoint]:
    """Return settings of which the cheapest is as good as any."""
    return [
        SweepPoint(method="GRU", pattern=pattern, clips=clips, gmacs=gmacs, accuracy=0.9, interval=(0.85, 0.95))
        for pattern, clips, gmacs in (("first", 4, 12.0), ("first", 8, 18.0), ("1:3", 8, 24.0))
    ]


def words_of_legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_front_of_one_point_is_no_line_and_its_name_stands_near_it(tmp_path: Path, drawn: list[Figure]) -> None:
    given = at_one_height()
    save_pareto_front(given, tmp_path / "figure4.png")
    assert "Pareto front" not in words_of_legend(drawn[0])
    (name,) = names(drawn[0])
    assert (name.get_text(), name.arrow_patch) == ("GRU, first, 4 clips", None)
    box = name.get_window_extent(FigureCanvasAgg(drawn[0]).get_renderer())
    axes = drawn[0].axes[0]
    near, *others = (axes.transData.transform((own.gmacs, 90.0))[0] for own in given)
    assert near < box.x0 < near + 15 and box.x1 < min(others)
    save_pareto_front([replace(own, accuracy=0.05 * own.clips) for own in given], tmp_path / "figure4.png")
    assert "Pareto front" in words_of_legend(drawn[1])


def test_a_name_stands_beyond_its_own_bar_and_not_on_chance(tmp_path: Path, drawn: list[Figure]) -> None:
    """Of six videos, intervals reach further up than down; another point stands where the name would be at first."""
    first = SweepPoint(method="GRU", pattern="1:3", clips=4, gmacs=5.0, accuracy=0.33, interval=(0.2, 0.7))
    given = [first, replace(first, gmacs=5.7, accuracy=0.16, interval=(0.03, 0.7)), replace(first, gmacs=11.0)]
    save_pareto_front(given, tmp_path / "figure4.png", chance=0.165)
    (name,) = (own for own in names(drawn[0]) if own.get_text())
    axes = drawn[0].axes[0]
    box = name.get_window_extent(FigureCanvasAgg(drawn[0]).get_renderer())
    assert name.arrow_patch is None
    at = [axes.transData.transform((5.0, height))[1] for height in (16.5, 20.0, 70.0)]
    assert box.y0 > at[2] or at[0] < box.y1 < at[1] or box.y1 < at[0]
    assert not box.y0 < at[0] < box.y1


def test_numbers_of_clips_are_told_by_the_size_of_markers(tmp_path: Path, drawn: list[Figure]) -> None:
    save_pareto_front(at_one_height(), tmp_path / "figure4.png")
    axes, legend = drawn[0].axes[0], drawn[0].legends[0]
    keys = {text.get_text(): key.get_markersize() for text, key in zip(legend.texts, legend.get_lines(), strict=True)}
    assert keys["4 clips"] < keys["8 clips"]
    sizes = {np.asarray(own.get_xdata())[0]: own.get_markersize() for own in axes.lines if own.get_marker() != "None"}
    assert sizes == {12.0: keys["4 clips"], 18.0: keys["8 clips"], 24.0: keys["8 clips"]}
    save_pareto_front(at_one_height()[1:], tmp_path / "figure4.png")
    assert words_of_legend(drawn[1]) == ["GRU", "first", "1:3"]


def test_no_text_of_figure_4_lies_over_another_or_the_axes(tmp_path: Path, drawn: list[Figure]) -> None:
    """A legend that is added after the layout has settled would lie over the words below the axes."""
    save_pareto_front(points(), tmp_path / "figure4.png", title="test", chance=0.1)
    figure, axes = drawn[0], drawn[0].axes[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    legend = figure.legends[0].get_window_extent(renderer)
    words = [axis.label.get_window_extent(renderer) for axis in (axes.xaxis, axes.yaxis)]
    assert not any(legend.overlaps(box) for box in [*words, axes.get_window_extent(renderer)])
