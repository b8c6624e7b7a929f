"""What a stream states of its frames is kept for each until it is out, and never for long."""

from fractions import Fraction

from vidpipe.pipeline.videos import stated
from vidpipe.pipeline.videos.stated import _HeldRatios


def test_times_that_begin_again_before_the_last_frames_are_out_keep_their_own_ratio():
    held = _HeldRatios()
    for time, ratio in ((8, None), (9, None), (8, Fraction(2)), (9, Fraction(2))):
        held.push(time, ratio)
    assert [held.pop(time) for time in (8, 9, 8, 9)] == [None, None, 2, 2]


def test_a_frame_without_a_time_gets_what_was_told_last():
    held = _HeldRatios()
    held.push(1, None)
    held.push(2, Fraction(4, 3))
    assert held.pop(None) == Fraction(4, 3)


def test_packets_without_frames_are_forgotten():
    held = _HeldRatios()
    for time in range(10 * stated._MOST_HELD_BACK):
        held.push(time, Fraction(2))
    assert len(held._by_time) == stated._MOST_HELD_BACK
