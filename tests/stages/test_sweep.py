"""A sweep: its plan, its results whatever the scheduler, going on, adding, failing in part, and what it refuses."""

import csv
import json
import shutil
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from heard_progress import Heard, InterruptAt
from hypothesis import given
from hypothesis import strategies as st
from made_up_stores import MadeUp, make_store
from matplotlib.image import imread
from own_processes import forked_workers, kill, started_command
from refusals import assert_refused

from vidpipe.cli.sweep import command
from vidpipe.pipeline.costs.gmacs import stored_gmacs
from vidpipe.pipeline.errors import ManifestError, OutOfSpaceError, RunError, SettingsError, StoreError
from vidpipe.pipeline.evaluation.confidence import mean_interval, wilson_interval
from vidpipe.pipeline.features.backbone_group import BackboneGroup
from vidpipe.pipeline.features.clip_selection import select
from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.stages.evaluate.scores import EvaluateSettings, evaluate
from vidpipe.stages.sweep import run as sweep
from vidpipe.stages.sweep import tables
from vidpipe.stages.sweep import task as sweep_task
from vidpipe.stages.sweep.estimate import estimate
from vidpipe.stages.sweep.grouped import Setting, compare_with_best, read_scores, settings_of
from vidpipe.stages.sweep.markdown import Cells
from vidpipe.stages.sweep.plan import SweepPlan, SweepTask, choose_cells, is_feasible, plan
from vidpipe.stages.sweep.run import copies_folder, run
from vidpipe.stages.sweep.settings import SweepSettings
from vidpipe.stages.sweep.task import run_task
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings

SHORT = OptimisationSettings(epochs=2, batch_size=8, optimizer="adamw", learning_rate=0.01)
WANTED = MadeUp(num_training=16, num_test=10, num_clips=4, pattern="all-expensive")


def patterns(*texts: str) -> tuple[Pattern, ...]:
    return tuple(map(Pattern.parse, texts))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "s.zarr", WANTED)


def six_runs(store: Path, out: Path) -> SweepSettings:
    """Return a sweep in which averaging is done once at each N, and FAST-GRU twice."""
    training = TrainAggregatorSettings(store=store, out=out, optimisation=SHORT, device="cpu")
    names = ("average", "fast-gru")
    return SweepSettings(training=training, aggregators=names, patterns=patterns("first"), clips=(2, 4), num_seeds=2)


@pytest.fixture
def settings(store: Path, tmp_path: Path) -> SweepSettings:
    return six_runs(store, tmp_path / "sweep")


@pytest.fixture(scope="module")
def done_once(store: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepSettings:
    torch.set_num_threads(1)
    done = six_runs(store, tmp_path_factory.mktemp("finished") / "sweep")
    run(done)
    return done


@pytest.fixture
def finished(done_once: SweepSettings, settings: SweepSettings) -> SweepSettings:
    """Return the same sweep, done, in a directory of its own."""
    shutil.copytree(done_once.out, settings.out)
    return settings


ENDS = ("top1", "top1_low", "top1_high")


def rows(out: Path, name: str = "results.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


# The plan


def test_patterns_that_do_not_fit_or_say_the_same_are_left_out_and_said() -> None:
    cells, left_out = choose_cells(patterns("first", "1:1", "1:15"), (2, 4))
    assert [(str(pattern), clips) for pattern, clips in cells] == [("first", 2), ("first", 4), ("1:1", 4)]
    assert left_out == [
        "1:1 at 2 clips: the same clips are expensive as by first",
        "1:15 at 2 clips: one round of it takes 16",
        "1:15 at 4 clips: one round of it takes 16",
    ]


PATTERNS = st.sampled_from(patterns("first", "all-expensive", "all-cheap", "1:1", "1:3", "1:7", "2:2", "3:1"))


@given(
    known=st.lists(PATTERNS, unique=True),
    asked=st.lists(PATTERNS, unique=True, min_size=1),
    num_clips=st.integers(1, 9),
)
def test_each_feasible_mask_is_run_once_and_under_its_first_name(
    known: list[Pattern], asked: list[Pattern], num_clips: int
) -> None:
    def masks(patterns: list[Pattern]) -> list[tuple[bool, ...]]:
        return [tuple(own.expensive(num_clips)) for own in patterns if is_feasible(own, num_clips)]

    cells, left_out = choose_cells(asked, [num_clips], known=known)
    chosen = [pattern for pattern, _ in cells]
    assert sorted(masks(chosen)) == sorted(set(masks(asked)))
    assert len(left_out) == sum(pattern not in chosen for pattern in asked)
    again, _ = choose_cells([*asked, *known], [num_clips], known=[*known, *asked])
    assert set(cells) <= set(again)  # what was run keeps its name when more is asked for


def test_aggregators_without_weights_run_once_and_the_others_once_a_seed(settings: SweepSettings) -> None:
    names = [task.name for task in plan(settings).tasks]
    assert names == [
        "average_first_2clips_seed0",
        "average_first_4clips_seed0",
        "fast-gru_first_2clips_seed0",
        "fast-gru_first_2clips_seed1",
        "fast-gru_first_4clips_seed0",
        "fast-gru_first_4clips_seed1",
    ]


# What it writes


def test_results_are_what_evaluate_says_of_each_run(done_once: SweepSettings) -> None:
    settings = done_once
    found = rows(settings.out)
    assert [row["run"] for row in found] == [task.name for task in plan(settings).tasks]
    store = FeatureStore.open(settings.training.store)
    for row in found:
        out = settings.out / "runs" / row["run"]
        (scores,) = evaluate(EvaluateSettings(store=store.path, runs=(out,), out=out)).runs
        for name in ("top1", "top5", "mean_class_accuracy", "num_scored", "num_expected"):
            assert float(row[name]) == getattr(scores.metrics, name)
        selection = select(store, pattern=Pattern.parse("first"), num_clips=int(row["clips"]))
        backbones = stored_gmacs(store, selection)
        assert float(row["gmacs"]) == pytest.approx(scores.gmacs, abs=1e-9)
        assert float(row["backbone_gmacs"]) == backbones
        assert float(row["aggregator_gmacs"]) == pytest.approx(scores.gmacs - backbones, abs=1e-9)
        result = json.loads((out / "result.json").read_text())
        assert (int(row["num_weights"]), int(row["epochs"])) == (result["num_weights"], result["epochs"])
        assert row["best_epoch"] == (str(result["metrics"]["epoch"] + 1) if result["metrics"] else "")
    assert {row["run"] for row in rows(settings.out, "timings.csv")} == {row["run"] for row in found}


@pytest.mark.usefixtures("rendered_pictures")
def test_the_summary_is_over_seeds_and_the_tables_show_it(settings: SweepSettings) -> None:
    summary = run(replace(settings, patterns=patterns("first", "1:3", "all-cheap")))
    found = rows(settings.out)
    (own,) = [
        row
        for row in rows(settings.out, "summary.csv")
        if (row["aggregator"], row["pattern"], row["clips"]) == ("fast-gru", "first", "4")
    ]
    seeds = [
        float(row["top1"])
        for row in found
        if (row["aggregator"], row["pattern"], row["clips"]) == ("fast-gru", "first", "4")
    ]
    mean = sum(seeds) / 2
    half = 12.7062 * abs(seeds[0] - seeds[1]) / 2  # t of one degree of freedom at 0.975; sd / √2 = |a - b| / 2
    assert (own["n"], float(own["mean"])) == ("2", pytest.approx(mean))
    # Where both seeds agree, they say nothing about other videos: the interval is then Wilson's of one run.
    agreed = wilson_interval(round(mean * int(own["num_scored"])), int(own["num_scored"]))
    width = 2 * half or agreed.high - agreed.low
    assert float(own["ci95_high"]) - float(own["ci95_low"]) == pytest.approx(width, rel=1e-4)
    assert own["ci95_method"] == ("student-t" if half else "wilson")
    ends = f"± {100 * half:.1f}" if half else f"[{100 * agreed.low:.1f}, {100 * agreed.high:.1f}]"
    cell = f"{100 * mean:.1f} {ends}"
    averages = [row for row in found if row["run"].startswith("average_first")]
    for row in found:
        ends = wilson_interval(round(float(row["top1"]) * int(row["num_scored"])), int(row["num_scored"]))
        assert (float(row["top1_low"]), float(row["top1_high"])) == (ends.low, ends.high)
    lines = summary.tables["table3.md"].splitlines()
    at = lines.index("## only the first clip expensive (first)")
    assert [cell.strip() for cell in lines[at + 2].strip("|").split("|")] == ["Model", "2 clips", "4 clips"]
    assert [cell.strip() for cell in lines[at + 4].strip("|").split("|")] == [
        "Avg. pool",
        *("{:.1f} [{:.1f}, {:.1f}]".format(*(100 * float(row[n]) for n in ENDS)) for row in averages),
    ]
    assert lines[at + 5].startswith("| FAST-GRU") and cell in lines[at + 5]
    assert [line.split("|")[1].strip() for line in lines[at + 6 : at + 8]] == ["Chance", "Majority class"]
    assert {own.strip() for own in lines[at + 6].split("|")[2:4]} == {"50.0"}
    assert {row["chance"] for row in rows(settings.out, "summary.csv")} == {"0.5"}
    for row in rows(settings.out, "summary.csv"):
        assert row["ci95_method"] == ("student-t" if row["sd"] and float(row["sd"]) else "wilson")
    table4 = summary.tables["table4.md"].split("## FAST-GRU")[1].splitlines()
    shown = {cells[0]: cells[1:] for line in table4 if (cells := [own.strip() for own in line.strip("|").split("|")])}
    assert list(shown)[-3:] == ["1:3", "first", "all-cheap"]
    assert shown["1:3"][:2] == ["", ""]  # no four clips in two
    assert shown["1:3"][2:] == shown["first"][2:] == [cell, "13"]  # the same clips, trained once
    assert (settings.out / "table4.md").read_text() == summary.tables["table4.md"]
    for name in ("figure3.png", "figure4.png"):
        assert imread(settings.out / name).std() > 0.05


def made_up_setting(pattern: str, num_clips: int) -> Setting:
    return Setting(
        aggregator="gru",
        pattern=Pattern.parse(pattern),
        num_clips=num_clips,
        gmacs=3.0 * num_clips,
        top1=mean_interval([0.5]),
        interval=wilson_interval(5, 10),
        num_scored=10,
        chance=0.5,
        majority=0.5,
        first="a run",
    )


def test_figure_3_shows_what_patterns_share_under_each_of_them_as_the_tables_do() -> None:
    """By 1:3, of 4 clips the same are expensive as by the first clip alone; 1:1 has no result at 8."""
    settings = [made_up_setting(*own) for own in (("1:1", 4), ("1:3", 8), ("first", 4), ("first", 8))]
    found = tables.points_by_clips(Cells(settings, patterns("first", "1:3", "1:1")))
    shown = {(own.pattern, own.clips): own.gmacs for own in found}
    assert shown == {("1:1", 4): 12, ("1:3", 4): 12, ("1:3", 8): 24, ("first", 4): 12, ("first", 8): 24}
    assert len(found) == len(shown)


def test_dask_gives_the_same_results_byte_for_byte(finished: SweepSettings, tmp_path: Path) -> None:
    training = replace(finished.training, out=tmp_path / "dask")
    with forked_workers():
        summary = run(replace(finished, training=training, scheduler="local", workers=2))
    assert (summary.num_done, summary.num_already_done, summary.failed) == (6, 0, {})
    for name in ("results.csv", "summary.csv", "table3.md", "table4.md"):
        assert (tmp_path / "dask" / name).read_bytes() == (finished.out / name).read_bytes()


# Going on, and adding


def done_by(settings: SweepSettings) -> list[str]:
    """Run a sweep and return the names of the runs that it did."""
    heard = Heard()
    before = scored_at(settings)
    summary = run(settings, progress=heard)
    done = [name for name, when in scored_at(settings).items() if before.get(name) != when]
    assert summary.num_done == len(done) == heard.done
    return done


def scored_at(settings: SweepSettings) -> dict[str, int]:
    """Return when each run was scored, the first one first."""
    scores = sorted((path.stat().st_mtime_ns, path.parent.name) for path in settings.out.glob("runs/*/score.json"))
    return {name: when for when, name in scores}


def test_a_finished_sweep_does_nothing_and_one_lost_result_is_made_again(finished: SweepSettings) -> None:
    out = finished.out
    before = (out / "results.csv").read_bytes()
    (out / "results.csv").unlink()
    assert done_by(finished) == []
    assert (out / "results.csv").read_bytes() == before
    shutil.rmtree(out / "runs" / "fast-gru_first_2clips_seed1")
    (out / "runs" / "average_first_4clips_seed0" / "score.json").unlink()
    assert done_by(finished) == ["average_first_4clips_seed0", "fast-gru_first_2clips_seed1"]
    assert (out / "results.csv").read_bytes() == before


def test_seeds_clips_aggregators_and_patterns_are_added_to_what_is_there(finished: SweepSettings) -> None:
    more = replace(finished, num_seeds=3)
    assert done_by(more) == ["fast-gru_first_2clips_seed2", "fast-gru_first_4clips_seed2"]
    more = replace(finished, aggregators=("max",), patterns=patterns("1:1", "1:3", "all-cheap"), clips=(4, 3))
    assert done_by(more) == [
        "max_1-1_4clips_seed0",
        "max_first_4clips_seed0",  # 1:3 goes on under the name it has had
        "max_all-cheap_4clips_seed0",
        "max_1-1_3clips_seed0",
        "max_all-cheap_3clips_seed0",
    ]
    assert len(rows(finished.out)) == 13
    assert "| 1:3 " in (finished.out / "table4.md").read_text()


def extract_later(path: Path, video: int, *, like: int) -> None:
    """Give a pending video the maps and scores of another."""
    store = FeatureStore.open(path, mode="r+")
    for name in store.backbones():
        group = store.backbone(name)
        group.write(video, np.asarray(group.features[like]), np.asarray(group.scores[like]))
        group.mark(video, Status.DONE)


def test_videos_that_are_extracted_later_are_scored(settings: SweepSettings, tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", replace(WANTED, pending=(25,)))
    settings = replace(settings, training=replace(settings.training, store=path), aggregators=("average",), clips=(2,))
    run(settings)
    extract_later(path, 25, like=24)
    assert [row["num_scored"] for row in rows(settings.out)] == ["9"]
    assert done_by(settings) == ["average_first_2clips_seed0"]
    assert [row["num_scored"] for row in rows(settings.out)] == ["10"]


def test_runs_of_more_training_videos_do_not_join_those_of_fewer(settings: SweepSettings, tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", replace(WANTED, pending=(5,)))
    settings = replace(settings, training=replace(settings.training, store=path), aggregators=("fast-gru",), clips=(2,))
    run(settings)
    extract_later(path, 5, like=7)
    with pytest.raises(RunError, match=r"was trained on 15 videos, and 16 are extracted by now"):
        run(replace(settings, num_seeds=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimisation": replace(SHORT, epochs=3)}, r"epochs is 2 there, 3 here"),
        ({"dropout": 0.1}, r"dropout is 0\.5 there, 0\.1 here"),
    ],
)
def test_a_sweep_of_other_settings_is_not_added_to(finished: SweepSettings, change: dict, message: str) -> None:
    with pytest.raises(RunError, match=f"holds a sweep with other settings: {message}"):
        run(replace(finished, training=replace(finished.training, **change)))


def test_another_store_test_split_or_number_of_threads_is_refused_too(finished: SweepSettings, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other.zarr", replace(WANTED, num_test=12))
    with pytest.raises(RunError, match="manifest_digest is"):
        run(replace(finished, training=replace(finished.training, store=other)))
    with pytest.raises(RunError, match='test_split is "test" there, "other" here; threads is 1 there, 2 here'):
        run(replace(finished, test_split="other", threads=2))
    reweighted = make_store(tmp_path / "reweighted.zarr", replace(WANTED, weights="other"))
    with pytest.raises(RunError, match="does not belong to the store .*weights_sha256"):
        run(replace(finished, training=replace(finished.training, store=reweighted)))


def test_a_directory_with_other_files_is_refused(settings: SweepSettings) -> None:
    settings.out.mkdir()
    (settings.out / "thesis.tex").touch()
    with pytest.raises(RunError, match="has files in it but no sweep"):
        run(settings)
    assert [path.name for path in settings.out.iterdir()] == ["thesis.tex"]


def test_two_sweeps_at_a_time_in_one_directory_are_refused(finished: SweepSettings) -> None:
    def another(plan: SweepPlan, todo: int) -> None:
        with pytest.raises(StoreError, match="Another run is writing"):
            run(finished)

    run(finished, planned=another)


def test_ctrl_c_keeps_what_is_done(settings: SweepSettings) -> None:
    assert plan(settings).tasks[2].name == "fast-gru_first_2clips_seed0"
    with pytest.raises(KeyboardInterrupt):
        run(settings, progress=InterruptAt(3))
    assert not copies_folder(settings).exists()
    assert done_by(settings) == [task.name for task in plan(settings).tasks][3:]


def test_kill_9_in_the_middle_then_the_same_command(finished: SweepSettings, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    child = started_command("sweep", *options(finished, killed))
    metrics = killed / "runs" / "fast-gru_first_2clips_seed1" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text()):
        assert child.is_alive(), "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert kill(child) == -signal.SIGKILL
    again = invoke(*options(finished, killed))
    assert again.exit_code == 0, again.output
    assert (finished.out / "results.csv").read_bytes() == (killed / "results.csv").read_bytes()


# Failing in part


def failing(error: Exception, names: tuple[str, ...], settings: SweepSettings, copies: Path | None, task: SweepTask):
    """Do a task, but fail inside of those called ``names``."""
    with pytest.MonkeyPatch.context() as patched:
        if task.name in names:
            patched.setattr(sweep_task, "run", partial(raise_it, error))
        return run_task(settings, copies, task)


def raise_it(error: Exception, *_: object) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RunError("training diverged: lower --learning-rate"), "training diverged: lower --learning-rate"),
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemoryError: CUDA out of memory"),
        (MemoryError("no room"), "MemoryError: no room"),
        (OSError("the disk is gone"), "OSError: the disk is gone"),
    ],
)
def test_a_failed_run_is_told_the_others_go_on_and_the_same_command_tries_it_again(
    settings: SweepSettings, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    name = "average_first_2clips_seed0"
    settings = replace(settings, num_seeds=1)
    with monkeypatch.context() as patched:
        patched.setattr(sweep, "run_task", partial(failing, error, (name,)))
        summary = run(settings)
    assert (summary.num_done, summary.failed) == (3, {name: reason})
    assert len(rows(settings.out)) == 3
    assert rows(settings.out, "failures.csv") == [{"run": name, "reason": reason}]
    assert done_by(settings) == [name]
    assert rows(settings.out, "failures.csv") == []


@pytest.mark.parametrize("bug", [RuntimeError("no"), TypeError("no"), KeyError("no")])
def test_a_bug_of_ours_is_not_taken_for_a_failed_run(settings: SweepSettings, bug: Exception) -> None:
    with pytest.raises(type(bug), match="no"):
        failing(bug, ("average_first_2clips_seed0",), settings, None, plan(settings).tasks[0])


def test_a_run_that_diverges_fails_alone(settings: SweepSettings) -> None:
    wild = replace(SHORT, learning_rate=1e30, optimizer="sgd")
    training = replace(settings.training, optimisation=wild)
    summary = run(replace(settings, training=training, clips=(2,), num_seeds=1))
    assert summary.num_done == 1
    assert "training diverged" in summary.failed["fast-gru_first_2clips_seed0"]


def test_single_runs_draw_no_bars_and_leave_the_threads_as_they_were(
    settings: SweepSettings, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    torch.set_num_threads(2)
    result = run_task(settings, None, plan(settings).tasks[-1])
    assert (result.error, capsys.readouterr().err, torch.get_num_threads()) == ("", "", 2)


def test_a_sweep_of_which_every_run_fails_says_so(settings: SweepSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(task.name for task in plan(settings).tasks)
    monkeypatch.setattr(sweep, "run_task", partial(failing, RunError("no"), names))
    summary = run(settings)
    assert (len(summary.failed), summary.tables) == (6, {})


# Copies of the maps


def test_all_runs_of_a_machine_read_the_store_once_and_leave_no_copy(
    settings: SweepSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[str, int, int]] = []
    read = BackboneGroup.read

    def counted(self: BackboneGroup, video_index: int, *, view: int = 0, clips=None):
        reads.append((self.name, video_index, view))
        return read(self, video_index, view=view, clips=clips)

    monkeypatch.setattr(BackboneGroup, "read", counted)
    run(settings)
    assert len(reads) == len(set(reads)) == 2 * 26  # both backbones' maps of 26 videos, though four runs read them
    assert not copies_folder(settings).exists()


def test_with_copies_or_without_the_results_are_the_same_and_a_named_folder_stays(
    finished: SweepSettings, tmp_path: Path
) -> None:
    for name, change in (("kept", {"cache_dir": tmp_path / "cache"}), ("without", {"copies": False})):
        run(replace(finished, training=replace(finished.training, out=tmp_path / name), **change))
        assert (tmp_path / name / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".float16", ".lock"}


def test_a_disk_without_room_for_the_copies_is_refused_before_anything_is_trained(
    settings: SweepSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(settings.out.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with assert_refused(OutOfSpaceError, match="--cache-dir, or read from the store with --no-copies"):
        run(settings)
    assert not (settings.out / "runs").exists()


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aggregators": ("lstmm",)}, "no aggregator 'lstmm'; did you mean lstm"),
        ({"clips": (4, 4)}, "--clips must name one or more"),
        ({"clips": (2, 2)}, "--clips must name one or more, each once, as A,B; got '2,2'"),
        ({"clips": (2, 5)}, "--clips must be from 1 to 4, the clips stored .*; got 5"),
        ({"clips": (0,)}, "--clips must be at least 1; got 0"),
        ({"num_seeds": 0}, "--seeds must be at least 1; got 0"),
        ({"threads": 0}, "--threads must be at least 1"),
        ({"patterns": patterns("1:15")}, "nothing to run: 1:15 at 2 clips: one round of it takes 16"),
        ({"scheduler": "dask"}, "--scheduler must be"),
        ({"copies": False, "cache_dir": Path("c")}, "--cache-dir says where"),
        ({"test_split": "train"}, "--split and --test-split must differ; both are 'train'"),
        ({"scheduler": "tcp://host:1"}, "nothing would remove the copies .*; give --cache-dir"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    settings: SweepSettings, change: dict, message: str
) -> None:
    with assert_refused(SettingsError, match=message):
        run(replace(settings, **change))
    assert not settings.out.exists()


@pytest.mark.parametrize(
    ("wanted", "change", "error", "message"),
    [
        ({"pattern": "1:3"}, {}, SettingsError, "--pattern 1:1 makes clip 3 of 4 expensive"),
        ({"pattern": None}, {}, SettingsError, "needs expensive clips, but .* has no expensive backbone"),
        ({"pending": tuple(range(16, 26))}, {}, SettingsError, "no video of the split 'test' is extracted"),
        ({}, {"test_split": "val"}, ManifestError, "no split 'val'; it has: test"),
        ({"backbone_classes": ("a", "b")}, {}, StoreError, "averaging needs"),
    ],
)
def test_what_the_store_cannot_give_is_refused_before_anything_is_written(
    settings: SweepSettings, tmp_path: Path, wanted: dict, change: dict, error: type[Exception], message: str
) -> None:
    store = make_store(tmp_path / "s.zarr", replace(WANTED, **wanted))
    training = replace(settings.training, store=store)
    with assert_refused(error, match=message):
        run(replace(settings, training=training, patterns=patterns("first", "1:1"), **change))
    assert not settings.out.exists()


# The command


def options(settings: SweepSettings, out: Path) -> list[str]:
    named = {"store": settings.training.store, "out": out, "aggregator": "average,fast-gru", "pattern": "first"}
    named |= {"clips": "2, 4", "seeds": 2, "epochs": 2, "batch": 8, "learning-rate": 0.01, "device": "cpu"}
    named |= {"weight-decay": 1e-4, "clip-norm": 0}
    return [word for name, value in named.items() for word in (f"--{name}", str(value))]


def invoke(*words: str) -> Result:
    return CliRunner().invoke(command, words)


def test_the_command_end_to_end(settings: SweepSettings) -> None:
    words = (*options(settings, settings.out), "--aggregator", "average", "--pattern", "first,1:1")
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    said = "3 runs, 3 of them to do\n  left out: 1:1 at 2 clips: the same clips are expensive as by first\n"
    assert said in result.stderr
    assert (settings.out / "table3.md").read_text() in result.stdout
    assert "3 runs done, 0 done before, 0 failed" in result.stdout
    again = invoke(*words, "--json")
    document = json.loads(again.stdout)
    assert (document["num_done"], document["num_already_done"], again.stderr) == (0, 3, "")
    names = {Path(path).name for path in document["files"]}
    assert names == {
        *("results.csv", "timings.csv", "summary.csv", "comparisons.csv"),
        *("table3.md", "table4.md", "figure3.png", "figure4.png"),
    }


def test_the_command_takes_the_options_of_training(finished: SweepSettings) -> None:
    result = invoke(*options(finished, finished.out), "--dropout", "0.25", "--val-fraction", "0")
    assert isinstance(result.exception, RunError)
    differing = ("dropout is 0.5 there, 0.25 here", "val_fraction is 0.15 there, 0.0 here")
    assert all(phrase in str(result.exception) for phrase in differing)


def test_the_command_says_which_runs_failed_and_exits_with_3(
    settings: SweepSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(sweep, "run_task", partial(failing, error, ("average_first_2clips_seed0",)))
    result = invoke(*options(settings, settings.out), "--aggregator", "average")
    assert result.exit_code == 3
    assert "1 run done, 0 done before, 1 failed" in result.stdout
    assert "failed: average_first_2clips_seed0: OutOfMemoryError: CUDA out of memory" in result.stdout


def test_a_sweep_that_names_neither_patterns_nor_clips_takes_those_that_fit(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", replace(WANTED, pattern=None))
    done = invoke(f"--store={path}", f"--out={tmp_path / 'out'}", "--aggregator=average")
    assert done.exit_code == 0, done.output
    assert [(row["pattern"], row["clips"]) for row in rows(tmp_path / "out")] == [
        ("all-cheap", "2"),
        ("all-cheap", "4"),
    ]


def test_words_that_are_no_numbers_are_refused() -> None:
    result = invoke("--store", "s", "--out", "o", "--clips", "2;4")
    assert result.exit_code == 2
    assert "must be whole numbers separated by commas, as 2,4,8; got '2;4'" in result.stderr


def test_a_dry_run_foresees_cost_and_writes_nothing(settings: SweepSettings) -> None:
    foreseen = estimate(settings)
    assert (len(foreseen.plan.tasks), foreseen.num_todo, foreseen.workers) == (6, 6, 1)
    timed = [(own.aggregator, own.num_clips) for own in foreseen.runs]
    assert timed == list(product(("average", "fast-gru"), (2, 4)))
    assert foreseen.copy_bytes == 2 * 26 * 4 * 32 * 2  # backbones × videos × clips × numbers × bytes
    few, many = (own for own in foreseen.runs if own.aggregator == "fast-gru")
    assert (few.epochs, few.num_weights) == (2, many.num_weights)
    assert foreseen.total_seconds >= 2 * (few.seconds + many.seconds)
    result = invoke(*options(settings, settings.out), "--aggregator", "average", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["num_runs"], document["num_todo"], document["runs"][0]["gmacs"]) == (2, 2, 11.0)
    assert not settings.out.exists()


def test_a_dry_run_over_a_finished_sweep_foresees_nothing(finished: SweepSettings) -> None:
    result = invoke(*options(finished, finished.out), "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("6 runs, 0 of them to do\n")
    assert "about 0 s in all" in result.stdout


def test_the_best_setting_is_compared_with_the_others_on_the_same_videos(
    done_once: SweepSettings, finished: SweepSettings
) -> None:
    summary = run(finished)
    found = rows(finished.out, "comparisons.csv")
    means = {
        f"{row['aggregator']} {row['pattern']} at {row['clips']} clips": float(row["mean"])
        for row in rows(finished.out, "summary.csv")
    }
    assert means[summary.best] == max(means.values())
    assert summary.accuracies == pytest.approx(means)
    equals = [replace(own, top1=replace(own.top1, mean=0.5)) for own in settings_of(read_scores(finished.out))]
    named, _ = compare_with_best(finished.out, equals)
    assert next(iter(named)) == min(equals, key=lambda own: own.gmacs).name
    assert {row["first"] for row in found} == {summary.best}
    assert {row["second"] for row in found} == set(means) - {summary.best}
    runs = {
        f"{row['aggregator']} {row['pattern']} at {row['clips']} clips": row["run"]
        for row in reversed(rows(finished.out))
    }
    right = {name: json.loads((finished.out / "runs" / own / "answers.json").read_text()) for name, own in runs.items()}
    for row in found:
        pairs = [(right[row["first"]][name], right[row["second"]][name]) for name in right[row["first"]]]
        assert int(row["only_first_right"]) == pairs.count((True, False))
        assert int(row["only_second_right"]) == pairs.count((False, True))
    # Scores of earlier versions have no answers beside them: nothing is compared, and nothing fails.
    for own in finished.out.glob("runs/*/answers.json"):
        own.unlink()
    assert run(finished).comparisons == ()


def test_a_figure_that_fails_costs_no_table(finished: SweepSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such glyph")

    monkeypatch.setitem(tables._FIGURES, "figure4.png", fail)
    summary = run(finished)
    path = finished.out / "figure4.png"
    assert summary.failed_pictures == {str(path): "RuntimeError: no such glyph"}
    assert not path.exists() and path not in summary.files
    assert rows(finished.out)
    result = invoke(*options(finished, finished.out))
    assert "figure4.png could not be drawn (RuntimeError: no such glyph). No figure is lost." in result.stderr
    assert result.exit_code == 0
