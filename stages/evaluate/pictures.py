"""The pictures of an evaluation: accuracy against cost, and each run's confusion matrix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...pipeline.evaluation.confidence import Interval
from ...pipeline.evaluation.confusion_plot import MOST_NAMED_CLASSES, save_confusion_matrix
from ...pipeline.evaluation.drawn_names import drawn_names
from ...pipeline.evaluation.plots import CostPoint, Line, save_accuracy_against_cost
from .grouping import VIDEOS, Group
from .scores import RunScores


def draw_costs(
    path: Path,
    groups: Sequence[Group],
    *,
    runs: Mapping[str, RunScores],
    blind: Sequence[Mapping[str, Any]],
    videos: Path,
    split: str,
) -> None:
    """Draw top-1 accuracy against GMACs, a point for each group, with what answers that see no video reach.

    Args:
        path: of the PNG file.
        groups: those of the runs.
        runs: all that were scored, by name.
        blind: the document's baselines.
        videos: the store or manifest.
        split: of these videos.
    """
    names = list(runs)
    points = [
        CostPoint(
            label=own.label,
            run=_run_name(own, names),
            gmacs=own.gmacs,
            accuracy=own.top1_mean,
            interval=_ends(own.top1_interval),
            family=own.family,
        )
        for own in groups
    ]
    # Runs on other videos have other baselines; each height is drawn once.
    lines = {(own["name"], round(own["top1"], 3)): Line(label=own["name"], accuracy=own["top1"]) for own in blind}
    over = {own.interval_over for own in groups}
    words = ["Wilson's over videos"] * (VIDEOS in over)
    words += [f"Student's t over {name}" for name in sorted(over - {VIDEOS})]
    note = f"bars: 95 % intervals, {'; '.join(words)}"
    count = _range({scores.metrics.num_scored for scores in runs.values()})
    title = f"{videos.name}: {split}, n = {count} videos"
    save_accuracy_against_cost(points, path, title=title, lines=list(lines.values()), note=note)


def _run_name(group: Group, names: Sequence[str]) -> str:
    """Return the name that the table has for a group of a single run, unless it stands in the label already."""
    name = names[group.members[0]]
    return "" if len(group.members) > 1 or name in group.label else name


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _range(numbers: set[int]) -> str:
    return f"{min(numbers):,}" if len(numbers) == 1 else f"{min(numbers):,} to {max(numbers):,}"


def draw_confusion(path: Path, scores: RunScores) -> None:
    """Draw one run's confusion matrix."""
    subject, metrics = scores.subject, scores.metrics
    low, high = _ends(metrics.top1_interval)
    title = (
        f"{subject.method} {subject.pattern}".strip() + f" on {scores.split}, n = {metrics.num_scored:,}\n"
        f"{100 * metrics.top1:.1f} % right, 95 % interval {100 * low:.1f} to {100 * high:.1f}"
    )
    save_confusion_matrix(metrics.confusion, path, classes=scores.classes, title=title)


def numbered_classes(classes: Sequence[str]) -> dict[str, str]:
    """Return number -> name of the classes that a confusion matrix cannot write; {} if it is too large for any name."""
    if len(classes) > MOST_NAMED_CLASSES:
        return {}
    return {str(place + 1): classes[place] for place in drawn_names(classes).numbered}
