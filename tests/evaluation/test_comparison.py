"""Paired tests against scipy's binomial test and against their definitions."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from vidpipe.pipeline.evaluation.comparison import compare, holm, mcnemar

COUNTS = st.integers(0, 300)


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_worked_out_by_hand() -> None:
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar(4, 4) == mcnemar(0, 0) == 1.0


@given(st.lists(st.floats(0, 1), max_size=9))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(own >= raw for own, raw in zip(corrected, p_values, strict=True))
    for level in (0.01, 0.05, 0.3):
        left = sorted(range(len(p_values)), key=lambda i: p_values[i])
        rejected = set()
        # Reject the smallest as long as it passes the level divided by how many are left.
        while left and len(left) * p_values[left[0]] <= level:
            rejected.add(left.pop(0))
        assert {i for i, own in enumerate(corrected) if own <= level} == rejected


def test_runs_are_compared_on_the_videos_that_both_have_answered() -> None:
    rng = np.random.default_rng(0)
    right = {name: {f"v{i}": bool(rng.random() < 0.6) for i in range(i0, i0 + 40)} for i0, name in enumerate("abc")}
    pairs = list(combinations("abc", 2))
    found = compare(right, pairs=pairs)
    assert [(own.first, own.second) for own in found] == pairs
    for own in found:
        common = set(right[own.first]) & set(right[own.second])
        only = [name for name in common if right[own.first][name] and not right[own.second][name]]
        other = [name for name in common if right[own.second][name] and not right[own.first][name]]
        counts = (own.num_videos, own.only_first_right, own.only_second_right)
        assert counts == (len(common), len(only), len(other))
        assert own.p_value == mcnemar(len(only), len(other))
    assert [own.p_value_holm for own in found] == holm([own.p_value for own in found])


def test_runs_without_a_video_in_common_are_not_compared() -> None:
    assert compare({"a": {"v1": True}, "b": {"v2": True}}, pairs=[("a", "b")]) == []
