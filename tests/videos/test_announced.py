"""Files that are cut short are told by what their headers announce; whole files never are."""

from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.videos.announced import Announced, Found, missing_frames
from vidpipe.pipeline.videos.reader import VideoReader, probe
from vidpipe.pipeline.videos.reading import Reading

CLIPS = Path(__file__).parents[1] / "goldens" / "clips"
FRAGMENTS = {"movflags": "frag_keyframe+delay_moov"}
INDEX_FIRST = {"movflags": "faststart"}


def write(path: Path, codec: str, *, sound: float = 0.0, **options: str) -> Path:
    """Write 50 frames at 25/s of noise, and so many seconds of ``sound`` if any."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("mp3" if path.suffix == ".flv" else "libopus", rate=48000) if sound else None
        if path.suffix == ".flv" and audio:
            audio.rate = 44100
        for _ in range(50):
            picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
        if audio:
            for start in range(0, int(sound * audio.rate), 960):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), format="s16", layout="stereo")
                frame.rate, frame.pts = audio.rate, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


KINDS = [
    ("v.avi", "mpeg4", {}),
    ("h264.avi", "libx264", {}),
    ("v.mkv", "libx264", {}),
    ("v.webm", "libvpx-vp9", {}),
    ("v.flv", "libx264", {}),
    ("v.mp4", "libx264", INDEX_FIRST),
    ("fragments.mp4", "libx264", FRAGMENTS),  # each fragment announces its own frames
    ("v.wmv", "wmv2", {}),
    ("v.ivf", "libvpx", {}),
    ("v.mxf", "mpeg2video", {}),
]


@pytest.mark.parametrize(("name", "codec", "options"), KINDS)
def test_half_a_file_is_told_in_every_container_that_announces_its_length(name, codec, options, tmp_path):
    path = write(tmp_path / name, codec, **options)
    info = probe(path, decode=True, damaged="report")
    assert (info.truncated, info.damage, info.num_missing_frames) == ("", "", 0)
    assert info.num_frames in (49, 50)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 55 // 100])
    with pytest.raises(VideoError, match=r"truncated: \d\d of (about )?\d\d frames, as the header announces them"):
        probe(path)
    cut = probe(path, damaged="report")
    assert cut.truncated.startswith("truncated: ")
    assert (35 if options == FRAGMENTS else 45) <= cut.num_frames + cut.num_missing_frames <= 55
    with VideoReader(path, reading=Reading(damaged="keep")) as reader:
        assert reader.missing.num_frames == cut.num_missing_frames
        assert len(reader.timeline) < 35


@pytest.mark.parametrize("name", ["v.ts", "v.mpg", "v.ogv"])
def test_what_announces_nothing_is_not_suspected(name, tmp_path):
    codec = {"v.ts": "libx264", "v.mpg": "mpeg2video", "v.ogv": "libx264"}[name]
    if name == "v.ogv":
        name, codec = "v.nut", "mpeg4"
    path = write(tmp_path / name, codec)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 55 // 100])
    assert probe(path, damaged="report").truncated == ""


@pytest.mark.parametrize("name", ["v.mkv", "v.webm"])
def test_sound_that_is_longer_is_no_missing_picture(name, tmp_path):
    path = write(tmp_path / name, "libx264" if name == "v.mkv" else "libvpx", sound=4.0)
    assert probe(path).truncated == ""


def test_a_live_recording_announces_nothing(tmp_path):
    path = write(tmp_path / "live.webm", "libvpx", live="1")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert probe(path, damaged="report").truncated == ""


@pytest.mark.parametrize("path", sorted(CLIPS.glob("*.*")), ids=lambda path: path.name)
def test_no_whole_file_is_suspected(path):
    if path.name not in ("cover_art.m4a", "encrypted.mp4"):
        info = probe(path, decode=True, damaged="report")
        assert (info.truncated, info.damage) == ("", "")


def found(**changes: float) -> Found:
    return Found(**({"num_frames": 50, "first": 0.0, "end": 2.0, "end_of_all": 2.0, "step": 0.04} | changes))


@pytest.mark.parametrize(
    ("promised", "there", "missing"),
    [
        (Announced(), found(), None),
        (Announced(seconds=2.2), found(), None),  # encoders that stop early
        (Announced(seconds=4.0), found(), 50),
        (Announced(seconds=4.0), found(first=1.0, end=3.0), 50),
        (Announced(end=3.0), found(first=1.0, end=3.0), None),
        (Announced(end_of_all=2.4), found(), None),
        (Announced(end_of_all=4.0), found(end_of_all=3.9), None),
        (Announced(end_of_all=4.0), found(), 50),
        (Announced(frames=100, seconds=4.0), found(), 50),
        (Announced(frames=2000, seconds=2.0), found(), None),  # a duration in milliseconds, not a count
    ],
)
def test_tolerances(promised, there, missing):
    result = missing_frames(promised, there)
    assert (result.num_frames if result else None) == missing
