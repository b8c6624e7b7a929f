"""Relabelling knows videos by their files and intervals, whichever way a manifest writes ids and paths."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vidpipe.pipeline.errors import ManifestError, OtherVideosError, StoreError
from vidpipe.pipeline.features.columns import VideoTable
from vidpipe.pipeline.features.table_changes import Rules, TableChanges, changed_table
from vidpipe.pipeline.manifests.manifest import read_manifest

ROWS = [
    ("jump/a 1", "jump", "0", "2"),
    ("jump/a 1", "jump", "2", "4"),
    ("wave/b", "wave", "", ""),
    ("b", "wave", "", ""),
]
Written = Callable[[Path, str], str]


def write(path: Path, written: Written, *, label: str = "", own_ids: bool = False) -> Path:
    """Write a manifest of the same four videos, whose paths ``written`` (its folder, path in the set) spells."""
    path.parent.mkdir(exist_ok=True)
    lines = ["path,label,split,video_id,start,end"]
    for number, (name, own, start, end) in enumerate(ROWS):
        spelled = written(path.parent, f"{name}.mp4")
        video_id = f"v{number}" if own_ids else f"{spelled.removesuffix('.mp4')} {start}".strip()
        lines.append(f"{spelled},{label or own},train,{video_id},{start},{end}")
    path.write_text("\n".join(lines) + "\n")
    return path


def make(folder: Path, written: Written, **more: bool) -> VideoTable:
    """Return the table of a store that was made of such a manifest."""
    return VideoTable.of(read_manifest(write(folder / "first.csv", written, **more)))


def change(table: VideoTable, manifest: Path, *, move: bool = False) -> tuple[VideoTable, TableChanges]:
    rules = Rules(add=False, drop=False, move=move, by_file=True)
    return changed_table(table, read_manifest(manifest), rules=rules, path=Path("s.zarr"))


def relative(_: Path, name: str) -> str:
    return name


def absolute(folder: Path, name: str) -> str:
    return str(folder / name)


def from_beside(folder: Path, name: str) -> str:
    return f"../{folder.name}/./{name}"


def as_url(folder: Path, name: str) -> str:
    return (folder / name).as_uri()


SPELLINGS = [relative, absolute, from_beside, as_url]


@pytest.mark.parametrize("before", SPELLINGS)
@pytest.mark.parametrize("now", SPELLINGS)
@pytest.mark.parametrize("own_ids", [True, False])
def test_the_same_files_are_known_however_their_paths_are_written(
    tmp_path: Path, before: Written, now: Written, own_ids: bool
):
    table = make(tmp_path, before, own_ids=own_ids)
    after, changes = change(table, write(tmp_path / "other.csv", now, label="hop", own_ids=own_ids))
    assert list(changes.cells) == ["labels"]
    assert (len(changes.cells["labels"]), changes.unknown, changes.untouched, changes.moved) == (4, (), 0, {})
    assert len(changes.by_file) == (0 if own_ids or before is now else 4)
    assert after.texts == {**table.texts, "labels": ["hop"] * 4}


def test_a_manifest_in_another_folder_and_one_through_a_link(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    through = write(tmp_path / "lists" / "m.csv", lambda folder, name: str(folder.parent / "link" / name))
    assert len(change(make(tmp_path / "set", relative), through)[1].by_file) == 4
    beside = write(tmp_path / "lists" / "m.csv", lambda _, name: f"../link/{name}")
    assert len(change(make(tmp_path / "set", absolute), beside)[1].by_file) == 4


def test_relative_paths_to_other_places_are_other_files(tmp_path: Path):
    """A store does not say which folder its paths start from: by relative ones alone, files have moved."""
    moved = write(tmp_path / "other.csv", lambda _, name: f"new/{name}", own_ids=True)
    with pytest.raises(OtherVideosError, match="other paths than s.zarr for 4 of 4 videos"):
        change(make(tmp_path, relative, own_ids=True), moved)


def test_the_folder_is_the_one_that_the_most_videos_agree_on(tmp_path: Path):
    """``b.mp4`` alone could be ``wave/b.mp4`` too."""
    _, changes = change(make(tmp_path, relative), write(tmp_path / "other.csv", absolute))
    assert changes.by_file["b"] == f"{tmp_path}/b"
    assert changes.by_file["wave/b"] == f"{tmp_path}/wave/b"


def one(path: Path, video_id: str, file: str, *, start: str = "") -> Path:
    path.write_text(f"path,label,split,video_id,start\n{file},hop,train,{video_id},{start}\n")
    return path


def test_where_two_folders_would_do_none_is_guessed(tmp_path: Path):
    either = one(tmp_path / "m.csv", "new", str(tmp_path / "wave" / "b.mp4"))
    with pytest.raises(OtherVideosError, match="files of the same names"):
        change(make(tmp_path, relative), either)


@pytest.mark.parametrize(("file", "start"), [("c.mp4", ""), ("b.mp4", "1"), ("jump/b.mp4", "")])
def test_other_files_and_intervals_are_other_videos(tmp_path: Path, file: str, start: str):
    table = make(tmp_path, absolute)
    with pytest.raises(OtherVideosError):
        change(table, one(tmp_path / "m.csv", "new", file, start=start))
    with pytest.raises(OtherVideosError, match="other paths|is the stretch"):
        change(table, one(tmp_path / "m.csv", f"{tmp_path}/b", file, start=start))


def test_one_file_listed_twice_is_refused(tmp_path: Path):
    (tmp_path / "m.csv").write_text("path,label,split,video_id\nb.mp4,hop,train,x\n./b.mp4,jump,train,y\n")
    with pytest.raises(OtherVideosError, match="'x' and 'y' of the manifest are the same file and stretch"):
        change(make(tmp_path, absolute), tmp_path / "m.csv")


def test_paths_are_taken_over_if_asked(tmp_path: Path):
    after, changes = change(make(tmp_path, absolute), write(tmp_path / "other.csv", relative), move=True)
    assert changes.moved[f"{tmp_path}/b"] == (f"{tmp_path}/b.mp4", "b.mp4")
    assert after.texts["path"][2:] == ["wave/b.mp4", "b.mp4"]


def test_videos_that_are_not_there_are_passed_over_beside_those_that_are(tmp_path: Path):
    manifest = write(tmp_path / "other.csv", absolute)
    manifest.write_text(manifest.read_text() + "new.mp4,hop,train,new,,\n")
    _, changes = change(make(tmp_path, relative), manifest)
    assert (len(changes.by_file), changes.unknown) == (4, ("new",))


def test_other_videos_are_a_mistake_of_the_manifest_and_a_mismatch_of_the_store():
    assert issubclass(OtherVideosError, StoreError) and issubclass(OtherVideosError, ManifestError)
