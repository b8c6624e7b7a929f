"""Videos whose size, shape of pixels, rotation or pixel format changes: every frame keeps its own."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.bitstream import BitStreamFilterContext

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.training.clips import TrainingClips, VideoSource
from vidpipe.pipeline.videos.clip_reader import decode_clips
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.frames import Form
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import VideoReader, iterate_frames, probe, read_all
from vidpipe.pipeline.videos.transforms import Look, Margin, preprocess_test, random_look

PREPROCESSING = Preprocessing(short_side=36, crop=32)
SAMPLING = ClipSampling(num_frames=8, num_clips=1, sampling_rate=2)  # the clip of 16 frames spans the change at 10


def encode(path: Path, *, size=(96, 48), pixel_format="yuv420p", aspect_ratio=None, turned=False) -> Path:
    """Write 10 frames of moving noise."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        if aspect_ratio:
            stream.codec_context.sample_aspect_ratio = aspect_ratio
        options = "display_orientation=insert:rotate=90" if turned else "display_orientation=pass"
        turn = BitStreamFilterContext(f"h264_metadata={options}", stream)
        picture = np.random.default_rng(sum(size)).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        picture = picture.repeat(8, axis=0).repeat(8, axis=1)
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 3 * index, axis=1), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(turn.filter(packet))
        for packet in stream.encode():
            container.mux(turn.filter(packet))
    return path


CHANGES = {
    "size": ({"size": (48, 96)}, Form(48, 96, 0, "yuv420p")),
    "growing": ({"size": (192, 96)}, Form(192, 96, 0, "yuv420p")),
    "pixels": ({"aspect_ratio": Fraction(2)}, Form(192, 48, 0, "yuv420p")),
    "rotation": ({"turned": True}, Form(48, 96, 270, "yuv420p")),
    "chroma": ({"pixel_format": "yuv444p"}, Form(96, 48, 0, "yuv444p")),
    "depth": ({"pixel_format": "yuv420p10le"}, Form(96, 48, 0, "yuv420p10le")),
}


@pytest.fixture(params=CHANGES)
def changing(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, list[np.ndarray], Form]:
    """Return a video of 20 frames that changes at the tenth, its pictures as read of its parts, and its last form."""
    own, form = CHANGES[request.param]
    parts = [encode(tmp_path / "a.ts"), encode(tmp_path / "b.ts", **own)]
    pictures = [picture for part in parts for picture in read_all(part)]
    path = tmp_path / "changing.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path, pictures, form


def video_of(path: Path) -> Video:
    return Video(video_id="v", path=path, labels=("a",), split="s", start=None, end=None, written_path=str(path))


def test_every_frame_is_shown_as_in_its_own_part(changing):
    path, pictures, form = changing
    found = list(iterate_frames(path))
    assert len(found) == 20
    assert all(np.array_equal(one, other) for one, other in zip(found, pictures, strict=True))
    with VideoReader(path) as reader:
        # A turn that is stated for the keyframe alone holds for the frames after it, whichever are asked for.
        for place, picture in reader.pictures([15, 3]):
            assert np.array_equal(picture, pictures[place])
    (change,) = probe(path, decode=True).changes
    assert (change.frame, change.seconds, change.after) == (10, pytest.approx(0.4), form)
    assert change.before == Form(96, 48, 0, "yuv420p")


def test_a_clip_across_a_change_is_made_of_each_frame_by_its_own_geometry(changing):
    path, pictures, _ = changing
    _, clips = decode_clips(video_of(path), sampling=SAMPLING, due={PREPROCESSING: np.ones(1, bool)})
    first = 2  # the middle one of five starts
    expected = [preprocess_test(pictures[place][None], PREPROCESSING)[0] for place in range(first, first + 16, 2)]
    assert torch.equal(clips[PREPROCESSING][0, 0], torch.stack(expected))


@pytest.mark.parametrize("cache", [False, True])
def test_training_sees_such_clips_whole(changing, cache):
    path, _, _ = changing
    source = VideoSource([video_of(path)], crop=32, cache=cache)
    clips = TrainingClips(source, labels=[0], sampling=SAMPLING, preprocessing=PREPROCESSING)
    for made in (clips.random_clip(0, epoch=1), clips.central_clip(0)):
        assert made is not None, source.failures
        assert made[0].shape == (8, 32, 32, 3)


def test_a_crop_keeps_its_relative_place_in_pictures_of_another_size():
    assert Margin(before=0, of=20).at(7) == 0
    assert Margin(before=20, of=20).at(7) == 7
    assert Margin(before=5, of=20).at(40) == 10
    assert Margin(before=0, of=0).at(9) == 4
    look = Look(short_side=36, crop=32, rows=Margin(before=1, of=4), columns=Margin(before=40, of=40))
    wide = np.zeros((1, 36, 72, 3), np.uint8)
    wide[:, :, 60:] = 200
    assert look(wide)[0, :, -1].min() == 200
    tall = np.zeros((1, 72, 36, 3), np.uint8)
    tall[:, 10:14] = 200  # a quarter of the 40 rows that a crop leaves over
    assert look(tall)[0, 0].min() == 200


def test_a_look_is_drawn_from_the_first_size():
    draws = [random_look(size, PREPROCESSING, np.random.default_rng(4)) for size in ((96, 48), (48, 96))]
    assert draws[0].short_side == draws[1].short_side
    assert draws[0].columns is not None and draws[1].rows is not None
    assert draws[0].columns.of == draws[1].rows.of


def test_pictures_of_two_sizes_are_no_array(tmp_path):
    parts = [encode(tmp_path / "a.ts"), encode(tmp_path / "b.ts", size=(48, 96))]
    path = tmp_path / "c.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(VideoError, match="pictures of 96×48 and of 48×96 do not fit into one array"):
        read_all(path)


def test_a_call_that_begins_small_and_grows_within_one_webm(tmp_path):
    path = tmp_path / "call.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        sizes = [(48, 96), (96, 48), (192, 96)]
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
        for part, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create("libvpx", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base = Fraction(1, 25)
            for index in range(5):
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 40 * part + 50, np.uint8), "rgb24")
                frame.pts, frame.time_base = 5 * part + index, Fraction(1, 25)
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
            for packet in encoder.encode():
                packet.stream = stream
                container.mux(packet)
    info = probe(path, decode=True)
    assert [(change.frame, change.after.width, change.after.height) for change in info.changes] == [
        (5, 96, 48),
        (10, 192, 96),
    ]
    assert [picture.shape[:2] for picture in iterate_frames(path)] == [(96, 48)] * 5 + [(48, 96)] * 5 + [(96, 192)] * 5
    with VideoReader(path) as reader:
        assert [picture.shape[:2] for _, picture in reader.pictures([2, 7, 12])] == [(96, 48), (48, 96), (96, 192)]
