"""`from-folders`: links, names, kinds of files, and groups; what is passed over is counted and named."""

import contextlib
import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from heard_progress import Heard
from refusals import assert_refused

from vidpipe.cli.manifest import command
from vidpipe.pipeline.errors import ManifestError, SettingsError
from vidpipe.pipeline.manifests.file_kinds import holds_video
from vidpipe.pipeline.manifests.folders import list_folders, manifest_from_folders
from vidpipe.pipeline.manifests.found_files import visible
from vidpipe.pipeline.manifests.manifest import read_manifest
from vidpipe.pipeline.manifests.settings import FoldersSettings

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"


def _files(root: Path, *names: str, content: bytes = b"") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def _paths(root: Path) -> list[str]:
    return [video.written_path for video in manifest_from_folders(root).videos]


def _passed_over(root: Path) -> dict[str, list[str]]:
    return {reason: list(names) for reason, names in list_folders(FoldersSettings(directory=root)).passed_over.items()}


def test_links_are_followed_once(tmp_path):
    root = _files(tmp_path / "v", "a/1.mp4", "a/deep/2.mp4", "b/3.mp4")
    _files(tmp_path / "far", "4.mp4", "deeper/5.mp4")
    for link, target in (
        ("a/far", "../../far"),
        ("b/again", "../a/deep"),
        ("b/loop", ".."),
        ("b/self.mp4", "self.mp4"),
    ):
        (root / link).symlink_to(target)
    (root / "b/1 again.mp4").symlink_to("../a/1.mp4")
    (root / "c").symlink_to("../far")
    (root / "b/0.mp4").symlink_to("gone.mp4")
    assert _paths(root) == ["a/1.mp4", "a/deep/2.mp4", "b/3.mp4", "c/4.mp4", "c/deeper/5.mp4"]
    assert _passed_over(root) == {
        "broken links": ["b/0.mp4", "b/self.mp4"],
        "reached twice": ["a/far (is c)", "b/1 again.mp4 (is a/1.mp4)", "b/again (is a/deep)", "b/loop (is .)"],
    }


def test_a_second_name_of_a_file_is_passed_over(tmp_path):
    root = _files(tmp_path / "v", "a/1.mp4", "b/2.mp4")
    os.link(root / "a/1.mp4", root / "b/1.mp4")
    assert _paths(root) == ["a/1.mp4", "b/2.mp4"]


def test_a_bad_name_costs_its_file_alone(tmp_path):
    root = _files(tmp_path / "v", "a/good.mp4", "a/new\nline.mp4", "a/bar|ok.mp4", "b|c/1.mp4", " d /2.mp4")
    bad = os.fsdecode(b"caf\xe9.mp4")
    try:
        _files(root, f"a/{bad}")
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    output = tmp_path / "m.csv"
    result = CliRunner().invoke(command, ["from-folders", str(root), "-o", str(output)])
    assert result.exit_code == 3, result.output
    assert "  2 names that no manifest can hold: a/caf\\xe9.mp4, a/new\\nline.mp4\n" in result.stdout
    assert "  1 folders whose names cannot be labels: b|c\n" in result.stdout
    videos = read_manifest(output).videos
    assert [(video.path.name, video.labels) for video in videos] == [
        ("2.mp4", ("d",)),
        ("bar|ok.mp4", ("a",)),
        ("good.mp4", ("a",)),
    ]
    assert all(video.path.exists() for video in videos)


def test_what_is_passed_over_is_counted_and_named(tmp_path):
    root = _files(tmp_path / "v", "a/1.mp4", *(f"a/{i}.txt" for i in range(7)), "a/.hid.mp4", ".x/2.mp4", "notes.md")
    (root / "b").mkdir()
    (root / "a/none").mkdir()
    result = CliRunner().invoke(command, ["from-folders", str(root), "-o", str(tmp_path / "m.csv")])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-5:] == [
        "Passed over: 12",
        "  1 empty folders: a/none",
        "  1 folders of classes without a video: b",
        "  2 hidden: .x, a/.hid.mp4",
        "  8 not videos: notes.md, a/0.txt, a/1.txt, a/2.txt, a/3.txt and 3 more",
    ]


def test_videos_without_a_videos_name_are_known_by_their_first_bytes(tmp_path):
    root = _files(tmp_path / "v", "a/clip", "a/clip.dat", "a/clip.mp4.part", "a/sound.m4a", content=MP4)
    _files(root, "a/page", content=b"<html>")
    found = list_folders(FoldersSettings(directory=root))
    assert [video.written_path for video in found.manifest.videos] == ["a/clip", "a/clip.dat"]
    assert [video.video_id for video in found.manifest.videos] == ["a/clip", "a/clip.dat"]  # both would be a/clip
    assert found.by_content == ("a/clip", "a/clip.dat")
    assert found.passed_over == {"not videos": ["a/clip.mp4.part", "a/page", "a/sound.m4a"]}


@pytest.mark.parametrize(
    ("first", "is_video"),
    [
        (MP4, True),
        (b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42", False),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avis", True),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf", False),
        (b"\x1aE\xdf\xa3\x01", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02", True),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10", False),
        (b"OggS" + bytes(24) + b"\x80theora", True),
        (b"OggS" + bytes(24) + b"\x01vorbis", False),
        ((b"G" + bytes(187)) * 6, True),
        ((bytes(4) + b"G" + bytes(187)) * 6, True),
        (b"GIF89a", True),
        (b"\x89PNG\r\n\x1a\n" + bytes(25) + b"acTL", True),
        (b"\x89PNG\r\n\x1a\n" + bytes(25) + b"IDAT", False),
        (b"\xff\xd8\xff\xe0", False),
        (b"", False),
        (b"G", False),
    ],
)
def test_kinds_are_known_by_their_first_bytes(first, is_video):
    assert holds_video(first) is is_video


def test_groups_are_found_in_names(tmp_path):
    names = [f"{label}/s{person:02}_{take}.mp4" for label in "ab" for person in range(10) for take in range(3)]
    root = _files(tmp_path / "v", *names)
    for pattern in (r"s\d+", r"^(s\d+)_\d", r"(?:s)(\d\d)_"):
        manifest = manifest_from_folders(root, group_by=pattern, test_fraction=0.3)
        sides = {split: {video.group for video in manifest.subset(split).videos} for split in ("train", "test")}
        assert len(sides["train"]), len(sides["test"]) == (7, 3)
        assert not sides["train"] & sides["test"]
        assert manifest.videos[0].group in ("s00", "00")
    output = tmp_path / "m.csv"
    arguments = ["from-folders", str(root), "-o", str(output), "--group-by", r"s\d+"]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert output.read_text().splitlines()[0] == "path,label,split,video_id,group"
    assert read_manifest(output).videos[0].columns == {"group": "s00"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(s", r"group_by must be a regular expression; got '\(s': missing \)"),
        ("(s)(1)", "group_by must have one pair of brackets at most"),
        ("s3", "group_by 's3' finds nothing in any of 2 names, such as 's1.mp4', 's2.mp4'"),
        ("()", "finds nothing in any of 2 names"),
    ],
)
def test_patterns_that_find_no_groups_are_refused(tmp_path, pattern, message):
    root = _files(tmp_path / "v", "a/s1.mp4", "b/s2.mp4")
    with pytest.raises(SettingsError, match=message):
        manifest_from_folders(root, group_by=pattern)


def test_videos_without_a_group_stand_alone_and_are_told(tmp_path):
    root = _files(tmp_path / "v", "a/s1_1.mp4", "a/s1_2.mp4", "a/x.mp4", "b/s2.mp4", "b/y.mp4")
    result = CliRunner().invoke(
        command, ["from-folders", str(root), "-o", str(tmp_path / "m.csv"), "--group-by", r"s\d"]
    )
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == (
        "2 videos are groups of their own, since the pattern finds none: a/x.mp4, b/y.mp4"
    )
    assert [video.group for video in read_manifest(tmp_path / "m.csv").videos] == ["s1", "s1", "", "s2", ""]


def test_names_are_shown_with_escapes():
    assert visible(os.fsdecode(b"caf\xe9") + "\n\u65e5\u200b") == "caf\\xe9\\n\u65e5\\u200b"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with assert_refused(ManifestError, match=r"nowhere cannot be listed: No such file or directory\. Give the folder"):
        manifest_from_folders(tmp_path / "nowhere")


def _refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, of: tuple[str, ...]) -> None:
    """Let the system refuse to tell anything of a file or folder: the tests may run as root, whom nothing is denied."""
    for function in of:
        real = getattr(os, function)

        def refusing(path, *args, real=real, **options):
            if not isinstance(path, int) and os.fspath(path).endswith(name):
                raise OSError(number, os.strerror(number), os.fspath(path))
            return real(path, *args, **options)

        monkeypatch.setattr(os, function, refusing)


@pytest.mark.parametrize("function", ["scandir", "stat"])
def test_a_folder_that_cannot_be_listed_costs_itself_alone(tmp_path, monkeypatch, function):
    root = _files(tmp_path / "v", "a/1.mp4", "a/secret/2.mp4", "a/z/3.mp4", "b/4.mp4")
    _refuse(monkeypatch, "/secret", errno.EACCES, of=(function,))
    assert _paths(root) == ["a/1.mp4", "a/z/3.mp4", "b/4.mp4"]
    assert _passed_over(root) == {"folders that cannot be listed": ["a/secret (Permission denied)"]}
    result = CliRunner().invoke(command, ["from-folders", str(root), "-o", str(tmp_path / "m.csv")])
    assert result.exit_code == 3, result.output
    assert "Passed over: 1\n  1 folders that cannot be listed: a/secret (Permission denied)\n" in result.stdout


def test_a_class_that_cannot_be_listed_costs_itself_alone(tmp_path, monkeypatch):
    root = _files(tmp_path / "v", "a/1.mp4", "b/2.mp4")
    with monkeypatch.context() as patch:
        _refuse(patch, "/b", errno.EIO, of=("scandir",))
        assert _passed_over(root) == {"folders that cannot be listed": ["b (Input/output error)"]}
    _refuse(monkeypatch, "/b", errno.EACCES, of=("stat",))
    assert _passed_over(root) == {"unreadable": ["b (Permission denied)"]}
    _refuse(monkeypatch, "/a", errno.EACCES, of=("scandir",))
    message = r"no videos in what can be read; 2 cannot: 'a \(Permission denied\)', 'b \(Permission denied\)'\. See to"
    with assert_refused(ManifestError, match=message):
        manifest_from_folders(root)


def test_a_link_to_what_cannot_be_read_is_not_broken(tmp_path, monkeypatch):
    root = _files(tmp_path / "v", "a/1.mp4")
    for link, target in (("a/far", "../../far"), ("a/long.mp4", "n" * 300), ("a/gone", "../gone"), ("c", "../far")):
        (root / link).symlink_to(target)
    _refuse(monkeypatch, "/far", errno.EACCES, of=("stat",))
    _refuse(monkeypatch, "/c", errno.EACCES, of=("stat",))
    assert _passed_over(root) == {
        "broken links": ["a/gone"],
        "unreadable": ["c (Permission denied)", "a/far (Permission denied)", "a/long.mp4 (File name too long)"],
    }
    assert list_folders(FoldersSettings(directory=root)).lost


def test_a_file_that_vanishes_after_the_listing_costs_itself_alone(tmp_path, monkeypatch):
    root = _files(tmp_path / "v", "a/1.mp4", "a/gone.mp4")
    real = os.scandir

    @contextlib.contextmanager
    def listing(path):
        with real(path) as entries:
            found = list(entries)
        (root / "a/gone.mp4").unlink(missing_ok=True)
        yield iter(found)

    monkeypatch.setattr(os, "scandir", listing)
    assert _passed_over(root) == {"unreadable": ["a/gone.mp4 (No such file or directory)"]}


def test_a_directory_of_links_in_a_circle_is_refused_in_words(tmp_path):
    (tmp_path / "round").symlink_to("round")
    with assert_refused(ManifestError, match="round cannot be listed: Too many levels of symbolic links"):
        manifest_from_folders(tmp_path / "round")


def test_a_link_that_leads_nowhere_beside_the_classes_is_passed_over(tmp_path):
    root = _files(tmp_path / "v", "a/1.mp4", "notes.md")
    (root / "old").symlink_to("nowhere")
    assert _passed_over(root) == {"broken links": ["old"], "not videos": ["notes.md"]}


def test_each_class_is_progress(tmp_path):
    root = _files(tmp_path / "v", "a/1.mp4", "a/deep/3.mp4", "b/2.mp4")
    _files(tmp_path / "far", "4.mp4")
    (root / "c").symlink_to("../far")
    (root / "a/deep/far").symlink_to("../../../far")
    heard = Heard()
    list_folders(FoldersSettings(directory=root), progress=heard)
    assert (heard.calls[0], heard.calls[-1], heard.done) == ("listing: 0 of 3 folders", "end", 3)
