"""Places of names: leaders that do not cross, and points that push each other apart as little as can be."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from vidpipe.pipeline.evaluation.labels import cross, side_by_side, uncrossed

PLACES = st.lists(
    st.tuples(st.integers(0, 9).map(float), st.sampled_from([0.0, 2.0, 5.0, 5.0, 9.0])), max_size=12, unique=True
)


@settings(max_examples=50)
@given(PLACES, st.floats(-5, 5))
def test_no_two_leaders_cross(starts: list[tuple[float, float]], lowest: float) -> None:
    ends = [(12.0, lowest + place) for place in range(len(starts))]
    chosen = uncrossed(starts, ends)
    assert sorted(chosen) == list(range(len(starts)))
    leaders = [(start, ends[end]) for start, end in zip(starts, chosen, strict=True)]
    assert not any(cross(one, other) for one, other in itertools.combinations(leaders, 2))


def test_lines_cross_only_inside_both() -> None:
    assert cross(((0, 0), (2, 2)), ((0, 2), (2, 0)))
    assert not cross(((0, 0), (2, 2)), ((0, 1), (2, 3)))
    assert not cross(((0, 0), (1, 1)), ((1, 1), (2, 0)))


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 99).map(lambda x: x / 100), st.sampled_from([0.2, 0.8])), min_size=1, max_size=9)
)
def test_points_at_one_height_are_a_marker_apart_and_keep_their_order(places: list[tuple[float, float]]) -> None:
    axes = Figure(figsize=(4, 3), dpi=72).subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    found = side_by_side(axes, places)
    for height in (0.2, 0.8):
        own = sorted((x, i) for i, (x, y) in enumerate(places) if y == height)
        moved = [axes.transData.transform((found[i][0], height))[0] for _, i in own]
        assert all(later - earlier > 8 - 1e-3 for earlier, later in itertools.pairwise(moved))
        before = [axes.transData.transform((x, height))[0] for x, _ in own]
        np.testing.assert_allclose(sum(moved), sum(before))
        sides = [found[i][1] for _, i in own]
        assert all(found[i][0] == x for (x, i), side in zip(own, sides, strict=True) if not side)
