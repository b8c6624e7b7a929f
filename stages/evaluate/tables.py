"""The results of an evaluation as rows of CSV files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...pipeline.evaluation.confidence import Interval
from ...pipeline.evaluation.metrics import Metrics
from ...pipeline.manifests.cells import LABEL_SEPARATOR
from ...pipeline.manifests.manifest import Manifest, Video
from .scores import SHOWN_CLASSES, RunScores

RIGHT, WRONG = "right", "wrong"
_OWN = "manifest "  # before the name of a column of one's own that has the name of one of these


def class_rows(metrics: Metrics) -> Iterable[Sequence[Any]]:
    """Yield a header, then a row for each class; pictures name by ``number`` those that they cannot write."""
    yield ("class", "precision", "recall", "f1", "support", "recall_low", "recall_high", "number")
    for number, own in enumerate(metrics.classes, start=1):
        figures = (f"{own.precision:.6f}", f"{own.recall:.6f}", f"{own.f1:.6f}", own.support)
        yield (own.name, *figures, *_ends(own.recall_interval), number)


def _ends(interval: Interval | None) -> tuple[str, str]:
    return ("", "") if interval is None else (f"{interval.low:.6f}", f"{interval.high:.6f}")


def confusion_rows(metrics: Metrics) -> Iterable[Sequence[Any]]:
    """Yield a header of predicted classes, then a row for each true class."""
    names = [own.name for own in metrics.classes]
    yield ["true \\ predicted", *names]
    yield from ([name, *row] for name, row in zip(names, metrics.confusion.tolist(), strict=True))


def prediction_rows(manifest: Manifest, scores: RunScores) -> Iterable[Sequence[Any]]:
    """Yield a header, then a row for each expected video; ``missing`` says why a prediction is missing.

    The manifest's columns of one's own come last, as they are there.
    """
    shown = min(SHOWN_CLASSES, len(scores.classes))
    ranks = [column for rank in range(1, shown + 1) for column in (f"class_{rank}", f"probability_{rank}")]
    videos = [manifest.videos[index] for index in scores.expected]
    own = list(dict.fromkeys(name for video in videos for name in _columns(video)))
    names = ["video_id", "path", "split", "label", "true", "predicted", "outcome", "probability", *ranks, "missing"]
    yield [*names, *(f"{_OWN}{name}" if name in names else name for name in own)]
    rows = {index: row for row, index in enumerate(scores.videos)}
    for index, video in zip(scores.expected, videos, strict=True):
        label = LABEL_SEPARATOR.join(video.labels)
        known = (video.video_id, video.written_path, scores.split, label, label)
        if index in rows:
            answer = (*_answer(scores, rows[index], shown), "")
        else:
            answer = ("", "", "", *[""] * len(ranks), scores.missing[video.video_id])
        yield (*known, *answer, *(_columns(video).get(name, "") for name in own))


def _answer(scores: RunScores, row: int, shown: int) -> list[str]:
    """Return the predicted class, whether it is right, its probability, and the ``shown`` best with theirs."""
    best, probabilities = scores.ranked[row].tolist(), scores.probabilities[row]
    cells = [cell for c in best for cell in (scores.classes[c], f"{probabilities[c]:.6f}")]
    # Fewer can be answered than are shown if some classes of the videos are not known.
    ranked = cells + [""] * (2 * shown - len(cells))
    return [cells[0], RIGHT if best[0] == scores.targets[row] else WRONG, cells[1], *ranked]


def _columns(video: Video) -> Mapping[str, str]:
    """Return the cells of a video's row in columns of one's own."""
    return getattr(video, "columns", None) or {}
