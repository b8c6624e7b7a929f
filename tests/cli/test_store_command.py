"""`vidpipe store`, as it is typed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_up_features import files, make_manifest, make_store

from vidpipe.cli.main import main
from vidpipe.pipeline.manifests.manifest import Manifest, write_manifest


def vidpipe(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["store", *map(str, arguments)])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_store(tmp_path / "s.zarr")


def test_info_says_what_is_there_and_what_failed(store: Path):
    result = vidpipe("info", store)
    assert result.exit_code == 0
    for text in ("5 videos of 3 classes (test 2, train 3)", "0 pending, 4 done, 1 failed", "weights_sha256  ab12"):
        assert text in result.stdout
    assert result.stdout.rstrip().endswith("wave/3  no video stream")


def test_info_as_json(store: Path):
    found = json.loads(vidpipe("info", store, "--json").stdout)
    (own,) = found.pop("backbones")
    assert found["splits"] == {"test": 2, "train": 3}
    assert found["sampling"]["num_clips"] == 4
    assert found["stored_bytes"] == sum(map(len, files(store).values()))
    assert own["counts"] == {"pending": 0, "done": 4, "failed": 1}
    assert own["raw_bytes"] == 4 * 2 * 2 * 12 * 2  # videos, views, clips due, numbers a map, bytes
    assert own["failures"] == {"wave/3": "no video stream"}
    assert own["provenance"]["preprocessing"]["crop"] == 64


def test_verify_ends_with_3_if_something_is_wrong_and_reset_repairs_it(store: Path):
    before = files(store)
    good = vidpipe("verify", store)
    assert (good.exit_code, good.stdout) == (0, "4 videos checked (counted once a backbone): no problems.\n")
    (store / "r2d_26" / "scores" / "c.4.0.0.0").unlink()
    bad = vidpipe("verify", store, "--json")
    assert bad.exit_code == 3
    (problem,) = json.loads(bad.stdout)["problems"]
    assert problem == {"video_id": "wave/4", "backbone": "r2d_26", "message": "scores: not there"}
    text = vidpipe("verify", store, "--reset")
    assert text.exit_code == 3
    assert text.stdout.count("wave/4  r2d_26    scores: not there\n") == 1
    assert "1 video pending again" in text.stdout
    assert files(make_store(store)) == before


def test_relabel_says_what_it_changes(store: Path, tmp_path: Path):
    videos = list(make_manifest().videos)
    videos[1] = replace(videos[1], labels=("hop",), split="train")
    new = replace(videos[0], video_id="new")
    write_manifest(Manifest((*videos[:-1], new)).relative_to(Path.cwd()), Path("m.csv"))
    result = vidpipe("relabel", store, "m.csv")
    assert (result.exit_code, result.stdout) == (
        0,
        "the store changes:\n"
        "  1 × another label: jump/2 jump → hop\n"
        "  1 × another split: jump/2 test → train\n"
        "  1 video of the manifest not in the store, and passed over; vidpipe extract adds them: new\n"
        "  1 video in use not in the manifest, left as they are\n"
        "  other classes than before (new hop): runs trained on this store cannot be scored on it any more\n",
    )
    assert "1 video no longer listed" in vidpipe("relabel", store, "m.csv", "--drop").stdout
    assert "4 videos of 4 classes" in (info := vidpipe("info", store).stdout)
    assert "unlisted  1 video, left out of use" in info
    again = json.loads(vidpipe("relabel", store, "m.csv", "--json").stdout)
    assert (again["cells"], again["unknown"]) == ({}, ["new"])
    write_manifest(Manifest(tuple(videos[:-1])).relative_to(Path.cwd()), Path("same.csv"))
    assert vidpipe("relabel", store, "same.csv").stdout.startswith("nothing changes: labels")


def test_relabel_knows_the_same_files_by_absolute_paths(store: Path, tmp_path: Path):
    videos = list(make_manifest().videos)
    away = [
        replace(own, path=(file := tmp_path / own.path), written_path=str(file), video_id=str(file)) for own in videos
    ]
    write_manifest(Manifest([*away[1:], replace(away[0], labels=("hop",))]), Path("m.csv"))
    result = vidpipe("relabel", store, "m.csv")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "  5 videos known by file and interval, with the ids of the store: " in result.stdout
    assert "  1 × another label: jump/ä 1 jump|two feet → hop\n" in result.stdout
    assert json.loads(vidpipe("relabel", store, "m.csv", "--json").stdout)["by_file"].keys() == {
        own.video_id for own in videos
    }


def test_export_and_import_give_the_store_back(store: Path, tmp_path: Path):
    assert vidpipe("export", store, tmp_path / "s.h5", "--compression", "gzip").exit_code == 0
    assert vidpipe("import", tmp_path / "s.h5", tmp_path / "back.zarr").exit_code == 0
    assert files(tmp_path / "back.zarr") == files(store)
    again = vidpipe("export", store, tmp_path / "s.h5")
    assert again.exit_code == 1
    assert again.stderr == f"Error: {tmp_path / 's.h5'} exists already. Choose another name, or remove it.\n"


@pytest.mark.parametrize("arguments", [("info",), ("verify",), ("verify", "--reset"), ("export", "x.h5")])
def test_what_is_not_there_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...]):
    verb, *rest = arguments
    result = vidpipe(verb, tmp_path / "no.zarr", *rest)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: No feature store at {tmp_path / 'no.zarr'}")
    assert len(result.stderr.splitlines()) == 1
