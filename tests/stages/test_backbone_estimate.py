"""`vidpipe train-backbone --dry-run`: what a training would do and cost, without a trace."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vidpipe.cli.main import main
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.training.forecast import ReadingTimes
from vidpipe.pipeline.training.keeping import Outlook
from vidpipe.stages.train_backbone.estimate import epoch_seconds
from vidpipe.stages.train_backbone.plan import prepare
from vidpipe.stages.train_backbone.settings import OPTIMISATION, TrainBackboneSettings
from vidpipe.stages.train_backbone.timing import NetworkTimes

NETWORK = NetworkTimes(step_seconds=2.0, validation_seconds=1.0, memory_bytes=0, gpu_bytes=None, num_weights=1)
READING = ReadingTimes(decode_seconds=10.0, kept_clip_seconds=0.5, read_clip_seconds=4.0)


def command(world: Path, out: Path, *more: str) -> list[str]:
    own = ["--backbone=r2d_14_w16", "--size=32", "--epochs=3", "--batch=4", "--precision=float32", "--workers=1"]
    own += [f"--clip-cache={out}-clips", "--val-split=val", "--device=cpu", "--threads=1"]
    return ["train-backbone", f"--manifest={world}/m.csv", f"--out={out}", *own, *more]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def test_it_foresees_and_writes_nothing(world: Path, tmp_path: Path):
    result = invoke(*command(world, tmp_path / "run", "--dry-run", "--json"))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(tmp_path.iterdir()) == []
    assert {name: found[name] for name in ("num_training", "num_validation", "epochs", "steps_per_epoch")} == {
        "num_training": 8,
        "num_validation": 4,
        "epochs": 3,
        "steps_per_epoch": 2,
    }
    macs = backbone_macs("r2d_14_w16", num_frames=8, size=32, num_classes=2)
    assert found["clip_gmacs"] == pytest.approx(macs / 1e9)
    assert found["total_gmacs"] == pytest.approx(3 * (3 * 8 + 4) * macs / 1e9)
    assert found["kept"]["missing_bytes"] == 12 * 12 * 48 * 40 * 3  # videos of 12 frames, smaller than any draw
    assert found["kept"]["num_kept"] == 0 and found["kept"]["folder"] == f"{tmp_path}/run-clips"
    assert all(found[name] > 0 for name in ("step_seconds", "decode_seconds", "kept_clip_seconds", "memory_bytes"))
    assert found["total_seconds"] == pytest.approx(found["first_epoch_seconds"] + 2 * found["epoch_seconds"])
    assert found["gpu_bytes"] is None


def test_what_is_done_is_not_foreseen_again(world: Path, tmp_path: Path):
    own = command(world, tmp_path / "run")
    assert invoke(*own).exit_code == 0
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    other = json.loads(invoke(*command(world, tmp_path / "run", "--dry-run", "--json")).stdout)
    assert (other["already_done"], other["epochs_done"], other["total_seconds"]) == (True, 3, 0)
    assert (other["kept"]["num_kept"], other["kept"]["missing_bytes"]) == (12, 0)
    (tmp_path / "run" / "result.json").rename(tmp_path / "result.json")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "metrics.jsonl").write_text(lines[0])
    text = invoke(*own, "--dry-run").stdout
    assert "8 videos to train on, 4 to validate on; 3 epochs of 2 steps of up to 4 clips, 8 frames each" in text
    assert f"in {tmp_path}/run-clips, " in text and "of it there already" in text
    assert "; 1 of 3 epochs are done\n" in text
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(lines))
    (tmp_path / "result.json").rename(tmp_path / "run" / "result.json")
    refused = invoke(*own, "--dropout=0.5", "--dry-run")
    assert refused.exit_code == 1 and "--dropout is 0.0 there, 0.5 here" in refused.stderr
    names = {path for path, _ in before}
    assert {path for path in tmp_path.rglob("*")} == names  # noqa: C416


def test_videos_that_cannot_be_read_are_an_error_in_words(tmp_path: Path):
    (tmp_path / "m.csv").write_text("path,label,split\n" + "".join(f"{n}.mp4,{n % 2},train\n" for n in range(4)))
    result = invoke(*command(tmp_path, tmp_path / "run", "--val-split=train", "--dry-run"))
    assert result.exit_code == 1, result.output
    assert "none of 3 videos can be read; the first: " in result.stderr


def outlook(world: Path, **changes) -> Outlook:
    own = {"num_kept": 0, "kept_bytes": 0, "missing_bytes": 1000, "most_bytes": 1e6}
    return Outlook(folder=world, num_videos=12, **(own | changes))


@pytest.mark.parametrize(
    ("changes", "in_memory", "first", "later"),
    [
        ({}, False, 12 * 10.0, 12 * 0.5),
        ({"num_kept": 9}, False, 3 * 10.0 + 9 * 0.5, 12 * 0.5),
        ({"num_kept": 12, "kept_bytes": 1000, "missing_bytes": 0}, False, 12 * 0.5, 12 * 0.5),
        ({"most_bytes": 500}, False, 6 * 10.0 + 6 * 4.0, 6 * 0.5 + 6 * 4.0),
        ({"most_bytes": 0}, False, 12 * 4.0, 12 * 4.0),
        ({"most_bytes": 0}, True, 12 * 10.0, 12 * 0.5),
    ],
)
def test_the_first_epoch_decodes_what_is_not_kept_yet(
    world: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, in_memory: bool, first: float, later: float
):
    settings = TrainBackboneSettings(
        manifest=world / "m.csv",
        backbone="r2d_14_w16",
        out=world / "run",
        val_split="val",
        crop=32,
        device="cpu",
        workers=0,
        optimisation=replace(OPTIMISATION, batch_size=4),
    )
    prepared = prepare(settings)
    network = 2 * 2.0 + 1 * 1.0  # two steps, and one batch to validate on
    foreseen = epoch_seconds(prepared, NETWORK, READING, outlook(world, **changes), steps=2, in_memory=in_memory)
    assert foreseen == (network + first, network + later)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    side_by_side = replace(prepared, settings=replace(prepared.settings, workers=2))
    own = epoch_seconds(side_by_side, NETWORK, READING, outlook(world, **changes), steps=2, in_memory=in_memory)
    # One thread of torch, two that read, two cores.
    assert own == tuple(max(network, seconds / 2, (network + seconds) / 2) for seconds in (first, later))
