"""Strides that follow the videos, and how much of a video clips see: pure arithmetic, and a look at a few files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.videos.clips import ClipSampling, Timeline, clip_span_frames, uniform_starts
from vidpipe.pipeline.videos.strides import (
    NUM_LOOKED_AT,
    Stretch,
    fitting_stride,
    look_at_some,
    share_seen,
    stretch_of,
)


def constant(frames: int, *, fps: float = 30) -> Timeline:
    return Timeline(pts=np.arange(frames) / fps, duration=frames / fps)


@pytest.mark.parametrize(
    ("frames", "rate", "num_frames", "fps", "stride"),
    [
        (60, 30, 8, None, 4),  # two seconds: half of them
        (300, 30, 8, None, 8),  # Kinetics: Slow-only's 8×8
        (300, 30, 32, None, 2),  # and I3D's 32×2
        (250, 25, 8, None, 7),
        (600, 60, 8, None, 16),  # twice the rate, the same seconds
        (10**6, 30, 8, None, 8),
        (12, 30, 8, None, 1),
        (1, 30, 8, None, 1),
        (60, 30, 64, None, 1),
        (60, 30, 8, 15.0, 2),  # of 30 resampled frames
        (300, 60, 8, 5.0, 1),
    ],
)
def test_a_clip_spans_half_of_a_video_or_two_seconds(frames, rate, num_frames, fps, stride):
    assert fitting_stride([Stretch(num_frames=frames, rate=rate)], num_frames=num_frames, fps=fps) == stride


def test_videos_of_different_rates_each_count_with_their_own_stride():
    short, long = Stretch(num_frames=32, rate=15.0), Stretch(num_frames=600, rate=60.0)
    assert fitting_stride([short, short, long], num_frames=8, fps=None) == 2
    assert fitting_stride([short, long, long], num_frames=8, fps=None) == 16


@given(
    frames=st.integers(1, 400),
    rate=st.floats(1, 120),
    length=st.integers(1, 32),
    clips=st.integers(1, 12),
)
def test_a_fitting_clip_fits_and_the_share_is_what_clips_cover(frames: int, rate: float, length: int, clips: int):
    stretch = Stretch(num_frames=frames, rate=rate)
    stride = fitting_stride([stretch], num_frames=length, fps=None)
    sampling = ClipSampling(num_frames=length, sampling_rate=stride, num_clips=clips)
    if frames >= length:
        assert clip_span_frames(sampling) <= frames
    timeline = constant(frames)
    starts = np.rint(uniform_starts(sampling, timeline) * 30).astype(int)
    covered = np.zeros(frames, bool)
    for start in starts:
        covered[start : start + clip_span_frames(sampling)] = True
    # Starts lie on whole frames: each gap between clips is off by less than one.
    assert share_seen([stretch], sampling) == pytest.approx(covered.mean(), abs=clips / frames)


def test_dense_clips_cover_what_they_are_many_of():
    stretch = Stretch(num_frames=100, rate=25.0)
    dense = ClipSampling(num_frames=8, num_clips=5, placement="dense")
    assert share_seen([stretch], dense) == pytest.approx(0.40)
    assert share_seen([stretch], ClipSampling(num_frames=8, num_clips=50, placement="dense")) == 1.0
    assert share_seen([stretch], ClipSampling(num_frames=8, num_clips=5, fps=10.0)) == 1.0


def test_a_stretch_is_the_manifests_part_and_pauses_do_not_count():
    timeline = constant(90)
    assert stretch_of(timeline, start=None, end=None).num_frames == 90
    assert stretch_of(timeline, start=1.0, end=2.0).num_frames == 30
    assert stretch_of(timeline, start=2.99, end=None).num_frames == 1
    paused = Timeline(pts=np.r_[np.arange(30) / 30, 1000 + np.arange(30) / 30], duration=1001.0)
    own = stretch_of(paused, start=None, end=None)
    assert (own.num_frames, own.rate, own.seconds) == (60, pytest.approx(30), pytest.approx(2))
    single = Timeline(pts=np.zeros(1), duration=0.0)
    assert stretch_of(single, start=None, end=None).num_frames == 1


def videos_of(paths: list[Path]) -> list[Video]:
    return [Video(video_id=f"v{i}", path=own, labels=("x",), split="train", written_path=own.name)
            for i, own in enumerate(paths)]  # fmt: skip


def test_a_few_files_are_looked_at_always_the_same_and_once_each(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    film = make_video(tmp_path / "film.mp4", num_frames=20)
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    found = look_at_some(videos_of([film, tmp_path / "broken.mp4", tmp_path / "gone.mp4"]))
    assert [(own.num_frames, round(own.rate)) for own in found] == [(20, 30)]
    assert look_at_some([]) == ()
    opened: list[Path] = []

    def noted(path: Path) -> Timeline:
        opened.append(path)
        return constant(len(path.name))

    monkeypatch.setattr("vidpipe.pipeline.videos.strides.read_timeline", noted)
    many = videos_of([Path(f"{'x' * (i % 50)}.mp4") for i in range(1000)])
    first = look_at_some(many)
    assert len(first) == NUM_LOOKED_AT
    assert len(opened) == len(set(opened)) <= NUM_LOOKED_AT
    assert look_at_some(many) == first
