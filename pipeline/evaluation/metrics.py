"""How good predictions are: accuracies, a report by class, and the confusion matrix; a function for each task."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ..registry import Registry
from ..training.tasks import SINGLE_LABEL
from .confidence import Interval, mean_share_interval, wilson_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetrics:
    """One class's line of the report.

    Attributes:
        name: of the class.
        precision: share of the videos predicted as this class that belong to it; 0 if there are none.
        recall: share of the class's videos that are predicted as it; 0 if there are none.
        f1: the harmonic mean of the two.
        support: how many of the class's videos are scored.
        recall_interval: Wilson's, of the recall; None if no video of the class is scored.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    recall_interval: Interval | None = None


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
        top1_interval: Wilson's, of top1.
        top5_interval: Wilson's, of top5.
        mean_class_accuracy_interval: of the mean of the recalls, from Wilson's of each.
        num_occurring: classes with a scored video.
    """

    num_expected: int
    num_scored: int
    top1: float
    top5: float
    mean_class_accuracy: float
    top1_missing_wrong: float
    classes: tuple[ClassMetrics, ...]
    confusion: npt.NDArray[np.int64]
    top1_interval: Interval
    top5_interval: Interval
    mean_class_accuracy_interval: Interval
    num_occurring: int

    def document(self) -> dict[str, Any]:
        """Return all figures as JSON values."""
        return asdict(self) | {"confusion": self.confusion.tolist()}


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
        scores: (V, K) of the scored videos; higher is likelier, and -inf is never right.
        targets: (V,) class indices.
        classes: K names.
        num_expected: videos that should have been scored, at least V.

    Raises:
        ValueError: if nothing is scored, or more than was expected.
    """
    if not 0 < len(targets) <= num_expected:
        raise ValueError(f"{len(targets)} of {num_expected} expected videos are scored")
    labels = np.arange(len(classes))
    ranked = rank_classes(scores, most=5)
    predicted, total = ranked[:, 0], len(targets)
    # (4, K): precision, recall, F1, support; a class that is absent gets 0 rather than a warning.
    report = np.array(
        precision_recall_fscore_support(
            targets,
            predicted,
            labels=labels,
            zero_division=0,  # pyright: ignore[reportArgumentType]
        )
    )
    confusion = confusion_matrix(targets, predicted, labels=labels)
    counts = [(int(confusion[i, i]), int(confusion[i].sum())) for i in labels]
    right, among5 = int((predicted == targets).sum()), int(_hits(scores, ranked, targets).sum())
    occurring = [own for own in counts if own[1]]
    return Metrics(
        num_expected=num_expected,
        num_scored=total,
        top1=right / total,
        top5=among5 / total,
        mean_class_accuracy=float(report[1, report[3] > 0].mean()),
        top1_missing_wrong=right / num_expected,
        classes=tuple(
            ClassMetrics(
                name=name,
                precision=float(p),
                recall=float(r),
                f1=float(f),
                support=int(s),
                recall_interval=wilson_interval(*count) if count[1] else None,
            )
            for name, (p, r, f, s), count in zip(classes, report.T, counts, strict=True)
        ),
        confusion=confusion,
        top1_interval=wilson_interval(right, total),
        top5_interval=wilson_interval(among5, total),
        mean_class_accuracy_interval=mean_share_interval(occurring),
        num_occurring=len(occurring),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What an answer that looks at no video reaches; accuracies are shares in [0, 1].

    Attributes:
        name: `CHANCE` or `MAJORITY`.
        answer: the class that is always answered; None: one of all classes at random.
        num_scored: videos that it is scored on.
        top1_interval: Wilson's, of top1; None for chance, which is exact. So with the others.
    """

    name: str
    answer: str | None
    num_scored: int
    top1: float
    top5: float
    mean_class_accuracy: float
    top1_interval: Interval | None = None
    top5_interval: Interval | None = None


CHANCE, MAJORITY = "chance", "majority class"


def baselines(targets: npt.NDArray[np.int64], *, classes: Sequence[str], known: Sequence[str]) -> list[Baseline]:
    """Return chance and the majority class on the videos with ``targets``.

    Chance answers one of the ``known`` classes, each as often. The majority class is the one with the most of these
    very videos, the first of several: no other constant answer gets more right. Its next four answers are the next
    four classes by their number.

    Args:
        targets: (V,) indices into ``classes``; V is at least 1.
        classes: K names.
        known: those of them that can be answered; a video of another class is never got right.
    """
    counts = np.bincount(targets, minlength=len(classes))
    able = np.array([name in set(known) for name in classes])
    share_able, occurring = float(counts[able].sum() / counts.sum()), counts > 0
    most = np.argsort(-np.where(able, counts, -1), kind="stable")[:5]
    right, among5 = int(counts[most[0]]), int(counts[most[able[most]]].sum())
    total, by_class = len(targets), float((able & occurring).sum() / occurring.sum())
    return [
        Baseline(
            name=CHANCE,
            answer=None,
            num_scored=total,
            top1=share_able / len(known),
            top5=share_able * min(5, len(known)) / len(known),
            mean_class_accuracy=by_class / len(known),
        ),
        Baseline(
            name=MAJORITY,
            answer=str(classes[int(most[0])]),
            num_scored=total,
            top1=right / total,
            top5=among5 / total,
            mean_class_accuracy=float(occurring[most[0]] / occurring.sum()),
            top1_interval=wilson_interval(right, total),
            top5_interval=wilson_interval(among5, total),
        ),
    ]


def top_k_accuracy(scores: npt.NDArray[np.floating], *, targets: npt.NDArray[np.int64], k: int) -> float:
    """Return the share of rows of ``scores`` (V, K) whose target (V,) is among the ``k`` highest."""
    return float(_hits(scores, rank_classes(scores, most=k), targets).mean())


def _hits(
    scores: npt.NDArray[np.floating], ranked: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return (V,) whether the target is among the ``ranked`` classes (V, k); one that cannot be answered never is."""
    answerable = np.take_along_axis(scores, ranked, axis=1) > -np.inf
    return ((ranked == targets[:, None]) & answerable).any(axis=1)


def rank_classes(scores: npt.NDArray[np.floating], *, most: int) -> npt.NDArray[np.int64]:
    """Return (V, min(K, most)), the classes of the highest of ``scores`` (V, K), best first; ties by index."""
    # Stable, so that ties are broken alike on every machine.
    return np.argsort(-scores, axis=1, kind="stable")[:, :most]
