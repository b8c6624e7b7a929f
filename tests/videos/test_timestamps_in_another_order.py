"""Where timestamps do not follow the order of decoding, a check and an extraction agree all the same."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.videos.clip_reader import decode_clips
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.decoding import FrameWalker
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import VideoReader, probe, read_all

NUM_FRAMES = 60
SMALL = Preprocessing(short_side=36, crop=32)


def with_other_times(source: Path, target: Path, change: Callable[[list[int]], None]) -> Path:
    """Copy a video, its packets' presentation times changed in place by ``change``, in units of a frame."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        own = read.streams.video[0]
        stream = written.add_stream_from_template(own)
        packets = [packet for packet in read.demux(own) if packet.size]
        step = min(packet.duration for packet in packets)
        times = [packet.pts // step for packet in packets]
        change(times)
        for packet, time in zip(packets, times, strict=True):
            # All are later, since a muxer takes no frame that is shown before it is decoded.
            packet.pts, packet.stream = (time + NUM_FRAMES) * step, stream
            written.mux(packet)
    return target


def swap(times: list[int], *places: tuple[int, int]) -> None:
    """Exchange the times of frames, by their times."""
    for one, other in places:
        first, second = times.index(one), times.index(other)
        times[first], times[second] = other, one


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """60 frames of H.264, among them B-frames."""
    path = tmp_path_factory.mktemp("source") / "source.mp4"
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        options = {"bf": "3", "g": "30", "b_strategy": "0", "preset": "ultrafast"}
        stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p", options=options)
        for number in range(NUM_FRAMES):
            moved = np.ascontiguousarray(np.roll(picture, (number, 2 * number), (0, 1)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_each_frame_is_shown_at_its_own_timestamp(tmp_path, source, suffix):
    pairs = [(14, 17), (42, 45), (50, 51)]
    video = with_other_times(source, tmp_path / f"odd{suffix}", lambda times: swap(times, *pairs))
    info = probe(video, decode=True)
    assert (info.num_frames, info.damage, info.restarts_seconds) == (NUM_FRAMES, "", ())
    order = list(range(NUM_FRAMES))
    swap(order, *pairs)
    with VideoReader(video) as reader:
        read = reader.read_frames(range(NUM_FRAMES))
    assert np.array_equal(read, read_all(source)[order])


def test_clips_anywhere_are_read_and_the_same_whichever_others_are(tmp_path, source):
    video = with_other_times(source, tmp_path / "odd.mkv", lambda times: swap(times, (14, 17), (42, 45)))
    own = Video(video_id="v", path=video, labels=(), split="s", start=None, end=None, written_path="v")
    sampling = ClipSampling(num_clips=5)
    starts, clips = decode_clips(own, sampling=sampling, due={SMALL: np.ones(5, bool)})
    for clip in range(5):
        alone = decode_clips(own, sampling=sampling, due={SMALL: np.arange(5) == clip})
        assert np.array_equal(alone[0], starts)
        assert np.array_equal(alone[1][SMALL][:, clip], clips[SMALL][:, clip])


def test_timestamps_that_are_far_off_leave_the_order_to_the_decoder(tmp_path, source):
    video = with_other_times(source, tmp_path / "odd.mkv", lambda times: swap(times, (12, 55)))
    info = probe(video, decode=True)
    with VideoReader(video) as reader:
        assert len(reader.timeline) == info.num_frames == NUM_FRAMES
        assert np.array_equal(reader.read_frames(range(NUM_FRAMES)), read_all(source))


def test_few_frames_wait_for_those_before_them(tmp_path, source):
    """A frame that never comes is given up soon, and not at the end of the video."""
    video = with_other_times(source, tmp_path / "odd.mkv", lambda times: swap(times, (42, 45)))
    with VideoReader(video, shortcuts=False) as reader:
        index = reader._walker._index
        assert isinstance(reader._walker, FrameWalker)
    assert not index.is_overdue(44, count=int(index.packets[44]) + 16)
    assert index.is_overdue(10, count=NUM_FRAMES)
