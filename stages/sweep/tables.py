"""The results of a sweep as tables: CSV for machines, Markdown in the form of the paper's Tables 3 and 4."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import product
from pathlib import Path

from ...pipeline.evaluation.comparison import Comparison
from ...pipeline.evaluation.figures import try_to_draw
from ...pipeline.evaluation.sweep_plots import SweepPoint, save_accuracy_by_clips, save_pareto_front
from ...pipeline.features.patterns import Pattern
from ...pipeline.files import write_csv, write_text
from .grouped import Setting, compare_with_best, over_videos, read_scores, settings_of
from .markdown import Cells, table3, table4, title_of
from .task import Score

_FIGURES = {"figure3.png": save_accuracy_by_clips, "figure4.png": save_pareto_front}
# Kept apart in timings.csv, so that results.csv of two equal sweeps are equal files.
_TIMES = ("training_seconds", "scoring_seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was written about all runs of a sweep.

    Attributes:
        tables: file name -> its text, as Markdown.
        files: all that were written.
        accuracies: name of a setting -> mean top-1 accuracy, best first, and the cheapest first of equals.
        comparisons: of its first run with those of the others.
        failed_pictures: path -> reason.
    """

    tables: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    accuracies: dict[str, float] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    failed_pictures: dict[str, str] = field(default_factory=dict)


def report(out: Path, *, patterns: Sequence[Pattern], store: Path, split: str) -> Report:
    """Write tables and figures on all runs in a sweep's directory; nothing, if there is no score yet.

    Args:
        out: the directory.
        patterns: all that the sweep was ever asked for, in that order.
        store: of the videos.
        split: of these that is scored.

    Raises:
        RunError: if a score cannot be read.
    """
    scores = read_scores(out)
    if not scores:
        return Report()
    # From the files and not from this call's results: earlier calls of the sweep may have added other runs.
    settings = settings_of(scores)
    cells = Cells(settings, patterns)
    tables = {"table3.md": table3(cells), "table4.md": table4(cells)}
    write_csv(out / "results.csv", _result_rows(scores))
    write_csv(out / "timings.csv", _timing_rows(scores))
    write_csv(out / "summary.csv", _summary_rows(settings))
    for name, text in tables.items():
        write_text(out / name, text)
    accuracies, comparisons = compare_with_best(out, settings)
    write_csv(out / "comparisons.csv", _comparison_rows(comparisons))
    failed = _draw(out, settings, cells, f"{store.name}: {split}")
    written = ("results.csv", "timings.csv", "summary.csv", "comparisons.csv", *tables, *_FIGURES)
    return Report(
        tables=tables,
        files=tuple(path for name in written if str(path := out / name) not in failed),
        accuracies=accuracies,
        comparisons=tuple(comparisons),
        failed_pictures=failed,
    )


def _draw(out: Path, settings: Sequence[Setting], cells: Cells, videos: str) -> dict[str, str]:
    """Draw the figures, with what the ``videos`` are above, and return path -> reason for those that could not be."""
    # In Figure 4 what patterns share is one point, which another marker on top of it would only hide.
    points = {"figure3.png": points_by_clips(cells), "figure4.png": [_point(own, own.pattern) for own in settings]}
    numbers, chances = {own.num_scored for own in settings}, {own.chance for own in settings}
    count = f"{min(numbers):,}" if len(numbers) == 1 else f"{min(numbers):,} to {max(numbers):,}"
    words = {"title": f"{videos}, n = {count} videos", "chance": chances.pop() if len(chances) == 1 else None}
    reasons = {
        str(out / name): try_to_draw(out / name, partial(save, points[name], **words))
        for name, save in _FIGURES.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def points_by_clips(cells: Cells) -> list[SweepPoint]:
    """Return a point for each cell of the tables that has a result; patterns that share one have a point each.

    So a line runs through every number of clips that its pattern has in the tables.
    """
    every = product(cells.aggregators, cells.patterns, cells.clips)
    found = ((pattern, cells.find(name, pattern, num_clips)) for name, pattern, num_clips in every)
    return [_point(own, pattern) for pattern, own in found if own is not None]


def _result_rows(scores: Iterable[Score]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per run, with everything that is exactly reproducible."""
    names = [field.name for field in fields(Score) if field.name not in _TIMES]
    yield [*names, "top1_low", "top1_high"]
    for score in scores:
        ends = over_videos(score)
        yield [*(getattr(score, name) for name in names), ends.low, ends.high]


def _timing_rows(scores: Iterable[Score]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per run, with what differs each time."""
    yield ("run", *_TIMES)
    for score in scores:
        yield [score.run, *(getattr(score, name) for name in _TIMES)]


def _summary_rows(settings: Iterable[Setting]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per setting: top-1 accuracy over seeds with its 95 % confidence interval."""
    columns = ("aggregator", "pattern", "clips", "gmacs", "n", "mean", "sd", "ci95_low", "ci95_high")
    yield (*columns, "ci95_method", "num_scored", "chance", "majority")
    for own in settings:
        half = own.top1.half_width
        # As it is, below 0 and above 1 too, so that mean and width can be had from its ends.
        ends = (own.top1.mean - half, own.top1.mean + half) if half else (own.interval.low, own.interval.high)
        values = (own.gmacs, own.top1.count, own.top1.mean, own.top1.deviation, *ends, own.interval.method)
        yield (own.aggregator, str(own.pattern), own.num_clips, *values, own.num_scored, own.chance, own.majority)


def _comparison_rows(comparisons: Iterable[Comparison]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per comparison of the best setting with another."""
    names = [field.name for field in fields(Comparison)]
    yield names
    for own in comparisons:
        yield [getattr(own, name) for name in names]


def _point(setting: Setting, pattern: Pattern) -> SweepPoint:
    """Return the point of a setting, shown under a pattern that makes the same clips expensive as its own."""
    return SweepPoint(
        method=title_of(setting.aggregator),
        pattern=str(pattern),
        clips=setting.num_clips,
        gmacs=setting.gmacs,
        accuracy=setting.top1.mean,
        interval=(setting.interval.low, setting.interval.high),
        family=setting.aggregator,
    )
