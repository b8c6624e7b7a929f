"""Clip arithmetic: properties over random timelines, and the cases that are easy to get wrong by one."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.errors import SettingsError, VideoError
from vidpipe.pipeline.seeds import derived_seed
from vidpipe.pipeline.videos.clips import (
    SHORT_POLICIES,
    ClipSampling,
    Timeline,
    clip_span_frames,
    dense_starts,
    frame_indices,
    random_starts,
    uniform_starts,
    view_starts,
)


def constant(num_frames: int, fps: float = 30.0) -> Timeline:
    return Timeline(pts=np.arange(num_frames) / fps, duration=num_frames / fps)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    gaps = draw(st.lists(st.sampled_from([0.01, 0.02, 1 / 30, 0.04, 0.2, 1.0]), min_size=1, max_size=60))
    ends = np.cumsum(gaps)
    return Timeline(pts=np.concatenate([[0.0], ends[:-1]]), duration=float(ends[-1]))


@st.composite
def samplings(draw: st.DrawFn) -> ClipSampling:
    return ClipSampling(
        num_frames=draw(st.integers(1, 9)),
        sampling_rate=draw(st.integers(1, 5)),
        fps=draw(st.sampled_from([None, 2.0, 12.5, 30.0])),
        num_clips=draw(st.integers(1, 9)),
        views=draw(st.integers(1, 3)),
        short=draw(st.sampled_from(["repeat_last", "loop"])),
        placement=draw(st.sampled_from(["uniform", "dense"])),
        seed=draw(st.integers(0, 3)),
    )


@st.composite
def intervals(draw: st.DrawFn) -> tuple[Timeline, float | None, float | None]:
    timeline = draw(timelines())
    start = draw(st.none() | st.floats(0, 0.9).map(lambda part: part * timeline.duration))
    end = draw(st.none() | st.floats(0.95, 1.2).map(lambda part: part * timeline.duration))
    return timeline, start, end


def shown_at_by_search(timeline: Timeline, seconds: float) -> int:
    """What `Timeline.shown_at` means, in the slowest way."""
    shown = [index for index, pts in enumerate(timeline.pts) if pts <= seconds + 0.0005 + 1e-6]
    return shown[-1] if shown else 0


@given(timelines(), st.floats(-1, 70))
def test_the_frame_shown_is_the_last_that_has_begun(timeline, seconds):
    assert timeline.shown_at(seconds) == shown_at_by_search(timeline, seconds)


@given(intervals(), samplings())
def test_every_clip_lies_in_the_usable_part(interval, sampling):
    timeline, start, end = interval
    starts = view_starts(sampling, timeline, video_id="a/b", start=start, end=end)
    assert starts.shape == (sampling.views, sampling.num_clips)
    assert starts.dtype == np.float64
    assert np.all(np.diff(starts, axis=1) >= 0)
    first = shown_at_by_search(timeline, start or 0.0)
    for clip_start in starts.ravel():
        indices = frame_indices(timeline, clip_start, sampling, start=start, end=end)
        assert indices.shape == (sampling.num_frames,)
        assert indices.dtype == np.int64
        assert indices.min() >= first
        assert indices.max() < len(timeline)
        if end is not None:
            assert timeline.pts[indices.max()] < max(end, timeline.pts[first] + 1e-9)


@given(st.integers(1, 80), samplings())
def test_a_clip_that_fits_is_whole(num_frames, sampling):
    timeline = constant(num_frames, fps=sampling.fps or 30.0)
    fits = num_frames >= clip_span_frames(sampling)
    for clip_start in view_starts(sampling, timeline, video_id="v").ravel():
        steps = np.diff(frame_indices(timeline, clip_start, sampling))
        if fits and sampling.fps is None:
            assert np.all(steps == sampling.sampling_rate)
        elif fits:  # starts lie between frames: one more or less
            assert np.all(abs(steps - sampling.sampling_rate) <= 1)
        elif sampling.short == "repeat_last":
            assert np.all(steps >= 0)


@given(timelines(), samplings())
def test_resampled_frames_are_those_on_screen(timeline, sampling):
    if sampling.fps is None:
        return
    for clip_start in uniform_starts(sampling, timeline):
        indices = frame_indices(timeline, clip_start, sampling)
        times = clip_start + np.arange(sampling.num_frames) * sampling.sampling_rate / sampling.fps
        inside = times < timeline.duration - 0.0005 - 1e-6
        expected = [shown_at_by_search(timeline, time) for time in times]
        assert indices[inside].tolist() == [place for place, kept in zip(expected, inside, strict=True) if kept]


def test_uniform_clips_touch_both_ends():
    sampling = ClipSampling(num_frames=8, sampling_rate=2, num_clips=5)
    timeline = constant(100)
    clips = [frame_indices(timeline, start, sampling) for start in uniform_starts(sampling, timeline)]
    assert clips[0].tolist() == list(range(0, 16, 2))
    assert clips[-1].tolist() == list(range(85, 100, 2))
    assert [clip[0] for clip in clips] == [0, 21, 42, 63, 85]


def test_a_lone_clip_lies_in_the_middle():
    sampling = ClipSampling(num_frames=10, num_clips=1)
    assert frame_indices(constant(100), uniform_starts(sampling, constant(100))[0], sampling)[0] == 45


def test_resampling_to_the_own_rate_takes_every_frame_though_timestamps_are_rounded_to_milliseconds():
    pts = np.round(np.arange(300) / 30, 3)
    timeline = Timeline(pts=pts, duration=10.0)
    sampling = ClipSampling(num_frames=300, fps=30.0, num_clips=1, short="refuse")
    assert uniform_starts(sampling, timeline).tolist() == [0.0]
    assert frame_indices(timeline, 0.0, sampling).tolist() == list(range(300))


def test_resampling_skips_and_repeats_by_time():
    timeline = constant(30, fps=30)
    half = ClipSampling(num_frames=4, fps=15.0)
    double = ClipSampling(num_frames=6, fps=60.0)
    assert frame_indices(timeline, 0.0, half).tolist() == [0, 2, 4, 6]
    assert frame_indices(timeline, 0.0, double).tolist() == [0, 0, 1, 1, 2, 2]


def test_short_policies():
    timeline = constant(3)
    assert set(SHORT_POLICIES) == {"repeat_last", "loop", "refuse"}
    last = frame_indices(timeline, 0.0, ClipSampling(num_frames=8, short="repeat_last"))
    assert last.tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    loop = frame_indices(timeline, 0.0, ClipSampling(num_frames=8, short="loop"))
    assert loop.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    with pytest.raises(VideoError, match="shorter than a clip: 3 of 8 frames"):
        frame_indices(timeline, 0.0, ClipSampling(num_frames=8, short="refuse"))


def test_one_frame_makes_any_clip():
    for fps in (None, 10.0):
        sampling = ClipSampling(num_frames=4, fps=fps, num_clips=3, views=2)
        starts = view_starts(sampling, constant(1), video_id="v")
        assert np.all(starts == 0)
        assert frame_indices(constant(1), 0.0, sampling).tolist() == [0, 0, 0, 0]


def test_start_and_end_restrict_the_frames():
    sampling = ClipSampling(num_frames=4, num_clips=3)
    timeline = constant(100, fps=10)
    starts = uniform_starts(sampling, timeline, start=2.0, end=3.0)
    clips = [frame_indices(timeline, start, sampling, start=2.0, end=3.0) for start in starts]
    assert [clip.tolist() for clip in clips] == [[20, 21, 22, 23], [23, 24, 25, 26], [26, 27, 28, 29]]


def test_an_interval_outside_the_video_is_refused():
    with pytest.raises(VideoError, match=r"start 5\.000 s lies beyond the video's end at 1\.000 s"):
        uniform_starts(ClipSampling(), constant(30), start=5.0)
    with pytest.raises(VideoError, match="does not lie after start"):
        uniform_starts(ClipSampling(), constant(30), start=0.5, end=0.5)


def test_dense_clips_are_back_to_back():
    sampling = ClipSampling(num_frames=4, sampling_rate=2, num_clips=100, placement="dense")
    timeline = constant(30)
    starts = dense_starts(sampling, timeline)
    firsts = [int(frame_indices(timeline, start, sampling)[0]) for start in starts]
    assert firsts == [0, 8, 16]  # a fourth would need the frames 24, 26, 28, 30
    fewer = view_starts(ClipSampling(num_frames=4, num_clips=5, placement="dense"), constant(9), video_id="v")
    assert np.round(fewer * 30).astype(int).tolist() == [[0, 0, 0, 4, 4]]
    many = dense_starts(ClipSampling(num_frames=1, num_clips=4, placement="dense"), constant(100))
    assert np.round(many * 30).astype(int).tolist() == [0, 25, 50, 75]


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 4))
def test_dense_clips_by_time_are_those_by_frames(num_frames, length, rate):
    timeline = constant(num_frames, fps=25)
    native = ClipSampling(num_frames=length, sampling_rate=rate, num_clips=1000)
    resampled = ClipSampling(num_frames=length, sampling_rate=rate, num_clips=1000, fps=25.0)
    assert dense_starts(native, timeline) == pytest.approx(dense_starts(resampled, timeline))


def test_random_starts_reach_every_place_and_views_one_in_each_stretch():
    timeline = constant(50)
    sampling = ClipSampling(num_frames=8, num_clips=4, views=200)
    rng = np.random.default_rng(0)
    drawn = {round(start * 30) for _ in range(500) for start in random_starts(sampling, timeline, rng=rng)}
    assert drawn == set(range(43))
    firsts = view_starts(sampling, timeline, video_id="v")[1:] * 30  # (199, 4) frames, 0 to 42
    assert np.all(firsts <= (np.arange(4) + 1) * 43 / 4)
    assert np.all(firsts + 1 >= np.arange(4) * 43 / 4)


def test_views_depend_on_seed_video_and_view_alone():
    timeline = constant(300)

    def starts(seed, video_id):
        return view_starts(ClipSampling(views=3, seed=seed), timeline, video_id=video_id)

    assert np.array_equal(starts(0, "a"), starts(0, "a"))
    assert np.array_equal(starts(0, "a")[0], starts(1, "b")[0])
    assert not np.array_equal(starts(0, "a")[1], starts(1, "a")[1])
    assert not np.array_equal(starts(0, "a")[1], starts(0, "b")[1])
    assert not np.array_equal(starts(0, "a")[1], starts(0, "a")[2])


def test_the_seed_is_the_same_in_another_process():
    code = "from vidpipe.pipeline.seeds import derived_seed; print(derived_seed(3, 'é/x', 1))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == derived_seed(3, "é/x", 1)


def test_the_span_of_a_clip():
    assert clip_span_frames(ClipSampling(num_frames=8, sampling_rate=4)) == 29


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_frames": 0},
        {"views": 0},
        {"fps": 0.0},
        {"fps": float("inf")},
        {"short": "pad"},
        {"placement": "x"},
        {"crops": 2},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ClipSampling(**wrong)


@pytest.mark.parametrize("pts", [[], [0.0, 0.0], [0.1, 0.2], [0.0, 2.0]])
def test_a_timeline_must_increase_from_zero_to_its_end(pts):
    with pytest.raises(VideoError):
        Timeline(pts=np.array(pts), duration=1.0)
