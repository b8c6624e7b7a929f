"""What large videos take in memory: foreseen, bounded, refused one by one."""

import gc
import threading
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.training.clips import VideoSource
from vidpipe.pipeline.videos import memory
from vidpipe.pipeline.videos.clip_reader import clips_bytes, decode_clips
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.container import choose_stream, decode, open_container
from vidpipe.pipeline.videos.decoder import Decoder, Notes
from vidpipe.pipeline.videos.memory import (
    MAX_PIXELS,
    Size,
    Turn,
    bounded_threads,
    check_size,
    decoding_bytes,
    memory_errors_told,
    num_kept,
)
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import VideoReader, probe
from vidpipe.pipeline.videos.reading import Reading

LARGE = Size(width=8192, height=8192, bits=12, codec="h264")
SMALL = Preprocessing(crop=16, short_side=18)


def write(path: Path, *, size: int = 64, frames: int = 12) -> Path:
    """Write a flat H.264 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "threads": "1"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(size, size, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([100]) * plane.buffer_size)
        for number in range(frames):
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def little_memory(monkeypatch) -> int:
    """Let the machine have 100 kB available, and nothing be too small to matter."""
    monkeypatch.setattr(memory, "host_bytes", lambda: 100_000)
    monkeypatch.setattr(memory, "_SMALL_BYTES", 0)
    return 100_000


def video(path: Path) -> Video:
    return Video(video_id="a", path=path, written_path=path.name, labels=("x",), split="train")


def test_what_decoding_takes_grows_with_pixels_bits_references_and_threads():
    at_least = 4 * LARGE.stored_bytes + 2 * 3 * LARGE.pixels  # references, and the picture as RGB twice
    assert at_least < decoding_bytes(LARGE) < 2 * at_least
    deep = Size(width=8192, height=8192, bits=24, codec="h264")
    assert decoding_bytes(deep) > decoding_bytes(LARGE)
    assert decoding_bytes(LARGE, threads=4) > decoding_bytes(LARGE) + 3 * LARGE.stored_bytes


@pytest.mark.parametrize(
    ("codec", "pixels", "kept"),
    [("h264", 64 * 64, 16), ("h264", 8192**2, 4), ("hevc", 7680 * 4320, 6), ("av1", 10, 8), ("mjpeg", 10, 0)],
)
def test_references_by_codec_and_size(codec, pixels, kept):
    assert num_kept(codec, pixels) == kept


def test_large_pictures_get_fewer_threads():
    assert bounded_threads(16, LARGE) == 2
    assert bounded_threads(16, Size(width=640, height=480, bits=12, codec="h264")) == 16
    assert bounded_threads(1, Size(width=16384, height=16384, bits=64, codec="png")) == 1


def test_a_size_is_refused_by_what_is_allowed_and_by_what_is_available(monkeypatch):
    check_size(LARGE, max_pixels=8192**2)
    with pytest.raises(VideoError, match="too large: pictures of 8192×8192 are 67,108,864 pixels, more than max"):
        check_size(LARGE, max_pixels=8192**2 - 1)
    monkeypatch.setattr(memory, "host_bytes", lambda: 500_000_000)
    with pytest.raises(VideoError, match=r"needs about 1\.2 GB to decode at 8192×8192, \d+\.\d MB are available"):
        check_size(LARGE, max_pixels=None)


def test_a_video_that_does_not_fit_fails_before_it_is_decoded(tmp_path, little_memory, monkeypatch):
    path = write(tmp_path / "a.mp4", size=128)
    monkeypatch.setattr(Decoder, "decode", lambda *_: pytest.fail("it was decoded"))
    assert little_memory < 128 * 128 * 1.5 * 16
    for read in (probe, VideoReader, lambda file: list(decode(file, threads=1))):
        with pytest.raises(
            VideoError, match=r"too large: needs about [\d.]+ kB to decode at 128×128, 100.0 kB are available"
        ):
            read(path)


def test_too_many_pixels_are_refused_everywhere(tmp_path):
    path = write(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="more than max_pixels 4,095"):
        probe(path, max_pixels=4095)
    with pytest.raises(VideoError, match="too large"):
        decode_clips(
            video(path), sampling=ClipSampling(reading=Reading(max_pixels=4095)), due={SMALL: np.ones(32, bool)}
        )
    assert probe(path, max_pixels=4096).num_frames == 12


def test_pictures_that_become_too_large_within_a_video_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4")
    small = Size(width=32, height=32, bits=12, codec="h264")
    monkeypatch.setattr("vidpipe.pipeline.videos.decoder.size_of", lambda _: small)  # as a header might say
    with open_container(path) as container:
        stream = choose_stream(container)
        decoder = Decoder(stream, threads=1, notes=Notes(), max_pixels=4095)
        with pytest.raises(VideoError, match="pictures of 64×64"):
            list(decoder.decode_all(container.demux(stream)))


def test_clips_that_do_not_fit_are_refused_before_they_are_made(tmp_path, little_memory):
    sampling, due = ClipSampling(num_clips=4), {SMALL: np.ones(4, bool), Preprocessing(): np.ones(4, bool)}
    needed = clips_bytes(sampling, due)
    assert needed == 4 * 8 * 3 * (16**2 + 224**2) > little_memory
    with pytest.raises(VideoError, match=r"needs about 4.8 MB for its clips"):
        decode_clips(video(tmp_path / "not even there.mp4"), sampling=sampling, due=due)


def test_out_of_memory_is_the_videos_own_failure(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4")
    source = VideoSource([video(path)], crop=16)

    def greedy(_: object) -> None:
        raise MemoryError

    assert source.see(0, greedy) is None
    assert "memory ran out while decoding" in source.failures["a"]
    with pytest.raises(ValueError, match="something else"), memory_errors_told("reading"):
        raise ValueError("something else")


def test_frames_go_as_soon_as_nobody_holds_them(tmp_path):
    """Reference counts alone must free them: at 8192×8192 each is 100 MB, and Python looks for cycles now and then."""
    path = write(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        with VideoReader(path) as reader:
            reader.survey()
            for _, shown in reader.shown(range(12)):
                shown(None)
            frames = sum(type(own) is av.VideoFrame for own in gc.get_objects())
    finally:
        gc.enable()
    assert frames <= 2


def test_nothing_of_the_first_frames_pictures_is_kept(tmp_path):
    with VideoReader(write(tmp_path / "a.mp4")) as reader:
        assert not [own for own in gc.get_referrers(reader) if isinstance(own, av.VideoFrame)]
        assert reader.info.pixel_format == "yuv420p"


def test_large_videos_take_turns_also_in_threads(little_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_turn_file", lambda: tmp_path / "turn")
    order = []
    first = Turn(little_memory)

    def second() -> None:
        with Turn(little_memory):
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    with Turn(little_memory):  # the thread that holds the turn does not wait for itself
        order.append("first")
    waiting.join(0.2)
    assert order == ["first"]
    first.close()
    waiting.join(10)
    assert order == ["first", "second"]


def test_small_videos_take_no_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_turn_file", lambda: tmp_path / "turn")
    with Turn(1000):
        assert not (tmp_path / "turn").exists()


def test_a_turn_ends_with_whoever_forgets_it(little_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_turn_file", lambda: tmp_path / "turn")
    forgotten = Turn(little_memory)
    gone = weakref.ref(forgotten)
    del forgotten
    assert gone() is None
    with Turn(little_memory):
        pass


def test_the_usual_bound_is_the_largest_picture_of_any_level():
    assert MAX_PIXELS == 142_606_336  # HEVC, level 7.2: MaxLumaPs
