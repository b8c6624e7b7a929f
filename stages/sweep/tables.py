"""The results of a sweep as tables: CSV for machines, Markdown in the form of the paper's Tables 3 and 4."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ...pipeline.aggregators.registry import AGGREGATORS
from ...pipeline.evaluation.confidence import MeanInterval, mean_interval
from ...pipeline.evaluation.sweep_plots import SweepPoint, save_accuracy_by_clips, save_pareto_front
from ...pipeline.features.patterns import Pattern
from ...pipeline.files import write_csv, write_text
from .plan import is_feasible, stand_in
from .task import SCORE_FILE, Score, load_score

# Kept apart in timings.csv, so that results.csv of two equal sweeps are equal files.
_TIMES = ("training_seconds", "scoring_seconds")
_NOTE = (
    "Top-1 accuracy, %: mean over seeds ± half of the 95 % confidence interval (Student's t); no interval where there "
    "is one run."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """All runs that differ only in their seed.

    Attributes:
        top1: share in [0, 1], over seeds.
        gmacs: 10^9 multiply-accumulates per video.
    """

    aggregator: str
    pattern: Pattern
    num_clips: int
    gmacs: float
    top1: MeanInterval


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
    return [
        Setting(
            aggregator=aggregator,
            pattern=Pattern.parse(pattern),
            num_clips=clips,
            gmacs=own[0].gmacs,
            top1=mean_interval([score.top1 for score in own]),
        )
        for (aggregator, pattern, clips), own in groups.items()
    ]


def report(out: Path, *, patterns: Sequence[Pattern]) -> tuple[dict[str, str], tuple[Path, ...]]:
    """Write tables and figures on all runs in a sweep's directory.

    Args:
        out: the directory.
        patterns: all that the sweep was ever asked for, in that order.

    Returns:
        The Markdown tables by file name, and all files written. Nothing, if there is no score yet.

    Raises:
        RunError: if a score cannot be read.
    """
    scores = read_scores(out)
    if not scores:
        return {}, ()
    # From the files and not from this call's results: earlier calls of the sweep may have added other runs.
    settings = _settings_of(scores)
    cells = Cells(settings, patterns)
    tables = {"table3.md": table3(cells), "table4.md": table4(cells)}
    write_csv(out / "results.csv", _result_rows(scores))
    write_csv(out / "timings.csv", _timing_rows(scores))
    write_csv(out / "summary.csv", _summary_rows(settings))
    for name, text in tables.items():
        write_text(out / name, text)
    points = [_point(own) for own in settings]
    save_accuracy_by_clips(points, out / "figure3.png")
    save_pareto_front(points, out / "figure4.png")
    names = ("results.csv", "timings.csv", "summary.csv", *tables, "figure3.png", "figure4.png")
    return tables, tuple(out / name for name in names)


def _result_rows(scores: Iterable[Score]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per run, with everything that is exactly reproducible."""
    names = [field.name for field in fields(Score) if field.name not in _TIMES]
    yield names
    for score in scores:
        yield [getattr(score, name) for name in names]


def _timing_rows(scores: Iterable[Score]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per run, with what differs each time."""
    yield ("run", *_TIMES)
    for score in scores:
        yield [score.run, *(getattr(score, name) for name in _TIMES)]


def _summary_rows(settings: Iterable[Setting]) -> Iterable[Sequence[object]]:
    """Yield the header and a row per setting: top-1 accuracy over seeds with its 95 % confidence interval."""
    yield ("aggregator", "pattern", "clips", "gmacs", "n", "mean", "sd", "ci95_low", "ci95_high")
    for own in settings:
        half = own.top1.half_width
        ends = (None, None) if half is None else (own.top1.mean - half, own.top1.mean + half)
        values = (own.gmacs, own.top1.count, own.top1.mean, own.top1.deviation, *ends)
        yield (own.aggregator, str(own.pattern), own.num_clips, *values)


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
    half = setting.top1.half_width
    return f"{100 * setting.top1.mean:.1f}" + ("" if half is None else f" ± {100 * half:.1f}")


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
        spread=setting.top1.half_width,
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
