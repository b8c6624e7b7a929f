"""Timelines: frames however close can be told apart, and gaps are told from slow and slowing videos."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.videos.frame_times import Gap, Timeline, are_even


def timeline(distances) -> Timeline:
    ends = np.cumsum(distances)
    return Timeline(pts=np.concatenate([[0.0], ends[:-1]]), duration=float(ends[-1]))


@given(st.lists(st.sampled_from([1 / 90000, 1e-6, 0.0003, 0.001, 1 / 30, 5.0]), min_size=1, max_size=50))
def test_every_frame_is_shown_at_its_own_time_however_close_the_next_is(distances):
    found = timeline(distances)
    assert found.shown_at(found.pts).tolist() == list(range(len(found)))
    assert [found.num_begun_before(time) for time in found.pts] == list(range(len(found)))
    assert found.num_begun_before(found.duration) == len(found)


def test_frames_a_tick_apart_have_no_gap_and_an_even_rate():
    ticks = timeline([1 / 90000] * 100)
    assert ticks.gaps == ()
    assert are_even(ticks.pts)


def test_a_gap_begins_when_the_frame_before_it_has_been_shown_as_long_as_others():
    found = timeline([0.04] * 99 + [25.0] + [0.04] * 50)
    (gap,) = found.gaps
    assert (gap.start, gap.seconds) == (pytest.approx(4.0), pytest.approx(24.96))
    assert found.firsts.tolist() == [0, 100]
    assert found.ends == pytest.approx([4.0, found.duration])


@pytest.mark.parametrize(
    ("distances", "before"),
    [
        ([0.04] * 20 + [3] + [0.04] * 20 + [1000] + [0.04] * 20, [20, 41]),
        ([0.04, 0.02, 0.09] * 10 + [9] + [0.02, 0.2, 0.04] * 10, [30]),  # in a variable rate
        ([0.04] * 20 + [24, 24] + [0.04] * 20, [20, 21]),  # a single frame between two gaps
        ([1.0] * 20 + [300] + [1.0] * 20, [20]),  # time lapse
        ([5] + [0.04] * 30, [0]),
        ([0.04] * 30 + [20], [30]),  # the last frame stays
    ],
)
def test_gaps_are_found(distances, before):
    found = timeline(distances)
    assert [gap.start for gap in found.gaps] == pytest.approx([found.pts[at] + usual(distances, at) for at in before])


def usual(distances, at):
    return float(np.median([d for d in distances[max(0, at - 8) : at] or distances[1:] if d < 2]))


@pytest.mark.parametrize(
    "distances",
    [
        [4, 5, 3, 4, 60, 4, 4, 3],  # a slide show with one long slide
        [0.04, 4.0] * 10,  # each slide coded twice
        [0.04] * 50 + [1.0] * 30 + [0.04] * 50 + [1.0] * 30,  # a camera that slows down while nothing moves
        [0.04] * 20 + [0.9] + [0.04] * 20,  # a pause of less than a second
        [7.0],
        [0.04, 7.0],
    ],
)
def test_what_is_no_gap(distances):
    expected = (Gap(start=pytest.approx(0.08), seconds=pytest.approx(6.96)),) if distances == [0.04, 7.0] else ()
    assert timeline(distances).gaps == expected


def test_a_few_lost_frames_leave_a_rate_even_and_a_slower_half_does_not():
    assert are_even(timeline([0.1, *[1 / 30] * 100]).pts)
    assert are_even(np.round(np.arange(100) / 30, 3))
    assert not are_even(timeline([1 / 30] * 50 + [1 / 10] * 50).pts)
