"""How good predictions are: accuracies, a report by class, and the confusion matrix; a function for each task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ..registry import Registry
from ..training.tasks import SINGLE_LABEL


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetrics:
    """One class's line of the report.

    Attributes:
        name: of the class.
        precision: share of the videos predicted as this class that belong to it; 0 if there are none.
        recall: share of the class's videos that are predicted as it; 0 if there are none.
        f1: the harmonic mean of the two.
        support: how many of the class's videos are scored.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """How good a set of predictions is; every accuracy is a share in [0, 1].

    Attributes:
        num_expected: videos that should have a prediction.
        num_scored: videos that have one; everything below is over these, except the last accuracy.
        top1: share whose class has the highest score.
        top5: share whose class is among the five highest scores (or all, if there are fewer classes).
        mean_class_accuracy: the mean of the recalls of the classes that occur.
        top1_missing_wrong: right predictions over the expected videos.
        classes: one line per class, in the order of the class list.
        confusion: (K, K) counts; rows are true classes, columns predicted ones.
    """

    num_expected: int
    num_scored: int
    top1: float
    top5: float
    mean_class_accuracy: float
    top1_missing_wrong: float
    classes: tuple[ClassMetrics, ...]
    confusion: npt.NDArray[np.int64]


class Scorer(Protocol):
    """A function that says how good predictions of one kind of task are, such as `score_predictions`."""

    def __call__(
        self, scores: npt.NDArray[np.floating], *, targets: npt.NDArray[Any], classes: Sequence[str], num_expected: int
    ) -> Metrics:
        """Return how good ``scores`` (V, K) are, given the task's ``targets`` (V, …)."""
        ...


SCORERS: Registry[Scorer] = Registry("task with metrics")  # by the name of the task in `training.tasks`


@SCORERS.register(SINGLE_LABEL)
def score_predictions(
    scores: npt.NDArray[np.floating], *, targets: npt.NDArray[np.int64], classes: Sequence[str], num_expected: int
) -> Metrics:
    """Return how good ``scores`` are.

    Args:
        scores: (V, K) of the scored videos; higher is likelier.
        targets: (V,) class indices.
        classes: K names.
        num_expected: videos that should have been scored, at least V.

    Raises:
        ValueError: if nothing is scored, or more than was expected.
    """
    if not 0 < len(targets) <= num_expected:
        raise ValueError(f"{len(targets)} of {num_expected} expected videos are scored")
    labels = np.arange(len(classes))
    predicted = rank_classes(scores, most=1)[:, 0]
    # (4, K): precision, recall, F1, support; a class that is absent gets 0 rather than a warning.
    report = np.array(
        precision_recall_fscore_support(
            targets,
            predicted,
            labels=labels,
            zero_division=0,  # pyright: ignore[reportArgumentType]
        )
    )
    right = int((predicted == targets).sum())
    return Metrics(
        num_expected=num_expected,
        num_scored=len(targets),
        top1=right / len(targets),
        top5=top_k_accuracy(scores, targets=targets, k=5),
        mean_class_accuracy=float(report[1, report[3] > 0].mean()),
        top1_missing_wrong=right / num_expected,
        classes=tuple(
            ClassMetrics(name=name, precision=float(p), recall=float(r), f1=float(f), support=int(s))
            for name, (p, r, f, s) in zip(classes, report.T, strict=True)
        ),
        confusion=confusion_matrix(targets, predicted, labels=labels),
    )


def top_k_accuracy(scores: npt.NDArray[np.floating], *, targets: npt.NDArray[np.int64], k: int) -> float:
    """Return the share of rows of ``scores`` (V, K) whose target (V,) is among the ``k`` highest."""
    return float((rank_classes(scores, most=k) == targets[:, None]).any(axis=1).mean())


def rank_classes(scores: npt.NDArray[np.floating], *, most: int) -> npt.NDArray[np.int64]:
    """Return (V, min(K, most)), the classes of the highest of ``scores`` (V, K), best first; ties by index."""
    # Stable, so that ties are broken alike on every machine.
    return np.argsort(-scores, axis=1, kind="stable")[:, :most]
