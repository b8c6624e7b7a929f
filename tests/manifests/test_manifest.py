"""Manifests: what is read is what was written, mistakes are named with their place, splits are stable."""

import csv
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import assert_refused

from vidpipe.cli.manifest import command
from vidpipe.pipeline.errors import FileError, ManifestError, SettingsError
from vidpipe.pipeline.manifests.folders import choose_test, manifest_from_folders
from vidpipe.pipeline.manifests.headers import COLUMNS
from vidpipe.pipeline.manifests.locations import is_marked
from vidpipe.pipeline.manifests.manifest import (
    Manifest,
    Video,
    default_video_id,
    read_draft,
    read_manifest,
    write_manifest,
)

REPOSITORY = Path(__file__).parents[2]
FORMATS = ("m.csv", "m.parquet")

_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
_names = _text.map(str.strip).filter(bool)
_labels = st.lists(_names.filter(lambda name: "|" not in name), min_size=1, max_size=3, unique=True)
_seconds = st.none() | st.floats(min_value=0, max_value=1e9)


@st.composite
def _videos(draw, folder):
    start, end = draw(_seconds), draw(_seconds)
    if end is not None and end <= (start or 0):
        end = (start or 0) + 1 + (start or 0) * 1e-9
    written = draw(_text.filter(lambda text: text.strip() and not text.startswith("/") and not is_marked(text)))
    return Video(
        video_id=draw(st.just(default_video_id(written)) | _names),
        path=folder / written,
        labels=tuple(draw(_labels)),
        split=draw(st.sampled_from(["train", "test"]) | _names),
        start=start,
        end=end,
        written_path=written,
    )


def _manifests(folder):
    videos = st.lists(_videos(folder), min_size=1, max_size=6, unique_by=lambda video: video.video_id)
    return videos.map(lambda some: Manifest(tuple(some)))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    return str(caught.value)


def _manifest(*ids: str, folder: Path = Path("/videos")) -> Manifest:
    return Manifest(
        tuple(
            Video(video_id=name, path=folder / f"{name}.mp4", labels=("a",), split="train", written_path=f"{name}.mp4")
            for name in ids
        )
    )


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_reads_back_as_it_was_written(tmp_path, name, data):
    manifest = data.draw(_manifests(tmp_path.resolve()))
    write_manifest(manifest, tmp_path / name)
    back = read_manifest(tmp_path / name)
    assert back == manifest
    assert back.digest == manifest.digest


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_digest_depends_on_neither_format_nor_place(tmp_path, data):
    manifest = data.draw(_manifests(tmp_path.resolve()))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir(exist_ok=True)
    for name in FORMATS:
        write_manifest(manifest, tmp_path / name)
        shutil.copy(tmp_path / name, elsewhere / name)
    files = [folder / name for folder in (tmp_path, elsewhere) for name in FORMATS]
    assert {read_manifest(path).digest for path in files} == {manifest.digest}


@pytest.mark.parametrize(
    "change",
    [
        {"video_id": "other"},
        {"written_path": "b.mp4"},
        {"labels": ("a", "b")},
        {"split": "test"},
        {"start": 0.0},
        {"end": 3.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_depends_on_everything_that_a_manifest_says(change):
    manifest = _manifest("x", "y")
    changed = Manifest((replace(manifest.videos[0], **change), manifest.videos[1]))
    assert changed.digest != manifest.digest
    assert Manifest(manifest.videos[::-1]).digest != manifest.digest


def test_the_digest_stays_as_it_is_from_version_to_version():
    manifest = Manifest((replace(_manifest("x").videos[0], start=1, end=2.5),))  # stores on disk hold such digests
    assert manifest.digest == hashlib.sha256(b'[["x","x.mp4",["a"],"train",1.0,2.5]]').hexdigest()


def test_the_example_and_its_readme_agree_with_the_reader():
    folder = REPOSITORY / "data_manifests"
    manifest = read_manifest(folder / "example.csv")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "example.csv").read_text(encoding="utf-8") in readme
    assert all(f"| `{column}` |" in readme for column in COLUMNS)
    assert manifest.classes == tuple((folder / "example_classes.txt").read_text(encoding="utf-8").split())
    assert manifest.splits == ("test", "train")
    assert manifest.videos[3].video_id == "videos/wave/goodbye, 2019"
    assert (manifest.videos[4].labels, manifest.videos[4].start, manifest.videos[4].end) == (("jump", "wave"), 0, 12.5)
    assert manifest.videos[5].path == folder / "videos/party.mkv"


def test_a_byte_order_mark_other_line_ends_blank_lines_and_blanks_are_tolerated(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes("\ufeffsplit, label ,path\r\n\r\n train , wave | jump ,a b.mp4\r\n".encode())
    (video,) = read_manifest(path).videos
    assert (video.video_id, video.labels, video.split) == ("a b", ("wave", "jump"), "train")
    assert video.path == tmp_path.resolve() / "a b.mp4"


def test_paths_are_relative_to_the_manifest_and_absolute_ones_stay(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    _write(tmp_path / "lists/m.csv", "path,label,split\n../v/a.mp4,x,train\n/far/b.mp4,x,train\n")
    monkeypatch.chdir(tmp_path)
    manifest = read_manifest("lists/m.csv")
    assert [video.path.resolve() for video in manifest.videos] == [tmp_path.resolve() / "v/a.mp4", Path("/far/b.mp4")]
    assert [video.video_id for video in manifest.videos] == ["../v/a", "/far/b"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.mp4,x,train,3,2.5", "m.csv:2: column 'end': must be greater than start (3.0), got '2.5'"),
        ("a.mp4,x,train,3,3", "m.csv:2: column 'end': must be greater than start (3.0), got '3'"),
        ("a.mp4,x,train,,0", "m.csv:2: column 'end': must be greater than start (0.0), got '0'"),
        ("a.mp4,x,train,-1,", "m.csv:2: column 'start': must be a number of seconds, 0 or greater, got '-1'"),
        ("a.mp4,x,train,nan,", "column 'start': must be a number of seconds, 0 or greater, got 'nan'"),
        ("a.mp4,x,train,,inf", "column 'end': must be a number of seconds, 0 or greater, got 'inf'"),
        ("a.mp4,x,train,1_0,", "column 'start': must be a number of seconds, 0 or greater, got '1_0'"),
        ('a.mp4,x,train,"2,5",', "column 'start': must be a number of seconds, 0 or greater, got '2,5'"),
        (" ,x,train,,", "m.csv:2: column 'path': must be the path of a video file"),
        ("a\0.mp4,x,train,,", "m.csv:2: column 'path': must not hold control characters"),
        ("a.mp4,|,train,,", "m.csv:2: column 'label': must have a name on both sides"),
        ("a.mp4,x||y,train,,", "m.csv:2: column 'label': must have a name on both sides of every '|', got 'x||y'"),
        ("a.mp4,x|x,train,,", "m.csv:2: column 'label': must name each class once, got 'x|x'"),
        ("a.mp4,x,,,", "m.csv:2: column 'split': must name the video's split"),
        ("a.mp4,x,train", "m.csv:2: has 3 fields, where the header has 5"),
        ('"a\n\n.mp4",x,train,,\nb.mp4,x', "m.csv:5: has 2 fields, where the header has 5"),
        ('a.mp4,x,train,,\n"b.mp4,x,train,,', "m.csv:3: is not CSV: unexpected end of data"),
        ("a.mp4,x,train,,\na.avi,x,test,,", "m.csv:3: column 'path': the video's id (the path without its extension)"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_column(tmp_path, rows, message):
    assert message in _refusal(_write(tmp_path / "m.csv", f"path,label,split,start,end\n{rows}\n"))


def test_a_duplicate_id_names_both_lines(tmp_path):
    path = _write(tmp_path / "m.csv", "path,label,split,video_id\na.mp4,x,train,p\nb.mp4,x,train,q\nc.mp4,x,train,p\n")
    assert _refusal(path) == f"{path}:4: column 'video_id': must be unique, but {path}:2 has 'p' too"


def test_all_mistakes_come_at_once_in_order_up_to_twenty(tmp_path):
    rows = ["a0.mp4,x|,train,"] + [f"a{i}.mp4,x,train,-{i}" for i in range(1, 31)]
    lines = _refusal(_write(tmp_path / "m.csv", "path,label,split,start\n" + "\n".join(rows))).splitlines()
    assert lines[0].endswith("m.csv has 31 mistakes:")
    assert [line.split(":")[1] for line in lines[1:21]] == [str(line) for line in range(2, 22)]
    assert lines[21:] == ["… and 11 more"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,label", "m.csv:1: column 'split' is missing"),
        ("", "m.csv:1: column 'path' is missing"),
        ("path:label:split", "m.csv:1: column 'path' is missing"),
        ("path;label;split", "lists no videos"),
        ("path,label,split,ends", "m.csv:1: column 'ends' looks like 'end', which is missing"),
        ("path,label,split,label", "m.csv:1: column 'label' appears twice"),
        ("path,label,split", "lists no videos"),
    ],
)
def test_a_wrong_header_is_refused_in_both_modes(tmp_path, header, message):
    path = _write(tmp_path / "m.csv", header + "\n")
    assert message in _refusal(path)
    with pytest.raises(ManifestError):
        read_draft(path)


def test_files_that_are_no_manifest_are_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes("path,label,split\na.mp4,x,train\nb.mp4,caf\xe9,train\n".encode("latin-1"))
    (tmp_path / "dir.csv").mkdir()
    assert "latin.csv:3: a manifest must be UTF-8, found the byte 0xe9" in _refusal(tmp_path / "latin.csv")
    assert "not a parquet file" in _refusal(_write(tmp_path / "m.parquet", "path,label,split\n" * 9)).lower()
    assert "No such file" in _refusal(tmp_path / "none.csv")
    assert "from-folders" in _refusal(tmp_path / "dir.csv")
    assert "ends in .csv or .parquet" in _refusal(tmp_path / "m.txt")


def test_parquet_mistakes_are_named_by_row_and_numbers_and_categories_are_read(tmp_path):
    path = tmp_path / "split=x" / "m.parquet"  # a name that must not be taken for a partition
    path.parent.mkdir()
    columns = {"path": ["a.mp4", "b.mp4"], "label": pa.array([7, 8]), "split": pa.array(["t", "t"]).dictionary_encode()}
    pq.write_table(pa.table(columns | {"start": pa.array([None, 2])}), path)
    assert [(video.labels, video.start) for video in read_manifest(path).videos] == [(("7",), None), (("8",), 2.0)]
    pq.write_table(pa.table(columns | {"end": pa.array([1.0, float("nan")])}), path)
    assert _refusal(path).startswith(f"{path}: row 2: column 'end': must be a number of seconds")
    pq.write_table(pa.table(columns | {"label": pa.array([["x"], ["y"]])}), path)
    assert "row 1: column 'label': must be text or a number, got ['x']" in _refusal(path)


def test_a_draft_keeps_what_check_lists_and_refuses_the_rest(tmp_path):
    path = _write(tmp_path / "m.csv", "path,label,split,end\na.mp4,,t,\na.avi,x|,t,\nb.mp4,x,t,\n")
    draft = read_draft(path)
    assert tuple(draft.lines) == (2, 3, 4)
    assert [(flaw.line, flaw.kind) for flaw in draft.flaws] == [
        (2, "empty label"),
        (3, "empty label"),
        (3, "duplicate id"),
    ]
    assert [video.labels for video in draft.videos] == [(), ("x",), ("x",)]
    _write(path, "path,label,split,end\na.mp4,,t,zero\n")
    with pytest.raises(ManifestError, match="column 'end'"):
        read_draft(path)


def test_subsets_and_ids():
    manifest = _manifest("x", "y")
    assert manifest.subset("train") == manifest
    assert len(manifest) == 2
    with pytest.raises(ManifestError, match="no split 'val'; it has: train"):
        manifest.subset("val")
    with pytest.raises(ManifestError, match="two videos have the id 'x'"):
        _manifest("x", "x")
    assert [default_video_id(path) for path in ("./a/b.c.mp4", ".mp4", "a.b/c")] == ["a/b.c", ".mp4", "a.b/c"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_would_not_read_back_is_not_written(tmp_path, name):
    video = _manifest("x", folder=tmp_path).videos[0]
    wrong = [{"labels": ("a|b",)}, {"labels": ("",)}, {"split": " t"}, {"end": 0.0}, {"written_path": "\udce9.mp4"}]
    for change in [*wrong, {"written_path": "elsewhere/x.mp4"}]:
        with pytest.raises(ManifestError):
            write_manifest(Manifest((replace(video, **change),)), tmp_path / name)
    some = _manifest("x", "y", folder=tmp_path).videos
    mixed = Manifest((some[0], replace(some[1], labels=())))
    write_manifest(mixed, tmp_path / name)
    assert read_manifest(tmp_path / name) == mixed
    (tmp_path / name).unlink()
    with pytest.raises(ManifestError, match="lists no videos"):
        write_manifest(Manifest(()), tmp_path / name)
    with pytest.raises(FileError, match="cannot be written: No such file"):
        write_manifest(_manifest("x").relative_to(tmp_path / "none"), tmp_path / "none" / name)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_moves_to_another_folder_with_its_ids(tmp_path):
    (tmp_path / "lists").mkdir()
    moved = _manifest("x", folder=tmp_path / "v").relative_to(tmp_path / "lists")
    write_manifest(moved, tmp_path / "lists/m.csv")
    (video,) = read_manifest(tmp_path / "lists/m.csv").videos
    assert (video.video_id, video.written_path) == ("x", "../v/x.mp4")
    assert video.path.resolve() == tmp_path.resolve() / "v/x.mp4"


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _splits(manifest: Manifest) -> dict[str, str]:
    return {video.video_id: video.split for video in manifest.videos}


def test_folders_are_classes_at_any_depth(tmp_path):
    _touch(tmp_path, "jump/a.MP4", "jump/deep/er/b.avi", "wave/c.mkv", "wave/notes.txt", "wave/.hidden.mp4", ".x/d.mp4")
    manifest = manifest_from_folders(tmp_path)
    assert [(video.video_id, video.labels) for video in manifest.videos] == [
        ("jump/a", ("jump",)),
        ("jump/deep/er/b", ("jump",)),
        ("wave/c", ("wave",)),
    ]
    assert [video.path for video in manifest.videos][1] == tmp_path.resolve() / "jump/deep/er/b.avi"


def test_a_class_keeps_its_split_when_others_come(tmp_path):
    _touch(tmp_path, *(f"{label}/{i}.mp4" for label in "ab" for i in range(20)))
    before = _splits(manifest_from_folders(tmp_path, seed=3))
    _touch(tmp_path, *(f"{label}/{i}.mp4" for label in ("0", "aa", "z") for i in range(5)))
    after = _splits(manifest_from_folders(tmp_path, seed=3))
    assert {key: after[key] for key in before} == before
    assert _splits(manifest_from_folders(tmp_path, seed=4)) != after
    same_in_both = [before[f"a/{i}"] == before[f"b/{i}"] for i in range(20)]
    assert not all(same_in_both)  # classes are drawn apart


@given(number=st.integers(1, 60), fraction=st.floats(0, 1, exclude_max=True), key=st.text(max_size=4))
def test_every_class_is_trained_on_and_tested_in_proportion(number, fraction, key):
    names = [f"{i}.mp4" for i in range(number)]
    test = choose_test(names, test_fraction=fraction, key=key)
    assert test <= set(names)
    assert len(test) < number
    assert abs(len(test) - number * fraction) <= (0.5 if 1 <= number * fraction <= number - 1 else 1)
    assert bool(test) == (fraction > 0 and number > 1)


def test_clashing_ids_keep_their_extensions(tmp_path):
    manifest = manifest_from_folders(_touch(tmp_path, "a/x.mp4", "a/x.avi", "a/x.mp4.avi", "b/y.mp4"))
    assert [video.video_id for video in manifest.videos] == ["a/x.avi", "a/x.mp4", "a/x.mp4.avi", "b/y.mp4"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no folders"),
        (["a.mp4"], "holds no folders"),
        (["a/x.txt"], "no videos in 'a'"),
        (["a/x.txt", "b/x.txt"], "no videos in 'a', 'b', so all 2 classes would be empty"),
        (["a/x.mp4", "stray.mp4"], "'stray.mp4' would have no class"),
        (["train/a/x.mp4", "val/a/x.mp4"], "are splits, not classes"),
    ],
)
def test_directories_that_are_not_classes_of_videos_are_refused(tmp_path, files, message):
    with assert_refused(ManifestError, match=message):
        manifest_from_folders(_touch(tmp_path, *files))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_outside_of_its_range_is_refused(tmp_path, fraction):
    with pytest.raises(SettingsError, match="test_fraction"):
        manifest_from_folders(tmp_path, test_fraction=fraction)


@pytest.mark.parametrize("name", FORMATS)
def test_from_folders_writes_paths_relative_to_the_manifest(tmp_path, name):
    _touch(tmp_path / "videos", *(f"{label}/{i}.mp4" for label in ("jump", "wave") for i in range(5)))
    output = tmp_path / "lists" / "new" / name
    arguments = ["from-folders", str(tmp_path / "videos"), "-o", str(output), "--test-fraction", "0.4"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["class", "test", "train"],
        ["-----", "----", "-----"],
        ["jump", "2", "3"],
        ["wave", "2", "3"],
        ["all", "4", "6"],
        [],
        ["Wrote", f"{output}:", "10", "videos", "of", "2", "classes."],
    ]
    manifest = read_manifest(output)
    assert manifest.videos[0].written_path == "../../videos/jump/0.mp4"
    assert all(video.path.exists() for video in manifest.videos)
    assert manifest.videos[0].video_id == "jump/0"


def test_from_folders_replaces_a_manifest_only_when_forced(tmp_path):
    _touch(tmp_path, "jump/a.mp4")
    arguments = ["from-folders", str(tmp_path), "-o", str(_write(tmp_path / "m.csv", "mine"))]
    refused = CliRunner().invoke(command, arguments)
    assert (refused.exit_code, "--force" in refused.stderr) == (2, True)
    assert (tmp_path / "m.csv").read_text() == "mine"
    assert CliRunner().invoke(command, [*arguments, "--force"]).exit_code == 0
    with (tmp_path / "m.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "label", "split"], ["jump/a.mp4", "jump", "train"]]


def test_very_many_classes_are_only_counted(tmp_path):
    _touch(tmp_path / "v", *(f"{i}/a.mp4" for i in range(60)))
    result = CliRunner().invoke(command, ["from-folders", str(tmp_path / "v"), "-o", str(tmp_path / "m.csv")])
    assert [line.split() for line in result.stdout.splitlines()][2:] == [
        ["all", "60"],
        [],
        ["Wrote", f"{tmp_path}/m.csv:", "60", "videos", "of", "60", "classes."],
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_videos_without_labels_are_read_and_written_without_the_column(tmp_path, name):
    videos = _manifest("x", "y", folder=tmp_path).videos
    bare = Manifest(tuple(replace(video, labels=()) for video in videos))
    write_manifest(bare, tmp_path / name)
    assert read_manifest(tmp_path / name) == bare
    assert (bare.classes, bare.splits) == ((), ("train",))
    assert bare.digest != Manifest(videos).digest
    assert read_draft(tmp_path / name).flaws == ()
    if name == "m.csv":
        assert (tmp_path / name).read_text() == "path,split\nx.mp4,train\ny.mp4,train\n"
