"""Whether two runs differ, by their answers on the same videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr  # scipy comes with scikit-learn


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two runs on the same videos.

    Attributes:
        first: name of a run.
        second: name of another.
        num_videos: that both have answered.
        only_first_right: videos that only the first gets right.
        only_second_right: those that only the second gets right.
        p_value: of the exact McNemar test: how often runs that are equally good would differ so much, or more.
        p_value_holm: the same, corrected by Holm for all comparisons that were made together.
    """

    first: str
    second: str
    num_videos: int
    only_first_right: int
    only_second_right: int
    p_value: float
    p_value_holm: float


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    If two runs are equally good, a video that only one of them gets right is as likely the one's as the other's. Videos
    that both get right, or neither, say nothing.

    Source: McNemar (1947); exact, by the binomial distribution.
    """
    fewer, both = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * float(bdtr(fewer, both, 0.5))) if both else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return ``p_values`` corrected for being several: the chance of even one false finding stays at the level.

    Source: Holm (1979), step-down, no larger than 1.
    """
    order, corrected, largest = np.argsort(p_values, kind="stable").tolist(), [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def compare(right: Mapping[str, Mapping[str, bool]], *, pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
    """Return a comparison for each of the ``pairs`` that have answered a video in common.

    Args:
        right: run -> video's id -> whether the run gets it right; no entry where there is no answer.
        pairs: names of two runs each.
    """
    found = [(pair, *_discordant(right[pair[0]], right[pair[1]])) for pair in pairs]
    found = [own for own in found if own[1]]
    raw = [mcnemar(first, second) for _, _, first, second in found]
    return [
        Comparison(
            first=pair[0],
            second=pair[1],
            num_videos=num_videos,
            only_first_right=first,
            only_second_right=second,
            p_value=p_value,
            p_value_holm=corrected,
        )
        for (pair, num_videos, first, second), p_value, corrected in zip(found, raw, holm(raw), strict=True)
    ]


def _discordant(first: Mapping[str, bool], second: Mapping[str, bool]) -> tuple[int, int, int]:
    """Return how many videos both have answered, and how many of them only the first, or the second, gets right."""
    common = [name for name in first if name in second]
    one, other = (np.fromiter((own[name] for name in common), bool, len(common)) for own in (first, second))
    return len(common), _count(one & ~other), _count(other & ~one)


def _count(mask: npt.NDArray[np.bool_]) -> int:
    return int(mask.sum())
