"""Confidence intervals against printed tables of Student's t, and Pareto fronts against their definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from vidpipe.pipeline.evaluation.confidence import (
    mean_interval,
    mean_share_interval,
    pareto_front,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("count", "quantile"),
    [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (10, 2.262), (31, 2.042)],  # t at 0.975, any printed table
)
def test_the_interval_is_students(count: int, quantile: float) -> None:
    values = [0.5 + 0.01 * (i % 3) for i in range(count)]
    found = mean_interval(values)
    assert (found.count, found.mean) == (count, pytest.approx(np.mean(values)))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert found.half_width == pytest.approx(quantile * np.std(values, ddof=1) / math.sqrt(count), rel=2e-4)


def test_the_level_is_a_choice() -> None:
    found = mean_interval([0.0, 1.0, 2.0], level=0.9)
    assert found.half_width == pytest.approx(2.920 / math.sqrt(3), rel=2e-4)


def test_a_single_value_has_no_interval_and_none_is_refused() -> None:
    found = mean_interval([0.7])
    assert (found.mean, found.deviation, found.half_width) == (0.7, None, None)
    with pytest.raises(ValueError, match="needs a value"):
        mean_interval([])


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    found = [mean_interval(rng.normal(0.6, 0.02, 3).tolist()) for _ in range(2000)]
    held = sum(abs(own.mean - 0.6) <= (own.half_width or 0.0) for own in found)
    assert 0.935 < held / 2000 < 0.965


def test_intervals_of_shares_stay_between_0_and_1() -> None:
    ends = mean_interval([0.9, 1.0]).share_interval
    assert ends is not None
    assert (ends.low, ends.high, ends.method) == (pytest.approx(0.95 - 12.7062 * 0.05, abs=1e-5), 1.0, "student-t")
    assert mean_interval([0.9]).share_interval is None


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilsons_interval_is_scipys(counts: tuple[int, int]) -> None:
    found, printed = wilson_interval(*counts), binomtest(*counts).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((printed.low, printed.high), abs=1e-12)
    assert 0 <= found.low <= counts[0] / counts[1] <= found.high <= 1


def test_wilsons_interval_of_a_printed_case() -> None:
    found = wilson_interval(120, 120)
    assert (found.low, found.high, found.method) == (pytest.approx(0.969, abs=5e-4), 1.0, "wilson")
    for impossible in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="is no share"):
            wilson_interval(*impossible)


@given(st.integers(1, 60).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_mean_of_one_share_has_wilsons_interval(counts: tuple[int, int]) -> None:
    found, alone = mean_share_interval([counts]), wilson_interval(*counts)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=1e-12)


# Near 1 with few videos a class the true level is lower, as the function says.
@pytest.mark.parametrize(
    ("shares", "least"), [((0.9, 0.5, 0.2), 0.935), ((0.97, 0.99, 0.95, 0.98), 0.905), ((0.1, 0.1), 0.935)]
)
def test_about_95_of_100_intervals_of_a_mean_of_shares_hold_the_truth(shares: tuple[float, ...], least: float) -> None:
    rng, sizes = np.random.default_rng(1), [20, 35, 50, 25][: len(shares)]
    draws = rng.binomial(sizes, shares, (1500, len(shares)))
    found = [mean_share_interval(list(zip(map(int, own), sizes, strict=True))) for own in draws]
    held = sum(own.low <= np.mean(shares) <= own.high for own in found)
    assert least < held / 1500 < 0.985
    with pytest.raises(ValueError, match="needs a value"):
        mean_share_interval([])


COSTS = st.sampled_from([1.0, 2.0, 3.0, 4.0])


@given(st.lists(st.tuples(COSTS, COSTS), max_size=12))
def test_the_front_is_all_that_nothing_beats_once_each(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)

    def beaten(own: tuple[float, float]) -> bool:
        return any(cost <= own[0] and quality >= own[1] and (cost, quality) != own for cost, quality in points)

    assert {points[place] for place in front} == {own for own in points if not beaten(own)}
    assert len({points[place] for place in front}) == len(front)
    assert [points[place][0] for place in front] == sorted(points[place][0] for place in front)
