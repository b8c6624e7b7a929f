"""Defaults that follow from videos, weights and stores: chosen under what is typed, said, recorded, and kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from heard_progress import Heard
from made_up_stores import MadeUp, make_store

import vidpipe
from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.weights import load_weights
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.stages.defaults import choose
from vidpipe.stages.finetune.settings import RoleBackbone
from vidpipe.stages.presets import preset_values

TINY = {"size": 32, "epochs": 1, "precision": "float32", "device": "cpu", "threads": 1, "workers": 1}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Return a folder with 8 videos of two seconds, of two classes, and a manifest."""
    folder = tmp_path_factory.mktemp("films")
    lines = ["path,label,split"]
    for index in range(8):
        make_video(folder / f"v{index}.mp4", num_frames=60, size=(48, 40), seed=index)
        lines.append(f"v{index}.mp4,{'ab'[index % 2]},{'test' if index > 5 else 'train'}")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return folder


def invoke(command: str, **options: Any) -> Result:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return CliRunner().invoke(main, [command, *words], catch_exceptions=False)


def train(films: Path, out: Path, **options: Any) -> Result:
    given = {"manifest": films / "m.csv", "backbone": "r2d_14_w8", "out": out}
    return invoke("train-backbone", **(given | TINY | options))


def settings_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "settings.json").read_text())


@pytest.fixture(scope="module")
def trained(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Return a run of train-backbone of which almost nothing was typed, and what it said."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train(films, out)


def test_stride_and_recipe_are_chosen_said_and_recorded(trained: tuple[Path, Result]):
    out, result = trained
    assert result.exit_code == 0, result.output
    first, second, *_ = result.stderr.splitlines()
    assert first.startswith(
        "6 training videos: preset small (AdamW at 0.002, weight decay 0.05, batches of 16, 1 epoch"
    )
    assert second == (
        "stride 4: a clip of 8 frames sees 48% of a typical video (60 frames, 2.0 s); --stride for another"
    )
    made = settings_of(out)
    own = made["optimisation"]
    assert (made["sampling_rate"], own["optimizer"], own["batch_size"]) == (4, "adamw", 16)
    assert load_weights(out / "weights.safetensors").sampling_rate == 4
    assert "Warning: the training loss stayed at chance: " in result.stderr
    (warning,) = json.loads((out / "result.json").read_text())["warnings"]
    assert warning.startswith("the training loss stayed at chance: ")


def test_python_gets_the_same(trained: tuple[Path, Result], films: Path, tmp_path: Path):
    heard, options = Heard(), {name: value for name, value in TINY.items() if name != "size"}
    made = vidpipe.train_backbone(
        manifest=str(films / "m.csv"),
        backbone="r2d_14_w8",
        out=str(tmp_path / "run"),
        crop=TINY["size"],
        progress=heard,
        **options,
    )
    assert settings_of(tmp_path / "run") == settings_of(trained[0])
    assert made.digest == load_weights(trained[0] / "weights.safetensors").digest
    assert made.warnings
    assert heard.calls[0].startswith("6 training videos: preset small")


def test_what_is_typed_wins(films: Path, tmp_path: Path):
    result = train(films, tmp_path / "run", stride=1, learning_rate=0.01)
    made = settings_of(tmp_path / "run")
    assert (made["sampling_rate"], made["optimisation"]["optimizer"]) == (1, "sgd")
    assert "preset" not in result.stderr
    sees = "stride 1: a clip of 8 frames sees 13% of a typical video (60 frames, 2.0 s); --stride 4 would suit these"
    assert sees in result.stderr
    result = train(films, tmp_path / "large", stride=3, preset="large")
    assert (settings_of(tmp_path / "large")["optimisation"]["batch_size"], "stride" in result.stderr) == (32, False)


def test_python_has_presets_too(films: Path):
    with pytest.raises(vidpipe.VidpipeError, match="preset must be one of small, large, kinetics, .*; got 'big'"):
        vidpipe.train_backbone(manifest=str(films / "m.csv"), backbone="r2d_14_w8", out="o", preset="big")
    with pytest.raises(vidpipe.VidpipeError, match="has no field 'preset'"):
        vidpipe.finetune(manifest=str(films / "m.csv"), out="o", preset="small")


def test_a_run_keeps_its_stride_whatever_has_become_of_the_videos(
    films: Path, tmp_path: Path, make_video: Callable[..., Path]
):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "m.csv").write_text((films / "m.csv").read_text())
    for index in range(8):
        (folder / f"v{index}.mp4").write_bytes((films / f"v{index}.mp4").read_bytes())
    assert train(folder, tmp_path / "run").exit_code == 0
    for index in range(8):
        make_video(folder / f"v{index}.mp4", num_frames=20, size=(48, 40), seed=index)
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed
    (tmp_path / "run" / "metrics.jsonl").unlink()
    again = train(folder, tmp_path / "run")
    assert again.exit_code == 0, again.output
    assert "stride 4, with which this run began" in again.stderr
    assert settings_of(tmp_path / "run")["sampling_rate"] == 4
    other = train(folder, tmp_path / "run", stride=2)
    assert other.exit_code == 1
    assert "--stride is 4 there, 2 here" in other.stderr


def test_where_no_video_can_be_read_the_backbones_usual_stride_stays(tmp_path: Path):
    (tmp_path / "m.csv").write_text("path,label,split\na.mp4,x,train\nb.mp4,y,train\n")
    given = {"manifest": tmp_path / "m.csv", "out": tmp_path / "o"}
    assert choose("train_backbone", given | {"backbone": "slow_only_50"}).values["sampling_rate"] == 8
    result = train(tmp_path, tmp_path / "run")
    assert result.exit_code == 1
    assert "could be read" in result.stderr


def test_mistakes_are_left_for_the_stage_to_tell(tmp_path: Path):
    for stage, given in {
        "train_backbone": {"manifest": tmp_path / "gone.csv", "backbone": "r2d_26", "out": tmp_path},
        "train_aggregator": {"store": tmp_path / "gone.zarr", "out": tmp_path},
        "sweep": {"store": tmp_path / "gone.zarr", "out": tmp_path},
        "evaluate": {},
    }.items():
        chosen = choose(stage, given)
        assert (chosen.values, chosen.said) == ({}, ())


@pytest.mark.parametrize(
    ("name", "value"), [("fps", "inf"), ("fps", "nan"), ("fps", "0"), ("frames", "-8"), ("stride", "0")]
)
def test_clips_that_cannot_be_are_refused_in_words(films: Path, tmp_path: Path, name: str, value: str):
    result = train(films, tmp_path / "run", **{name: value})
    assert result.exit_code == 2
    assert f"--{name} must be " in result.stderr


def test_extraction_takes_the_clips_of_the_weights(trained: tuple[Path, Result], films: Path, tmp_path: Path):
    weights = f"r2d_14_w8={trained[0] / 'weights.safetensors'}"
    given = {"manifest": films / "m.csv", "store": tmp_path / "s.zarr", "cheap": weights, "threads": 1}
    result = invoke("extract", clips=2, **given)
    assert result.exit_code == 0, result.output
    assert FeatureStore.open(tmp_path / "s.zarr").sampling.sampling_rate == 4
    assert "2 clips of 8 frames at stride 4: together they see 97% of a typical video" in result.stderr
    refused = invoke("extract", clips=2, **(given | {"store": tmp_path / "t.zarr", "stride": 2}))
    assert refused.exit_code == 2
    assert "was trained on clips of 8 frames at stride 4" in refused.stderr
    assert (
        vidpipe.extract(
            manifest=str(films / "m.csv"), store=str(tmp_path / "s.zarr"), cheap=weights, num_clips=2, threads=1
        ).already_done
        == 8
    )


def test_weights_that_disagree_about_clips_are_refused_with_both(
    trained: tuple[Path, Result], films: Path, tmp_path: Path
):
    assert train(films, tmp_path / "wide", backbone="r2d_14_w16", stride=2).exit_code == 0
    result = invoke(
        "extract",
        manifest=films / "m.csv",
        store=tmp_path / "s.zarr",
        cheap=f"r2d_14_w8={trained[0] / 'weights.safetensors'}",
        expensive=f"r2d_14_w16={tmp_path / 'wide' / 'weights.safetensors'}",
    )
    assert result.exit_code == 2
    assert "--expensive was trained on clips of 8 frames at stride 2 and the video's own rate, --cheap" in result.stderr
    assert "on clips of 8 frames at stride 4" in result.stderr
    assert (
        "Train one of them anew on the other's clips: give --frames 8 --stride 2 and leave --fps out" in result.stderr
    )
    assert not (tmp_path / "s.zarr").exists()


def test_end_to_end_training_from_scratch_follows_the_videos_and_from_weights_the_weights(
    trained: tuple[Path, Result], films: Path, tmp_path: Path
):
    scratch = {"manifest": films / "m.csv", "out": tmp_path, "cheap": RoleBackbone.parse("r2d_14_w8")}
    chosen = choose("finetune", scratch)
    assert chosen.values == {"sampling_rate": 4}
    assert choose("finetune", scratch | {"sampling_rate": 4}).values == {}
    (tmp_path / "settings.json").write_text('{"sampling": {"sampling_rate": 3}}')
    assert choose("finetune", scratch).values == {"sampling_rate": 3}
    begun = RoleBackbone.parse(f"r2d_14_w8={trained[0] / 'weights.safetensors'}")
    assert choose("finetune", scratch | {"cheap": begun}).values == {}
    assert choose("finetune", scratch | {"start": tmp_path}).values == {}


def test_aggregators_and_sweeps_take_the_recipe_for_so_many_videos(tmp_path: Path):
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=12, num_test=2))
    result = invoke("train-aggregator", store=store, out=tmp_path / "run", aggregator="gru", epochs=1, device="cpu")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("12 training videos: preset small (AdamW")
    few = preset_values("train_aggregator", "small")
    own = settings_of(tmp_path / "run")["optimisation"]
    assert own | few | {"epochs": 1} == own
    asked = invoke("train-aggregator", store=store, out=tmp_path / "large", aggregator="average", preset="large")
    assert asked.exit_code == 0, asked.output
    given = {"store": store, "out": tmp_path / "sweep"}
    assert choose("sweep", given).values == few
    for stage, name in (("sweep", "aggregators"), ("train_aggregator", "aggregator")):
        nothing = choose(stage, given | {name: ("average", "max") if stage == "sweep" else "average"})
        assert (nothing.values, nothing.said) == ({}, ())
