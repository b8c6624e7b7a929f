"""Files with several videos: one is read, whenever the others appear."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.videos.reader import VideoReader, probe
from vidpipe.pipeline.videos.streams import num_video_streams
from vidpipe.stages.check_manifest.notes import notes_of


def recording(path: Path, num_frames: int, *, sizes=((64, 48),), first_pid: int = 256, pmt_pid: int = 4096) -> Path:
    """Write noise, a video stream a size."""
    options = {"mpegts_start_pid": str(first_pid), "mpegts_pmt_start_pid": str(pmt_pid)} if path.suffix == ".ts" else {}
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        streams = [container.add_stream("mpeg4", rate=25, width=width, height=height) for width, height in sizes]
        for _ in range(num_frames):
            for stream in streams:
                picture = rng.integers(0, 256, (stream.height, stream.width, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def notes(path: Path) -> list[str]:
    return [note.message for note in notes_of(probe(path, decode=True))]


@pytest.mark.parametrize("pids", [{"first_pid": 768}, {"first_pid": 768, "pmt_pid": 5376}])
def test_a_recording_with_other_pids_is_another_stream(tmp_path, pids):
    first = recording(tmp_path / "first.ts", 40)
    assert (num_video_streams(first), notes(first)) == (1, [])
    second = recording(tmp_path / "second.ts", 20, **pids)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    told = "several videos: the file has 2 video streams, and only one is read (mpeg4, 64×48, 40 frames)"
    assert notes(joined) == [told]
    with VideoReader(joined) as reader:
        assert sum(1 for _ in reader.pictures(range(len(reader.timeline)))) == 40


def test_the_largest_of_two_videos_in_a_file_is_read(tmp_path):
    both = recording(tmp_path / "both.mkv", 10, sizes=((64, 48), (96, 80)))
    info = probe(both)
    assert (info.num_video_streams, info.width) == (2, 96)
    assert [note.kind for note in notes_of(info)] == ["several videos"]
    assert notes_of(replace(info, num_video_streams=1)) == ()
