"""Decoding, against what ffmpeg says of the same files, and against a plain decode of the whole file."""

import contextlib
import importlib.util
import itertools
import json
import shutil
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.videos import decoding as video_decoding
from vidpipe.pipeline.videos.clips import ClipSampling, frame_indices, view_starts
from vidpipe.pipeline.videos.container import decode
from vidpipe.pipeline.videos.decoder import Decoder
from vidpipe.pipeline.videos.decoding import Segment, plan_segments
from vidpipe.pipeline.videos.frames import Display, Orientation, orientation_of
from vidpipe.pipeline.videos.reader import VideoReader, probe, read_all, read_timeline

HERE = Path(__file__).parents[1] / "goldens"
CLIPS = json.loads((HERE / "clips.json").read_text())
MEDIA = json.loads((HERE / "media.json").read_text())
INVALID = "Invalid data found when processing input"

# Files whose packets do not tell the timeline, or whose keyframes are no fresh start: all of them is decoded.
WITHOUT_SHORTCUTS = {
    "b_frames_in_avi.avi",
    "mpeg4.avi",
    "program_stream.mpg",
    "vp8.webm",
    "interlaced.ts",
    "intra_refresh.mp4",
}


def load_thumbnail():
    """Return the function that made the goldens' thumbnails, from the script beside them."""
    spec = importlib.util.spec_from_file_location("make_goldens", HERE / "make_goldens.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.thumbnail


thumbnail = load_thumbnail()


# Not converted by swscale's fast path, which is the same in all versions: fields are converted apart from each other,
# and the height of 81 leaves a chroma line over.
GENERIC_PATH = ("interlaced.ts", "testsrc2_odd_height_and_width_mpeg2.mp4")


def tolerance(path: Path, pixel_format: str, *, stretched: bool) -> tuple[float, str]:
    """Return by how much mean colours (0 to 255) may differ from ffmpeg's, on average over a picture, and why."""
    if path.name in GENERIC_PATH or "p10" in pixel_format or "p12" in pixel_format:
        return 4.0, "swscale's generic path places chroma by half a pixel differently in ffmpeg 5.1"
    if stretched:
        return 2.5, "stretched to square pixels before it becomes RGB, ffmpeg's golden is not stretched"
    return 0.6, "the same arithmetic, but for the thumbnail's rounding"


def check_golden(path: Path, golden: dict) -> None:
    """Compare what vidpipe sees in ``path`` with what ffmpeg saw."""
    with VideoReader(path) as reader:
        info, timeline = reader.info, reader.timeline
        places = [int(place) for place in golden["thumbnails"]]
        frames = reader.read_frames(places)
    unit = float(Fraction(golden["time_base"]))
    gaps = np.repeat([gap for gap, _ in golden["gaps"]], [times for _, times in golden["gaps"]]) * unit
    assert info.num_frames == len(timeline) == golden["frames"]
    assert [info.width, info.height] == golden["size"]
    assert frames.shape == (len(places), info.height, info.width, 3)
    assert np.diff(timeline.pts)[: len(gaps)] == pytest.approx(gaps, abs=1e-6)
    limit, why = tolerance(path, info.pixel_format, stretched=info.sample_aspect_ratio != 1)
    for frame, means in zip(frames, golden["thumbnails"].values(), strict=True):
        expected = np.frombuffer(bytes.fromhex(means), np.uint8).reshape(8, 8, 3).astype(float)
        assert np.abs(thumbnail(frame) - expected).mean() <= limit, why
        assert np.abs(thumbnail(frame) - expected).max() <= 8 * limit, why


def digests_by_plain_decoding(path: Path, wanted: set[int]) -> tuple[dict[int, int], int]:
    """Return a checksum of the wanted frames, in the decoder's order, and how many there are; one picture is held."""
    with VideoReader(path) as reader:
        aspect_ratio = reader.info.sample_aspect_ratio
    display, digests, size = None, {}, 0
    for size, frame in enumerate(decode(path, threads=1), start=1):
        display = display or Display(frame, aspect_ratio=aspect_ratio)
        if size - 1 in wanted:
            digests[size - 1] = zlib.crc32(display.show(frame))
    return digests, size


def check_shortcuts(path: Path, *, seed: int = 0) -> bool:
    """Compare frames read here and there with a plain decode of the whole file; return whether shortcuts held."""
    rng = np.random.default_rng(seed)
    with VideoReader(path) as reader:
        size = len(reader.timeline)
        singly = [[size - 1], [size // 2], *(rng.integers(0, size, count).tolist() for count in (1, 2, 5))]
        samplings = (ClipSampling(num_frames=4, num_clips=3), ClipSampling(num_frames=3, num_clips=8, fps=7.0))
        in_clips = [
            [frame_indices(reader.timeline, start, sampling).tolist() for start in starts]
            for sampling in samplings
            for starts in view_starts(sampling, reader.timeline, video_id="v")[:1]
        ]
        wanted = {index for indices in itertools.chain(singly, *in_clips) for index in indices}
        expected, number = digests_by_plain_decoding(path, wanted)
        assert (size, set(expected)) == (number, wanted)
        for indices in singly:
            found = [zlib.crc32(np.ascontiguousarray(frame)) for frame in reader.read_frames(indices)]
            assert found == [expected[index] for index in indices]
        for clips in in_clips:
            for clip, frames in zip(clips, reader.read_clips(clips), strict=True):
                assert [zlib.crc32(np.ascontiguousarray(frame)) for frame in frames] == [expected[i] for i in clip]
        return reader._walker.shortcuts


@pytest.mark.parametrize("name", CLIPS)
def test_clips_are_as_ffmpeg_sees_them(name):
    check_golden(HERE / "clips" / name, CLIPS[name])


@pytest.mark.parametrize("skipped", [-1, 5, video_decoding.MIN_SKIPPED_FRAMES])
@pytest.mark.parametrize("name", CLIPS)
def test_shortcuts_give_what_a_plain_decode_gives(name, skipped, monkeypatch):
    monkeypatch.setattr(video_decoding, "MIN_SKIPPED_FRAMES", skipped)
    held = check_shortcuts(HERE / "clips" / name, seed=skipped + 1)
    assert held is (name not in WITHOUT_SHORTCUTS)


@pytest.mark.parametrize("name", MEDIA)
def test_real_media_are_as_ffmpeg_sees_them(name, media):
    check_golden(media / name, MEDIA[name])


@pytest.mark.parametrize("name", MEDIA)
def test_shortcuts_in_real_media(name, media):
    check_shortcuts(media / name)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("audio_only/nasa_13013.mp4.audio.mp3", "no video stream"),
        ("audio_only/afconvert-aac-0.5s.mp4", "no video stream"),
        ("corrupt/chunk_out_of_range.mp4", f"cannot be opened: {INVALID}"),
        ("corrupt/test-stuffed-pes.ts", f"cannot be opened: {INVALID}"),
        ("corrupt/test_case_1185230.mp4", f"no frames decode ({INVALID})"),
        ("corrupt/corrupted.mp4", "damaged: frames 29 to 49 of 50; 1 frame does not decode ("),
        ("corrupt/no_timescale.mp4", "damaged: frames 0 to "),
    ],
)
def test_broken_media_give_their_reason(name, found, media):
    for _ in range(2):
        with pytest.raises(VideoError) as error, VideoReader(media / "hard" / name) as reader:
            reader.read_frames(range(len(reader.timeline)))
        assert str(error.value).startswith(found)


def test_what_decodes_before_the_damage_can_be_read(media):
    path = media / "hard/corrupt/corrupted.mp4"
    with VideoReader(path) as reader:
        assert reader.read_frames(range(28)).shape == (28, 720, 1280, 3)
        for wanted in ([29], [3, 49]):
            with pytest.raises(VideoError, match="damaged: frames 29 to 49 of 50"):
                reader.read_frames(wanted)


def test_probing_tells_what_a_file_holds():
    info = probe(HERE / "clips/wide_pixels_rotated.mp4")
    assert (info.codec, info.width, info.height, info.rotation) == ("h264", 48, 93, 90)
    assert (info.sample_aspect_ratio, info.pixel_format, info.bit_depth) == (Fraction(16, 11), "yuv420p", 8)
    assert (info.average_fps, info.num_frames, info.duration_seconds) == (pytest.approx(25), 25, pytest.approx(1))
    assert (info.first_pts_seconds, info.variable_rate) == (0, False)
    assert probe(HERE / "clips/transport.ts").first_pts_seconds == pytest.approx(1.48)
    assert probe(HERE / "clips/variable_rate.mp4").variable_rate
    assert probe(HERE / "clips/twelve_bit.mp4").bit_depth == 12
    assert not probe(HERE / "clips/matroska.mkv").variable_rate


def test_an_edit_list_cuts_the_same_frames_away_as_ffmpeg():
    whole = read_all(HERE / "clips/b_frames.mp4")
    cut = read_all(HERE / "clips/edit_list.mp4")
    assert np.array_equal(cut, whole[13:])  # ffmpeg -ss 0.5: the first frame at or after 0.52 s
    assert read_timeline(HERE / "clips/edit_list.mp4").pts[0] == 0


@pytest.mark.parametrize("turns", [1, 2])
def test_rotation_turns_the_stored_picture(turns):
    stored = read_all(HERE / "clips/b_frames.mp4")
    shown = read_all(HERE / f"clips/rotated_{90 * turns}.mp4")
    assert np.array_equal(shown, np.rot90(stored, -turns, axes=(1, 2)))  # rot90 is anticlockwise


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), Orientation()),
        ((0, 1, 0, -1, 0, 0, 0, 0, 1), Orientation(transpose=True, flip_x=True)),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), Orientation(flip_x=True, flip_y=True)),
        ((0, -1, 0, 1, 0, 0, 0, 0, 1), Orientation(transpose=True, flip_y=True)),
        ((-1, 0, 0, 0, 1, 0, 0, 0, 1), Orientation(flip_x=True)),
        ((0, 1, 0, 1, 0, 0, 0, 0, 1), Orientation(transpose=True)),
        ((0.7, 0.7, 0, -0.7, 0.7, 0, 0, 0, 1), Orientation()),
        ((0, 0, 0, 0, 0, 0, 0, 0, 0), Orientation()),
        ((1, 0, 0, 0, 0, 0, 0, 0, 1), Orientation()),
    ],
)
def test_display_matrices(matrix, expected):
    assert orientation_of((np.array(matrix) * 65536).astype(np.int32)) == expected


def test_orientations_move_pixels_as_the_matrix_says():
    picture = np.arange(6).reshape(2, 3, 1)
    assert np.array_equal(Orientation(transpose=True, flip_x=True).apply(picture), np.rot90(picture, -1))
    assert np.array_equal(Orientation(transpose=True, flip_y=True).apply(picture), np.rot90(picture, 1))
    assert np.array_equal(Orientation(flip_x=True).apply(picture), picture[:, ::-1])


@pytest.mark.parametrize("colorspace", [1, 5])
@pytest.mark.parametrize("color_range", [1, 2])
def test_matrix_and_range_are_those_the_frame_names(colorspace, color_range):
    """Against the formula: R = Y + 2 (1 - Kr) V and so on (ITU-R BT.601, BT.709)."""
    red, blue = (0.2126, 0.0722) if colorspace == 1 else (0.299, 0.114)
    frame = av.VideoFrame(16, 16, "yuv420p")
    for plane, value in zip(frame.planes, (120, 100, 160), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    frame.colorspace, frame.color_range = colorspace, color_range
    luma, chroma = ((120 - 16) * 255 / 219, 255 / 224) if color_range == 1 else (120, 1)
    u, v = -28 * chroma, 32 * chroma
    r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
    g = (luma - red * r - blue * b) / (1 - red - blue)
    shown = Display(frame, aspect_ratio=None).show(frame)
    assert np.abs(shown - np.array([r, g, b])).max() <= 3  # swscale's fast path works in few bits


@pytest.mark.parametrize(("ratio", "width"), [(None, 64), (Fraction(0), 64), (Fraction(4, 3), 85), (Fraction(99), 64)])
def test_pixels_become_square(ratio, width):
    frame = av.VideoFrame(64, 48, "yuv420p")
    assert Display(frame, aspect_ratio=ratio).size == (width, 48)


def test_a_frame_of_another_size_keeps_its_own():
    display = Display(av.VideoFrame(64, 48, "yuv420p"), aspect_ratio=None)
    assert display.show(av.VideoFrame(32, 64, "yuv420p")).shape == (64, 32, 3)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("missing.mp4", "no such file"),
        ("folder.mp4", "is a folder, not a file"),
        ("empty.mp4", "is empty (0 bytes): download or copy it again"),
        ("noise.mp4", f"cannot be opened: {INVALID}"),
        ("cover_art.m4a", "no video stream"),
        ("encrypted.mp4", "encrypted"),
        ("truncated.mp4", "truncated: 17 of 50 frames, as the header announces them"),
    ],
)
def test_what_is_no_video_gives_its_reason(name, found, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    for clip in ("cover_art.m4a", "encrypted.mp4"):
        shutil.copy(HERE / "clips" / clip, tmp_path)
    (tmp_path / "truncated.mp4").write_bytes(cut_frames_off((HERE / "clips/b_frames.mp4").read_bytes()))
    for action in (probe, read_timeline, read_all):
        with pytest.raises(VideoError) as error:
            action(tmp_path / name)
        assert str(error.value) == found


def cut_frames_off(data: bytes) -> bytes:
    """Return the MP4 with its index moved before its frames, and half of those cut off: an unfinished download."""
    mdat, moov = data.index(b"mdat") - 4, data.index(b"moov") - 4
    index = bytearray(data[moov:])
    table = index.index(b"stco") + 8
    count = int.from_bytes(index[table : table + 4], "big")
    for entry in range(table + 4, table + 4 + 4 * count, 4):
        moved = int.from_bytes(index[entry : entry + 4], "big") + len(index)
        index[entry : entry + 4] = moved.to_bytes(4, "big")
    return data[:mdat] + bytes(index) + data[mdat : (mdat + moov) // 2]


def damage(source: Path, target: Path, *, seed: int) -> Path:
    """Write a copy of ``source`` with 60 bytes of its frames overwritten."""
    data = bytearray(source.read_bytes())
    begin, end = data.index(b"mdat") + 800, data.rindex(b"moov") - 70
    rng = np.random.default_rng(seed)
    at = int(rng.integers(begin, end))
    data[at : at + 60] = rng.bytes(60)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("seed", range(12))
def test_damage_gives_the_frames_of_a_plain_decode_or_an_error(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(video_decoding, "MIN_SKIPPED_FRAMES", 3)
    path = damage(HERE / "clips/b_frames.mp4", tmp_path / "damaged.mp4", seed=seed)
    digests, size = digests_by_plain_decoding(HERE / "clips/b_frames.mp4", set(range(50)))
    sound, plain = [digests[index] for index in range(size)], digests_until_an_error(path)
    # Behind the place where a plain decode breaks, only a later keyframe leads to frames: they are sound ones.
    expected = plain + sound[len(plain) :]
    refused = []
    with VideoReader(path) as reader:
        for wanted in ([5, 30], [20, 21, 22], [49], list(range(50))):
            try:
                frames = reader.read_frames(wanted)
            except VideoError as error:
                assert str(error).startswith("damaged: ")
                refused.append(wanted)
            else:
                assert [zlib.crc32(frame.copy()) for frame in frames] == [expected[index] for index in wanted]
    assert (list(range(50)) in refused) is (len(plain) < 50)
    assert len(plain) < 50 or not refused


def digests_until_an_error(path: Path) -> list[int]:
    """Return the frames that a plain decode gives before it breaks, if it does."""
    digests = []
    with contextlib.suppress(VideoError):
        digests.extend(zlib.crc32(Display(frame, aspect_ratio=None).show(frame)) for frame in decode(path, threads=1))
    return digests


def test_titles_in_any_encoding_are_no_obstacle(tmp_path):
    data = (HERE / "clips/b_frames.mp4").read_bytes()
    assert b"VideoHandler" in data
    (tmp_path / "title.mp4").write_bytes(data.replace(b"VideoHandler", b"Vid\xe9oHandler"))
    assert probe(tmp_path / "title.mp4").num_frames == 50


def test_nothing_reaches_the_terminal(tmp_path):
    path = damage(HERE / "clips/b_frames.mp4", tmp_path / "damaged.mp4", seed=1)
    body = f"try: probe({str(path)!r}, decode=True)\nexcept ValueError: pass"
    code = f"from vidpipe.pipeline.videos.reader import *\n{body}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_decoding_for_the_timeline_agrees_with_the_packets():
    for name in ("b_frames.mp4", "edit_list.mp4", "variable_rate.mp4", "open_group.mp4", "transport.ts", "delays.gif"):
        path = HERE / "clips" / name
        with VideoReader(path) as packets, VideoReader(path, decode_timeline=True) as frames:
            assert np.array_equal(packets.timeline.pts, frames.timeline.pts)
            assert packets.timeline.duration == pytest.approx(frames.timeline.duration)
            assert np.array_equal(packets.read_frames([4, 0, 4]), frames.read_frames([4, 0, 4]))


def test_segments_seek_only_where_it_pays():
    keyframes = np.array([0, 20, 40, 60])
    assert plan_segments([], keyframes) == []
    assert plan_segments([0, 5, 25], keyframes) == [Segment(0, (0, 5)), Segment(20, (25,))]
    assert plan_segments([15, 25, 39], keyframes) == [Segment(0, (15, 25, 39))]
    assert plan_segments([70, 75], keyframes) == [Segment(60, (70, 75))]
    assert plan_segments([3, 4], np.zeros(0, np.int64)) == [Segment(0, (3, 4))]


def test_shortcuts_decode_less(monkeypatch):
    counts = []

    def counted(decoder, packets):
        for frame in decode_all(decoder, packets):
            counts[-1] += 1
            yield frame

    decode_all = Decoder.decode_all
    with VideoReader(HERE / "clips/b_frames.mp4") as reader:
        monkeypatch.setattr(Decoder, "decode_all", counted)
        for wanted in ([49], list(range(50)), [2]):
            counts.append(0)
            reader.read_frames(wanted)
    assert counts[0] <= 2  # 48 is a keyframe
    assert counts[1] == 50
    assert counts[2] <= 4


def test_clips_must_be_sorted_and_inside():
    with VideoReader(HERE / "clips/b_frames.mp4") as reader:
        with pytest.raises(ValueError, match="sorted"):
            reader.read_clips([[5, 6], [2, 3]])
        with pytest.raises(IndexError, match="frames 0 to 49"):
            reader.read_frames([50])
        assert reader.read_frames([]).shape == (0, 48, 64, 3)
        assert list(reader.read_clips([])) == []


def test_overlapping_clips_share_frames():
    with VideoReader(HERE / "clips/b_frames.mp4") as reader:
        clips = [[0, 4, 8], [2, 4, 6], [2, 8, 3], [8, 8, 8], [40, 49, 40]]
        every = read_all(HERE / "clips/b_frames.mp4")
        for clip, frames in zip(clips, reader.read_clips(clips), strict=True):
            assert np.array_equal(frames, every[clip])


def test_threads_change_nothing():
    with VideoReader(HERE / "clips/b_frames.mp4", threads=2) as reader:
        assert np.array_equal(
            reader.read_frames([1, 17, 33, 48]), read_all(HERE / "clips/b_frames.mp4")[[1, 17, 33, 48]]
        )


def test_memory_does_not_grow_with_the_video(tmp_path, make_video):
    """All 1,200 frames are read, in clips; held together they would take 276 MB.

    `ru_maxrss` would not do: a process that is started inherits its parent's, and the tests' is greater than that.
    """
    pictures = [np.full((240, 320, 3), value, np.uint8) for value in (20, 90)]
    path = make_video(tmp_path / "long.mp4", num_frames=1200, size=(320, 240), frame=lambda i: pictures[i // 7 % 2])
    code = f"""
import re
from pathlib import Path
from vidpipe.pipeline.videos.reader import VideoReader
def peak(): return int(re.search("VmHWM: *([0-9]+) kB", Path("/proc/self/status").read_text().expandtabs())[1]) / 1024
with VideoReader({str(path)!r}) as reader:
    reader.read_frames([0])
    before = peak()
    count = sum(len(clip) for clip in reader.read_clips([range(i, i + 8) for i in range(0, 1193)]))
    print(count, peak() - before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) == 1193 * 8
    assert float(out[1]) < 40  # MB
