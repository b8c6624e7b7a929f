"""Videos that are kept decoded: nothing is decoded twice, and where frames come from changes no bit."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vidpipe.pipeline.errors import FileError, OutOfSpaceError, SettingsError, VideoError
from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.training import clip_cache, reduced
from vidpipe.pipeline.training.claims import Claims
from vidpipe.pipeline.training.clip_cache import ClipCache, entry_path
from vidpipe.pipeline.training.clips import TrainingClips, VideoSource
from vidpipe.pipeline.training.keeping import announcement, default_folder, fits_in_memory, keep_decoded, look_ahead
from vidpipe.pipeline.training.kept_videos import DamagedEntryError, open_kept, write_kept
from vidpipe.pipeline.training.reduced import ReducedVideo, Reduction, decoded, in_memory, num_bytes
from vidpipe.pipeline.training.settings import ClipCacheSettings
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.damage import KEEP
from vidpipe.pipeline.videos.frame_times import Timeline
from vidpipe.pipeline.videos.hdr import AS_IS
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import VideoReader, read_all
from vidpipe.pipeline.videos.reading import Reading
from vidpipe.pipeline.videos.transforms import resize_short_side

CROP = 32
REDUCTION = Reduction(short_side=46)  # the largest draw of the scale jitter


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Video]:
    """Return a large video, a part of a long one, and one that is smaller than any draw."""
    folder = tmp_path_factory.mktemp("videos")
    large = make_video(folder / "large.mp4", size=(96, 64), num_frames=20, seed=1)
    long = make_video(folder / "long.mp4", size=(64, 80), num_frames=90, seed=2)
    small = make_video(folder / "small.mp4", size=(48, 40), num_frames=6, seed=3)
    return [video_of(large), video_of(long, start=1.0, end=1.5), video_of(small)]


def video_of(path: Path, *, start: float | None = None, end: float | None = None) -> Video:
    return Video(
        video_id=path.name, path=path, written_path=path.name, labels=("x",), split="train", start=start, end=end
    )


def clips_of(videos: list[Video], *, memory: bool = False, disk: ClipCache | None = None) -> TrainingClips:
    source = VideoSource(videos, crop=CROP, cache=memory)
    if disk is not None:
        source.keep_on(disk)
    sampling = ClipSampling(num_frames=4, sampling_rate=2)
    preprocessing = Preprocessing(crop=CROP, short_side=37)
    return TrainingClips(source, labels=[0] * len(videos), sampling=sampling, preprocessing=preprocessing)


def seen(clips: TrainingClips, *, epochs: int = 2) -> list[torch.Tensor | None]:
    places = range(len(clips.source.videos))
    found = [clips.random_clip(place, epoch=epoch) for epoch in range(epochs) for place in places]
    found += [clips.central_clip(place) for place in places]
    return [None if clip is None else clip[0] for clip in found]


def same(one: list[torch.Tensor | None], other: list[torch.Tensor | None]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) if a is not None and b is not None else a is b for a, b in zip(one, other, strict=True)
    )


def open_cache(folder: Path, said: list[str] | None = None, *, most: float = 1e9) -> ClipCache:
    return ClipCache(folder, most_bytes=most, say=[].append if said is None else said.append)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.frames"))


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after whose call nothing can be decoded."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something is decoded")

    return lambda: monkeypatch.setattr(reduced, "VideoReader", refuse)


def test_where_frames_come_from_changes_nothing(videos: list[Video], tmp_path: Path):
    read = seen(clips_of(videos))
    assert same(read, seen(clips_of(videos, memory=True)))
    assert same(read, seen(clips_of(videos, disk=open_cache(tmp_path))))
    assert same(read, seen(clips_of(videos, disk=open_cache(tmp_path))))
    assert not same(read[:3], read[3:6])


def test_nothing_is_decoded_twice(videos: list[Video], tmp_path: Path, no_decoder: Callable[[], None]):
    own = clips_of(videos, disk=open_cache(tmp_path))
    before = seen(own)
    no_decoder()
    assert same(before, seen(own))
    assert same(before, seen(clips_of(videos, disk=open_cache(tmp_path))))  # as after a restart
    assert len(entries(tmp_path)) == 3


def test_frames_are_reduced_as_they_are_decoded_and_only_those_that_clips_may_hold(videos: list[Video]):
    large, part, small = videos
    held = in_memory(large, reduction=REDUCTION)
    whole = read_all(large.path)
    assert np.array_equal(np.stack([p for _, p in held.pictures(range(20))]), resize_short_side(whole, 46).numpy())
    assert held.size == (69, 46)
    unchanged = in_memory(small, reduction=REDUCTION)
    assert np.array_equal(np.stack([p for _, p in unchanged.pictures(range(6))]), read_all(small.path))
    places = in_memory(part, reduction=REDUCTION).usable_places(part)
    assert places.tolist() == list(range(30, 45))
    assert [num_bytes(own, reduction=REDUCTION) for own in videos] == [20 * 69 * 46 * 3, 15 * 46 * 58 * 3, 34560]


def test_a_file_keeps_the_timeline_and_each_frames_own_size(tmp_path: Path):
    rng = np.random.default_rng(0)
    pictures = {3: rng.integers(0, 255, (4, 6, 3), np.uint8), 5: rng.integers(0, 255, (7, 2, 3), np.uint8)}
    times = {"pts": np.cumsum(np.r_[0, rng.random(9)]), "duration": 11 / 3, "joins": (2, 7)}
    times["duration"] = float(times["pts"][-1] + 1 / 3)
    opened = ReducedVideo(
        timeline=Timeline(**times), size=(6, 4), pictures=lambda places: ((p, pictures[p]) for p in places)
    )
    with (tmp_path / "v").open("wb") as file:
        write_kept(file, opened, [3, 5])
    with open_kept(tmp_path / "v") as kept:
        assert kept.size == (6, 4)
        for own in (own for own in dataclasses.fields(Timeline) if own.init):
            assert np.array_equal(getattr(kept.timeline, own.name), getattr(opened.timeline, own.name)), own.name
        for place, picture in kept.pictures([5, 3, 5]):
            assert np.array_equal(picture, pictures[place])
        with pytest.raises(DamagedEntryError, match="lacks frame 4"):
            list(kept.pictures([4]))


def test_another_file_another_part_another_size_is_another_entry(videos: list[Video], tmp_path: Path):
    video = dataclasses.replace(videos[0], path=tmp_path / "v.mp4")
    assert entry_path(tmp_path, video, reduction=REDUCTION) is None
    video.path.write_bytes(videos[0].path.read_bytes())
    names = [
        entry_path(tmp_path, video, reduction=REDUCTION),
        entry_path(tmp_path, video, reduction=Reduction(short_side=47)),
    ]
    names.append(entry_path(tmp_path, video, reduction=Reduction(short_side=46, reading=Reading(damaged=KEEP))))
    names.append(entry_path(tmp_path, video, reduction=Reduction(short_side=46, reading=Reading(hdr=AS_IS))))
    names.append(entry_path(tmp_path, video, reduction=Reduction(short_side=46, reading=Reading(max_pixels=64 * 96))))
    names.append(entry_path(tmp_path, dataclasses.replace(video, end=0.3), reduction=REDUCTION))
    assert entry_path(tmp_path, dataclasses.replace(video, video_id="w"), reduction=REDUCTION) == names[0]
    os.utime(video.path, (1, 1))
    names.append(entry_path(tmp_path, video, reduction=REDUCTION))
    (tmp_path / "link.mp4").symlink_to(video.path)
    assert (
        entry_path(tmp_path, dataclasses.replace(video, path=tmp_path / "link.mp4"), reduction=REDUCTION) == names[-1]
    )
    assert len(set(names)) == 7


def test_other_software_makes_other_entries(videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = [entry_path(tmp_path, videos[0], reduction=REDUCTION)]
    for name, changed in (("decoder_versions", ("av 1",)), ("decoding_digest", "0"), ("_RECIPE", 0)):
        monkeypatch.setattr(clip_cache, name, changed if name == "_RECIPE" else lambda own=changed: own)
        names.append(entry_path(tmp_path, videos[0], reduction=REDUCTION))
    assert len(set(names)) == 4


@pytest.mark.parametrize("where", ["frame", "index", "trailer", "cut", "empty", "text"])
def test_what_is_damaged_is_decoded_again(videos: list[Video], tmp_path: Path, where: str):
    own = clips_of(videos[:1], disk=open_cache(tmp_path))
    before = seen(own)
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    if where in ("cut", "empty", "text"):
        damaged = bytearray({"cut": whole[:9000], "empty": b"", "text": b"<html>" * 99}[where])
    else:
        frames = range(9_000, 20 * 69 * 46 * 3, 9000)  # in every frame: which one a clip holds is drawn
        for place in {"frame": frames, "index": [-200], "trailer": [-3]}[where]:
            damaged[place] ^= 1
    path.write_bytes(damaged)
    assert same(before, seen(own))
    assert path.read_bytes() == whole


def test_the_folder_grows_no_further_than_it_may(videos: list[Video], tmp_path: Path):
    read, said = seen(clips_of(videos)), []
    most = num_bytes(videos[0], reduction=REDUCTION) + 40_000
    assert same(read, seen(clips_of(videos, disk=open_cache(tmp_path, said, most=most))))
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= most
    assert len(entries(tmp_path)) == 2  # the smallest still fits
    assert said == ["the 230.4 kB for decoded videos are full: others are decoded each time"]


@pytest.mark.parametrize(
    "error", [OutOfSpaceError("No space left for f"), FileError("f cannot be written: Permission denied")]
)
def test_a_full_disk_is_announced_once_and_training_goes_on(
    videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    said: list[str] = []

    def fail(path: Path, *_: object, advice: str) -> None:
        assert "goes on" not in advice, "a training that goes on needs no same command"
        if path not in tried:
            tried.add(path)
            own.see(2, id)  # another thread, at the same time
        raise error

    tried: set[Path] = set()
    monkeypatch.setattr(clip_cache, "write_atomically", fail)
    clips = clips_of(videos, disk=open_cache(tmp_path, said))
    own = clips.source
    assert same(seen(clips_of(videos)), seen(clips))
    assert said == [f"no more decoded videos are kept, training goes on without: {error}"]


def test_a_disk_is_never_filled_to_the_brim(videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(clip_cache, "RESERVED_BYTES", 10**18)
    assert same(seen(clips_of(videos)), seen(clips_of(videos, disk=open_cache(tmp_path, said))))
    assert entries(tmp_path) == []
    assert len(said) == 1 and said[0].startswith(f"the disk of {tmp_path} has less than 1000000.0 TB left")


def test_a_video_that_does_not_decode_whole_is_read_clip_by_clip(
    videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Broken(VideoReader):
        def shown(self, places):
            for place, shown in super().shown(places):
                if place == 19:
                    raise VideoError("broken at frame 19")
                yield place, shown

    monkeypatch.setattr(reduced, "VideoReader", Broken)
    read = clips_of(videos[:1])
    before = seen(read, epochs=8)
    assert any(clip is None for clip in before) and any(clip is not None for clip in before)
    for other in (clips_of(videos[:1], memory=True), clips_of(videos[:1], disk=open_cache(tmp_path))):
        assert same(before, seen(other, epochs=8))
        assert other.source.failures == read.source.failures == {"large.mp4": "broken at frame 19"}
    assert list(tmp_path.iterdir()) == [tmp_path / "lock"]


def make_entry(folder: Path, letter: str, *, hours_ago: float, size: int = 100) -> Path:
    path = folder / f"{letter * 40}.frames"
    path.write_bytes(b"x" * size)
    used = time.time() - 3600 * hours_ago
    os.utime(path, (used, used))
    return path


def test_room_is_made_where_it_is_longest_unused(tmp_path: Path):
    files = [
        make_entry(tmp_path, letter, hours_ago=hours) for letter, hours in zip("abcd", (2, 9, 5, 0.5), strict=True)
    ]
    (tmp_path / "notes.txt").write_text("not ours")
    cache = open_cache(tmp_path, most=500)
    cache.make_room([], needed_bytes=100)
    assert all(path.exists() for path in files)
    cache.make_room([files[1]], needed_bytes=150)
    assert [path.exists() for path in files] == [True, True, False, True]
    cache.make_room([files[1]], needed_bytes=10_000)  # what is about to be used, or was just now, stays
    assert [path.exists() for path in files] == [False, True, False, True]
    open_cache(tmp_path, most=100).make_room([files[1]], needed_bytes=0)  # but not beyond what is allowed
    assert [path.exists() for path in files] == [False, False, False, True]
    assert (tmp_path / "notes.txt").exists()


def test_a_limit_of_pixels_holds_for_what_was_kept_under_another(videos: list[Video], tmp_path: Path):
    disk, sizes = open_cache(tmp_path), []
    for most in (None, 96 * 64, 96 * 64 - 1):
        source = VideoSource(videos[:1], crop=CROP, reading=Reading(max_pixels=most))
        source.keep_on(disk)
        sizes.append(source.see(0, lambda opened: opened.size))
    assert sizes == [(69, 46), (69, 46), None]
    assert "too large: pictures of 96×64" in source.failures["large.mp4"]


def test_what_another_thread_is_decoding_is_left_to_it(
    videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also one that uses the folder through a cache of its own, and after another such cache is gone."""
    begun: list[str] = []
    caches = [open_cache(tmp_path), open_cache(tmp_path), open_cache(tmp_path)]

    def ask(cache: ClipCache, video: Video) -> None:
        other_saw.append(cache.see(video, id, reduction=REDUCTION))

    def decoded_while_others_ask(own: Video, *, reduction: Reduction):
        begun.append(own.video_id)
        caches.pop()
        for other in caches:
            if len(begun) == 1:
                thread = threading.Thread(target=ask, args=(other, own))
                thread.start()
                thread.join()
        return decoded(own, reduction=reduction)

    other_saw: list[int | None] = []
    monkeypatch.setattr(clip_cache, "decoded", decoded_while_others_ask)
    assert caches[0].see(videos[0], lambda opened: opened.size, reduction=REDUCTION) == (69, 46)
    assert begun == ["large.mp4"] and other_saw == [None, None]


def test_a_claim_outlives_other_users_of_the_folder(tmp_path: Path):
    own, other = Claims(tmp_path), Claims(tmp_path)
    assert own.take("a" * 40) and not other.take("a" * 40)
    del other
    words = "import sys, pathlib; from vidpipe.pipeline.training.claims import Claims; "
    words += "print(Claims(pathlib.Path(sys.argv[1])).take('a' * 40))"
    asked = [sys.executable, "-c", words, str(tmp_path)]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "False\n"
    own.release("a" * 40)
    assert own.take("a" * 40)


HOLD = """
import sys, time
from pathlib import Path
from vidpipe.pipeline.training.clip_cache import ClipCache
cache = ClipCache(Path(sys.argv[1]), most_bytes=1e9, say=print)
assert cache._claims.take(Path(sys.argv[2]).name)
print("held", flush=True)
sys.stdin.read()
"""


def test_what_another_process_is_decoding_is_left_to_it_and_removed_once_that_is_dead(
    videos: list[Video], tmp_path: Path
):
    path = entry_path(tmp_path, videos[0], reduction=REDUCTION)
    assert path is not None
    draft = tmp_path / f"{path.name}.{'0' * 32}.partial"
    words = [sys.executable, "-c", HOLD, str(tmp_path), str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        draft.write_bytes(b"half")
        own = open_cache(tmp_path)
        own.make_room([], needed_bytes=0)
        assert draft.exists()
        assert same(seen(clips_of(videos[:1])), seen(clips_of(videos[:1], disk=own)))
        assert entries(tmp_path) == []
        other.kill()
    own.make_room([], needed_bytes=0)
    assert not draft.exists()
    seen(clips_of(videos[:1], disk=own))
    assert entries(tmp_path) == [path]


def test_it_is_said_before_anything_is_written(videos: list[Video], tmp_path: Path):
    said: list[str] = []
    settings = ClipCacheSettings(clip_cache=tmp_path / "kept", clip_cache_gb=1.0)
    source = VideoSource(videos, crop=CROP)
    foreseen = sum(num_bytes(video, reduction=REDUCTION) for video in videos)
    outlook = look_ahead([source], settings=settings)
    assert (outlook.num_kept, outlook.missing_bytes, outlook.fits) == (0, foreseen, True)
    assert not (tmp_path / "kept").exists()
    keep_decoded([source], settings=settings, memory_bytes=0, say=said.append)
    assert said == [announcement(outlook)]
    assert f"kept in {tmp_path}/kept" in said[0] and "for 3 videos; at most 1.0 GB there" in said[0]
    for place in range(3):
        source.see(place, lambda opened: opened.size)
    again = look_ahead([source], settings=settings)
    assert (again.num_kept, again.missing_bytes) == (3, 0)
    assert foreseen < again.kept_bytes < 1.1 * foreseen


def test_without_room_on_disk_videos_are_kept_in_memory(videos: list[Video], tmp_path: Path):
    said: list[str] = []
    settings = ClipCacheSettings(clip_cache=tmp_path / "kept", clip_cache_gb=0)
    source = VideoSource(videos, crop=CROP)
    keep_decoded([source], settings=settings, memory_bytes=1e9, say=said.append)
    source.see(0, lambda opened: opened.size)
    assert source.see(0, id) == source.see(0, id)
    assert len(said) == 1 and said[0].startswith("decoded videos are kept in memory: ")
    assert not (tmp_path / "kept").exists()


def test_the_bound_of_memory_is_for_all_sources_together(videos: list[Video], tmp_path: Path):
    settings = ClipCacheSettings(clip_cache=tmp_path / "kept", clip_cache_gb=0)
    sizes = [num_bytes(video, reduction=REDUCTION) for video in videos[:2]]
    for bound in (max(sizes), sum(sizes) - 1, sum(sizes)):
        sources, said = [VideoSource([video], crop=CROP) for video in videos[:2]], []
        keep_decoded(sources, settings=settings, memory_bytes=bound, say=said.append)
        foreseen = fits_in_memory(look_ahead(sources, settings=settings), memory_bytes=bound)
        assert bool(said) == foreseen == (bound == sum(sizes))
        assert [own.keeps_in_memory for own in sources] == [foreseen] * 2


def test_a_folder_that_cannot_be_used(videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    source, said = VideoSource(videos, crop=CROP), []
    with pytest.raises(SettingsError, match="clip_cache must be a folder that can be written; .*file/clips cannot be"):
        settings = ClipCacheSettings(clip_cache=tmp_path / "file" / "clips")
        keep_decoded([source], settings=settings, memory_bytes=0, say=said.append)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_decoded([source], settings=ClipCacheSettings(), memory_bytes=0, say=said.append)
    assert len(said) == 1 and said[0].startswith(f"decoded videos are not kept on disk: {tmp_path}/file/vidpipe/clips")
    assert source.see(0, lambda opened: opened.size) == (69, 46)


def test_the_usual_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/vidpipe/clips")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "vidpipe" / "clips"


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(
    videos: list[Video], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    video = dataclasses.replace(videos[0], path=tmp_path / "v.mp4")
    video.path.write_bytes(videos[0].path.read_bytes())

    def decoded_slowly(own: Video, *, reduction: Reduction):
        os.utime(own.path, (1, 1))
        return decoded(own, reduction=reduction)

    monkeypatch.setattr(clip_cache, "decoded", decoded_slowly)
    assert seen(clips_of([video], disk=open_cache(tmp_path / "kept")))[0] is not None
    assert entries(tmp_path / "kept") == [entry_path(tmp_path / "kept", video, reduction=REDUCTION)]
