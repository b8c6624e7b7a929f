"""What `check` says of a file and what reading it for extraction gives are the same: how many frames, or why not."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.videos.reader import VideoReader
from vidpipe.stages.check_manifest.task import Problem, classify, damage_problems, probe_file

GOLDENS = Path(__file__).parents[1] / "goldens" / "clips"
NOT_VIDEOS = (".csv", ".md")


def read_as_extract_does(path: Path) -> int | Problem:
    """Return how many frames can be had one after the other, by the way that extraction takes; or why not all."""
    try:
        with VideoReader(path) as reader:
            return sum(1 for _ in reader._walker.walk(range(len(reader.timeline))))
    except VideoError as error:
        return classify(str(error))


def as_checked(path: Path) -> int | Problem:
    """Return how many frames a check finds, or the first thing that it says is wrong."""
    found = probe_file(path)
    return found if isinstance(found, Problem) else next(iter(damage_problems(found)), found.num_frames)


def assert_agreement(path: Path) -> None:
    assert read_as_extract_does(path) == as_checked(path), path.name


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in NOT_VIDEOS)


@pytest.mark.parametrize("folder", ["reported", "hard"])
def test_on_real_files(media, folder):
    files = files_in(media / folder)
    assert len(files) >= 10
    for path in files:
        assert_agreement(path)


def test_on_small_files():
    for path in files_in(GOLDENS):
        assert_agreement(path)


@pytest.fixture(scope="module")
def two(tmp_path_factory, make_video) -> dict[str, list[Path]]:
    """Return by suffix two videos of 30 frames, small enough to be read many times."""
    folder = tmp_path_factory.mktemp("two")
    codecs = {".ts": "libx264", ".mkv": "libx264", ".mp4": "libx264", ".flv": "libx264", ".webm": "libvpx"}
    codecs |= {".mpg": "mpeg2video", ".avi": "mpeg4", ".wmv": "wmv2", ".ogv": "libtheora"}
    available = {suffix: codec for suffix, codec in codecs.items() if codec in av.codecs_available}
    return {
        suffix: [make_video(folder / f"{n}{suffix}", codec=codec, seed=n) for n in (1, 2)]
        for suffix, codec in available.items()
    }


def changed(first: bytes, second: bytes) -> dict[str, bytes]:
    """Return two files joined, cut off and damaged in several ways, by what was done."""
    middle, noise = len(first) // 2, np.random.default_rng(0).bytes(40)
    return {
        "joined": first + second,
        "joined thrice": first + second + first,
        "first one cut": first[:middle] + second,
        "second one cut": first + second[: len(second) // 2],
        "cut": first[: 2 * len(first) // 3],
        "damaged": first[:middle] + noise + first[middle + len(noise) :],
        "bytes lost": first[:middle] + first[middle + 1000 :],
        "noise behind": first + noise * 50,
    }


def test_on_joined_cut_and_damaged_files(two, tmp_path):
    for suffix, paths in two.items():
        for name, content in changed(*(path.read_bytes() for path in paths)).items():
            path = tmp_path / f"{name}{suffix}"
            path.write_bytes(content)
            assert_agreement(path)


def test_on_what_is_no_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<!doctype html><title>Not found</title>")
    shutil.copy(Path(__file__), tmp_path / "text.avi")
    for path in files_in(tmp_path):
        assert_agreement(path)
