"""The runs of a sweep, grouped: those that differ only in their seed are one setting."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...pipeline.aggregators.registry import AGGREGATORS
from ...pipeline.evaluation.comparison import Comparison, compare
from ...pipeline.evaluation.confidence import Interval, MeanInterval, mean_interval, wilson_interval
from ...pipeline.features.patterns import Pattern
from .task import SCORE_FILE, Score, load_answers, load_score


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
    return pattern_order(Pattern.parse(score.pattern))


def _aggregator_order(name: str) -> tuple[int, str]:
    # A directory may hold runs of an aggregator that is no longer registered.
    known = AGGREGATORS.in_order()
    return (known.index(name) if name in known else len(known), name)


def pattern_order(pattern: Pattern) -> tuple[float, ...]:
    """Return a key that sorts from all expensive to all cheap; `first`, whose share falls with N, before all cheap."""
    if pattern.num_cheap is None:
        return (0.0, 1, pattern.num_expensive)
    share = pattern.num_expensive / (pattern.num_expensive + pattern.num_cheap)
    return (-share, 0 if share else 2, pattern.num_expensive)


def settings_of(scores: Iterable[Score]) -> list[Setting]:
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
        interval=(top1.share_interval if top1.deviation else None) or over_videos(first),
        num_scored=first.num_scored,
        chance=first.chance,
        majority=first.majority,
        first=first.run,
    )


def over_videos(score: Score) -> Interval:
    """Return the interval of a run's top-1 accuracy over its videos."""
    return wilson_interval(round(score.top1 * score.num_scored), score.num_scored)


def compare_with_best(out: Path, settings: Sequence[Setting]) -> tuple[dict[str, float], list[Comparison]]:
    """Return name -> mean top-1 accuracy, best first, and how the best's first run compares with each other's first.

    Of equal settings the cheapest stands first.

    Raises:
        RunError: if a run's answers cannot be read.
    """
    found = {own.name: load_answers(out / "runs" / own.first) for own in settings}
    ranked = sorted(settings, key=lambda own: (-own.top1.mean, own.gmacs))
    best = ranked[0].name
    right = {name: answers for name, answers in found.items() if answers is not None}
    pairs = [(best, name) for name in right if name != best and best in right]
    return {own.name: own.top1.mean for own in ranked}, compare(right, pairs=pairs)
