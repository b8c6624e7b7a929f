"""Which stored clips stand where: in order, one of each stretch, only available ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.features.clip_choice import ClipChoice, candidate_clips, stretch_edges


@given(st.integers(1, 40), st.data())
def test_clips_are_in_order_available_and_spread_over_all(num_stored: int, data: st.DataObject) -> None:
    num_clips = data.draw(st.integers(1, num_stored))
    candidates = candidate_clips(np.ones((num_clips, num_stored), bool))
    np.testing.assert_array_equal(np.concatenate(candidates), np.arange(num_stored))  # each clip has one place
    choice = ClipChoice(candidates, stretch_edges(num_clips, num_stored=num_stored))
    rng = np.random.default_rng(0)
    for clips in (choice.spread(), choice.draw(rng), choice.draw(rng)):
        assert len(clips) == num_clips
        assert (np.diff(clips) > 0).all()
        assert all(clip in found for clip, found in zip(clips, candidates, strict=True))


def test_all_clips_are_taken_where_as_many_are_wanted() -> None:
    choice = ClipChoice(candidate_clips(np.ones((6, 6), bool)), stretch_edges(6, num_stored=6))
    np.testing.assert_array_equal(choice.spread(), np.arange(6))
    np.testing.assert_array_equal(choice.draw(np.random.default_rng(0)), np.arange(6))


def test_spread_clips_stand_in_the_middle_of_their_stretches() -> None:
    choice = ClipChoice(candidate_clips(np.ones((3, 15), bool)), stretch_edges(3, num_stored=15))
    np.testing.assert_array_equal(choice.spread(), [2, 7, 12])


def test_unavailable_clips_are_passed_over() -> None:
    available = np.ones((2, 8), bool)
    available[0, [0, 1, 2]] = False
    available[1] = False
    first, second = candidate_clips(available)
    assert (first.tolist(), second.tolist()) == ([3], [])


def test_draws_reach_every_candidate() -> None:
    choice = ClipChoice(candidate_clips(np.ones((2, 8), bool)), stretch_edges(2, num_stored=8))
    rng = np.random.default_rng(0)
    drawn = np.array([choice.draw(rng) for _ in range(200)])
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [[0, 1, 2, 3], [4, 5, 6, 7]]
