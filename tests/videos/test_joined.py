"""Recordings joined end to end are shown one after the other; what orders frames otherwise is left alone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.videos.joined import begin_again, joins, one_after_the_other
from vidpipe.pipeline.videos.reader import VideoReader, probe, read_all


def again(pts, *, keyframes, container="mp4", dts=None) -> bool:
    keyframe = np.isin(np.arange(len(pts)), keyframes)
    own = np.array(pts if dts is None else dts)
    has_dts = np.full(len(pts), dts is not None)
    return begin_again(pts=np.array(pts), dts=own, has_dts=has_dts, keyframe=keyframe, container=container)


def test_reordered_frames_do_not_begin_again():
    assert not again([0, 3, 1, 2, 6, 4, 5, 9], keyframes=[0], dts=range(8))
    assert not again([0, 3, 1, 2, 8, 6, 7], keyframes=[0, 4])  # an open group of pictures
    assert not again([-2, 1, -1, 0, 5, 3], keyframes=[0, 4])


def test_times_that_step_back_do():
    assert again([0, 1, 2, 0, 1, 2], keyframes=[0, 3])
    assert again([0, 2, 1, 3, 2, 4], keyframes=[0, 4])
    assert again([0, 1, 5, 3, 4, 6], keyframes=[0], dts=[0, 1, 2, 1, 2, 3])
    assert again([0, 10, 2**32 + 20, 2**32 + 30], keyframes=[0, 2], container="mpegts")
    assert not again([0, 10, 2**32 + 20, 2**32 + 30], keyframes=[0, 2], container="matroska,webm")


def test_frames_that_are_far_too_late_begin_again_and_those_that_decoders_reorder_do_not():
    pts = np.arange(40)
    assert not again(np.insert(np.delete(pts, 10), 26, 10), keyframes=[0])
    assert again(np.insert(np.delete(pts, 10), 27, 10), keyframes=[0])


def test_guessed_decoding_times_do_not_count():
    own = {"keyframes": [0], "dts": [0, 1, 2, 1, 2, 3]}
    assert not again([0, 1, 5, 3, 4, 6], container="matroska,webm", **own)


def test_parts_follow_at_the_usual_distance():
    pts = np.array([100, 104, 108, 112, 116, 120, 124, 128, 132, 136, 104, 108, 120, 124])
    starts = joins(pts, container="mpegts")
    assert starts.tolist() == [10]
    found = one_after_the_other(pts, starts)
    assert found is not None
    assert found.tolist() == [*range(100, 137, 4), 140, 144, 156, 160]


def test_frames_in_the_wrong_order_are_no_joins():
    pts = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7])
    assert one_after_the_other(pts, joins(pts, container="avi")) is None


def joined(first: Path, *others: Path) -> Path:
    """Append ``others`` to ``first`` and return it."""
    first.write_bytes(b"".join(path.read_bytes() for path in (first, *others)))
    return first


def shifted(source: Path, target: Path, seconds: float) -> Path:
    """Copy a video with all its times ``seconds`` later."""
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        own = read.streams.video[0]
        stream = written.add_stream_from_template(own)
        for packet in read.demux(own):
            if packet.dts is not None:
                ticks = round(seconds / own.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
                written.mux(packet)
    return target


@pytest.mark.parametrize(
    ("suffix", "codec", "second_at"),
    [
        (".ts", "libx264", 0),
        (".ts", "libx264", 1),  # while the first one lasts
        (".ts", "mpeg2video", 0),
        (".ts", "libx264", -1000),
        (".mpg", "mpeg2video", 0),
        (".mkv", "libx264", 0),
        (".webm", "libvpx", 0),
    ],
)
def test_two_recordings_in_one_file_are_shown_one_after_the_other(tmp_path, make_video, suffix, codec, second_at):
    parts = [make_video(tmp_path / f"{n}{suffix}", codec=codec, num_frames=50, fps=25, seed=n) for n in (1, 2)]
    whole = np.concatenate([read_all(part) for part in parts])
    if second_at > 0:
        parts[1] = shifted(parts[1], tmp_path / f"s{suffix}", second_at)
    if second_at < 0:
        parts[0] = shifted(parts[0], tmp_path / f"s{suffix}", -second_at)
    path = joined(*parts)
    info = probe(path, decode=True)
    assert (info.num_frames, info.duration_seconds) == (100, pytest.approx(4, abs=0.002))
    assert info.restarts_seconds == pytest.approx([2], abs=0.002)
    assert info.gaps == ()
    with VideoReader(path) as reader:
        assert np.array_equal(reader.read_frames([3, 49, 50, 99]), whole[[3, 49, 50, 99]])


def test_a_clock_that_runs_over_is_no_join(tmp_path, make_video):
    plain = make_video(tmp_path / "a.ts", num_frames=50, fps=25)
    path = shifted(plain, tmp_path / "b.ts", float(Fraction(2**33, 90000)) - 2.4)
    info = probe(path, decode=True)
    assert (info.num_frames, info.duration_seconds, info.restarts_seconds) == (50, pytest.approx(2), ())
    assert np.array_equal(read_all(path), read_all(plain))


def test_a_second_part_much_later_leaves_a_gap(tmp_path, make_video):
    parts = [make_video(tmp_path / f"{n}.ts", num_frames=50, fps=25, seed=n) for n in (1, 2)]
    parts[1] = shifted(parts[1], tmp_path / "s.ts", 1000)
    info = probe(joined(*parts), decode=True)
    (gap,) = info.gaps
    assert (info.num_frames, info.restarts_seconds) == (100, ())
    assert (gap.start, gap.seconds) == (pytest.approx(2), pytest.approx(998))
