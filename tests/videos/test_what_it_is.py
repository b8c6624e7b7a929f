"""Files that are no videos say what they are; what a file is follows from its content."""

import json
import os
import shutil
import stat
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.videos import what_it_is
from vidpipe.pipeline.videos.reader import probe, read_all

CLIPS = Path(__file__).parents[1] / "goldens" / "clips"
NOISE = np.random.default_rng(0).bytes(5000)


def write_pictures(path: Path, codec: str, number: int, *, form: str | None = None, pix_fmt: str = "yuv420p") -> Path:
    """Write an animation, or with one frame a picture."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for i in range(number):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


CONTENTS = {
    "is empty (0 bytes)": b"",
    "is a web page (HTML)": b"\n<!DOCTYPE html>\n<html><body>expired</body></html>",
    "is a web page": b"<?xml version='1.0'?><HTML xmlns='x'>",
    "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n",
    "is a git-annex pointer": b"/annex/objects/SHA256E-s1--1.mp4\n",
    "is JSON": json.dumps({"error": "not found"}).encode(),
    "is text": b"no video\n",
    "is XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "is a ZIP archive, not a video: unpack it": b"PK\x03\x04" + NOISE,
    "is a gzip archive": b"\x1f\x8b\x08" + NOISE,
    "is a PDF document, not a video": b"%PDF-1.7" + NOISE,
    "holds zeros alone": bytes(9000),
    "lacks its index (moov)": b"\0\0\0\x14ftypisom\0\0\0\0isom" + b"\0\0\x40\0mdat" + NOISE,
    "cannot be opened": NOISE,
}


@pytest.mark.parametrize(("words", "content"), CONTENTS.items(), ids=CONTENTS)
def test_what_is_no_video_says_what_it_is(words, content, tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError) as error:
        probe(path)
    assert str(error.value).startswith(words)


def test_an_index_that_is_cut_off_is_told(tmp_path):
    data = (CLIPS / "b_frames.mp4").read_bytes()
    for cut, words in (
        (data.index(b"mdat") + 500, "lacks its index"),
        (len(data) - 300, "is cut short within its index"),
    ):
        (tmp_path / "v.mp4").write_bytes(data[:cut])
        with pytest.raises(VideoError, match=words):
            probe(tmp_path / "v.mp4")


@pytest.mark.parametrize("suffix", [".part", ".crdownload"])
def test_names_of_unfinished_downloads_are_told(suffix, tmp_path):
    path = tmp_path / f"v.mp4{suffix}"
    path.write_bytes((CLIPS / "b_frames.mp4").read_bytes()[:2000])
    with pytest.raises(VideoError, match=f"lacks its index.*by its name \\({suffix}\\) the download is not finished"):
        probe(path)
    shutil.copy(CLIPS / "b_frames.mp4", path)
    assert probe(path).num_frames == 50


def test_what_is_no_file_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone.mp4")
    os.mkfifo(tmp_path / "pipe")
    for name, words in {
        "none.mp4": "no such file",
        "folder": "is a folder, not a file",
        "loop": r"is a link that leads back to itself \(loop\)",
        "nowhere": "is a link to gone.mp4, which is not there",
        "pipe": "is no file, but a device, a pipe or a socket",
    }.items():
        with pytest.raises(VideoError, match=words):
            probe(tmp_path / name)


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    path = shutil.copy(CLIPS / "b_frames.mp4", tmp_path)
    Path(path).chmod(0)
    if os.geteuid() == 0:  # to whom nothing is denied
        real = Path.open
        denied = PermissionError(13, "Permission denied")

        def open_as_others(self, *arguments):
            if stat.S_IMODE(self.stat().st_mode) == 0:
                raise denied
            return real(self, *arguments)

        monkeypatch.setattr(what_it_is.Path, "open", open_as_others)
    with pytest.raises(VideoError, match="cannot be opened: Permission denied"):
        probe(path)


@pytest.mark.parametrize(
    ("source", "name"),
    [("b_frames.mp4", "v.txt"), ("b_frames.mp4", "v.avi"), ("transport.ts", "v.mpg"), ("matroska.mkv", "v.mp4"),
     ("mpeg4.avi", "v.mkv"), ("delays.gif", "v.mp4"), ("vp8.webm", "v.jpg"), ("b_frames.mp4", "v")],
)  # fmt: skip
def test_the_suffix_does_not_matter(source, name, tmp_path):
    path = Path(shutil.copy(CLIPS / source, tmp_path / name))
    assert np.array_equal(read_all(path), read_all(CLIPS / source))


@pytest.mark.parametrize(
    ("name", "codec", "form", "pix_fmt"),
    [("v.avif", "libsvtav1", "avif", "yuv420p"), ("v.gif", "gif", None, "rgb8"), ("v.png", "apng", "apng", "rgb24")],
)
def test_animated_pictures_are_read_whole(name, codec, form, pix_fmt, tmp_path):
    info = probe(write_pictures(tmp_path / name, codec, 12, form=form, pix_fmt=pix_fmt), decode=True)
    assert (info.num_frames, info.truncated, info.damage) == (12, "", "")
    assert info.duration_seconds == pytest.approx(1.2, abs=0.011)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "kind"),
    [("v.png", "png", "rgb24", "PNG"), ("v.jpg", "mjpeg", "yuvj420p", "JPEG"), ("v.mp4", "png", "rgb24", "PNG")],
)
def test_a_picture_is_no_video(name, codec, pix_fmt, kind, tmp_path):
    path = write_pictures(tmp_path / f"p.{codec}", codec, 1, form="image2", pix_fmt=pix_fmt).rename(tmp_path / name)
    with pytest.raises(VideoError, match=f"is a picture \\({kind}\\), not a video"):
        probe(path)


def test_an_animated_webp_is_refused_in_a_clear_word(tmp_path):
    path = write_pictures(tmp_path / "v.webp", "libwebp_anim", 4, form="webp")
    with pytest.raises(VideoError, match="is an animated WebP, which FFmpeg does not decode: convert it"):
        probe(path)
