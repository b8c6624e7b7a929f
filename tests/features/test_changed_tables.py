"""A store belongs to its videos: other manifests add rows, leave some out of use, and change labels and splits."""

import itertools
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_features import DUE, SAMPLING, add, extract, files, make_manifest, make_store
from own_processes import die_after_naming, exit_status, started

from vidpipe.pipeline.errors import StoreError
from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.hdf5 import export_hdf5, import_hdf5
from vidpipe.pipeline.features.pending_change import PendingChange, is_pending
from vidpipe.pipeline.features.store import EXTENDING, FeatureStore
from vidpipe.pipeline.features.table_changes import Rules
from vidpipe.pipeline.features.verify import find_problems
from vidpipe.pipeline.manifests.manifest import Manifest, Video

RELABEL = Rules(add=False, drop=False)


def with_videos(change: Callable[[list[Video]], object], num_videos: int = 5) -> Manifest:
    videos = list(make_manifest(num_videos).videos)
    change(videos)
    return Manifest(tuple(videos))


def other_label(videos: list[Video]) -> None:
    videos[1] = replace(videos[1], labels=("hop",), split="val")


def extend(path: Path, manifest: Manifest) -> None:
    """Extract what a manifest adds."""
    with FeatureStore.open_or_create(path, manifest=manifest, sampling=SAMPLING) as store:
        extract(store, group := add(store), group.pending().tolist())


def test_more_videos_give_the_store_that_is_made_of_all_at_once(tmp_path: Path):
    path = tmp_path / "s.zarr"
    for number in (2, 3, 7):
        extend(path, make_manifest(number))
    extend(tmp_path / "at_once.zarr", make_manifest(7))
    assert files(path) == files(tmp_path / "at_once.zarr")


def test_a_store_reads_as_if_made_of_the_manifest_whatever_came_before(tmp_path: Path):
    extend(path := tmp_path / "s.zarr", make_manifest(6))
    wanted = with_videos(lambda videos: (other_label(videos), videos.reverse(), videos.pop(2)), num_videos=8)
    maps = {video: FeatureStore.open(path).backbone("r2d_26").read(i)[0] for i, video in enumerate(ids(path)) if i != 3}
    extend(path, wanted)
    store = FeatureStore.open(path)
    assert store.manifest == wanted
    assert (store.attributes["manifest_digest"], store.num_rows) == (wanted.digest, 8)
    group = store.backbone("r2d_26")
    for index, video in enumerate(wanted.videos):
        assert store.video_id(index) == video.video_id
        if video.video_id in maps:
            np.testing.assert_array_equal(group.read(index)[0], maps[video.video_id])
    assert list(find_problems(store)) == []
    assert group.errors() == {wanted.videos.index(make_manifest(6).videos[3]): "no video stream"}
    assert store.table.ids[5] not in ids(path)  # the dropped one keeps its row
    extend(path, make_manifest(8))  # and comes back with all that it had
    assert ids(path) == [video.video_id for video in make_manifest(8).videos]
    assert FeatureStore.open(path).backbone("r2d_26").status().tolist() == [1, 1, 1, 2, 1, 1, 1, 1]


def ids(path: Path) -> list[str]:
    return [video.video_id for video in FeatureStore.open(path).manifest.videos]


def test_what_changes_is_said(tmp_path: Path):
    with FeatureStore.open_to_coordinate(make_store(tmp_path / "s.zarr")) as store:
        wanted = with_videos(lambda videos: (other_label(videos), videos.pop(0)), num_videos=7)
        changes = store.take_over(wanted, rules=EXTENDING)
        assert changes.added == ("wave/5", "wave/6")
        assert changes.dropped == ("jump/ä 1",)
        assert changes.cells == {"labels": {"jump/2": ("jump", "hop")}, "split": {"jump/2": ("test", "val")}}
        assert (changes.new_classes, changes.gone_classes) == (("hop",), ("jump", "two feet"))
        assert not changes.reordered
        assert not store.take_over(wanted, rules=EXTENDING).any
        again = store.take_over(make_manifest(), rules=RELABEL)
        assert (again.returned, again.untouched, again.dropped) == (("jump/ä 1",), 2, ())
        assert [video.video_id for video in store.manifest.videos][-1] == "jump/ä 1"


def test_relabelling_adds_and_drops_nothing_unless_asked(tmp_path: Path):
    with FeatureStore.open_to_coordinate(make_store(tmp_path / "s.zarr")) as store:
        some = with_videos(lambda videos: (other_label(videos), videos.pop(0)), num_videos=7)
        changes = store.take_over(some, rules=RELABEL)
        assert (changes.unknown, changes.untouched) == (("wave/5", "wave/6"), 1)
        assert store.manifest == with_videos(other_label)
        assert store.take_over(some, rules=Rules(add=False, drop=True)).dropped == ("jump/ä 1",)
        assert len(store.manifest) == 4


def test_a_manifest_without_labels_leaves_the_labels(tmp_path: Path):
    path = make_store(tmp_path / "s.zarr")
    bare = with_videos(lambda videos: videos.__setitem__(slice(None), [replace(v, labels=()) for v in videos]))
    extend(path, bare)
    assert FeatureStore.open(path).manifest == make_manifest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: v.__setitem__(2, replace(v[2], written_path="x/a.mp4")),
            r"other paths .* 'wave/漢字'.* 'x/a\.mp4'",
        ),
        (lambda v: v.__setitem__(2, replace(v[2], start=0.5)), r"'wave/漢字' is the stretch from 0\.2 s to 1\.5 s in"),
        (lambda v: v.__setitem__(2, replace(v[2], end=None)), r"from 0\.2 s to the end in the manifest"),
        (lambda v: v.__setitem__(slice(None), [replace(v[0], video_id="new")]), "column, with the stored ids"),
        (
            lambda v: v.__setitem__(slice(None), [replace(v[0], video_id="new", written_path="new.mp4")]),
            "none of the 1 videos of the manifest",
        ),
    ],
)
def test_other_files_are_refused_and_nothing_is_written(tmp_path: Path, change: Callable, message: str):
    path = make_store(tmp_path / "s.zarr")
    before = files(path)
    with pytest.raises(StoreError, match=message):
        extend(path, with_videos(change))
    assert files(path) == before


def test_moved_files_are_taken_over_if_asked(tmp_path: Path):
    moved = with_videos(lambda v: v.__setitem__(2, replace(v[2], written_path="x/a.mp4", path=Path("x/a.mp4"))))
    with FeatureStore.open_to_coordinate(make_store(tmp_path / "s.zarr")) as store:
        changes = store.take_over(moved, rules=replace(RELABEL, move=True))
        assert changes.moved == {"wave/漢字": ("wave/漢字.mp4", "x/a.mp4")}
        assert store.manifest == moved


def extend_until_killed(path: Path, count: int) -> None:
    die_after_naming(count)
    extend(path, wanted_after_kills())


def wanted_after_kills() -> Manifest:
    return with_videos(lambda videos: (other_label(videos), videos.pop(0)), num_videos=8)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a store whose extension nothing disturbed."""
    extend(path := make_store(tmp_path_factory.mktemp("undisturbed") / "s.zarr"), wanted_after_kills())
    return files(path)


@pytest.mark.parametrize("count", [1, 6, 14])
def test_killed_while_extending_and_resumed_gives_the_same_bytes(
    tmp_path: Path, extended: dict[str, bytes], count: int
):
    path = make_store(tmp_path / "s.zarr")
    assert exit_status(started(extend_until_killed, path, count)) == -signal.SIGKILL
    extend(path, wanted_after_kills())
    assert files(path) == extended


class StoppedError(Exception):
    """What stands in for a kill, to try each place where there could be one."""


def test_stopped_anywhere_an_extension_shows_all_of_the_old_table_or_all_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extended: dict[str, bytes]
):
    replace_file, remove_file, left, seen = Path.replace, Path.unlink, 0, set()

    def counted(function: Callable) -> Callable:
        def count(self: Path, *args, **words):
            nonlocal left
            left -= not self.name.endswith(".partial") or function is replace_file
            if left < 0:
                raise StoppedError
            return function(self, *args, **words)

        return count

    before = make_store(tmp_path / "before.zarr")
    for number in itertools.count(0, 4):
        path, left = shutil.copytree(before, tmp_path / f"{number}.zarr"), number
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", counted(replace_file))
            patched.setattr(Path, "unlink", counted(remove_file))
            try:
                extend(path, wanted_after_kills())
                break
            except StoppedError:
                pass
        store = FeatureStore.open(path)
        assert store.manifest in (make_manifest(), wanted_after_kills())
        assert len(store.backbone("r2d_26").status()) == len(store.clip_starts()) == len(store.manifest)
        assert list(find_problems(store)) == []
        seen.add((is_pending(path), len(store.manifest)))
        extend(path, wanted_after_kills())
        assert files(path) == extended
    assert seen == {(False, 5), (True, 7), (False, 7)}


def test_a_reader_that_is_open_keeps_its_videos(tmp_path: Path):
    path = make_store(tmp_path / "s.zarr")
    store = FeatureStore.open(path)
    group, maps = store.backbone("r2d_26"), FeatureStore.open(path).backbone("r2d_26").read(0)
    lazy = FeatureStore.open(path)
    extend(path, with_videos(lambda videos: videos.reverse(), num_videos=9))
    assert group.status().tolist() == [1, 1, 1, 2, 1]
    np.testing.assert_array_equal(group.read(0), maps)
    assert len(store.clip_starts()) == 5
    with pytest.raises(StoreError, match="were changed while they were read"):
        _ = lazy.manifest


def test_a_reader_that_opens_during_the_change_sees_what_it_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, wanted = make_store(tmp_path / "s.zarr"), wanted_after_kills()
    change, _ = FeatureStore.open(path).changed_by(wanted)
    assert isinstance(change, PendingChange)
    change.write(path)
    store = FeatureStore.open(path)
    assert store.manifest == wanted
    assert store.backbone("r2d_26").pending().tolist() == [4, 5, 6]
    assert np.isnan(store.clip_starts()[4:]).all()


def test_stores_of_the_first_format_open_and_grow(tmp_path: Path):
    path = as_format_1(make_store(tmp_path / "s.zarr"))
    assert FeatureStore.open(path).manifest == make_manifest()
    assert list(find_problems(FeatureStore.open(path))) == []
    extend(path, make_manifest())
    assert not (path / "place").exists()  # nothing changed
    extend(path, wanted_after_kills())
    assert FeatureStore.open(path).manifest == wanted_after_kills()
    assert FeatureStore.open(path).attributes["format_version"] == 2


def as_format_1(path: Path) -> Path:
    """Make a store what earlier versions made: without the column `place`, and with a file's rows as they are."""
    shutil.rmtree(path / "place")
    document = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(document.replace('"format_version": 2', '"format_version": 1'))
    return path


# More clips.


def test_a_further_pattern_leaves_done_videos_what_they_have(tmp_path: Path):
    path = make_store(tmp_path / "s.zarr")
    reader = FeatureStore.open(path).backbone("r2d_26")
    with FeatureStore.open_to_coordinate(path) as store:
        group = add(store, due=(True,) * 4)
        assert group.due.all()
        assert group.due_everywhere.tolist() == list(DUE)
    fresh = FeatureStore.open(path).backbone("r2d_26")
    assert fresh.status().tolist() == [3, 3, 3, 2, 3]
    assert fresh.has([0, 3]).tolist() == reader.has([0, 3]).tolist() == [True, True, True, False, True]
    assert not fresh.has([0, 1]).any()
    assert fresh.pending().tolist() == [0, 1, 2, 4]
    assert list(find_problems(FeatureStore.open(path))) == []
    with pytest.raises(StoreError, match=r"not been extracted for video 'jump/ä 1' \(view 0, clip 1"):
        fresh.read(0)


def test_a_further_pattern_is_killed_before_it_holds(tmp_path: Path):
    path = make_store(tmp_path / "s.zarr")
    before = files(path)
    with FeatureStore.open_to_coordinate(path) as store:
        store.backbone("r2d_26")._replace(Status.DONE, Status.PARTLY)  # and killed, before the attributes
    reader = FeatureStore.open(path).backbone("r2d_26")
    assert reader.has([0, 3]).tolist() == [True, True, True, False, True]
    make_store(path)
    assert files(path) == before


# Columns of one's own.


def with_columns(columns: Callable[[int], dict[str, str]], num_videos: int = 5) -> Manifest:
    return Manifest(replace(v, columns=columns(i)) for i, v in enumerate(make_manifest(num_videos).videos))


def test_columns_of_ones_own_are_kept_and_may_come_and_change_later(tmp_path: Path):
    plain, path = make_store(tmp_path / "plain.zarr"), tmp_path / "s.zarr"
    extend(path, with_columns(lambda i: {"group": f"g{i // 2}", "a/b.c": str(i), "": "0"}))
    group = {"group": "g0", "a/b.c": "0", "": "0"}
    assert FeatureStore.open(path).manifest.videos[0].columns == group
    assert (path / "columns" / "a%2Fb%2Ec" / "zarr.json").is_file()
    with FeatureStore.open_to_coordinate(plain) as store:
        changes = store.take_over(with_columns(lambda i: {"source": "web" if i else "own"}), rules=RELABEL)
        assert (changes.new_columns, changes.cells) == (("source",), {})
        again = store.take_over(with_columns(lambda _: {"source": "web"}), rules=RELABEL)
        assert again.cells == {"source": {"jump/ä 1": ("own", "web")}}
    extend(path, make_manifest(6))  # without them: those that are known stay
    assert [dict(v.columns) for v in FeatureStore.open(path).manifest.videos][0::5] == [group, dict.fromkeys(group, "")]
    export_hdf5(FeatureStore.open(path), tmp_path / "s.h5")
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    assert files(tmp_path / "back.zarr") == files(path)


def test_more_videos_with_columns_give_the_store_that_is_made_of_all_at_once(tmp_path: Path):
    for number in (3, 7):
        extend(tmp_path / "s.zarr", with_columns(lambda i: {"group": str(i)}, number))
    extend(tmp_path / "at_once.zarr", with_columns(lambda i: {"group": str(i)}, 7))
    assert files(tmp_path / "s.zarr") == files(tmp_path / "at_once.zarr")
