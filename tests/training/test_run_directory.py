"""Run directories: what is written reads back, other settings are refused by name, and writes are all or nothing."""

import errno
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from vidpipe.cli.spelling import option_name
from vidpipe.pipeline.errors import FileError, OutOfSpaceError, RunError
from vidpipe.pipeline.files import write_atomically
from vidpipe.pipeline.settings import describe_differences
from vidpipe.pipeline.training.run_directory import RunDirectory

SETTINGS = {"aggregator": "fast-gru", "optimisation": {"epochs": 3, "learning_rate": 0.1}, "classes": ["a", "b"]}


def test_a_run_is_begun_once_and_opened_again(tmp_path: Path) -> None:
    begun = RunDirectory.open_or_create(tmp_path / "deep" / "run", settings=SETTINGS | {"shape": (1, 2)})
    assert not begun.is_done
    begun.close()
    for again in (
        RunDirectory.open(begun.path),
        RunDirectory.open_or_create(begun.path, settings=SETTINGS | {"shape": (1, 2)}),
    ):
        assert again.settings == SETTINGS | {"shape": [1, 2]}
    assert begun.versions["torch"] == version("torch")


def test_a_second_trainer_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    with RunDirectory.open_or_create(tmp_path / "run", settings=SETTINGS):
        with pytest.raises(RunError, match="Another run is writing"):
            RunDirectory.open_or_create(tmp_path / "run", settings=SETTINGS)
        assert RunDirectory.open(tmp_path / "run").settings == SETTINGS  # to read it is free
    RunDirectory.open_or_create(tmp_path / "run", settings=SETTINGS).close()


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    RunDirectory.open_or_create(tmp_path / "run", settings=SETTINGS).close()
    other = {"aggregator": "average", "optimisation": {"epochs": 3, "learning_rate": 0.2}, "new": 1, "classes": ["a"]}
    with pytest.raises(RunError) as caught:
        RunDirectory.open_or_create(tmp_path / "run", settings=other)
    message = str(caught.value)
    assert 'aggregator is "fast-gru" there, "average" here' in message
    assert "optimisation.learning_rate is 0.1 there, 0.2 here" in message
    assert 'classes is ["a", "b"] there, ["a"] here' in message
    assert "new is null there, 1 here" in message
    assert "epochs" not in message


def test_fields_that_a_user_sets_are_named_as_such_and_once(tmp_path: Path) -> None:
    digest = 64 * "a"
    made = {"kind": "aggregator", "num_clips": 8, "sampling": {"num_clips": 8}, "weights": digest}
    asked = {"kind": "aggregator", "num_clips": 4, "sampling": {"num_clips": 4}, "weights": None}
    RunDirectory.open_or_create(tmp_path, settings=made).close()
    options = {"num_clips": "num_clips", "sampling.num_clips": "num_clips"}
    with pytest.raises(RunError) as caught:
        RunDirectory.open_or_create(tmp_path, settings=asked, options=options)
    text = caught.value.text(option_name)
    assert f'settings: --clips is 8 there, 4 here; weights is "{12 * "a"}…" there, null here. Choose' in text


def test_a_run_of_another_command_is_named_in_a_line(tmp_path: Path) -> None:
    RunDirectory.open_or_create(tmp_path / "run", settings={"stage": "train-backbone", "crop": 32}).close()
    with pytest.raises(RunError) as caught:
        RunDirectory.open_or_create(tmp_path / "run", settings={"kind": "aggregator", "num_clips": 4})
    run = tmp_path / "run"
    assert str(caught.value) == (
        f"{run} is a run of vidpipe train-backbone, not of vidpipe train-aggregator. Choose another out"
    )
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    with pytest.raises(RunError, match="holds a sweep of vidpipe sweep, not a run"):
        RunDirectory.open_or_create(tmp_path / "sweep", settings=SETTINGS)


def test_equal_settings_have_no_differences() -> None:
    assert describe_differences(SETTINGS, dict(SETTINGS)) == []


def test_directories_of_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(RunError, match="has files in it but no run"):
        RunDirectory.open_or_create(tmp_path, settings=SETTINGS)
    with pytest.raises(RunError, match="is not a run directory"):
        RunDirectory.open(tmp_path)
    with pytest.raises(RunError, match="cannot be made a directory"):
        RunDirectory.open_or_create(tmp_path / "photo.jpg" / "run", settings=SETTINGS)
    (tmp_path / "settings.json").write_text('{"half":')
    with pytest.raises(RunError, match="cannot be read as JSON"):
        RunDirectory.open(tmp_path)


def test_a_run_killed_before_its_settings_were_written_begins_again(tmp_path: Path) -> None:
    (tmp_path / "versions.json").write_text("{}")
    (tmp_path / "settings.json.partial").write_text('{"aggre')
    assert RunDirectory.open_or_create(tmp_path, settings=SETTINGS).settings == SETTINGS


def test_metrics_leave_out_a_line_that_was_cut_short(tmp_path: Path) -> None:
    run = RunDirectory.open_or_create(tmp_path, settings=SETTINGS)
    assert run.read_metrics() == []
    run.append_metrics({"epoch": 0, "loss": 1.5})
    run.append_metrics({"epoch": 1, "loss": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert run.read_metrics() == [{"epoch": 0, "loss": 1.5}, {"epoch": 1, "loss": 0.5}]
    run.write_metrics(run.read_metrics()[:1])
    assert run.read_metrics() == [{"epoch": 0, "loss": 1.5}]


def test_checkpoints_read_back_and_damage_is_told(tmp_path: Path) -> None:
    run = RunDirectory.open_or_create(tmp_path, settings=SETTINGS)
    assert run.load_checkpoint() is None
    run.save_checkpoint({"model": {"w": torch.arange(3.0)}, "history": [{"loss": 0.5}]})
    loaded = run.load_checkpoint()
    assert loaded is not None
    assert torch.equal(loaded["model"]["w"], torch.arange(3.0))
    assert loaded["history"] == [{"loss": 0.5}]
    path = tmp_path / "checkpoint.pt"
    for damaged in (path.read_bytes()[:100], b"", b"nonsense"):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read"):
            run.load_checkpoint()


def test_a_finished_run_says_so_and_keeps_no_checkpoint(tmp_path: Path) -> None:
    run = RunDirectory.open_or_create(tmp_path, settings=SETTINGS)
    with pytest.raises(RunError, match="is not finished"):
        _ = run.result
    run.save_checkpoint({"epoch": 1})
    run.finish({"val_accuracy": 0.5})
    assert run.is_done
    assert run.result == {"val_accuracy": 0.5}
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [(errno.ENOSPC, OutOfSpaceError, "No space left for"), (errno.EACCES, FileError, "cannot be written")],
)
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, code: int, kind: type[Exception], message: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError(code, "no")

    with pytest.raises(kind, match=message):
        write_atomically(path, fail)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_refused_call_lets_go_of_the_directory(tmp_path: Path) -> None:
    RunDirectory.open_or_create(tmp_path / "run", settings=SETTINGS).close()
    with pytest.raises(RunError, match="other settings") as kept:  # keeps the traceback, as a notebook does
        RunDirectory.open_or_create(tmp_path / "run", settings=SETTINGS | {"aggregator": "lstm"})
    RunDirectory.open_or_create(tmp_path / "run", settings=SETTINGS).close()
    assert kept.value is not None


def test_only_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    RunDirectory.open_or_create(run, settings=SETTINGS).close()
    left = run / f"checkpoint.pt.{32 * 'a'}.partial"
    own, below = run / "movie.partial", run / "store.zarr" / f"c.{32 * 'b'}.partial"
    below.parent.mkdir()
    for path in (left, own, below):
        path.write_text("half")
    RunDirectory.open_or_create(run, settings=SETTINGS).close()
    assert (left.exists(), own.exists(), below.exists()) == (False, True, True)
