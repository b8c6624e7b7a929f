"""`vidpipe finetune`: learns, resumes, runs in several processes, begins from runs, and says what it cannot do."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from own_processes import kill, launched, started_command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vidpipe.cli.main import main
from vidpipe.pipeline.aggregators.weights import load_aggregator
from vidpipe.pipeline.backbones.weights import load_weights
from vidpipe.pipeline.end_to_end import steps as strategy_steps
from vidpipe.pipeline.training.forecast import ReadingTimes
from vidpipe.pipeline.training.keeping import Outlook
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.stages.finetune.estimate import epoch_seconds
from vidpipe.stages.finetune.settings import FinetuneSettings, RoleBackbone
from vidpipe.stages.finetune.timing import NetworkTimes

FIXED = ["--size=32", "--frames=4", "--batch=4", "--precision=float32", "--device=cpu", "--workers=2"]
MODEL = ["--expensive=r2d_14_w16", "--frames=8", "--clips=2", "--epochs=4", "--learning-rate=0.005"]


def command(world: Path, out: Path, *more: str) -> list[str]:
    return ["finetune", f"--manifest={world}/m.csv", f"--out={out}", *FIXED, *MODEL, *more]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def weights_in(out: Path) -> dict[str, torch.Tensor]:
    """Return every tensor that a run left, by file and name."""
    tensors = {
        f"aggregator {key}": value for key, value in load_aggregator(out / "weights.safetensors")[1].state.items()
    }
    for path in (out / "expensive.safetensors", out / "cheap.safetensors"):
        if path.is_file():
            tensors |= {f"{path.name} {key}": value for key, value in load_weights(path).state.items()}
    return tensors


def assert_same_weights(one: Path, other: Path, *, tolerance: float = 0.0) -> None:
    first, second = weights_in(one), weights_in(other)
    assert first.keys() == second.keys() and len(first) > 20
    for name, value in first.items():
        assert torch.allclose(value.double(), second[name].double(), rtol=tolerance, atol=tolerance), name


def metrics_of(out: Path) -> list[dict]:
    return RunDirectory.open(out).read_metrics()


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an undisturbed run from scratch, with dropout and a moving average."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    result = invoke(*command(world, out, "--ema=0.5"))
    assert result.exit_code == 0, result.output
    return out


def test_learns_from_scratch_and_leaves_all_parts(world: Path, tmp_path: Path) -> None:
    result = invoke(*command(world, tmp_path / "run", "--epochs=10", "--val-fraction=0.25", "--json"))
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["metrics"]["val_accuracy"] == 1.0
    assert (document["aggregator"], document["num_clips"], document["strategy"]) == ("memory", 2, "plain")
    assert (document["num_training"], document["num_validation"]) == (6, 2)
    backbone = load_weights(tmp_path / "run" / "expensive.safetensors")
    assert (backbone.backbone, backbone.classes, backbone.num_frames) == ("r2d_14_w16", ("bright", "dark"), 8)
    result = RunDirectory.open(tmp_path / "run").result
    assert result["backbones"]["expensive"]["weights_sha256"] == backbone.digest
    assert result["gmacs"] == pytest.approx(document["gmacs"])
    again = invoke(*command(world, tmp_path / "run", "--epochs=10", "--val-fraction=0.25"))
    assert again.exit_code == 0 and "done already" in again.stdout


def test_curves_are_written_for_tensorboard_too(whole: Path) -> None:
    events = EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    records = metrics_of(whole)
    assert [event.step for event in events.Scalars("loss/training")] == [0, 1, 2, 3]
    for name, tag in (("loss", "loss/training"), ("val_loss", "loss/validation"), ("accuracy", "accuracy/training")):
        assert [event.value for event in events.Scalars(tag)] == pytest.approx([record[name] for record in records])


def test_killed_and_resumed_ends_with_the_same_weights(world: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    for epochs in (1, 2):
        own = started_command(*command(world, out, "--ema=0.5", "--checkpoint-seconds=0"))
        wait_for_lines(out / "metrics.jsonl", epochs, own)
        assert kill(own) == -signal.SIGKILL, "it ended before it could be killed"
        assert (out / "checkpoint.pt").exists()
    assert invoke(*command(world, out, "--ema=0.5")).exit_code == 0
    assert_same_weights(whole, out)
    assert [{**record, "seconds": 0} for record in metrics_of(out)] == [
        {**record, "seconds": 0} for record in metrics_of(whole)
    ]


def wait_for_lines(path: Path, count: int, process: BaseProcess) -> None:
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        if path.is_file() and path.read_text().count("\n") >= count:
            return
        time.sleep(0.02)


def test_a_run_that_is_out_of_memory_keeps_its_checkpoint_and_goes_on_by_another_strategy(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    frozen = ["--batch-norm=frozen", "--dropout=0"]
    assert invoke(*command(world, whole, *frozen)).exit_code == 0
    plain, steps = strategy_steps._all_at_once, []

    def scarce(*arguments, **named):
        steps.append(1)
        if len(steps) == 5:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 9 bytes"
            )
        return plain(*arguments, **named)

    monkeypatch.setattr(strategy_steps, "_all_at_once", scarce)
    result = invoke(*command(world, cut, *frozen, "--checkpoint-seconds=0"))
    assert result.exit_code == 1
    assert f"out of memory in {cut}, by --strategy plain with 4 videos of 2 clips" in result.stderr
    assert "its checkpoint is kept" in result.stderr
    assert (cut / "checkpoint.pt").exists()
    monkeypatch.setattr(strategy_steps, "_all_at_once", plain)
    offered = result.stderr.split("these would fit: ")[1].split(" (about")[0]
    assert offered != "--strategy plain"  # which is what ran out
    result = invoke(*command(world, cut, *frozen, *offered.split()))
    assert result.exit_code == 0, result.output
    assert_same_weights(whole, cut, tolerance=1e-4)


def test_a_training_that_is_foreseen_not_to_fit_is_refused_with_what_would(world: Path, tmp_path: Path) -> None:
    words = command(world, tmp_path / "run", "--batch-norm=frozen", "--clips=32", "--epochs=1", "--memory-gb=0.59")
    result = invoke(*words)
    assert result.exit_code == 2
    assert "--strategy plain with 4 videos of 32 clips needs up to" in result.stderr
    assert not (tmp_path / "run").exists()
    offered = result.stderr.split("these would fit: ")[1].split(" (about")[0]
    assert invoke(*words, *offered.split()).exit_code == 0


def test_with_tracked_statistics_the_advice_asks_for_another_run(world: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    result = invoke(*command(world, tmp_path / "run", "--clips=32", "--memory-gb=0.59"))
    assert result.exit_code == 2
    assert "others give another --out" in result.stderr


@pytest.mark.parametrize("strategy", ["plain", "multi-iteration"])
def test_two_processes_train_as_one_does(world: Path, tmp_path: Path, strategy: str) -> None:
    """Of six videos in batches of three, one process has two and the other one."""
    same = ["--batch-norm=frozen", "--dropout=0", f"--strategy={strategy}", "--batch=3", "--val-fraction=0.25"]
    result = invoke(*command(world, tmp_path / "one", *same))
    assert result.exit_code == 0, result.output
    said = tmp_path / "said.txt"
    assert launched(2, *command(world, tmp_path / "two", *same), output=said) == 0, said.read_text()
    assert said.read_text().count("Run: ") == 1
    one, two = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two")
    assert len(one) == len(two) == 4
    for first, second in zip(one, two, strict=True):
        for name in ("loss", "clip_loss", "val_loss", "val_clip_loss"):
            assert second[name] == pytest.approx(first[name], rel=1e-5), name
        assert second["val_accuracy"] == first["val_accuracy"]


def test_a_process_that_cannot_go_on_ends_the_others_in_words(world: Path, whole: Path) -> None:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [*program, "-m", "vidpipe.cli.main", *command(world, whole, "--ema=0.9")]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "--ema is 0.5 there, 0.9 here" in ended.stderr
    assert "cli/main.py" not in ended.stderr  # no traceback of ours


def test_a_video_that_cannot_be_read_is_listed_and_the_run_goes_on(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "videos")
    (tmp_path / "videos" / "v2.mp4").write_bytes(b"nothing")
    result = invoke(*command(tmp_path / "videos", tmp_path / "run", "--epochs=2", "--val-fraction=0"))
    assert result.exit_code == 3
    assert "failed: v2: " in result.stderr
    assert list(json.loads((tmp_path / "run" / "failures.json").read_text())) == ["v2"]


@pytest.fixture(scope="module")
def begun(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both backbones, a store and an aggregator run on it, 1:1."""
    folder = tmp_path_factory.mktemp("begun")
    for role, name in (("expensive", "r2plus1d_14_w16"), ("cheap", "r2d_14_w16")):
        words = ["train-backbone", f"--manifest={world}/m.csv", f"--backbone={name}", f"--out={folder}/{role}"]
        result = invoke(*words, "--size=32", "--epochs=1", "--batch=8", "--precision=float32", "--device=cpu")
        assert result.exit_code == 0, result.output
    backbones = [f"--{role}={name}={folder}/{role}/weights.safetensors" for role, name in NAMES.items()]
    words = ["extract", f"--manifest={world}/m.csv", f"--store={folder}/s.zarr", "--clips=4", "--frames=8", *backbones]
    result = invoke(*words, "--device=cpu", "--precision=float32", "--threads=1")
    assert result.exit_code == 0, result.output
    words = ["train-aggregator", f"--store={folder}/s.zarr", "--pattern=1:1", "--epochs=2", "--device=cpu"]
    result = invoke(*words, f"--out={folder}/run", "--aggregator=fast-gru", "--clips=4", "--val-fraction=0")
    assert result.exit_code == 0, result.output
    return folder


NAMES = {"expensive": "r2plus1d_14_w16", "cheap": "r2d_14_w16"}


def going_on(world: Path, begun: Path, out: Path, *more: str) -> list[str]:
    backbones = [f"--{role}={name}={begun}/{role}/weights.safetensors" for role, name in NAMES.items()]
    fixed = [f"--manifest={world}/m.csv", f"--from={begun}/run", "--batch=4", "--precision=float32"]
    return ["finetune", *fixed, f"--out={out}", "--device=cpu", "--epochs=1", *backbones, *more]


def test_it_begins_where_the_aggregator_run_ended(world: Path, begun: Path, tmp_path: Path) -> None:
    tiny = ["--learning-rate=1e-12", "--warmup-epochs=0", "--val-fraction=0", "--weight-decay=0"]
    result = invoke(*going_on(world, begun, tmp_path / "run", *tiny))
    assert result.exit_code == 0, result.output
    before = load_aggregator(begun / "run" / "weights.safetensors")[1]
    after = load_aggregator(tmp_path / "run" / "weights.safetensors")[1]
    assert (after.spec, after.shapes, after.classes) == (before.spec, before.shapes, before.classes)
    assert all(torch.allclose(after.state[name], value, atol=1e-6) for name, value in before.state.items())
    for role in NAMES:
        began = load_weights(begun / role / "weights.safetensors").state
        ended = load_weights(tmp_path / "run" / f"{role}.safetensors").state
        assert all(torch.allclose(ended[name].double(), value.double(), atol=1e-6) for name, value in began.items())
    made = RunDirectory.open(tmp_path / "run").settings
    assert (made["statistics"], made["pattern"], made["num_clips"]) == ("frozen", "1:1", 4)
    assert made["rates"] == {"expensive": 1e-13, "cheap": 1e-13}


def test_a_backbone_at_rate_0_stays_as_it_is(world: Path, begun: Path, tmp_path: Path) -> None:
    result = invoke(*going_on(world, begun, tmp_path / "run", "--cheap-learning-rate=0", "--batch-norm=tracked"))
    assert result.exit_code == 0, result.output
    same = {}
    for role in NAMES:
        began = load_weights(begun / role / "weights.safetensors").state
        ended = load_weights(tmp_path / "run" / f"{role}.safetensors").state
        same[role] = all(torch.equal(ended[name], value) for name, value in began.items())
    assert same == {"expensive": False, "cheap": True}


def test_classes_of_other_weights_are_learnt_anew(
    world: Path, begun: Path, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    lines = ["path,label,split"]
    for index in range(6):
        make_video(tmp_path / f"{index}.mp4", num_frames=10, seed=index)
        lines.append(f"{index}.mp4,{'abc'[index % 3]},train")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    weights = f"--expensive=r2plus1d_14_w16={begun}/expensive/weights.safetensors"
    words = ["finetune", f"--manifest={tmp_path}/m.csv", f"--out={tmp_path}/run", weights, "--epochs=1", "--clips=2"]
    result = invoke(*words, "--val-fraction=0", "--precision=float32", "--batch=4")
    assert result.exit_code == 0, result.output
    assert "The expensive backbone's classifier began anew" in result.stdout
    assert load_weights(tmp_path / "run" / "expensive.safetensors").classes == ("a", "b", "c")


def test_dry_run_foresees_and_writes_nothing(world: Path, tmp_path: Path) -> None:
    result = invoke(*command(world, tmp_path / "run", "--dry-run", "--json", "--val-fraction=0.25", "--clips=32"))
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["steps_per_epoch"] == 2 and document["epochs"] == 4
    assert document["memory_bytes"]["two-pass"] < document["memory_bytes"]["plain"]
    assert document["total_seconds"] >= 8 * document["step_seconds"] > 0
    first, later = document["first_epoch_seconds"], document["epoch_seconds"]
    assert document["total_seconds"] == pytest.approx(first + 3 * later)
    assert min(document[f"{name}_seconds"] for name in ("decode", "kept_clips", "read_clips")) > 0
    assert not (tmp_path / "run").exists()
    text = invoke(*command(world, tmp_path / "run", "--dry-run")).stdout
    assert "6 videos to train on, 2 held out" in text and "memory, foreseen at most: plain" in text


@pytest.mark.parametrize(
    ("kept", "first", "later"), [(0, 12 * 10.0, 12 * 0.5), (9, 3 * 10.0 + 9 * 0.5, 12 * 0.5), (12, 12 * 0.5, 12 * 0.5)]
)
def test_the_first_epoch_decodes_and_later_ones_read_what_is_kept(
    world: Path, kept: int, first: float, later: float
) -> None:
    settings = FinetuneSettings(
        manifest=world / "m.csv",
        out=world / "run",
        expensive=RoleBackbone(backbone="r2d_14_w16"),
        device="cpu",
        workers=0,
    )
    there = {"num_kept": kept, "kept_bytes": 100 * kept, "missing_bytes": 1200 - 100 * kept, "most_bytes": 1e6}
    foreseen = epoch_seconds(
        settings,
        NetworkTimes(step_seconds=2.0, validation_seconds=0.25),
        ReadingTimes(decode_seconds=10.0, kept_clip_seconds=0.5, read_clip_seconds=4.0),
        Outlook(folder=world, num_videos=12, **there),
        steps=2,
        num_validation=4,
        in_memory=False,
    )
    assert foreseen == (2 * 2.0 + 4 * 0.25 + first, 2 * 2.0 + 4 * 0.25 + later)


def test_epochs_that_are_done_are_not_foreseen_again(world: Path, whole: Path) -> None:
    own = command(world, whole, "--ema=0.5", "--dry-run")
    found = json.loads(invoke(*own, "--json").stdout)
    assert (found["already_done"], found["epochs_done"], found["total_seconds"]) == (True, 4, 0)
    assert invoke(*own).stdout.endswith("\nnothing is left to do: this run is finished\n")
    refused = invoke(*own, "--clips=3")
    assert refused.exit_code == 1 and "--clips is 2 there, 3 here" in refused.stderr


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--clips=1"], 2, "memory learns what the clips of a video tell one another"),
        (["--strategy=batch-reduction", "--clips=5"], 2, "4 is smaller. Give --batch 5 or more"),
        (["--strategy=magic"], 2, "Invalid value for '--strategy': 'magic' is not one of 'plain'"),
        (["--batch-norm=thawed"], 2, "Invalid value for '--batch-norm': 'thawed' is not one of 'frozen', 'tracked'"),
        (["--pattern=1:1"], 2, "--pattern 1:1 has cheap clips; give --cheap WEIGHTS or NAME"),
        (["--cheap=r2d_14_w16"], 2, "with two backbones, say which clips are expensive"),
        (["--expensive=r2d_99"], 2, "there is no backbone 'r2d_99'"),
        (
            ["--expensive=r2d_14_w16="],
            2,
            "Invalid value for '--expensive': must be a weights file, a run, or NAME= before either",
        ),
        (["--frames=6"], 2, "needs clips of a multiple of 8 frames"),
        (["--expensive-learning-rate=-1"], 2, "--expensive-learning-rate must be at least 0; got -1.0"),
        (["--from=/nowhere"], 1, "/nowhere is not a run directory"),
        (["--split=none"], 2, "no split 'none'"),
        (["--cheap-learning-rate=1e-3"], 2, "--cheap-learning-rate is given, but no --cheap backbone"),
        (["--aggregator=average", "--expensive-learning-rate=0"], 2, "nothing is left to train"),
        (["--memory-gb=inf"], 2, "--memory-gb must be finite; got inf"),
        (["--clips=100000000"], 2, "--clips must be from 1 to 10000; got 100000000"),
        (["--size=100000"], 2, "--size must be from 16 to 8192 pixels"),
        (["--aggregator="], 2, "there is no aggregator ''"),
        (["--accumulate=0"], 2, "--accumulate must be at least 1"),
    ],
)
def test_what_cannot_be_is_explained(world: Path, tmp_path: Path, more: list[str], code: int, message: str) -> None:
    result = invoke(*command(world, tmp_path / "run", *more))
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_of_other_backbones_or_settings_is_refused(world: Path, begun: Path, tmp_path: Path) -> None:
    other = f"--cheap=r2d_14_w16={begun}/cheap/weights.safetensors"
    swapped = f"--expensive=r2d_14_w16={begun}/cheap/weights.safetensors"
    result = invoke(*going_on(world, begun, tmp_path / "run", swapped, other))
    assert result.exit_code == 1
    assert "was trained on maps of r2plus1d_14_w16 with weights" in result.stderr
    result = invoke(*going_on(world, begun, tmp_path / "run", "--clips=2"))
    assert result.exit_code == 2 and "--clips comes from the run" in result.stderr
    result = invoke(*going_on(world, begun, tmp_path / "run", "--expensive=r2plus1d_14_w16"))
    assert result.exit_code == 1 and "gives none" in result.stderr
    result = invoke(*going_on(world, begun, tmp_path / "run", "--size=64"))
    assert result.exit_code == 2 and "bring their own preprocessing" in result.stderr


def test_a_run_of_other_settings_is_not_gone_on_with(world: Path, whole: Path) -> None:
    result = invoke(*command(world, whole, "--ema=0.9"))
    assert result.exit_code == 1
    assert "--ema is 0.5 there, 0.9 here" in result.stderr
