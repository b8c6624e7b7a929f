"""`vidpipe manifest from-ucf101` and its like, as they are typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vidpipe.cli.main import main
from vidpipe.pipeline.manifests.manifest import read_manifest
from vidpipe.pipeline.manifests.official.lists import DATASETS

REPOSITORY = Path(__file__).parents[2]


def vidpipe(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["manifest", *map(str, arguments)])


@pytest.fixture
def ucf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with lists and with one of two videos."""
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 Archery\n")
    (lists / "trainlist01.txt").write_text("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n")
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\n")
    (tmp_path / "UCF-101" / "ApplyEyeMakeup").mkdir(parents=True)
    (tmp_path / "UCF-101" / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g08_c01.avi").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


ARGUMENTS = ("from-ucf101", "--annotations", "ucfTrainTestlist", "--videos", "UCF-101", "-o", "lists/u.csv")


def test_missing_videos_are_told_and_kept_and_the_command_ends_with_3(ucf):
    result = vidpipe(*ARGUMENTS)
    assert (result.exit_code, result.stderr) == (3, "")
    assert result.stdout.splitlines() == [
        "class           test  train",
        "--------------  ----  -----",
        "ApplyEyeMakeup     0      1",
        "Archery            1      0",
        "all                1      1",
        "",
        "Wrote lists/u.csv: 2 videos of 2 classes.",
        "Missing in UCF-101: 1 of 2 videos (test 1): Archery/v_Archery_g01_c01.",
        "Their rows are in the manifest all the same; --skip-missing leaves them out.",
        f"All of them: lists/u.csv.missing.txt. The first was sought at {ucf}/UCF-101/Archery/v_Archery_g01_c01.avi.",
        "Classes of test without a single video: 1 (Archery).",
    ]
    manifest = read_manifest("lists/u.csv")
    assert [video.video_id for video in manifest.videos] == [
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01",
        "Archery/v_Archery_g01_c01",
    ]
    assert [video.path.exists() for video in manifest.videos] == [True, False]
    assert Path("lists/u.csv.missing.txt").read_text() == "Archery/v_Archery_g01_c01\n"


def test_skip_missing_leaves_them_out_and_ends_with_0(ucf):
    result = vidpipe(*ARGUMENTS, "--skip-missing")
    assert result.exit_code == 0
    assert "They were left out." in result.stdout
    assert [video.split for video in read_manifest("lists/u.csv").videos] == ["train"]
    assert Path("lists/u.csv.missing.txt").read_text() == "Archery/v_Archery_g01_c01\n"


def test_the_report_as_json(ucf):
    found = json.loads(vidpipe(*ARGUMENTS, "--json").stdout)
    assert found == {
        "dataset": "ucf101",
        "manifest": "lists/u.csv",
        "num_listed": 2,
        "num_videos": 2,
        "num_classes": 2,
        "splits": {"test": 1, "train": 1},
        "num_missing": 1,
        "first_missing": ["Archery/v_Archery_g01_c01"],
        "missing_by_split": {"test": 1},
        "missing_left_out": False,
        "missing_list": "lists/u.csv.missing.txt",
        "classes_without_videos": {"test": ["Archery"]},
        "num_folders_of_frames": 0,
        "unlisted": {},
        "unlabelled": [],
        "notes": [],
    }


def test_a_complete_set_ends_with_0_and_takes_an_old_list_of_missing_videos_away(ucf):
    assert vidpipe(*ARGUMENTS).exit_code == 3
    refused = vidpipe(*ARGUMENTS)
    assert (refused.exit_code, "lists/u.csv is there already; --force" in refused.stderr) == (2, True)
    Path("lists/u.csv").unlink()
    assert "u.csv.missing.txt is there already; --force" in vidpipe(*ARGUMENTS).stderr
    (ucf / "UCF-101" / "Archery").mkdir()
    (ucf / "UCF-101" / "Archery" / "v_Archery_g01_c01.mp4").touch()  # transcoded
    result = vidpipe(*ARGUMENTS, "--force")
    assert (result.exit_code, "Missing" in result.stdout) == (0, False)
    assert read_manifest("lists/u.csv").videos[1].path.name == "v_Archery_g01_c01.mp4"
    assert [path.name for path in Path("lists").iterdir()] == ["u.csv"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--split", "2"), "holds no trainlist02.txt; it holds classInd.txt, testlist01.txt, trainlist01.txt"),
        (("--split", "4"), "--split must be from 1 to 3; got 4"),
        (("--videos", "none"), "--videos: none is no folder; give the folder of the videos"),
        (("-o", "u.txt"), "u.txt: a manifest's name ends in .csv or .parquet, not in '.txt'"),
        (("--annotations", "UCF-101"), "must be the one folder that holds the official files"),
        (("--classes", "x"), "No such option"),
    ],
)
def test_what_cannot_be_run_ends_with_2_and_one_line(ucf, change, message):
    result = vidpipe(*ARGUMENTS, *change)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert not Path("lists").exists()


def test_a_malformed_line_is_named(ucf):
    (ucf / "ucfTrainTestlist" / "trainlist01.txt").write_text("ApplyEyeMakeup/a.avi 2\n")
    result = vidpipe(*ARGUMENTS)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: ucfTrainTestlist/trainlist01.txt:1: expected the index that the class list gives to 'ApplyEyeMakeup', "
        "found 'ApplyEyeMakeup/a.avi 2'\n"
    )


def test_nothing_left_is_refused_before_anything_is_written(ucf):
    result = vidpipe(*ARGUMENTS, "--videos", "ucfTrainTestlist", "--skip-missing")
    assert result.exit_code == 2
    assert "none of the 2 videos is on disk; the first would be " in result.stderr
    assert not Path("lists").exists()


def test_folders_of_frames_come_with_the_command_that_makes_videos_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("v/57").mkdir(parents=True)
    Path("something-something-v1-train.csv").write_text("57;Holding something\n")
    lists = ("--annotations", "something-something-v1-train.csv")
    result = vidpipe("from-ssv1", *lists, "--videos", "v", "-o", "s.csv")
    assert result.exit_code == 3
    assert "1 of them are there as folders, of frames most likely. vidpipe reads videos." in result.stdout
    assert 'for d in v/*/; do ffmpeg -loglevel error -framerate 12 -pattern_type glob -i "$d*.jpg"' in result.stdout


def test_a_tabulator_may_be_typed_as_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("a b.mp4\t7\n")
    Path("a b.mp4").touch()
    arguments = ("from-kinetics", "--annotations", "train.csv", "--videos", ".", "-o", "k.csv", "--separator", r"\t")
    assert vidpipe(*arguments).exit_code == 0
    assert read_manifest("k.csv").videos[0].labels == ("7",)


def test_several_labels_and_notes_reach_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Charades_v1_train.csv").write_text("id,actions,length\nAAAAA,c001 0.00 1.00;c000 2 3,9\nBBBBB,,9\n")
    Path("AAAAA.mp4").touch()
    arguments = ("from-charades", "--annotations", ".", "--videos", ".", "-o", "c.parquet")
    result = vidpipe(*arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == [
        "Left out: 1 video without any class: BBBBB.",
        "No class list was found: classes have their published codes for names; --classes gives them names.",
    ]
    assert read_manifest("c.parquet").videos[0].labels == ("c001", "c000")
    assert json.loads(vidpipe(*arguments, "--force", "--json").stdout)["unlabelled"] == ["BBBBB"]


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_a_command_that_explains_itself(name):
    result = vidpipe(f"from-{name}", "--help")
    assert result.exit_code == 0
    for text in (DATASETS[name].title, f"vidpipe manifest from-{name} -o {name}.csv", "--skip-missing", "--json"):
        assert text in result.stdout
    assert ("--split" in result.stdout) == (name in ("ucf101", "hmdb51"))
    assert f"from-{name} " in vidpipe("--help").stdout
    assert f"| `from-{name}` |" in (REPOSITORY / "data_manifests" / "README.md").read_text(encoding="utf-8")
