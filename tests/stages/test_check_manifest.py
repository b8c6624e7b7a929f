"""`vidpipe manifest check`: every problem is found and told, on videos made here and on real awkward ones."""

import csv
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from heard_progress import Heard

from vidpipe.cli.main import main
from vidpipe.pipeline.errors import SettingsError, VideoError
from vidpipe.stages.check_manifest import task as check_manifest
from vidpipe.stages.check_manifest.run import run
from vidpipe.stages.check_manifest.settings import CheckSettings
from vidpipe.stages.check_manifest.task import classify, probe_file


@pytest.fixture
def video(tmp_path, make_video) -> Path:
    """A video of 32 frames at 30 frames/s, so 1.067 s, 64×48."""
    return make_video(tmp_path / "v" / "good.mp4")


def _manifest(folder: Path, *rows: str) -> Path:
    path = folder / "m.csv"
    path.write_text("\n".join(["path,label,split,video_id,start,end", *rows]) + "\n", encoding="utf-8")
    return path


def _check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["manifest", "check", *map(str, arguments)])


def _document(result: Result) -> dict:
    assert result.exit_code in (0, 3), result.output
    return json.loads(result.stdout)


def _kinds(document: dict) -> dict[str, list[str]]:
    return {entry["path"]: [problem["kind"] for problem in entry["problems"]] for entry in document["videos"]}


def _truncated(video: Path) -> Path:
    """A copy without its second half, and so without the index that MP4 keeps at the end."""
    path, content = video.with_name("cut.mp4"), video.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def test_a_good_manifest_is_shown_and_exits_with_zero(tmp_path, video):
    result = _check(_manifest(tmp_path, "v/good.mp4,a,train,,,0.5", "v/good.mp4,a|b,test,again,0.5,1.0"))
    assert result.exit_code == 0, result.output
    header, rule, first, second, *classes, summary, verdict = result.stdout.splitlines()
    assert header.split() == ["line", "path", "codec", "size", "rate", "duration", "frames", "problem"]
    assert set(rule) == {"-", " "}
    assert first.split() == ["2", "v/good.mp4", "h264", "64×48", "30.00/s", "1.07", "s", "32"]
    assert second.split() == ["3", *first.split()[1:]]
    assert [line.split() for line in classes] == [
        [],
        ["class", "test", "train"],
        ["-----", "----", "-----"],
        ["a", "1", "1"],
        ["b", "1", "0"],
        ["all", "1", "1"],
        [],
    ]
    assert summary == "2 videos in 1 file: 0:00:01 h of video (h264 1)"
    assert verdict == "No problems."


def test_every_kind_of_problem_is_found(tmp_path, video):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    _truncated(video)
    manifest = _manifest(
        tmp_path,
        "v/good.mp4,a,train,,,",
        "none.mp4,a,train,,,",
        "text.mp4,a,train,,,",
        "empty.mp4,,train,,,",
        "folder.mp4,a,train,,,",
        "v/cut.mp4,a,train,,,",
        "./v/good.mp4,a,train,,2.0,",
        "v//good.mp4,a,train,late,1,1.2",
    )
    result = _check(manifest, "--json")
    document = _document(result)
    assert result.exit_code == 3
    assert _kinds(document) == {
        "v/good.mp4": [],
        "none.mp4": ["missing"],
        "text.mp4": ["unreadable"],
        "empty.mp4": ["empty", "empty label"],
        "folder.mp4": ["unreadable"],
        "v/cut.mp4": ["unreadable"],
        "./v/good.mp4": ["beyond the duration", "duplicate id"],
        "v//good.mp4": ["beyond the duration"],
    }
    assert document["problems"] == {
        "missing": 1,
        "empty": 1,
        "unreadable": 3,
        "duplicate id": 1,
        "empty label": 1,
        "beyond the duration": 2,
    }
    assert (document["num_videos"], document["num_files"], document["num_videos_with_problems"]) == (8, 6, 7)
    text = _check(manifest)
    assert text.exit_code == 3
    for entry in document["videos"]:
        assert all(problem["message"] in text.stdout for problem in entry["problems"])
    assert text.stdout.splitlines()[-1] == (
        "7 with problems: 1 missing, 1 empty, 3 unreadable, 1 duplicate id, 1 empty label, 2 beyond the duration"
    )


@pytest.mark.parametrize(
    ("interval", "problem"),
    [
        (",", None),
        ("0.5,1.066", None),
        (",1.09", None),  # within a frame of the end
        (",1.2", "end (1.2 s) is beyond the duration (1.067 s)"),
        ("1.0,", None),
        ("1.07,", "start (1.07 s) is beyond the duration (1.067 s)"),
    ],
)
def test_intervals_are_held_against_the_duration(tmp_path, video, interval, problem):
    (report,) = run(CheckSettings(manifest=_manifest(tmp_path, f"v/good.mp4,a,train,,{interval}"))).videos
    assert [found.message for found in report.problems] == ([problem] if problem else [])


def test_headers_alone_do_not_show_that_the_end_is_broken(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", num_frames=60)
    content = bytearray(path.read_bytes())
    end = content.index(b"moov") - 1000  # of 30,000 bytes of packets, which the index lies behind
    content[end - 2000 : end] = bytes(2000)
    path.write_bytes(content)
    manifest = _manifest(tmp_path, "v.mp4,a,train,,,")
    decoded, headers = _document(_check(manifest, "--json")), _document(_check(manifest, "--json", "--no-decode"))
    assert (decoded["decoded"], headers["decoded"]) == (True, False)
    assert headers["num_videos_with_problems"] == 0
    assert headers["videos"][0]["info"]["num_frames"] == 60
    assert _kinds(decoded) == {"v.mp4": ["damaged"]}


@pytest.mark.parametrize("options", [[], ["--no-decode"]], ids=["decoded", "headers"])
def test_of_an_avi_that_was_cut_short_only_the_frames_left_are_counted(tmp_path, make_video, options):
    path = make_video(tmp_path / "v.avi", codec="mpeg4", num_frames=60)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    (entry,) = _document(_check(_manifest(tmp_path, "v.avi,a,train,,,"), "--json", *options))["videos"]
    assert 1 < entry["info"]["num_frames"] < 60
    assert entry["info"]["duration_seconds"] == pytest.approx(entry["info"]["num_frames"] / 30)


def test_json_is_one_document_with_every_field_and_nothing_else(tmp_path, video):
    result = _check(_manifest(tmp_path, "v/good.mp4,a|b,train,it,0.25,"), "--json")
    (entry,) = _document(result)["videos"]
    info = entry.pop("info")
    assert entry == {
        "line": 2,
        "video_id": "it",
        "path": "v/good.mp4",
        "labels": ["a", "b"],
        "split": "train",
        "start": 0.25,
        "end": None,
        "columns": {},
        "problems": [],
        "notes": [],
    }
    assert (info["codec"], info["width"], info["height"], info["num_frames"]) == ("h264", 64, 48, 32)
    assert (info["average_fps"], info["variable_rate"]) == (pytest.approx(30), False)
    assert info["duration_seconds"] == pytest.approx(32 / 30, abs=1e-3)
    assert "path" not in info


_APART = [("a,train,1,,0.5", "a,test,2,0.5,"), ("a,train,1,,", "a,train,2,,"), (",train,1,,", "a,train,2,,")]


@pytest.mark.parametrize("rows", _APART)
def test_rows_of_one_file_that_agree_or_lie_apart_are_not_told(tmp_path, video, rows):
    document = _document(_check(_manifest(tmp_path, *(f"v/good.mp4,{row}" for row in rows)), "--json"))
    assert (document["files_in_several_splits"], document["files_with_several_labels"]) == ({}, {})


def test_one_file_in_two_splits_or_under_two_labels_is_told_however_it_is_written(tmp_path, video):
    video.with_name("link.mp4").symlink_to(video)
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "w").symlink_to(video.parent)
    rows = (
        *("../v/good.mp4,a,train,1,,", f"{tmp_path}/n/../v/good.mp4,b,train,2,0.5,"),
        *("../v/link.mp4,a,test,3,,", "w/good.mp4,a,train,4,,", "w/link.mp4,a,train,5,,"),
    )
    manifest = _manifest(tmp_path / "n", *rows)
    document = _document(_check(manifest, "--json"))
    assert (document["num_videos"], document["num_files"]) == (5, 1)
    assert document["files_in_several_splits"] == {"../v/good.mp4": ["test", "train"]}
    assert document["files_with_several_labels"] == {"../v/good.mp4": ["a", "b"]}
    result = _check(manifest)
    assert result.exit_code == 0
    *_, of_splits, of_labels, verdict = result.stdout.splitlines()
    assert of_splits.startswith("1 file has rows in more than one split (test, train): ../v/good.mp4. Such a video")
    assert of_labels.startswith("1 file has rows with different labels at the same time: ../v/good.mp4. The first has")
    assert verdict == "No problems."


def test_long_tables_show_only_problems_unless_asked(tmp_path, video):
    rows = [f"v/good.mp4,a,train,id{i},," for i in range(59)]
    manifest = _manifest(tmp_path, *rows, "gone.mp4,a,train,,,")
    short, full = _check(manifest), _check(manifest, "--all")
    assert (short.exit_code, full.exit_code) == (3, 3)
    assert (short.stdout.count("good.mp4"), full.stdout.count("good.mp4")) == (0, 59)
    assert "59 videos without problems not shown; --all shows them." in short.stdout
    assert "gone.mp4" in short.stdout
    all_good = _check(_manifest(tmp_path, *rows))
    assert all_good.stdout.splitlines()[0] == "59 videos without problems not shown; --all shows them."


def test_a_shared_file_is_probed_once_and_files_are_probed_at_the_same_time(tmp_path, video, monkeypatch):
    other = video.with_name("other.mp4")
    other.write_bytes(video.read_bytes())
    together, probed, real_probe = threading.Barrier(2, timeout=20), [], check_manifest.probe

    def probe(path, *, decode, damaged, max_pixels):
        probed.append(path.name)
        together.wait()  # breaks, and fails the run, unless two files are in the works at once
        return real_probe(path, decode=decode, damaged=damaged, max_pixels=max_pixels)

    monkeypatch.setattr(check_manifest, "probe", probe)
    rows = ("v/good.mp4,a,train,,,", "v/other.mp4,a,train,,,", "v/good.mp4,a,test,again,,")
    report = run(CheckSettings(manifest=_manifest(tmp_path, *rows), workers=2))
    assert sorted(probed) == ["good.mp4", "other.mp4"]
    assert [found.info.path.name for found in report.videos if found.info] == ["good.mp4", "other.mp4", "good.mp4"]
    assert not report.faulty


def test_the_order_and_the_outcome_do_not_depend_on_the_workers(tmp_path, video):
    manifest = _manifest(tmp_path, *(f"{name},a,train,{i},," for i, name in enumerate(["v/good.mp4", "no.mp4"] * 4)))
    one, four = (run(CheckSettings(manifest=manifest, workers=workers)) for workers in (1, 4))
    assert one.videos == four.videos
    assert [report.line for report in one.videos] == list(range(2, 10))


def test_an_interrupt_leaves_the_rest_undone(tmp_path, monkeypatch):
    started, release = [], threading.Event()

    def probe(path, *, decode, damaged, max_pixels):
        started.append(path)
        release.wait(20)
        raise VideoError("no video stream")

    class Interrupted(Heard):
        def begin(self, what, *, total, unit, done=0, untypical=0):
            threading.Timer(0.1, release.set).start()  # the probe that is under way ends after the interrupt
            raise KeyboardInterrupt

    names = [f"{i}.mp4" for i in range(50)]
    for name in names:
        (tmp_path / name).touch()
    manifest = _manifest(tmp_path, *(f"{name},a,train,,," for name in names))
    monkeypatch.setattr(check_manifest, "probe", probe)
    with pytest.raises(KeyboardInterrupt):
        run(CheckSettings(manifest=manifest, workers=1), progress=Interrupted())
    assert len(started) == 1


def test_reasons_become_kinds(tmp_path, monkeypatch):
    assert classify("no video stream").kind == "no video stream"
    assert classify("no frames decode").kind == "no frames"
    assert classify("encrypted (cenc)").kind == "encrypted"
    assert classify("cannot be opened: x") == check_manifest.Problem("unreadable", "unreadable: cannot be opened: x")

    def denied(path, *, decode, damaged, max_pixels):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(check_manifest, "probe", denied)
    (tmp_path / "x.mp4").touch()
    assert probe_file(tmp_path / "x.mp4") == check_manifest.Problem("unreadable", "unreadable: Permission denied")


def test_wrong_manifests_and_settings_are_refused(tmp_path):
    result = _check(_manifest(tmp_path, "a.mp4,a,train,,3,2.5"))
    assert result.exit_code == 2
    assert "m.csv:2: column 'end': must be greater than start (3.0), got '2.5'" in result.stderr
    with pytest.raises(SettingsError, match="workers must be at least 1; got 0"):
        CheckSettings(manifest=tmp_path, workers=0)
    assert _check(tmp_path / "m.csv", "--workers", "0").exit_code == 2


def test_the_whole_command_exits_with_two_three_and_zero(tmp_path, video):
    def vidpipe(path: Path) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "vidpipe.cli.main", "manifest", "check", str(path)]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    wrong = vidpipe(_manifest(tmp_path, "a.mp4,a,,,,"))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith(f"Error: {tmp_path}/m.csv:2: column 'split': must name")
    assert vidpipe(_manifest(tmp_path, "a.mp4,a,train,,,")).returncode == 3
    good = vidpipe(_manifest(tmp_path, "v/good.mp4,a,train,,,"))
    assert (good.returncode, good.stderr) == (0, "")


def test_help_and_the_manifest_commands_load_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from vidpipe.cli.manifest import command\n"
        "for name in ('check', 'from-folders'):\n"
        "    assert 'Example:' in CliRunner().invoke(command, [name, '--help']).output\n"
        "assert not {'torch', 'numpy', 'zarr', 'av', 'pyarrow'} & sys.modules.keys(), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_hard_media_come_out_as_their_list_says(tmp_path, media):
    with (media / "hard" / "about.csv").open(newline="", encoding="utf-8") as file:
        about = {row["path"]: row for row in csv.DictReader(file)}
    lines = [f"{media / 'hard' / path},{path.split('/')[0]},test,{path},," for path in about]
    result = _check(_manifest(tmp_path, *lines), "--json", "--workers", "2")
    entries = {entry["video_id"]: entry for entry in _document(result)["videos"]}
    assert result.exit_code == 3
    for path, row in about.items():
        kinds = [problem["kind"] for problem in entries[path]["problems"]]
        # Of what decodes until an error, only the damage is new to the list.
        broken = [["damaged"]] if row["frames_decoded"] else [["unreadable"], ["no frames"]]
        assert kinds in {"": [[]], "yes": broken, "no video stream": [["no video stream"]]}[row["error"]], path
        if not kinds:
            info = entries[path]["info"]
            turned = row["rotation"] in ("90", "-90")
            assert info["num_frames"] == int(row["frames_decoded"]), path
            if info["sample_aspect_ratio"] == 1:
                size = (int(row["width"]), int(row["height"]))
                assert (info["width"], info["height"]) == (size[::-1] if turned else size), path
    for path in ("sar/h264_white_frame_sar_16_9.mp4", "vfr/part_0.mp4"):
        assert entries[path]["info"]["sample_aspect_ratio"] != 1
