"""The training loop: the schedule, early stopping, seeds, and killed-and-resumed = undisturbed, bit for bit."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from heard_progress import Heard
from hypothesis import given
from hypothesis import strategies as st
from own_processes import exit_status, started
from refusals import assert_refused
from torch import Tensor, nn

from vidpipe.pipeline.errors import RunError, SettingsError
from vidpipe.pipeline.execution import SILENT, Progress
from vidpipe.pipeline.seeds import derived_seed
from vidpipe.pipeline.training.loop import FitResult, Schedule, fit, one_step
from vidpipe.pipeline.training.optimisation import build_optimizer, cosine_schedule
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.pipeline.training.tasks import SINGLE_LABEL, TASKS

SETTINGS = OptimisationSettings(epochs=6, batch_size=8, learning_rate=0.1, warmup_epochs=1, clip_norm=5.0)
TASK = TASKS[SINGLE_LABEL]
Hook = Callable[[int], None]


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def train(
    directory: Path,
    *,
    settings: OptimisationSettings = SETTINGS,
    on_batch: Hook = lambda step: None,
    accuracies: list[float] | None = None,
    checkpoint_every_seconds: float = 0.0,
    on_validation: Callable[[], None] = lambda: None,
    progress: Progress = SILENT,
) -> FitResult:
    """Train a small network with batch norm and dropout on 32 made-up points; ``on_batch`` is told each step."""
    run = RunDirectory.open_or_create(directory, settings=asdict(settings))
    torch.manual_seed(settings.seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    points = torch.randn(32, 4, generator=torch.Generator().manual_seed(5))
    targets = (points[:, 0] * points[:, 1] > 0).long()
    steps = 32 // settings.batch_size
    epochs_seen: list[int] = []

    def batches(epoch: int, done: int) -> Iterator[tuple[int, Tensor]]:
        epochs_seen.append(epoch)
        order = torch.randperm(32, generator=torch.Generator().manual_seed(derived_seed(settings.seed, epoch)))
        yield from [(epoch * steps + i, part) for i, part in enumerate(order.split(settings.batch_size))][done:]

    def loss(batch: tuple[int, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        on_batch(batch[0])
        scores = model(points[batch[1]])
        return TASK.loss(scores, targets=targets[batch[1]]), {
            "train_accuracy": TASK.goodness(scores, targets=targets[batch[1]]).mean()
        }

    def validate() -> dict[str, float]:
        assert not model.training
        on_validation()
        scores = model(points)
        right = float(TASK.goodness(scores, targets=targets).mean())
        value = right if accuracies is None else accuracies[epochs_seen[-1]]
        return {"val_accuracy": value, "val_loss": float(TASK.loss(scores, targets=targets))}

    return fit(
        model,
        settings=settings,
        schedule=Schedule(steps_per_epoch=steps, checkpoint_every_seconds=checkpoint_every_seconds),
        run=run,
        train_batches=batches,
        gradients=one_step(model, loss=loss, precision=settings.precision),
        validate=validate,
        progress=progress,
    )


def assert_same(first: FitResult, second: FitResult) -> None:
    assert first.best_epoch == second.best_epoch
    assert first.state.keys() == second.state.keys()
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    assert without_times(first.history) == without_times(second.history)


def without_times(records: list[dict]) -> list[dict]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


@pytest.mark.parametrize(("optimizer", "ema"), [("sgd", 0.0), ("adamw", 0.0), ("adamw", 0.9)])
@pytest.mark.parametrize("kill_at", [0, 1, 4, 10, 23])
def test_killed_and_resumed_is_undisturbed(tmp_path: Path, optimizer: str, ema: float, kill_at: int) -> None:
    settings = replace(SETTINGS, optimizer=optimizer, ema=ema)
    whole = train(tmp_path / "whole", settings=settings)
    steps: list[int] = []

    def kill(step: int) -> None:
        if step == kill_at and step not in steps:
            steps.append(step)
            raise Killed
        steps.append(step)

    with pytest.raises(Killed):
        train(tmp_path / "killed", settings=settings, on_batch=kill)
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4}\n{"epo')  # written after the last checkpoint, and cut short
    resumed = train(tmp_path / "killed", settings=settings, on_batch=kill)
    assert_same(whole, resumed)
    assert steps[kill_at + 1] == kill_at  # went on at the batch, not at the epoch's or the run's start
    metrics = RunDirectory.open(tmp_path / "killed").read_metrics()
    assert without_times(metrics) == without_times(whole.history)
    again = train(tmp_path / "killed", settings=settings, on_batch=lambda step: pytest.fail("trained again"))
    assert_same(whole, again)


def test_rare_checkpoints_change_nothing(tmp_path: Path) -> None:
    def kill(step: int) -> None:
        if step == 14:
            raise Killed

    whole = train(tmp_path / "whole", checkpoint_every_seconds=3600)
    with pytest.raises(Killed):
        train(tmp_path / "killed", on_batch=kill, checkpoint_every_seconds=3600)
    assert not (tmp_path / "killed" / "checkpoint.pt").exists()
    assert_same(whole, train(tmp_path / "killed"))


def train_until_killed(directory: Path) -> None:
    train(directory, on_batch=lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == 13 else None)


def test_a_real_kill_9(tmp_path: Path) -> None:
    assert exit_status(started(train_until_killed, tmp_path / "killed")) == -signal.SIGKILL
    assert len(RunDirectory.open(tmp_path / "killed").read_metrics()) == 3
    assert_same(train(tmp_path / "whole"), train(tmp_path / "killed"))


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    runs = [train(tmp_path / str(i), settings=replace(SETTINGS, seed=seed)) for i, seed in enumerate((0, 0, 1))]
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0].state["0.weight"], runs[2].state["0.weight"])


def test_training_learns(tmp_path: Path) -> None:
    result = train(tmp_path, settings=replace(SETTINGS, epochs=60, optimizer="adamw", learning_rate=0.02))
    assert result.best["val_accuracy"] > 0.9
    assert result.history[-1]["learning_rate"] < 1e-3


def test_patience_stops_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    accuracies = [0.1, 0.5, 0.3, 0.4, 0.9, 0.9]
    result = train(tmp_path / "short", settings=replace(SETTINGS, patience=2), accuracies=accuracies)
    assert (result.best_epoch, len(result.history)) == (1, 4)
    patient = train(tmp_path / "long", settings=replace(SETTINGS, patience=3), accuracies=accuracies)
    assert len(patient.history) == 6
    assert patient.best_epoch == 4 + (patient.history[5]["val_loss"] < patient.history[4]["val_loss"])
    resumed = train(tmp_path / "short", settings=replace(SETTINGS, patience=2), accuracies=accuracies)
    assert_same(result, resumed)


def test_divergence_is_told(tmp_path: Path) -> None:
    with assert_refused(RunError, match=r"training diverged.*lower --learning-rate"):
        train(tmp_path, settings=replace(SETTINGS, learning_rate=1e30, clip_norm=0.0))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.open_or_create(tmp_path, settings=asdict(SETTINGS))
    run.save_checkpoint({"model": nn.Linear(2, 2).state_dict(), "optimizer": {}, "history": []})
    run.close()
    with pytest.raises(RunError, match="does not fit the network"):
        train(tmp_path)


@given(st.integers(1, 500), st.data())
def test_the_schedule_rises_then_falls_within_bounds(total: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, total - 1))
    factors = [cosine_schedule(step, total=total, warmup=warmup) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert factors[warmup] == 1


def test_the_schedule_equals_torchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert cosine_schedule(step, total=20) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_frozen_parameters_are_left_alone() -> None:
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    (group,) = build_optimizer(model, settings=SETTINGS).param_groups
    assert [parameter is model.weight for parameter in group["params"]] == [True]


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    assert derived_seed(0, "epoch", 1) == 7433538381000370434
    assert len({derived_seed(a, b) for a in range(20) for b in range(20)}) == 400
    assert derived_seed(1, 23) != derived_seed(12, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"optimizer": "adam"}, "optimizer must be one of sgd, adamw; got 'adam'"),
        ({"learning_rate": float("nan")}, "--learning-rate must be greater than 0"),
        ({"warmup_epochs": 6}, r"--warmup-epochs must be at least 0 and below epochs \(6\)"),
        ({"precision": "float16"}, "precision must be one of auto, float32, bfloat16"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, message: str) -> None:
    with assert_refused(SettingsError, match=message):
        replace(SETTINGS, **changes)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_kill_in_the_validation_costs_no_step(tmp_path: Path, ema: float) -> None:
    settings = replace(SETTINGS, ema=ema)
    whole = train(tmp_path / "whole", settings=settings)
    steps: list[int] = []

    def kill() -> None:
        if steps[-1] == 11:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "killed", settings=settings, on_batch=steps.append, on_validation=kill)
    assert_same(whole, train(tmp_path / "killed", settings=settings, on_batch=steps.append))
    assert steps == list(range(24))  # each once


def test_training_tells_of_steps_and_epochs_and_goes_on_counting(tmp_path: Path) -> None:
    def kill(step: int) -> None:
        if step == 10:
            raise Killed

    heard, after = Heard(), Heard()
    with pytest.raises(Killed):
        train(tmp_path / "run", on_batch=kill, progress=heard)
    first = "training: 0 of 24 steps, the next 4 untypical"
    assert (heard.calls[0], heard.done, heard.calls[-1]) == (first, 10, "end")
    train(tmp_path / "run", progress=after)
    rest = "training: 10 of 24 steps, the next 2 untypical"
    assert (after.calls[0], after.done, after.calls[-1]) == (rest, 14, "end")
    epochs = [call for call in heard.calls + after.calls if call.startswith("epoch")]
    assert [call.split(":")[0] for call in epochs] == [f"epoch {epoch} of 6" for epoch in range(1, 7)]
    assert all("loss 0." in call and "val_accuracy" in call for call in epochs)
