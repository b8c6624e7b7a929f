"""The results of a sweep as Markdown, in the form of the paper's Tables 3 and 4."""

from collections.abc import Sequence

from ...pipeline.aggregators.registry import AGGREGATORS
from ...pipeline.features.patterns import Pattern
from .grouped import Setting, pattern_order
from .plan import is_feasible, stand_in

_NOTE = (
    "Top-1 accuracy, %: mean over seeds ± half of the 95 % confidence interval (Student's t). Where there is one run, "
    "or all seeds agree: the 95 % interval over videos (Wilson)."
)


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
        self.patterns = sorted(patterns, key=pattern_order)
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
            [title_of(name), *(_accuracy(cells.find(name, pattern, num_clips)) for num_clips in cells.clips)]
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
        parts += [f"## {title_of(name)}", _markdown_table(header, rows)]
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


def title_of(aggregator: str) -> str:
    """Return the name of an aggregator, as papers write it."""
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
