"""How far figures can be trusted: intervals for shares and for means over a few seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtri, stdtrit  # scipy comes with scikit-learn

_LEVEL = 0.95
# How an interval was made, as results name it.
WILSON, MOVER, STUDENT = "wilson", "mover-wilson", "student-t"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A confidence interval of a share.

    Attributes:
        low: its lower end, in [0, 1].
        high: its upper end, in [0, 1].
        method: `WILSON` of one share, `MOVER` of a mean of shares, or `STUDENT` over several runs.
        level: in how many of all cases such an interval contains the true value.
    """

    low: float
    high: float
    method: str
    level: float = _LEVEL


def wilson_interval(right: int, total: int, *, level: float = _LEVEL) -> Interval:
    """Return the interval of the share ``right`` / ``total``: how good the answers are on very many such videos.

    Wilson's interval stays within [0, 1] and says something about 0 or all right too, which the normal approximation
    does not: 120 of 120 are 96.9 to 100 %.

    Source: Wilson, Probable inference (1927), without correction for continuity.

    Raises:
        ValueError: if there is nothing to count, or more is right than there is.
    """
    if not 0 <= right <= total or not total:
        raise ValueError(f"{right} of {total} is no share")
    z, share = float(ndtri(0.5 + level / 2)), right / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    # At 0 and 1 the ends are exact, whatever rounding says.
    low, high = (0.0 if not right else middle - half), (1.0 if right == total else middle + half)
    return Interval(low=low, high=high, method=WILSON, level=level)


def mean_share_interval(counts: Sequence[tuple[int, int]], *, level: float = _LEVEL) -> Interval:
    """Return the interval of the mean of several shares, each given as (right, total), such as the classes' recalls.

    Each share's own distances to the ends of its Wilson interval are added in squares, upwards and downwards apart. So
    the interval is not empty if every share is 1. Where all shares are near 1 and each is of a few dozen videos, its
    true level is about 92 %.

    Source: Zou and Donner, Construction of confidence limits about effect measures (2008): "MOVER", for a weighted sum.

    Raises:
        ValueError: if there are no shares, or one is none.
    """
    if not counts:
        raise ValueError("a mean needs a value")
    shares = [right / total for right, total in counts]
    own = [wilson_interval(right, total, level=level) for right, total in counts]
    below = math.hypot(*(share - ends.low for share, ends in zip(shares, own, strict=True))) / len(counts)
    above = math.hypot(*(ends.high - share for share, ends in zip(shares, own, strict=True))) / len(counts)
    mean = statistics.fmean(shares)
    return Interval(low=max(0.0, mean - below), high=min(1.0, mean + above), method=MOVER, level=level)


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanInterval:
    """A mean and its confidence interval.

    Attributes:
        count: how many values.
        mean: of the values.
        deviation: their sample standard deviation; None for a single value.
        half_width: half the length of the interval; None for a single value, about which nothing can be said.
    """

    count: int
    mean: float
    deviation: float | None = None
    half_width: float | None = None

    @property
    def share_interval(self) -> Interval | None:
        """The interval of values that are shares, cut off at 0 and 1; None for a single value."""
        if self.half_width is None:
            return None
        low, high = max(0.0, self.mean - self.half_width), min(1.0, self.mean + self.half_width)
        return Interval(low=low, high=high, method=STUDENT)


def mean_interval(values: Sequence[float], *, level: float = _LEVEL) -> MeanInterval:
    """Return the mean of ``values`` with its confidence interval by Student's t, with n - 1 degrees of freedom.

    In ``level`` of all cases the interval contains the mean over very many seeds, if results are normally distributed
    over seeds. With three seeds it honestly extends 2.5 standard deviations to each side.

    Raises:
        ValueError: if there are no values.
    """
    count, mean = len(values), statistics.fmean(values) if values else math.nan
    if not count:
        raise ValueError("a mean needs a value")
    if count == 1:
        return MeanInterval(count=1, mean=mean)
    deviation = statistics.stdev(values)
    quantile = float(stdtrit(count - 1, 0.5 + level / 2))
    return MeanInterval(count=count, mean=mean, deviation=deviation, half_width=quantile * deviation / math.sqrt(count))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other beats, in the order of their cost.

    A point (cost, quality) is beaten by one that costs no more and is no worse, and differs in one of the two; among
    equal points the first one stays.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front
