"""How far a mean over a few seeds can be trusted."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit  # scipy comes with scikit-learn

_LEVEL = 0.95


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
