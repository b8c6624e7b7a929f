"""Which frames a clip takes, against the sources' own arithmetic."""

import numpy as np
import pytest
import torch
from refusals import assert_refused

from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.videos.clip_rules import LINSPACE, SEGMENTS, STRIDE, frame_steps
from vidpipe.pipeline.videos.clips import (
    ClipSampling,
    clip_span_frames,
    frame_indices,
    random_starts,
    uniform_starts,
    view_starts,
)
from vidpipe.pipeline.videos.frame_times import Timeline


def timeline(num_frames: int, fps: float = 25.0) -> Timeline:
    return Timeline(np.arange(num_frames) / fps, duration=num_frames / fps)


# Source: PySlowFast and pytorchvideo take linspace(0, T·τ - 1, T).long() of a window of T·τ frames.
@pytest.mark.parametrize(("frames", "stride"), [(8, 8), (4, 16), (32, 2), (16, 5), (13, 6), (4, 12), (16, 4), (1, 9)])
def test_linspace_is_torchs(frames, stride):
    wanted = torch.linspace(0, frames * stride - 1, frames).long().tolist()
    assert frame_steps(LINSPACE, num_frames=frames, sampling_rate=stride).tolist() == wanted
    assert frame_steps(STRIDE, num_frames=frames, sampling_rate=stride).tolist() == list(
        range(0, frames * stride, stride)
    )


def test_linspace_clips_lie_in_windows_of_frames_times_stride():
    sampling = ClipSampling(num_frames=8, sampling_rate=8, num_clips=3, clip_rule=LINSPACE)
    own = timeline(200)
    assert clip_span_frames(sampling) == 64
    starts = view_starts(sampling, own, video_id="v")[0]
    assert frame_indices(own, starts[0], sampling).tolist() == [0, 9, 18, 27, 36, 45, 54, 63]
    assert frame_indices(own, starts[-1], sampling).tolist() == [136, 145, 154, 163, 172, 181, 190, 199]


def test_linspace_at_a_rate_takes_frames_by_time():
    sampling = ClipSampling(num_frames=4, sampling_rate=16, fps=30.0, num_clips=1, clip_rule=LINSPACE)
    own = timeline(200, fps=60.0)
    assert frame_indices(own, 0.0, sampling).tolist() == [0, 42, 84, 126]


# Source: mmaction2's SampleFrames at test: floor(k · M / L + M / 2L).
@pytest.mark.parametrize("num_frames", [8, 37, 100, 299])
@pytest.mark.parametrize("segments", [3, 8, 25])
def test_segments_are_middles(num_frames, segments):
    sampling = ClipSampling(num_frames=segments, num_clips=1, clip_rule=SEGMENTS)
    own = timeline(num_frames)
    (start,) = view_starts(sampling, own, video_id="v")[0]
    length = num_frames / segments
    wanted = np.floor(np.arange(segments) * length + length / 2).astype(int).tolist()
    assert frame_indices(own, start, sampling).tolist() == wanted


def test_several_clips_share_the_segments():
    sampling = ClipSampling(num_frames=4, num_clips=2, clip_rule=SEGMENTS)
    own = timeline(80)  # segments of 20 frames, in which the clips lie at a quarter and at three
    starts = view_starts(sampling, own, video_id="v")[0]
    seen = [frame_indices(own, start, sampling).tolist() for start in starts]
    assert seen == [[5, 25, 45, 65], [15, 35, 55, 75]]


def test_random_segments_lie_in_their_segments():
    sampling = ClipSampling(num_frames=5, num_clips=40, clip_rule=SEGMENTS)
    own = timeline(103)
    starts = random_starts(sampling, own, rng=np.random.default_rng(0))
    for start in starts:
        frames = frame_indices(own, start, sampling)
        assert set(np.diff(frames).tolist()) <= {20, 21}
        assert frames[0] < 103 / 5
        assert frames[-1] >= 4 * 20


def test_segments_pass_over_what_is_not_used():
    sampling = ClipSampling(num_frames=2, num_clips=1, clip_rule=SEGMENTS)
    own = timeline(100, fps=10.0)
    (start,) = uniform_starts(sampling, own, start=2.0, end=6.0)
    assert frame_indices(own, start, sampling, start=2.0, end=6.0).tolist() == [30, 50]


def test_open_clips_stop_short_of_the_end():
    sampling = ClipSampling(num_frames=8, sampling_rate=2, num_clips=4, placement="open")
    own = timeline(115)  # 100 starts from 0
    starts = view_starts(sampling, own, video_id="v")[0]
    assert own.shown_at(starts).tolist() == [0, 25, 50, 75]


def test_a_rate_means_nothing_to_segments():
    with assert_refused(SettingsError, match="leave --fps out"):
        ClipSampling(clip_rule=SEGMENTS, fps=15.0)


def test_records_mention_the_rule_where_it_is_another():
    assert "clip_rule" not in ClipSampling().record()
    other = ClipSampling(clip_rule=LINSPACE)
    assert ClipSampling.of_record(other.record()) == other
