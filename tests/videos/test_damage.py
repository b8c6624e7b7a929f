"""Damaged videos: what is wrong is found, told, and either refused or kept out of the clips."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.videos.clip_reader import decode_video
from vidpipe.pipeline.videos.clips import ClipSampling, frame_indices, view_starts
from vidpipe.pipeline.videos.damage import Damage, damaged_frames, own_packets
from vidpipe.pipeline.videos.frame_times import Timeline
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import VideoReader, probe, read_all
from vidpipe.pipeline.videos.reading import Reading

CLIPS = Path(__file__).parents[1] / "goldens" / "clips"
SAMPLING = ClipSampling(num_frames=4, num_clips=6)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """60 frames of noise that moves, (60, 48, 64, 3) uint8: every packet has bytes that matter."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (48, 64 + 60, 3), dtype=np.uint8)
    return np.stack([texture[:, i : i + 64] for i in range(60)])


def encode(path: Path, pictures: np.ndarray, codec: str = "libx264", **options: str) -> Path:
    """Write ``pictures`` with a keyframe every 20 frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "20", "threads": "1"} | options)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def spoil(path: Path, frame: int) -> Path:
    """Overwrite the packet that is decoded as number ``frame`` with zeros: less may not be noticed by any decoder."""
    with av.open(str(path)) as container:
        packet = bytes([packet for packet in container.demux(video=0) if packet.size][frame])
    data, head = bytearray(path.read_bytes()), packet[:200]
    at = data.index(head)  # found by its content: not all containers say where a packet lies
    data[at : at + len(head)] = bytes(len(head))
    path.write_bytes(data)
    return path


def test_a_fault_spoils_what_is_decoded_after_it_until_a_keyframe():
    packets = np.array([0, 3, 2, 1, 4, 5])  # frame 3 is decoded second, and 1 and 2 refer to it
    spoilt = damaged_frames([1], packets, [0, 4])
    assert spoilt.tolist() == [False, True, True, True, False, False]
    assert damaged_frames([5, 1], packets, [0, 4]).tolist() == [False, True, True, True, False, True]
    assert damaged_frames([0], packets, [0]).all()
    assert not damaged_frames([], packets, [0, 4]).any()


def test_pictures_before_a_keyframe_that_are_decoded_after_it_are_spoilt_too():
    packets = np.array([0, 2, 3, 1, 4])  # an open group: frames 1 and 2 refer to 0 and to the keyframe 3
    assert damaged_frames([0], packets, [0, 3]).tolist() == [True, True, True, False, False]


def test_a_fault_in_such_a_picture_ends_with_that_keyframe():
    packets = np.array([0, 2, 3, 1, 4, 5])
    assert damaged_frames([2], packets, [0, 3]).tolist() == [False, True, True, False, False, False]
    assert damaged_frames([2, 4], packets, [0, 3]).tolist() == [False, True, True, False, True, True]
    assert damaged_frames([1], packets, [0, 3]).tolist() == [False, True, True, True, True, True]


def test_frames_find_their_packets():
    pts, dts = np.array([0, 3, 1, 2]), np.array([-2, -1, 0, 1])
    assert own_packets([(0, -2), (1, 0), (2, 1), (3, -1)], pts, dts).tolist() == [0, 2, 3, 1]
    assert own_packets([(0, None), (1, None), (3, None)], pts, dts).tolist() == [0, 2, 1]
    assert own_packets([(None, None)] * 3, pts, dts).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("frames", "lost", "words"),
    [
        ([1, 1, 0, 0], 0, "damaged: frames 0 to 1 of 4 (why)"),
        ([0, 1, 0, 0], 1, "damaged: frame 1 of 4; 1 frame does not decode (why)"),
        ([0, 1, 0, 1], 2, "damaged: 2 of 4 frames, from frame 1 on; 2 frames do not decode (why)"),
        ([0, 0, 0, 0], 3, "damaged: 3 frames do not decode (why)"),
    ],
)
def test_damage_in_words(frames, lost, words):
    assert str(Damage(np.array(frames, bool), lost, "why")) == words


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("v.mp4", "libx264"),
        ("v.mkv", "libx264"),
        ("v.webm", "libvpx-vp9"),
        ("v.avi", "mpeg4"),
        ("av1.mp4", "libsvtav1"),
    ],
)
def test_clips_keep_out_of_the_damage(name, codec, tmp_path, pictures):
    options = {"svtav1-params": "lp=1:lookahead=0", "preset": "12"} if codec == "libsvtav1" else {}
    path = encode(tmp_path / name, pictures, codec, **options)
    whole = read_all(path)
    spoil(path, 25)
    with pytest.raises(VideoError, match=r"^damaged: "), VideoReader(path) as reader:
        reader.read_frames(range(len(reader.timeline)))
    assert probe(path, decode=True, damaged="report").damage.startswith("damaged: ")
    with VideoReader(path, reading=Reading(damaged="keep")) as reader:
        damage, timeline = reader.find_damage(), reader.timeline
        assert 1 <= damage.num_frames <= 20
        assert 20 <= np.flatnonzero(damage.frames)[0] <= 25
        starts = view_starts(replace(SAMPLING, views=3), timeline, video_id="v")
        clips = [frame_indices(timeline, start, SAMPLING) for start in np.sort(starts.flat)]
        assert not any(damage.touches(clip) for clip in clips)
        sound = {picture.tobytes() for picture in whole}
        for frames in reader.read_clips(clips):
            assert all(frame.tobytes() in sound for frame in frames)


def test_only_what_is_used_counts(tmp_path, pictures):
    path = spoil(encode(tmp_path / "v.mp4", pictures), 25)
    for shortcuts in (True, False):
        with VideoReader(path, shortcuts=shortcuts) as reader:
            assert reader.read_frames([0, 19, 40, 59]).shape == (4, 48, 64, 3)
            with pytest.raises(VideoError, match="damaged"):
                reader.read_frames([0, 39])
            assert reader.read_frames([41]).shape == (1, 48, 64, 3)


def test_a_frame_is_refused_for_what_it_refers_to_and_comes_later(tmp_path, pictures):
    """B-frames are shown before the frame that they refer to, which alone is marked."""
    path = encode(tmp_path / "v.mp4", pictures, bf="3", **{"x264-params": "b-adapt=0:scenecut=0"})
    with av.open(str(path)) as container:
        places = [int(packet.pts * packet.time_base * 25) for packet in container.demux(video=0) if packet.size]
    spoil(path, 1)  # shown fourth after the keyframe
    assert places[1] - places[0] == 4
    with VideoReader(path) as reader, pytest.raises(VideoError, match="damaged: frames 1 to"):
        reader.read_frames([1])


def test_a_whole_video_is_the_same_whatever_the_policy(tmp_path, pictures):
    path = encode(tmp_path / "v.mp4", pictures)
    with VideoReader(path) as refusing, VideoReader(path, reading=Reading(damaged="keep")) as keeping:
        assert keeping.timeline.damaged is None
        assert np.array_equal(refusing.timeline.pts, keeping.timeline.pts)
        assert not keeping.find_damage()


def test_what_was_left_out_is_counted(tmp_path, pictures):
    path = spoil(encode(tmp_path / "v.mp4", pictures), 25)
    video = Video(video_id="v", path=path, written_path="v.mp4", labels=(), split="all")
    due = {Preprocessing(crop=16, short_side=16): np.ones(6, bool)}
    with pytest.raises(VideoError, match="damaged"):
        decode_video(video, sampling=SAMPLING, due=due)
    left_out = decode_video(video, sampling=replace(SAMPLING, reading=Reading(damaged="keep")), due=due).left_out
    with VideoReader(path) as reader:
        damage, starts = reader.find_damage(), view_starts(SAMPLING, reader.timeline, video_id="v")[0]
        touched = [damage.touches(frame_indices(reader.timeline, start, SAMPLING)) for start in starts]
    assert (left_out.num_frames, left_out.num_all_frames) == (damage.num_frames, 60)
    assert (left_out.num_clips, left_out.num_all_clips) == (sum(touched), 6)
    assert 1 <= sum(touched) <= 3
    assert str(left_out).endswith(f"{sum(touched)} of 6 clips lie elsewhere than in the whole file")


def test_damage_everywhere_leaves_nothing():
    timeline = Timeline(pts=np.arange(5) / 25, duration=0.2).without(np.ones(5, bool))
    with pytest.raises(VideoError, match="no frame that could be used is left"):
        view_starts(SAMPLING, timeline, video_id="v")


def test_samplings_without_a_policy_refuse():
    assert "damaged" not in SAMPLING.record()
    assert ClipSampling.of_record(SAMPLING.record()) == SAMPLING
    keeping = replace(SAMPLING, reading=Reading(damaged="keep"))
    assert ClipSampling.of_record(keeping.record()) == keeping


def empty_samples(path: Path, dropped: list[int]) -> Path:
    """Take the bytes of the samples ``dropped`` out of a QuickTime file whose samples lie in one chunk, index last."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    assert data[data.index(b"stco") + 8 : data.index(b"stco") + 12] == (1).to_bytes(4, "big")
    sizes = data.index(b"stsz") + 16
    for frame in dropped:
        data[sizes + 4 * frame : sizes + 4 * frame + 4] = bytes(4)
    box = data.index(b"mdat") - 4
    left = int.from_bytes(data[box : box + 4], "big") - sum(places[frame][1] for frame in dropped)
    data[box : box + 4] = left.to_bytes(4, "big")
    for frame in reversed(dropped):
        at, size = places[frame]
        del data[at : at + size]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dropped", [[59], [57, 58, 59], [0], [10], [10, 11, 30, 59]])
def test_empty_samples_are_dropped_frames(dropped, tmp_path, pictures):
    path = encode(tmp_path / "v.mov", pictures, "mjpeg", strict="unofficial")
    whole = read_all(path)
    empty_samples(path, dropped)
    info, kept = probe(path, decode=True), [frame for frame in range(60) if frame not in dropped]
    assert (info.num_frames, info.truncated, info.damage) == (len(kept), "", "")
    assert np.array_equal(read_all(path), whole[kept])
    with VideoReader(path) as reader:
        # The frame before stays on the screen, to the end if need be; the video begins with its first frame.
        assert np.round(reader.timeline.pts * 25).astype(int).tolist() == [frame - kept[0] for frame in kept]
        assert reader.timeline.duration == pytest.approx((60 - kept[0]) / 25)


REPORTED = {
    "good.mp4": (100, "", ""),
    "one_byte_flipped.mp4": (600, "damaged: frames 182 to 599 of 600 (", ""),
    "one_damaged_stretch.mp4": (100, "damaged: frames 50 to 74 of 100; 1 frame does not decode (", ""),
    "cut_short.avi": (61, "", "truncated: 61 of 100 frames, as the header announces them"),
    "zero_samples.mp4": (100, "", ""),
    "animated.avif": (30, "", ""),
    "ts_joined_overlap.ts": (200, "", ""),
}


@pytest.mark.parametrize("name", REPORTED)
def test_reported_files(name, media):
    num_frames, damage, truncated = REPORTED[name]
    info = probe(media / "reported" / name, decode=True, damaged="report")
    assert (info.num_frames, info.truncated) == (num_frames, truncated)
    assert info.damage.startswith(damage)
    assert bool(info.damage) is bool(damage)
