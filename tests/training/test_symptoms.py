"""What a training says of itself when it has learnt nothing, or the wrong thing."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from vidpipe.pipeline.training.symptoms import symptoms
from vidpipe.pipeline.training.tasks import SINGLE_LABEL, TASKS

TASK = TASKS[SINGLE_LABEL]
LN2 = math.log(2)


def told(losses: list[float], *, best: int = -1, validated: bool = True, **figures: Any) -> list[str]:
    """Return the first words of each symptom of a training with these losses, and these figures in every record."""
    record = {"accuracy": 0.6, "sameness": 0.5, "val_accuracy": 0.6, "val_sameness": 0.5} | figures
    history = [{"epoch": epoch, "loss": loss, **record} for epoch, loss in enumerate(losses)]
    found = symptoms(history, best_epoch=best % len(history), blind_loss=LN2, figure="accuracy", validated=validated)
    return [" ".join(text.split()[:3]) for text in found]


def test_a_training_that_went_well_says_nothing():
    assert told([0.7, 0.6, 0.5, 0.4]) == []
    assert told([0.7, 0.6, 0.5, 0.4], validated=False) == []
    assert symptoms([], best_epoch=0, blind_loss=LN2, figure="accuracy", validated=True) == ()


@pytest.mark.parametrize(
    ("losses", "stayed"),
    [
        ([0.70, 0.69, 0.70, 0.69], True),
        ([0.9, 0.8, 0.71], True),
        ([0.9], True),  # a single epoch too
        ([0.70, 0.50, 0.69, 0.70], True),  # a lucky epoch does not count
        ([0.70, 0.69, 0.68, 0.60], False),
        ([0.69] * 8 + [0.6] * 4, False),  # the last quarter does
    ],
)
def test_a_loss_that_stayed_at_chance(losses: list[float], stayed: bool):
    assert told(losses) == (["the training loss"] if stayed else [])


def test_the_first_epoch_is_the_best():
    good = [0.5, 0.4, 0.3]
    assert told(good, best=0) == ["the first of"]
    assert told(good, best=1) == []
    assert told(good[:2], best=0) == []  # of two epochs
    assert told(good, best=0, val_accuracy=1.0) == []
    assert told(good, best=0, validated=False) == []


def test_one_class_for_all():
    good = [0.5, 0.4, 0.3]
    assert told(good, val_sameness=1.0) == ["nearly all held-out"]
    assert told(good, val_sameness=1.0, validated=False) == []
    assert told(good, sameness=0.98, validated=False) == ["nearly all training"]
    assert told(good, val_sameness=1.0, val_accuracy=1.0) == []  # there is only one class among them
    assert told(good, val_sameness=0.9) == []


def test_several_at_once_and_records_of_earlier_versions():
    assert told([0.7, 0.7, 0.7], best=0, val_sameness=1.0) == [
        "the training loss",
        "the first of",
        "nearly all held-out",
    ]
    history = [{"epoch": 0, "loss": 0.5, "accuracy": 0.9}]
    assert symptoms(history, best_epoch=0, blind_loss=LN2, figure="accuracy", validated=False) == ()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("targets", [[0, 1, 2, 3], [0, 0, 0, 1], [2, 2, 2, 2]])
def test_the_blind_loss_is_the_least_of_answers_that_are_the_same_for_every_video(targets: list[int], smoothing: float):
    own = np.array(targets)
    blind = TASK.blind_loss(own, num_classes=4, label_smoothing=smoothing)
    scores = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = TASK.loss(scores.expand(len(own), 4), targets=torch.from_numpy(own), label_smoothing=smoothing)
        value.backward()
        return value

    optimizer.step(loss)
    assert float(loss().detach()) == pytest.approx(blind, abs=1e-4)


def test_sameness_is_the_share_of_pairs_with_one_answer_in_batches_as_in_all():
    scores = torch.eye(3)[torch.tensor([0, 0, 0, 1])]
    assert float(TASK.sameness(scores)) == pytest.approx(3 / 6)
    assert float(TASK.sameness(scores[:3])) == 1.0
    assert float(TASK.sameness(scores[:1])) == 0.0
    rng = torch.Generator().manual_seed(0)
    many = torch.randn(4000, 5, generator=rng) + torch.tensor([1.0, 0, 0, 0, 0])
    batches = float(torch.stack([TASK.sameness(batch) for batch in many.split(4)]).mean())
    assert batches == pytest.approx(float(TASK.sameness(many)), abs=0.03)
