"""A store gives back what it was given, says so when it cannot, and comes out the same however often it was stopped."""

import errno
import itertools
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_features import (
    DUE,
    NUM_CLASSES,
    PROVENANCE,
    SAMPLING,
    SHAPE,
    add,
    clips_of,
    extract,
    files,
    make_manifest,
    make_store,
)
from own_processes import die_after_naming, exit_status, started

from vidpipe.pipeline.errors import OutOfSpaceError, StoreError
from vidpipe.pipeline.features.format import COMPRESSIONS, Status, backbone_bytes, differences
from vidpipe.pipeline.features.recording import Recorder
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.features.verify import Problem, compare_clips, find_problems, reset
from vidpipe.pipeline.files import check_free_space
from vidpipe.pipeline.videos.clips import ClipSampling


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a store that was written undisturbed."""
    return files(make_store(tmp_path_factory.mktemp("reference") / "s.zarr"))


# What is written is read back.


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_reads_what_was_written_with_holes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    views, num_clips = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    due = data.draw(st.lists(st.booleans(), min_size=num_clips, max_size=num_clips).filter(any))
    compression = data.draw(st.sampled_from(sorted(COMPRESSIONS)))
    sampling = ClipSampling(num_clips=num_clips, views=views)
    path = tmp_path_factory.mktemp("property") / "s.zarr"
    with FeatureStore.open_or_create(path, manifest=make_manifest(2), sampling=sampling) as store:
        group = add(store, due=due, compression=compression)
        maps, scores = clips_of(7, due=due, views=views)
        group.write(1, maps, scores)
    group = FeatureStore.open(path).backbone("r2d_26")
    view = data.draw(st.integers(0, views - 1))
    clips = data.draw(st.lists(st.integers(0, num_clips - 1), max_size=6))
    np.testing.assert_array_equal(group.read(1, view=view), maps[view])
    np.testing.assert_array_equal(group.read(1, view=view, clips=clips), maps[view][clips])
    np.testing.assert_array_equal(group.read_scores(1, view=view), scores[view])
    plain = zarr.open_group(path / "r2d_26", mode="r")  # what any other reader of Zarr sees
    np.testing.assert_array_equal(plain["features"][1], maps)
    np.testing.assert_array_equal(plain["scores"][1], scores)
    assert np.isnan(plain["features"][0]).all()


@pytest.mark.parametrize("compression", sorted(COMPRESSIONS))
@pytest.mark.parametrize("due", [(True, True, True, True), DUE])
def test_files_are_those_that_zarr_writes(tmp_path: Path, compression: str, due: Sequence[bool]):
    with FeatureStore.create(tmp_path / "s", manifest=make_manifest(), sampling=replace(SAMPLING, views=1)) as store:
        group = add(store, due=due, compression=compression)
    maps, scores = clips_of(0, due=due, views=1)
    group.write(0, maps, scores)
    own = files(group.path)
    group.features[0], group.scores[0] = maps, scores
    assert files(group.path) == own
    group.write(0, maps, scores)  # and again, over what is there
    assert files(group.path) == own


def test_clips_that_are_not_due_take_no_space(tmp_path: Path):
    sizes = {}
    for name, due in {"all": (True,) * 4, "one": (True, False, False, False)}.items():
        with FeatureStore.create(tmp_path / name, manifest=make_manifest(), sampling=SAMPLING) as store:
            add(store, due=due, compression="none").write(0, *clips_of(0, due=due))
        sizes[name] = (tmp_path / name / "r2d_26" / "features" / "c.0.0.0.0.0.0.0").stat().st_size
    index = 16 * 8 + 4
    clip = 2 * 12 + 4  # bytes of a map of 12 float16, and their checksum
    assert sizes == {"all": 8 * clip + index, "one": 2 * clip + index}


def test_gives_back_manifest_sampling_and_attributes(tmp_path: Path):
    store = FeatureStore.open(make_store(tmp_path / "s.zarr"))
    group = store.backbone("r2d_26")
    assert store.manifest == make_manifest()
    assert store.manifest.digest == make_manifest().digest
    assert store.sampling == SAMPLING
    assert store.backbones() == ("r2d_26",)
    assert (group.feature_shape, group.num_classes, group.provenance) == (SHAPE, NUM_CLASSES, PROVENANCE)
    assert group.due.tolist() == list(DUE)
    assert group.status().tolist() == [1, 1, 1, 2, 1]
    assert group.errors() == {3: "no video stream"}
    assert (group.pending().tolist(), group.pending(retry_failed=True).tolist()) == ([], [3])
    np.testing.assert_array_equal(store.clip_starts(4), np.arange(8.0).reshape(2, 4) + 4)
    assert np.isnan(store.clip_starts()[3]).all()


def test_a_clip_that_was_never_computed_is_never_taken_for_one(tmp_path: Path):
    with FeatureStore.create(tmp_path / "s.zarr", manifest=make_manifest(), sampling=SAMPLING) as store:
        group = add(store)
    with pytest.raises(StoreError, match="not been extracted for video 'jump/2'"):
        group.read(1)
    with pytest.raises(StoreError, match="not been extracted for video 'jump/2'"):
        group.read_scores(1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda maps, scores: (maps[:, :3], scores), "features must be"),
        (lambda maps, scores: (maps.astype(np.float32), scores), "float16; got .* float32"),
        (lambda maps, scores: (np.where(np.isnan(maps), 0, maps), scores), "clip 1 must be NaN"),
        (lambda maps, scores: (maps * np.float16(np.inf), scores), "clip 0 must be finite"),
        (lambda maps, scores: (maps, scores * np.float32(np.nan)), "scores of view 0, clip 0 must be finite"),
    ],
)
def test_refuses_what_does_not_fit(tmp_path: Path, spoil: Callable, message: str):
    with FeatureStore.create(tmp_path / "s.zarr", manifest=make_manifest(), sampling=SAMPLING) as store:
        with np.errstate(invalid="ignore"):
            maps, scores = spoil(*clips_of(0))
        with pytest.raises(StoreError, match=message):
            add(store).write(0, maps, scores)
        assert not (tmp_path / "s.zarr/r2d_26/features/c.0.0.0.0.0.0.0").exists()


# Files: who writes which, how many, and that they are always the same.


def test_tasks_write_disjoint_files_and_none_that_the_coordinator_writes(tmp_path: Path):
    path = tmp_path / "s.zarr"
    with FeatureStore.create(path, manifest=make_manifest(), sampling=SAMPLING) as store:
        add(store)
    written = []
    for index in range(5):
        before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
        FeatureStore.open(path, "r+").backbone("r2d_26").write(index, *clips_of(index))
        after = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
        written.append({str(file.relative_to(path)) for file, when in after.items() if before.get(file) != when})
    assert written == [
        {f"r2d_26/features/c.{index}.0.0.0.0.0.0", f"r2d_26/scores/c.{index}.0.0.0"} for index in range(5)
    ]


def test_many_videos_are_few_files_until_they_are_extracted(tmp_path: Path):
    FeatureStore.create(tmp_path / "s.zarr", manifest=make_manifest(3000), sampling=SAMPLING)
    group = add(FeatureStore.open(tmp_path / "s.zarr", "r+"))
    for index in (0, 1500, 2999):
        group.mark(index, Status.DONE)
    assert len(files(tmp_path / "s.zarr")) == 1 + 7 + 6 * 3 + 1 + 4 + 3  # metadata, six columns, metadata, status
    assert len(group.pending()) == 2997


def test_order_retries_and_interruptions_leave_no_trace(tmp_path: Path, reference: dict[str, bytes]):
    assert files(make_store(tmp_path / "a.zarr", order=[4, 2, 0, 3, 1])) == reference
    path = make_store(tmp_path / "b.zarr", order=[2, 3])
    with FeatureStore.open_to_coordinate(path) as store:
        group = store.backbone("r2d_26")
        extract(store, group, [1, 1])
        group.mark(0, Status.FAILED, "could not be read at first")
        group.mark(0, Status.PENDING)
        group.write(4, *clips_of(0))  # half of another video's task, say, then killed
    assert files(make_store(path)) == reference


def write_until_killed(path: Path, count: int) -> None:
    die_after_naming(count)
    make_store(path)


@pytest.mark.parametrize("count", [3, 15, 20, 22, 27])
def test_killed_while_writing_and_resumed_gives_the_same_bytes(tmp_path: Path, reference: dict[str, bytes], count: int):
    path = tmp_path / "s.zarr"
    assert exit_status(started(write_until_killed, path, count)) == -signal.SIGKILL
    left = [file for file in tmp_path.rglob("*") if file.suffix == ".partial"]
    assert left, "the process was to die between writing a file and naming it"
    assert files(make_store(path)) == reference
    assert [file.name for file in tmp_path.iterdir()] == ["s.zarr"]


@pytest.mark.parametrize(("code", "step"), [(errno.ENOSPC, 3), (errno.EDQUOT, 16)])
def test_a_full_disk_is_explained_and_leaves_the_store_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, bytes], code: int, step: int
):
    replace_file, left = Path.replace, 0

    def full(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(code, os.strerror(code))
        return replace_file(self, target)

    for count in itertools.count(0, step):  # the disk is full at the first file, at the fourth, and so on
        path, left = tmp_path / f"{count}.zarr", count
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", full)
            try:
                make_store(path)
                break
            except OutOfSpaceError as error:
                assert f"No space left for {path}" in str(error)
        if path.exists():
            assert list(find_problems(FeatureStore.open(path))) == []
        assert not list(tmp_path.rglob("*.partial"))
        assert files(make_store(path)) == reference
    assert count > 30  # files were written, some of them again and again


# Space.


@settings(max_examples=30, deadline=None)
@given(
    num_due=st.integers(1, 4),
    shape=st.tuples(st.just(1), st.integers(1, 3), st.integers(1, 3), st.integers(1, 300)),
    compression=st.sampled_from(sorted(COMPRESSIONS)),
)
def test_foreseen_bytes_bound_what_is_written(tmp_path_factory, num_due: int, shape: tuple, compression: str):
    due = [True] * num_due + [False] * (4 - num_due)
    path = tmp_path_factory.mktemp("bytes") / "s.zarr"
    store = FeatureStore.create(path, manifest=make_manifest(2), sampling=replace(SAMPLING, views=1))
    group = add(store, feature_shape=shape, due=due, compression=compression)
    noise = np.random.default_rng(0).integers(0, 0x7BFF, (1, 4, *shape)).astype(np.uint16).view(np.float16).copy()
    scores = np.random.default_rng(1).normal(size=(1, 4, NUM_CLASSES)).astype(np.float32)
    noise[:, num_due:], scores[:, num_due:] = np.nan, np.nan
    before = sum(map(len, files(path).values()))
    group.write(0, noise, scores)
    written = sum(map(len, files(path).values())) - before
    foreseen = backbone_bytes(num_videos=1, num_views=1, due=due, feature_shape=shape, num_classes=NUM_CLASSES)
    assert written <= foreseen <= 1.1 * 2 * num_due * np.prod(shape) + 10_000


def test_too_little_free_space_is_found_before_writing(tmp_path: Path):
    assert check_free_space(tmp_path / "not/yet/there", 1000) > 1000
    with pytest.raises(OutOfSpaceError, match=r"needs up to 1000000000\.000 GB, and .* GB are free"):
        check_free_space(tmp_path / "not/yet/there", 10**18)


# Another run's store.


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"provenance": {**PROVENANCE, "weights_sha256": "cd34"}},
            'provenance.weights_sha256: stored "ab12", now "cd34"',
        ),
        (
            {"provenance": {**PROVENANCE, "preprocessing": {"crop": 112, "mean": [0.4, 0.5, 0.6]}}},
            "provenance.preprocessing.crop: stored 64, now 112",
        ),
        ({"provenance": {**PROVENANCE, "engine": "x"}}, 'provenance.engine: stored nothing, now "x"'),
        ({"compression": "none"}, 'compression: stored "zstd", now "none"'),
    ],
)
def test_another_backbone_of_the_same_name_is_refused(tmp_path: Path, changes: dict, named: str):
    store = FeatureStore.create(tmp_path / "s.zarr", manifest=make_manifest(), sampling=SAMPLING)
    add(store)
    with pytest.raises(StoreError) as caught:
        add(FeatureStore.open(tmp_path / "s.zarr", "r+"), **changes)
    assert [line for line in str(caught.value).splitlines() if line.startswith("  ")] == [f"  {named}"]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"num_clips": 8}, "no stored clip could be kept"),
        ({"views": 3}, "are one file"),
        ({"crops": 3}, "Give crops 1"),
        ({}, ""),
    ],
)
def test_another_sampling_is_refused(tmp_path: Path, change: dict, advice: str):
    path = make_store(tmp_path / "s.zarr")
    changed = change | {"fps": 25.0}
    with pytest.raises(StoreError, match=r"sampling\.fps: stored null, now 25\.0\n") as caught:
        FeatureStore.open_or_create(path, manifest=make_manifest(), sampling=replace(SAMPLING, **changed))
    assert all(f"sampling.{name}: stored" in str(caught.value) for name in changed)
    assert advice in str(caught.value)


def test_differences_of_equal_trees_are_none():
    assert differences({"a": {"b": [1, 2.5, None]}}, {"a": {"b": [1, 2.5, None]}}) == []


def test_only_one_run_coordinates_a_store(tmp_path: Path):
    path = make_store(tmp_path / "s.zarr")
    with FeatureStore.open_to_coordinate(path):
        with pytest.raises(StoreError, match="Another run is writing"):
            FeatureStore.open_or_create(path, manifest=make_manifest(), sampling=SAMPLING)
        FeatureStore.open(path, "r+").backbone("r2d_26")
    with FeatureStore.open_to_coordinate(path):
        pass


def test_a_video_that_changed_between_two_backbones_is_refused(tmp_path: Path):
    store = FeatureStore.open_to_coordinate(make_store(tmp_path / "s.zarr"))
    store.backbone("r2d_26").record(dict.fromkeys(range(5), (Status.PENDING, "")))
    before, recorder = store.clip_starts(), Recorder(store, seconds=1e9)
    for index in (0, 3):
        recorder.record(index, status={"r2d_26": Status.DONE}, words="", clip_start=np.zeros((2, 4)))
    with pytest.raises(StoreError, match="'jump/ä 1' do not start where they did"):
        recorder.flush()
    assert store.backbone("r2d_26").status().tolist() == [0, 0, 0, Status.DONE, 0]  # the others of the batch are kept
    np.testing.assert_array_equal(store.clip_starts()[[0, 3]], [before[0], np.zeros((2, 4))])


def test_what_is_no_store_is_refused(tmp_path: Path):
    with pytest.raises(StoreError, match="found nothing"):
        FeatureStore.open(tmp_path / "s.zarr")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("keep me")
    with pytest.raises(StoreError, match="exists already"):
        FeatureStore.open_or_create(tmp_path / "full", manifest=make_manifest(), sampling=SAMPLING)
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="no feature store of vidpipe"):
        FeatureStore.open(tmp_path / "other.zarr")
    path = make_store(tmp_path / "s.zarr")
    (path / "zarr.json").write_text(
        (path / "zarr.json").read_text().replace('"format_version": 2', '"format_version": 9')
    )
    with pytest.raises(StoreError, match="has format 9"):
        FeatureStore.open(path)
    (path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"metadata of .* cannot be read"):
        FeatureStore.open(path)


# Damage.


def test_every_flipped_byte_of_a_shard_is_found_and_only_its_video_is_named(tmp_path: Path):
    store = FeatureStore.open(make_store(tmp_path / "s.zarr"))
    group = store.backbone("r2d_26")
    file = group.path / "features" / "c.2.0.0.0.0.0.0"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(StoreError, match="r2d_26 features of video 'wave/漢字', (view ., clip .|all clips)"):
            [group.read(2, view=view) for view in range(2)]
    assert {problem.video_id for problem in find_problems(store)} == {"wave/漢字"}


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("features/c.2.0.0.0.0.0.0", lambda file: file.unlink(), "all clips: not there"),
        ("features/c.2.0.0.0.0.0.0", lambda file: file.write_bytes(b""), "cut short, to 0 bytes"),
        ("features/c.2.0.0.0.0.0.0", lambda file: file.write_bytes(file.read_bytes()[:-7]), "checksum of its index"),
        ("features/c.2.0.0.0.0.0.0", lambda file: file.write_bytes(b"\0" + file.read_bytes()[1:]), "view 0, clip 0"),
        ("scores/c.2.0.0.0", lambda file: file.unlink(), "scores: not there"),
        ("scores/c.2.0.0.0", lambda file: file.write_bytes(file.read_bytes()[:-1]), "scores: the checksum"),
    ],
)
def test_damage_is_named_and_repaired(
    tmp_path: Path, reference: dict[str, bytes], name: str, damage: Callable[[Path], None], message: str
):
    path = make_store(tmp_path / "s.zarr")
    damage(path / "r2d_26" / name)
    with FeatureStore.open_to_coordinate(path) as store:
        problems = list(find_problems(store))
        assert {(problem.video_id, problem.backbone) for problem in problems} == {("wave/漢字", "r2d_26")}
        assert message in problems[0].message
        assert reset(store, problems) == 1
    assert files(make_store(path)) == reference


@pytest.mark.parametrize("name", ["video_id/c.0", "clip_start/c.0.0.0", "r2d_26/status/c.0", "r2d_26/error/c.0"])
def test_damage_of_what_videos_share_is_named(tmp_path: Path, name: str):
    path = make_store(tmp_path / "s.zarr")
    (path / name).write_bytes((path / name).read_bytes()[:-1])
    problems = list(find_problems(FeatureStore.open(path)))
    assert len(problems) == 1
    assert problems[0].video_id is None
    assert f"'{name.rsplit('/', 1)[0].rsplit('/', 1)[-1]}' of " in problems[0].message


def test_statuses_that_mean_nothing_are_found(tmp_path: Path):
    path = make_store(tmp_path / "s.zarr")
    zarr.open_array(path / "r2d_26" / "status", mode="r+")[1] = 7
    zarr.open_array(path / "clip_start", mode="r+")[2, 0, 1] = np.nan
    assert list(find_problems(FeatureStore.open(path))) == [
        Problem(video_id="jump/2", backbone="r2d_26", message="its status is 7, which means nothing"),
        Problem(video_id="wave/漢字", backbone="r2d_26", message="done, but its clips have no starts"),
    ]


def test_recomputed_clips_are_compared(tmp_path: Path):
    store = FeatureStore.open(make_store(tmp_path / "s.zarr"))

    def again(backbone: str, index: int, view: int, clip: int) -> tuple[np.ndarray, np.ndarray]:
        maps, scores = clips_of(index)
        return maps[view, clip] * np.float16(1 + 0.5 * (index == 1)), scores[view, clip]

    compared = list(compare_clips(store, again, num_clips=12, seed=1))
    assert len(compared) == 12
    assert {each.video_id for each in compared} <= {"jump/ä 1", "jump/2", "wave/漢字", "wave/4"}
    assert {each.clip for each in compared} == {0, 3}
    assert all(each.identical == (each.video_id != "jump/2") for each in compared)
    assert all(each.difference == pytest.approx(0.5 * (not each.identical), abs=2e-3) for each in compared)
    assert len(list(compare_clips(store, again, num_clips=2))) == 2


def test_a_video_or_clip_that_is_not_there_is_no_damage(tmp_path: Path):
    store = FeatureStore.open(make_store(tmp_path / "s.zarr"))
    (name, *_), number = store.backbones(), len(store.manifest)
    group = store.backbone(name)
    for read in (group.read, group.read_scores):
        for index in (-1, number):
            with pytest.raises(
                StoreError, match=rf"there is no video {index}: the store holds {number}, counted from 0"
            ):
                read(index)
    num_views, num_clips = group.features.shape[1:3]
    with pytest.raises(StoreError, match=rf"there is no clip {num_clips}: the store holds {num_clips}"):
        group.read(0, clips=[num_clips])
    with pytest.raises(StoreError, match=rf"there is no view {num_views}"):
        group.read_scores(0, view=num_views)


def test_a_lone_videos_starts_cost_the_reading_of_their_own_file(tmp_path: Path):
    """A store of a million videos has a thousand of these files, and every task asks for its video's."""
    path, starts = tmp_path / "s.zarr", np.arange(8.0).reshape(2, 4)
    FeatureStore.create(path, manifest=make_manifest(1500), sampling=SAMPLING).set_clip_starts({3: starts})
    (path / "clip_start" / "c.1.0.0").write_bytes(b"damaged")
    store = FeatureStore.open(path)
    np.testing.assert_array_equal(store.clip_starts(3), starts)
    assert np.isnan(store.clip_starts(4)).all()
    with pytest.raises(StoreError, match="damaged"):
        store.clip_starts()
