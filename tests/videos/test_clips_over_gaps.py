"""Clips lie over what is shown: none reaches across a gap, and none is like another where there are enough frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.videos.clips import (
    ClipSampling,
    dense_starts,
    frame_indices,
    random_starts,
    uniform_starts,
    view_starts,
)
from vidpipe.pipeline.videos.frame_times import Timeline

BURSTS = [0.04, 1 / 30, 0.001, 1 / 90000]


@st.composite
def bursts(draw: st.DrawFn) -> Timeline:
    """Stretches of 5 to 40 frames with 3 to 10,000 s between them."""
    distances: list[float] = []
    for _ in range(draw(st.integers(1, 5))):
        distances += [draw(st.sampled_from(BURSTS))] * draw(st.integers(5, 40))
        distances[-1] = draw(st.sampled_from([3.0, 25.0, 10000.0]))
    distances[-1] = 0.04
    ends = np.cumsum(distances)
    return Timeline(pts=np.concatenate([[0.0], ends[:-1]]), duration=float(ends[-1]))


@st.composite
def samplings(draw: st.DrawFn) -> ClipSampling:
    return ClipSampling(
        num_frames=draw(st.integers(1, 9)),
        sampling_rate=draw(st.integers(1, 4)),
        fps=draw(st.sampled_from([None, 12.5, 30.0])),
        num_clips=draw(st.integers(1, 9)),
        views=2,
        short=draw(st.sampled_from(["repeat_last", "loop"])),
        placement=draw(st.sampled_from(["uniform", "dense"])),
    )


def stretch_of(timeline: Timeline, frames: np.ndarray) -> set[int]:
    return set(np.searchsorted(timeline.firsts, frames, side="right").tolist())


@given(bursts(), samplings(), st.floats(0, 0.9), st.booleans())
def test_no_clip_reaches_across_a_gap(timeline, sampling, begin, whole):
    start = None if whole else begin * timeline.duration
    starts = view_starts(sampling, timeline, video_id="v", start=start)
    assert np.all(np.diff(starts, axis=1) >= 0)
    for clip_start in starts.ravel():
        frames = frame_indices(timeline, clip_start, sampling, start=start)
        assert len(stretch_of(timeline, frames)) == 1


def num_whole_starts(timeline: Timeline, sampling: ClipSampling) -> int:
    """Return from how many frames a whole clip of the video's own frames fits, by trying all of them."""
    count = 0
    for first in range(len(timeline)):
        frames = first + np.arange(sampling.num_frames) * sampling.sampling_rate
        count += frames[-1] < len(timeline) and len(stretch_of(timeline, frames)) == 1
    return count


@given(bursts(), samplings().filter(lambda sampling: sampling.fps is None))
def test_clips_are_whole_and_differ_where_there_are_enough_frames(timeline, sampling):
    if num_whole_starts(timeline, sampling) < sampling.num_clips:
        return
    rng = np.random.default_rng(0)
    drawn = random_starts(sampling, timeline, rng=rng) if len(timeline.firsts) > 1 else []
    spread = uniform_starts(sampling, timeline)
    for starts in (spread, drawn, dense_starts(sampling, timeline)):
        clips = [frame_indices(timeline, clip_start, sampling) for clip_start in starts]
        assert len({tuple(clip.tolist()) for clip in clips}) == len(clips)
        assert all(np.all(np.diff(clip) == sampling.sampling_rate) for clip in clips)
    assert len(spread) == sampling.num_clips


def event_gap() -> Timeline:
    """100 frames at 24 a second, 24.5 s without frames, 133 frames."""
    pts = np.concatenate([np.arange(100), np.arange(133) + 688]) / 24
    return Timeline(pts=pts, duration=float(pts[-1] + 1 / 24))


def test_a_test_and_a_training_take_the_same_parts_in_the_same_measure():
    sampling = ClipSampling(num_frames=8, num_clips=8)
    firsts = [int(event_gap().shown_at(start)) for start in uniform_starts(sampling, event_gap())]
    assert firsts == [0, 31, 62, 100, 131, 162, 193, 225]  # of 219 frames that begin a whole clip, 93 before the gap
    training = ClipSampling(num_frames=8, num_clips=1)
    rng = np.random.default_rng(0)
    drawn = [int(event_gap().shown_at(random_starts(training, event_gap(), rng=rng)[0])) for _ in range(2000)]
    assert set(drawn) <= {*range(93), *range(100, 226)}
    assert np.mean(np.array(drawn) < 100) == pytest.approx(93 / 219, abs=0.04)


def test_resampled_clips_stop_at_a_gap_as_at_the_end():
    sampling = ClipSampling(num_frames=6, num_clips=1, fps=24.0)
    frames = frame_indices(event_gap(), 97 / 24, sampling)
    assert frames.tolist() == [97, 98, 99, 99, 99, 99]


def test_stretches_shorter_than_a_clip_serve_where_the_others_have_too_few_places():
    pts = np.concatenate([np.arange(6), np.arange(6) + 1000, np.arange(12) + 2000]) / 24
    timeline = Timeline(pts=pts, duration=float(pts[-1] + 1 / 24))
    few = [int(timeline.shown_at(s)) for s in uniform_starts(ClipSampling(num_clips=5), timeline)]
    many = [int(timeline.shown_at(s)) for s in uniform_starts(ClipSampling(num_clips=7), timeline)]
    refusing = [int(timeline.shown_at(s)) for s in uniform_starts(ClipSampling(num_clips=7, short="refuse"), timeline)]
    assert few == [12, 13, 14, 15, 16]
    assert many == [0, 6, 12, 13, 14, 15, 16]
    assert refusing == [12, 12, 13, 14, 14, 15, 16]


def test_stretches_that_are_all_too_short_are_refused_with_the_longest():
    pts = np.concatenate([np.arange(5), np.arange(7) + 1000]) / 24
    timeline = Timeline(pts=pts, duration=float(pts[-1] + 1 / 24))
    sampling = ClipSampling(num_frames=9, short="refuse")
    (start, *_) = uniform_starts(sampling, timeline)
    with pytest.raises(VideoError, match="shorter than a clip: 7 of 9 frames"):
        frame_indices(timeline, start, sampling)


def test_frames_a_tick_apart_are_spread_over():
    pts = np.arange(100) / 90000
    timeline = Timeline(pts=pts, duration=100 / 90000)
    sampling = ClipSampling(num_frames=8, num_clips=8)
    clips = [frame_indices(timeline, start, sampling) for start in uniform_starts(sampling, timeline)]
    assert [int(clip[0]) for clip in clips] == [0, 13, 26, 39, 53, 66, 79, 92]
    assert all(np.all(np.diff(clip) == 1) for clip in clips)


def test_a_frame_that_lasts_for_several_clips_gives_one():
    """A film of 3 s, and slides of 3 s each: resampled back to back, six clips would be the same slide."""
    ends = np.cumsum([0.1] * 30 + [3.0] * 10)
    timeline = Timeline(pts=np.concatenate([[0.0], ends[:-1]]), duration=float(ends[-1]))
    sampling = ClipSampling(num_frames=5, num_clips=12, fps=10.0, placement="dense")
    clips = [frame_indices(timeline, start, sampling) for start in dense_starts(sampling, timeline)]
    assert len({tuple(clip.tolist()) for clip in clips}) == len(clips) == 12
    assert timeline.gaps == ()
