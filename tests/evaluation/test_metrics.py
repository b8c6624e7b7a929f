"""Metrics: against scikit-learn's own words for them, by hand, and at the edges."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from vidpipe.pipeline.evaluation.confidence import mean_share_interval, wilson_interval
from vidpipe.pipeline.evaluation.metrics import (
    baselines,
    rank_classes,
    score_predictions,
    top_k_accuracy,
)


def test_a_case_worked_out_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.6, 0.3, 0.1]])
    metrics = score_predictions(scores, targets=np.array([0, 0, 1, 1]), classes=["a", "b", "c"], num_expected=5)
    assert (metrics.num_scored, metrics.num_expected) == (4, 5)
    assert (metrics.top1, metrics.top5, metrics.mean_class_accuracy) == (0.75, 1.0, 0.75)
    assert metrics.top1_missing_wrong == 0.6
    np.testing.assert_array_equal(metrics.confusion, [[2, 0, 0], [1, 1, 0], [0, 0, 0]])
    a, b, c = metrics.classes
    assert (a.name, a.precision, a.recall, a.support) == ("a", pytest.approx(2 / 3), 1.0, 2)
    assert (b.precision, b.recall, b.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (c.precision, c.recall, c.f1, c.support) == (0.0, 0.0, 0.0, 0)


@given(st.integers(0, 10_000), st.integers(3, 9))
def test_agrees_with_scikit_learn(seed: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(num_classes), rng.integers(num_classes, size=20)])
    scores = rng.normal(size=(len(targets), num_classes))
    names = [str(i) for i in range(num_classes)]
    metrics = score_predictions(scores, targets=targets, classes=names, num_expected=len(targets))
    predicted = scores.argmax(axis=1)
    assert metrics.top1 == metrics.top1_missing_wrong == accuracy_score(targets, predicted)
    assert metrics.mean_class_accuracy == pytest.approx(balanced_accuracy_score(targets, predicted))
    assert metrics.confusion.sum() == len(targets)
    assert top_k_accuracy(scores, targets=targets, k=2) == top_k_accuracy_score(targets, scores, k=2)


def test_classes_that_do_not_occur_leave_the_mean_class_accuracy_alone() -> None:
    scores = np.eye(4)[[0, 0, 3]]
    metrics = score_predictions(scores, targets=np.array([0, 1, 1]), classes=list("abcd"), num_expected=3)
    assert metrics.mean_class_accuracy == 0.5


def test_ties_go_to_the_lower_index() -> None:
    np.testing.assert_array_equal(rank_classes(np.zeros((1, 4)), most=5), [[0, 1, 2, 3]])
    np.testing.assert_array_equal(rank_classes(np.array([[1.0, 2.0, 2.0]]), most=2), [[1, 2]])


@pytest.mark.parametrize(("num_scored", "num_expected"), [(0, 4), (3, 2)])
def test_impossible_counts_are_refused(num_scored: int, num_expected: int) -> None:
    with pytest.raises(ValueError, match="expected videos are scored"):
        score_predictions(
            np.zeros((num_scored, 2)), targets=np.zeros(num_scored, int), classes=["a", "b"], num_expected=num_expected
        )


def test_intervals_are_those_of_the_counts() -> None:
    scores = np.eye(4)[[0, 0, 1, 3]]
    metrics = score_predictions(scores, targets=np.array([0, 0, 1, 1]), classes=list("abcd"), num_expected=4)
    assert metrics.top1_interval == wilson_interval(3, 4)
    assert metrics.top5_interval == wilson_interval(4, 4)
    assert metrics.mean_class_accuracy_interval == mean_share_interval([(2, 2), (1, 2)])
    assert metrics.num_occurring == 2
    recalls = [own.recall_interval for own in metrics.classes]
    assert recalls == [wilson_interval(2, 2), wilson_interval(1, 2), None, None]
    assert json.loads(json.dumps(metrics.document()))["confusion"][1] == [0, 1, 0, 1]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(1, 7))
def test_baselines_are_what_blind_answers_reach(labels: list[int], num_known: int) -> None:
    classes, targets = [str(i) for i in range(7)], np.array(labels)
    chance, majority = baselines(targets, classes=classes, known=classes[:num_known])
    assert (chance.answer, chance.top1_interval) == (None, None)
    # Each known class in turn as the answer to everything: chance is their mean, the majority class the best of them.
    constant = [float((targets == i).mean()) for i in range(num_known)]
    assert chance.top1 == pytest.approx(np.mean(constant))
    recalls = [np.mean([float(i == answer) for i in sorted(set(labels))]) for answer in range(num_known)]
    assert chance.mean_class_accuracy == pytest.approx(np.mean(recalls))
    assert majority.top1 == max(constant)
    assert majority.answer == classes[constant.index(max(constant))]
    assert majority.mean_class_accuracy == recalls[constant.index(max(constant))]
    assert majority.top5 == pytest.approx(sum(sorted(constant)[-5:]))
    assert chance.top5 == pytest.approx(sum(constant) * min(5, num_known) / num_known)
    assert majority.top1_interval == wilson_interval(round(majority.top1 * len(labels)), len(labels))


def test_a_class_that_cannot_be_answered_is_wrong_even_among_five() -> None:
    scores = np.array([[2.0, 1.0, -np.inf], [1.0, 2.0, -np.inf]])
    metrics = score_predictions(scores, targets=np.array([0, 2]), classes=list("abc"), num_expected=2)
    assert (metrics.top1, metrics.top5, metrics.num_occurring) == (0.5, 0.5, 2)
    assert metrics.mean_class_accuracy == 0.5
