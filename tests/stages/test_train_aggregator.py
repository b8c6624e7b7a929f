"""Training an aggregator: it learns order, repeats itself bit for bit, survives kills, and refuses what cannot be."""

import json
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from made_up_stores import MadeUp, make_store, take_over
from matplotlib.image import imread
from own_processes import kill, started_command
from refusals import assert_refused

from vidpipe.cli.main import main
from vidpipe.pipeline.aggregators.weights import load_aggregator
from vidpipe.pipeline.errors import ManifestError, RunError, SettingsError, WeightsError
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Video
from vidpipe.pipeline.training.loop import Schedule
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.stages.evaluate.predictions import predict_stored
from vidpipe.stages.evaluate.settings import EvaluateSettings
from vidpipe.stages.train_aggregator import run as train_aggregator
from vidpipe.stages.train_aggregator.plan import prepare
from vidpipe.stages.train_aggregator.run import run
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings

LEARN = OptimisationSettings(
    epochs=12, batch_size=16, optimizer="adamw", learning_rate=0.01, weight_decay=0.01, warmup_epochs=1, clip_norm=1.0
)
SHORT = replace(LEARN, epochs=5)
SMALL = MadeUp(num_training=16, num_test=4, views=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "s.zarr", MadeUp(num_training=50, num_test=2))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("small") / "s.zarr", SMALL)


def weights(out: Path) -> bytes:
    return (out / "weights.safetensors").read_bytes()


@pytest.mark.usefixtures("rendered_pictures")
def test_fast_gru_learns_the_order_of_two_events(store: Path, tmp_path: Path) -> None:
    summary = run(TrainAggregatorSettings(store=store, out=tmp_path / "run", optimisation=LEARN))
    assert summary.metrics["val_accuracy"] > 0.9
    assert (summary.num_training, summary.num_validation, summary.pattern, summary.num_clips) == (42, 8, "1:3", 8)
    assert summary.gmacs == pytest.approx(26, abs=0.01)
    assert imread(tmp_path / "run" / "curves.png").std() > 0.05
    model, loaded = load_aggregator(tmp_path / "run" / "weights.safetensors")
    assert (loaded.spec.name, loaded.classes) == ("fast-gru", ("high then low", "low then high"))
    assert summary.num_weights == sum(parameter.numel() for parameter in model.parameters())


def test_the_seed_decides_the_weights_and_a_finished_run_is_left_alone(small: Path, tmp_path: Path) -> None:
    settings = TrainAggregatorSettings(store=small, out=tmp_path / "a", optimisation=SHORT)
    first = run(settings)
    run(replace(settings, out=tmp_path / "b"))
    run(replace(settings, out=tmp_path / "c", optimisation=replace(SHORT, seed=1)))
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    again = run(settings)
    assert (first.already_done, again.already_done) == (False, True)
    assert replace(again, already_done=False) == first


def test_maps_read_from_disk_each_time_give_the_same_weights(small: Path, tmp_path: Path) -> None:
    settings = TrainAggregatorSettings(store=small, out=tmp_path / "cached", optimisation=SHORT)
    run(settings)
    run(replace(settings, out=tmp_path / "read", cache_gib=0.0))
    assert weights(tmp_path / "cached") == weights(tmp_path / "read")


@pytest.mark.parametrize("epoch", [0, 2, 4])
def test_killed_and_resumed_is_undisturbed(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    class Killed(BaseException):
        pass

    append = RunDirectory.append_metrics

    def kill(self: RunDirectory, record: dict) -> None:
        append(self, record)
        if record["epoch"] == epoch:
            raise Killed

    settings = TrainAggregatorSettings(store=small, out=tmp_path / "whole", optimisation=SHORT)
    run(settings)
    monkeypatch.setattr(train_aggregator, "Schedule", partial(Schedule, checkpoint_every_seconds=0))
    monkeypatch.setattr(RunDirectory, "append_metrics", kill)
    with pytest.raises(Killed):
        run(replace(settings, out=tmp_path / "killed"))
    assert (tmp_path / "killed" / "checkpoint.pt").exists()  # since before the validation
    monkeypatch.setattr(RunDirectory, "append_metrics", append)
    run(replace(settings, out=tmp_path / "killed"))
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert len(RunDirectory.open(tmp_path / "killed").read_metrics()) == SHORT.epochs


def test_a_run_goes_on_after_changes_that_its_videos_have_no_part_in(small: Path, tmp_path: Path) -> None:
    store = shutil.copytree(small, tmp_path / "s.zarr")
    settings = TrainAggregatorSettings(store=store, out=tmp_path / "run", optimisation=replace(SHORT, epochs=2))
    first = run(settings)

    def change_the_test_videos(videos: list[Video]) -> None:
        videos[-1] = replace(videos[-1], labels=videos[-2].labels)
        videos.append(replace(videos[-1], video_id="new"))

    take_over(store, change_the_test_videos)
    assert replace(run(settings), already_done=False) == first
    take_over(store, lambda videos: videos.__setitem__(0, replace(videos[0], labels=videos[1].labels)))
    with pytest.raises(RunError, match="labels_sha256 is"):
        run(settings)


def test_a_run_of_an_earlier_version_goes_on_only_with_the_same_manifest(small: Path, tmp_path: Path) -> None:
    store = shutil.copytree(small, tmp_path / "s.zarr")
    settings = TrainAggregatorSettings(store=store, out=tmp_path / "run", optimisation=replace(SHORT, epochs=2))
    run(settings)
    made = json.loads((tmp_path / "run" / "settings.json").read_text())
    del made["labels_sha256"]
    (tmp_path / "run" / "settings.json").write_text(json.dumps(made))
    assert run(settings).already_done
    take_over(store, lambda videos: videos.pop())
    with pytest.raises(RunError, match="manifest_digest is .*; its videos, labels or splits have changed since"):
        run(settings)


def options(store: Path, out: Path, *, epochs: int = 5) -> list[str]:
    return ["train-aggregator", "--store", str(store), "--out", str(out), "--epochs", str(epochs), "--device", "cpu"]


def test_kill_9_of_the_command_then_the_same_command(small: Path, tmp_path: Path) -> None:
    child = started_command(*options(small, tmp_path / "killed", epochs=60))
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        assert child.is_alive(), "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert kill(child) == -signal.SIGKILL
    for out in ("killed", "whole"):
        result = CliRunner().invoke(main, [*options(small, tmp_path / out, epochs=60), "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["already_done"] is False
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_the_held_out_videos_are_a_share_of_each_training_class(store: Path, tmp_path: Path) -> None:
    settings = TrainAggregatorSettings(store=store, out=tmp_path, optimisation=SHORT, val_fraction=0.2)
    prepared = prepare(settings)
    assert set(prepared.training) | set(prepared.validation) == set(range(50))
    assert len(prepared.training) + len(prepared.validation) == 50
    assert Counter(prepared.targets[list(prepared.validation)].tolist()) == {0: 5, 1: 5}
    other = prepare(replace(settings, optimisation=replace(SHORT, seed=1)))
    assert other.validation != prepared.validation == prepare(settings).validation
    assert prepare(replace(settings, val_fraction=0.0)).validation == ()


def test_only_extracted_videos_teach(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", replace(SMALL, views=1, failed=(0, 3), pending=(5,)))
    prepared = prepare(TrainAggregatorSettings(store=path, out=tmp_path / "run"))
    assert set(prepared.training) | set(prepared.validation) == set(range(16)) - {0, 3, 5}
    assert prepared.missing == {"v000": "no video stream", "v003": "no video stream", "v005": "not extracted yet"}


def test_videos_that_taught_nothing_are_counted_by_reason(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", replace(SMALL, views=1, failed=(0, 3), pending=(5, 17)))
    result = CliRunner().invoke(main, options(path, tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert (
        "3 of the 16 training videos have no features and were left out: 1 not extracted yet, 2 failed.\n"
        "  failed: v000: no video stream\n  failed: v003: no video stream\nRun: "
    ) in result.stdout
    document = json.loads(CliRunner().invoke(main, [*options(path, tmp_path / "run"), "--json"]).stdout)
    assert document["missing"] == {"v000": "no video stream", "v003": "no video stream", "v005": "not extracted yet"}
    average = run(TrainAggregatorSettings(store=path, out=tmp_path / "average", aggregator="average"))
    assert average.missing == {}  # nothing is taught


def test_averaging_is_a_run_without_training(small: Path, tmp_path: Path) -> None:
    settings = TrainAggregatorSettings(
        store=small, out=tmp_path / "run", aggregator="average", pattern=Pattern.parse("all-cheap")
    )
    summary = run(settings)
    assert (summary.num_weights, summary.epochs, summary.gmacs, summary.num_training) == (0, 0, 8.0, 0)
    model, _ = load_aggregator(tmp_path / "run" / "weights.safetensors")
    assert not model.is_trained
    assert run(settings).already_done


@pytest.mark.parametrize(
    ("wanted", "changes", "error", "message"),
    [
        ({"classes": ("a",)}, {}, ManifestError, "at least two classes"),
        ({"num_training": 0}, {}, ManifestError, "no split 'train'; it has: test"),
        ({"pending": tuple(range(16))}, {}, SettingsError, r"no video of the split 'train' is extracted.*\(16 are"),
        (
            {"classes": ("a", "b", "c"), "num_training": 2},
            {},
            SettingsError,
            "show nothing of 1 of the 3 classes: 'c'. Give training videos",
        ),
        ({"num_training": 2}, {}, SettingsError, "none can be held out; give --val-fraction 0"),
        ({}, {"num_clips": 9}, SettingsError, "--clips must be from 1 to 8"),
        ({}, {"pattern": Pattern.parse("all-expensive")}, SettingsError, "makes clip 2 of 8 expensive"),
        ({}, {"aggregator": "rnn"}, SettingsError, "no aggregator 'rnn'; known: average, concat, "),
        ({}, {"width": 0}, SettingsError, "--width must be at least 1; got 0"),
        ({}, {"reduction": 3}, SettingsError, "reduction must divide the width of 8 channels"),
        ({"labels": {1: ("high then low", "low then high")}}, {}, ManifestError, "has 2 labels"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, wanted: dict, changes: dict, error: type[Exception], message: str
) -> None:
    path = make_store(tmp_path / "s.zarr", replace(SMALL, views=1, **wanted))
    settings = TrainAggregatorSettings(store=path, out=tmp_path / "run", optimisation=SHORT)
    with assert_refused(error, match=message):
        run(replace(settings, **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["concat", "lstm", "gru", "conv-gru", "fast-gru", "fast-gru-pooled"])
def test_every_aggregator_learns_the_order_from_unequal_maps_at_a_width_of_its_own(tmp_path: Path, name: str) -> None:
    shapes = {"expensive": (2, 2, 2, 12), "cheap": (1, 1, 1, 8)}
    path = make_store(tmp_path / "s.zarr", MadeUp(num_training=50, num_test=2, shapes=shapes))
    settings = TrainAggregatorSettings(
        store=path, out=tmp_path / "run", aggregator=name, width=16, optimisation=replace(LEARN, epochs=20)
    )
    summary = run(settings)
    assert summary.metrics["val_accuracy"] > 0.8
    model, loaded = load_aggregator(tmp_path / "run" / "weights.safetensors")
    assert loaded.shapes == shapes
    assert {role: tuple(layer.weight.shape) for role, layer in model.mixing.projections.items()} == {
        "expensive": (16, 12),
        "cheap": (16, 8),
    }


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with assert_refused(SettingsError, match="--patience needs videos to validate on"):
        TrainAggregatorSettings(store=tmp_path, out=tmp_path, val_fraction=0, optimisation=replace(SHORT, patience=3))


def test_a_run_of_other_settings_is_not_gone_on_with(small: Path, tmp_path: Path) -> None:
    settings = TrainAggregatorSettings(store=small, out=tmp_path / "run", optimisation=SHORT)
    run(settings)
    with pytest.raises(RunError, match=r"learning_rate is 0\.01 there, 0\.02 here"):
        run(replace(settings, optimisation=replace(SHORT, learning_rate=0.02)))


def test_damaged_weights_are_told(small: Path, tmp_path: Path) -> None:
    run(TrainAggregatorSettings(store=small, out=tmp_path / "run", optimisation=SHORT))
    path = tmp_path / "run" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(WeightsError, match=r"weights\.safetensors cannot be read"):
        load_aggregator(path)


def test_the_command_tells_what_it_did_and_refuses_with_a_message(small: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, options(small, tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "fast-gru, 1:3, 8 clips" in result.stdout
    assert "on 14 videos (2 held out) for 5 epochs" in result.stdout
    again = CliRunner().invoke(main, options(small, tmp_path / "run"))
    assert again.stdout.startswith("This run was done already.")
    refused = CliRunner().invoke(main, [*options(small, tmp_path / "other"), "--pattern", "3"])
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: --pattern must be E:C")


def test_a_run_reads_the_clips_that_it_began_with_though_the_store_has_more_by_now(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", SMALL)
    settings = TrainAggregatorSettings(
        store=path, out=tmp_path / "run", num_clips=2, pattern=Pattern.parse("first"), optimisation=SHORT
    )
    run(settings)
    trained = RunDirectory.open(tmp_path / "run")
    assert trained.settings["clips_read"] == {"expensive": [0], "cheap": [4, 5, 6, 7]}
    before = scores_of(trained, path)
    make_store(tmp_path / "more.zarr", replace(SMALL, pattern="all-expensive"))  # the same maps, and three more
    shutil.rmtree(path)
    (tmp_path / "more.zarr").rename(path)
    assert run(settings).already_done
    assert torch.equal(scores_of(trained, path), before)
    fresh = replace(settings, out=tmp_path / "fresh")
    run(fresh)
    assert RunDirectory.open(tmp_path / "fresh").settings["clips_read"]["expensive"] == [0, 1, 2, 3]
    # A run that does not say what it reads is of an earlier version, and reads what there is.
    path_of_settings = tmp_path / "run" / "settings.json"
    made = json.loads(path_of_settings.read_text())
    del made["clips_read"]
    path_of_settings.write_text(json.dumps(made))
    assert not torch.equal(scores_of(RunDirectory.open(tmp_path / "run"), path), before)


def scores_of(trained: RunDirectory, store: Path) -> torch.Tensor:
    """Return what a run predicts for the test videos of a store."""
    opened = FeatureStore.open(store)
    settings = EvaluateSettings(runs=(trained.path,), store=store, out=store.parent / "results")
    expected = tuple(range(SMALL.num_training, SMALL.num_training + SMALL.num_test))
    return predict_stored(trained, expected, settings=settings, store=opened, device=torch.device("cpu")).scores


def test_clips_are_read_as_recorded_only_where_their_numbers_mean_the_same(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", replace(SMALL, pattern="all-expensive"))
    settings = TrainAggregatorSettings(
        store=path, out=tmp_path / "run", num_clips=2, pattern=Pattern.parse("first"), optimisation=SHORT
    )
    run(settings)
    trained = RunDirectory.open(tmp_path / "run")
    assert trained.settings["clips_read"]["expensive"] == [0, 1, 2, 3]
    longer = make_store(tmp_path / "longer.zarr", replace(SMALL, num_clips=16, pattern="1:15"))
    assert scores_of(trained, longer).isfinite().all()  # of its 16 clips, those of the run's pattern
    fewer = make_store(tmp_path / "fewer.zarr", SMALL)
    with pytest.raises(SettingsError, match=r"the run reads the expensive clips 0, 1, 2, 3.* lacks 1, 2, 3\. Extract"):
        scores_of(trained, fewer)


def test_a_run_of_another_pattern_is_refused_as_such_whatever_clips_it_read(small: Path, tmp_path: Path) -> None:
    settings = TrainAggregatorSettings(
        store=small, out=tmp_path / "run", num_clips=2, pattern=Pattern.parse("first"), optimisation=SHORT
    )
    run(settings)
    with pytest.raises(RunError, match='holds a run with other settings: .*"first" there, "all-cheap" here'):
        run(replace(settings, pattern=Pattern.parse("all-cheap")))
    with pytest.raises(RunError, match="holds a run with other settings: .*is 2 there, 8 here"):
        run(replace(settings, num_clips=8, pattern=Pattern.parse("1:3")))
