"""The results of a sweep as tables: CSV for machines, Markdown in the form of the paper's Tables 3 and 4."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path

from ...pipeline.aggregators.registry import AGGREGATORS
from ...pipeline.evaluation.comparison import Comparison, compare
from ...pipeline.evaluation.confidence import Interval, MeanInterval, mean_interval, wilson_interval
from ...pipeline.evaluation.figures import try_to_draw
from ...pipeline.evaluation.sweep_plots import SweepPoint, save_accuracy_by_clips, save_pareto_front
from ...pipeline.features.patterns import Pattern
from ...pipeline.files import write_csv, write_text
from .plan import is_feasible, stand_in
from .task import SCORE_FILE, Score, load_answers, load_score

_FIGURES = {"figure3.png": save_accuracy_by_clips, "figure4.png": save_pareto_front}
# Kept apart in timings.csv, so that results.csv of two equal sweeps are equal files.
_TIMES = ("training_seconds", "scoring_seconds")
_NOTE = (
    "Top-1 accuracy, %: mean over seeds ± half of the 95 % confidence interval (Student's t). Where there is one run, "
    "or all seeds agree: the 95 % interval over videos (Wilson)."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """All runs that differ only in their seed.

    Attributes:
        top1: share in [0, 1], over seeds.
        interval: of top1: Student's t over seeds, or Wilson's where there is one run or all agree; within 0 and 1.
        gmacs: 10^9 multiply-accumulates per video.
        num_scored: videos.
        chance: top-1 accuracy of answering any class, each as often; None if no run says.
        majority: of always answering the most frequent class; likewise.
        first: the name of its first run.
    """

    aggregator: str
    pattern: Pattern
    num_clips: int
    gmacs: float
    top1: MeanInterval
    interval: Interval
    num_scored: int
    chance: float | None
    majority: float | None
    first: str

    @property
    def name(self) -> str:
        """A name that no other setting has."""
        return f"{self.aggregator} {self.pattern} at {self.num_clips} clips"


def read_scores(out: Path) -> list[Score]:
    """Return the scores of all runs in a sweep's directory, in an order that depends only on the runs.

    Raises:
        RunError: if one cannot be read.
    """
    scores = [load_score(path.parent) for path in out.glob(f"runs/*/{SCORE_FILE}")]
    return sorted(scores, key=lambda own: (_aggregator_order(own.aggregator), _order(own), own.clips, own.seed))


def _order(score: Score) -> tuple[float, ...]:
    return _pattern_order(Pattern.parse(score.pattern))


def _aggregator_order(name: str) -> tuple[int, str]:
    # A directory may hold runs of an aggregator that is no longer registered.
    known = AGGREGATORS.in_order()
    return (known.index(name) if name in known else len(known), name)


def _pattern_order(pattern: Pattern) -> tuple[float, ...]:
    """Return a key that sorts from all expensive to all cheap; `first`, whose share falls with N, before all cheap."""
    if pattern.num_cheap is None:
        return (0.0, 1, pattern.num_expensive)
    share = pattern.num_expensive / (pattern.num_expensive + pattern.num_cheap)
    return (-share, 0 if share else 2, pattern.num_expensive)


def _settings_of(scores: Iterable[Score]) -> list[Setting]:
    """Return the scores grouped by aggregator, pattern and number of clips, in their order."""
    groups: dict[tuple[str, str, int], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.aggregator, score.pattern, score.clips), []).append(score)
    return [_setting(own) for own in groups.values()]


def _setting(scores: Sequence[Score]) -> Setting:
    """Return one setting; its scores differ in their seed alone."""
    first, top1 = scores[0], mean_interval([score.top1 for score in scores])
    return Setting(
        aggregator=first.aggregator,
        pattern=Pattern.parse(first.pattern),
        num_clips=first.clips,
        gmacs=first.gmacs,
        top1=top1,
        # Where all seeds agree, they say nothing about other videos.
        interval=(top1.share_interval if top1.deviation else None) or _over_videos(first),
        num_scored=first.num_scored,
        chance=first.chance,
        majority=first.majority,
        first=first.run,
    )


def _over_videos(score: Score) -> Interval:
    return wilson_interval(round(score.top1 * score.num_scored), score.num_scored)


def compare_with_best(out: Path, settings: Sequence[Setting]) -> tuple[str, list[Comparison]]:
    """Return the name of the setting with the highest mean, and how its first run compares with each other's first run.

    Raises:
        RunError: if a run's answers cannot be read.
    """
    found = {own.name: load_answers(out / "runs" / own.first) for own in settings}
    best = max(settings, key=lambda own: own.top1.mean).name
    right = {name: answers for name, answers in found.items() if answers is not None}
    pairs = [(best, name) for name in right if name != best and best in right]
    return best, compare(right, pairs=pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was written about all runs of a sweep.

    Attributes:
        tables: file name -> its text, as Markdown.
        files: all that were written.
        best: name of the setting with the highest mean.
        comparisons: of its first run with those of the others.
        failed_pictures: path -> reason.
    """

    tables: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    best: str = ""
    comparisons: tuple[Comparison, ...] = ()
    failed_pictures: dict[str, str] = field(default_factory=dict)


def report(out: Path, *, patterns: Sequence[Pattern], split: str) -> Report:
    """Write tables and figures on all runs in a sweep's directory; nothing, if there is no score yet.

    Args:
        out: the directory.
        patterns: all that the sweep was ever asked for, in that order.
        split: name of the set that is scored.

    Raises:
        RunError: if a score cannot be read.
    """
    scores = read_scores(out)
    if not scores:
        return Report()
    # From the files and not from this call's results: earlier calls of the sweep may have added other runs.
    settings = _settings_of(scores)
    cells = Cells(settings, patterns)
    tables = {"table3.md": table3(cells), "table4.md": table4(cells)}
    write_csv(out / "results.csv", _result_rows(scores))
    write_csv(out / "timings.csv", _timing_rows(scores))
    write_csv(out / "summary.csv", _summary_rows(settings))
    for name, text in tables.items():
        write_text(out / name, text)
    best, comparisons = compare_with_best(out, settings)
    write_csv(out / "comparisons.csv", _comparison_rows(comparisons))
    failed = _draw(out, settings, split)
    written = ("results.csv", "timings.csv", "summary.csv", "comparisons.csv", *tables, *_FIGURES)
    return Report(
        tables=tables,
        files=tuple(path for name in written if str(path := out / name) not in failed),
        best=best,
        comparisons=tuple(comparisons),
        failed_pictures=failed,
    )


def _draw(out: Path, settings: Sequence[Setting], split: str) -> dict[str, str]:
    """Draw the figures, and return path -> reason for those that could not be drawn."""
    points = [_point(own) for own in settings]
    numbers, chances = {own.num_scored for own in settings}, {own.chance for own in settings}
    count = f"{min(numbers):,}" if len(numbers) == 1 else f"{min(numbers):,} to {max(numbers):,}"
    words = {"title": f"{split}, n = {count} videos", "chance": chances.pop() if len(chances) == 1 else None}
    reasons = {
        str(out / name): try_to_draw(out / name, partial(save, points, **words)) for name, save in _FIGURES.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _result_rows(scores: Iterable[Score]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per run, with everything that is exactly reproducible."""
    names = [field.name for field in fields(Score) if field.name not in _TIMES]
    yield [*names, "top1_low", "top1_high"]
    for score in scores:
        ends = _over_videos(score)
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


class Cells:
    """The settings of a sweep, found by aggregator, pattern and number of clips.

    Args:
        settings: those that have results.
        patterns: in the order of `report`; two that make the same clips expensive share the result of the first.
    """

    def __init__(self, settings: Sequence[Setting], patterns: Sequence[Pattern]) -> None:
        self._found = {(own.aggregator, own.pattern, own.num_clips): own for own in settings}
        self._known = patterns
        self.aggregators = list(dict.fromkeys(own.aggregator for own in settings))
        self.patterns = sorted(patterns, key=_pattern_order)
        self.clips = sorted({own.num_clips for own in settings})

    def any(self, num_clips: int) -> Setting | None:
        """Return a setting with so many clips: what does not see them is the same for all."""
        return next((own for own in self._found.values() if own.num_clips == num_clips), None)

    def find(self, aggregator: str, pattern: Pattern, num_clips: int) -> Setting | None:
        """Return the setting, or None if it is not feasible or has no result."""
        if not is_feasible(pattern, num_clips):
            return None
        return self._found.get((aggregator, stand_in(self._known, pattern, num_clips), num_clips))


def table3(cells: Cells) -> str:
    """Return, for each pattern, accuracies by aggregator and number of clips, in the form of Table 3."""
    parts = ["# Accuracy by aggregator and number of clips", _NOTE]
    for pattern in cells.patterns:
        rows = [
            [_title(name), *(_accuracy(cells.find(name, pattern, num_clips)) for num_clips in cells.clips)]
            for name in cells.aggregators
        ]
        rows += [
            [title, *(_blind(cells.any(num_clips), name) for num_clips in cells.clips)]
            for title, name in (("Chance", "chance"), ("Majority class", "majority"))
        ]
        header = ["Model", *(f"{num_clips} clips" for num_clips in cells.clips)]
        parts += [f"## {_describe(pattern)}", _markdown_table(header, rows)]
    return "\n\n".join(parts) + "\n"


def table4(cells: Cells) -> str:
    """Return, for each aggregator, accuracy and cost by pattern and number of clips, in the form of Table 4."""
    parts = ["# Accuracy and cost by the share of expensive clips", f"{_NOTE} GMACs a video, backbones included."]
    header = ["E:C", *(text for num in cells.clips for text in (f"{num} clips, top-1", f"{num} clips, GMACs"))]
    for name in cells.aggregators:
        rows = [
            [str(pattern), *(text for num in cells.clips for text in _pair(cells.find(name, pattern, num)))]
            for pattern in cells.patterns
        ]
        parts += [f"## {_title(name)}", _markdown_table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _pair(setting: Setting | None) -> tuple[str, str]:
    return (_accuracy(setting), _gmacs_text(setting.gmacs) if setting else "")


def _accuracy(setting: Setting | None) -> str:
    if setting is None:
        return ""
    half, ends = setting.top1.half_width, setting.interval
    bracket = f"[{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
    return f"{100 * setting.top1.mean:.1f} " + (f"± {100 * half:.1f}" if half else bracket)


def _blind(setting: Setting | None, name: str) -> str:
    value = None if setting is None else getattr(setting, name)
    return "" if value is None else f"{100 * value:.1f}"


def _gmacs_text(gmacs: float) -> str:
    """Return a cost with three digits, or as many as needed."""
    return f"{gmacs:.3g}" if gmacs < 100 else f"{gmacs:,.1f}"


def _point(setting: Setting) -> SweepPoint:
    return SweepPoint(
        method=_title(setting.aggregator),
        pattern=str(setting.pattern),
        clips=setting.num_clips,
        gmacs=setting.gmacs,
        accuracy=setting.top1.mean,
        interval=(setting.interval.low, setting.interval.high),
        family=setting.aggregator,
    )


def _title(aggregator: str) -> str:
    return AGGREGATORS[aggregator].title if aggregator in AGGREGATORS else aggregator


def _describe(pattern: Pattern) -> str:
    names = {
        "first": "only the first clip expensive (first)",
        "all-expensive": "all clips expensive (all-expensive)",
        "all-cheap": "all clips cheap (all-cheap)",
    }
    text = str(pattern)
    return names.get(text, f"expensive to cheap clips {text}")


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with its columns padded, so that it is readable as text; the first is aligned left."""
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), line(rule), *map(line, rows)])
