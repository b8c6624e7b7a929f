"""Copies of maps give what the store gives, are made once a machine, and are never stale."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_stores import MadeUp, make_store, take_over
from refusals import assert_refused

from vidpipe.pipeline.errors import OutOfSpaceError, StoreError
from vidpipe.pipeline.execution import run_tasks
from vidpipe.pipeline.features import local_copies
from vidpipe.pipeline.features.backbone_group import BackboneGroup
from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.local_copies import check_space, open_copy
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Video

WANTED = MadeUp(num_training=6, num_test=3, views=2, failed=(1,), pending=(4,))
DONE = (0, 2, 3, 5, 6, 7, 8)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> BackboneGroup:
    store = make_store(tmp_path_factory.mktemp("store") / "s.zarr", WANTED)
    return FeatureStore.open(store).backbone("big")  # clips 0 and 4 of 8 are due


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies")


@given(video=st.sampled_from(DONE), view=st.integers(0, 1), clips=st.lists(st.sampled_from([0, 4]), max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_copy_reads_as_the_store_does_bit_for_bit(
    group: BackboneGroup, folder: Path, video: int, view: int, clips: list[int]
) -> None:
    copied = open_copy(group, folder).read(video, view=view, clips=clips)
    stored = group.read(video, view=view, clips=clips)
    assert (copied.dtype, copied.shape) == (stored.dtype, stored.shape)
    assert copied.tobytes() == stored.tobytes()


@pytest.mark.parametrize(
    ("video", "clips", "message"),
    [(0, [0, 1], "no maps of clip 1: big was not to"), (1, [0], "no maps of video 1"), (4, [0], "no maps of video 4")],
)
def test_what_was_not_there_to_be_copied_is_refused(
    group: BackboneGroup, folder: Path, video: int, clips: list[int], message: str
) -> None:
    with assert_refused(StoreError, match=message):
        open_copy(group, folder).read(video, view=0, clips=clips)


def test_what_is_read_may_be_changed_without_harm(group: BackboneGroup, folder: Path) -> None:
    copy = open_copy(group, folder)
    copy.read(0, view=0, clips=[0])[:] = 0
    np.testing.assert_array_equal(copy.read(0, view=0, clips=[0]), group.read(0, view=0, clips=[0]))


def read_all(store: Path, folder: Path, log: Path, task: int) -> bytes:
    """Open a copy and read all of it, noting each read of the store; runs in any process."""
    read = BackboneGroup.read

    def noted(self: BackboneGroup, video: int, **options: object) -> np.ndarray:
        with log.open("a") as file:
            file.write(f"{os.getpid()} {video}\n")
        return read(self, video, **options)  # pyright: ignore[reportArgumentType]

    BackboneGroup.read = noted
    try:
        copy = open_copy(FeatureStore.open(store).backbone("big"), folder)
        return b"".join(copy.read(video, view=view, clips=[0, 4]).tobytes() for video in DONE for view in range(2))
    finally:
        BackboneGroup.read = read


def test_processes_of_one_machine_read_the_store_once_between_them(group: BackboneGroup, tmp_path: Path) -> None:
    log, folder = tmp_path / "reads", tmp_path / "copies"
    task = partial(read_all, group.path.parent, folder, log)
    contents = [*run_tasks(task, range(6), scheduler="local", workers=2), task(6)]
    assert len(set(contents)) == 1
    reads = log.read_text().splitlines()
    assert len(reads) == len(DONE) * 2  # a read a video and view, in all processes together
    assert len({line.split()[0] for line in reads}) == 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    yield make_store(tmp_path / "s.zarr", MadeUp(num_training=4, num_test=0, pending=(3,)))


def opened(store: Path) -> BackboneGroup:
    return FeatureStore.open(store).backbone("big")


def test_videos_that_are_extracted_later_make_another_copy(small: Path, tmp_path: Path) -> None:
    before = open_copy(opened(small), tmp_path / "copies")
    group = FeatureStore.open(small, mode="r+").backbone("big")
    maps, scores = group.features[0], group.scores[0]
    group.write(3, np.asarray(maps), np.asarray(scores))
    group.mark(3, Status.DONE)
    after = open_copy(opened(small), tmp_path / "copies")
    assert after.path != before.path
    np.testing.assert_array_equal(after.read(3, view=0, clips=[0]), group.read(0, view=0, clips=[0]))


def test_labels_and_rows_without_maps_make_no_other_copy(small: Path, tmp_path: Path) -> None:
    def correct(videos: list[Video]) -> None:
        videos[0] = replace(videos[0], labels=("low then high",))
        added = replace(videos[1], video_id="v0", path=Path("n.mp4"), written_path="n.mp4")
        videos[:] = [added, *reversed(videos)]

    before = open_copy(opened(small), tmp_path / "copies")
    take_over(small, correct)
    group = opened(small)
    after = open_copy(group, tmp_path / "copies")
    assert after.path == before.path
    places = [place for place, status in enumerate(group.status()) if status == Status.DONE]
    assert len(places) == 3
    for place in places:
        stored = group.read(place, view=0, clips=[0, 4])
        assert after.read(place, view=0, clips=[0, 4]).tobytes() == stored.tobytes()


def test_maps_that_are_written_anew_make_another_copy(small: Path, tmp_path: Path) -> None:
    before = open_copy(opened(small), tmp_path / "copies")
    group = FeatureStore.open(small, mode="r+").backbone("big")
    group.write(1, np.asarray(group.features[0]), np.asarray(group.scores[0]))  # as a video that was changed and reset
    after = open_copy(opened(small), tmp_path / "copies")
    assert after.path != before.path
    np.testing.assert_array_equal(after.read(1, view=0, clips=[0]), group.read(0, view=0, clips=[0]))


def test_a_store_made_anew_at_the_same_place_makes_another_copy(small: Path, tmp_path: Path) -> None:
    before = open_copy(opened(small), tmp_path / "copies")
    shutil.rmtree(small)
    make_store(small, MadeUp(num_training=4, num_test=0, pending=(3,), seed=1))
    after = open_copy(opened(small), tmp_path / "copies")
    assert after.path != before.path
    assert after.read(0, view=0, clips=[0]).tobytes() == opened(small).read(0, view=0, clips=[0]).tobytes()


def test_other_weights_and_another_store_make_another_copy(small: Path, tmp_path: Path) -> None:
    wanted = MadeUp(num_training=4, num_test=0, pending=(3,))
    other = make_store(tmp_path / "other.zarr", wanted)
    retrained = make_store(tmp_path / "retrained.zarr", replace(wanted, weights="other"))
    paths = {open_copy(opened(store), tmp_path / "copies").path for store in (small, other, retrained)}
    assert len(paths) == 3


def test_a_copy_that_was_cut_short_by_a_kill_is_made_again(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(local_copies.os, "fsync", kill)
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process tidies nothing
        with pytest.raises(Killed):
            open_copy(opened(small), tmp_path / "copies")
    assert len(list((tmp_path / "copies").glob("*.partial"))) == 1
    copy = open_copy(opened(small), tmp_path / "copies")
    assert copy.read(2, view=0, clips=[4]).tobytes() == opened(small).read(2, view=0, clips=[4]).tobytes()
    assert not list((tmp_path / "copies").glob("*.partial"))


def test_a_damaged_store_is_told_and_leaves_no_copy(small: Path, tmp_path: Path) -> None:
    shard = next((small / "big" / "features").glob("c.1.*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(StoreError, match="video 'v001'"):
        open_copy(opened(small), tmp_path / "copies")
    assert [path.suffix for path in (tmp_path / "copies").iterdir()] == [".lock"]


def test_a_disk_too_small_is_refused_with_the_size(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 3 * 2 * 1 * 2 * 2 * 8 * 2  # videos × clips × map × bytes
    assert check_space([opened(small)], tmp_path / "copies") == needed
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with assert_refused(OutOfSpaceError, match=r"take 0\.000 GB, and .* --cache-dir, or .* --no-copies"):
        open_copy(opened(small), tmp_path / "copies")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    open_copy(opened(small), tmp_path / "copies")
    assert check_space([opened(small)], tmp_path / "copies") == 0


def test_a_store_without_videos_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=2, num_test=0, pending=(0, 1)))
    with pytest.raises(StoreError, match="no video is done"):
        open_copy(opened(store), tmp_path / "copies")
