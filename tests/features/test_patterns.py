"""Patterns: the paper's counts of expensive clips, and texts that read back as themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.features.patterns import Pattern


@pytest.mark.parametrize(
    ("text", "num_clips", "expected"),
    [
        ("1:3", 8, "EcccEccc"),
        ("1:3", 6, "EcccEc"),
        ("2:1", 7, "EEcEEcE"),
        ("first", 5, "Ecccc"),
        ("all-expensive", 3, "EEE"),
        ("all-cheap", 3, "ccc"),
        ("1:31", 32, "E" + 31 * "c"),
    ],
)
def test_which_clips_are_expensive(text: str, num_clips: int, expected: str) -> None:
    mask = Pattern.parse(text).expensive(num_clips)
    assert "".join("E" if clip else "c" for clip in mask) == expected


def test_the_papers_example_of_4_expensive_and_12_cheap_clips() -> None:
    mask = Pattern.parse("1:3").expensive(16)
    assert (int(mask.sum()), int((~mask).sum())) == (4, 12)


@given(st.integers(1, 999_999), st.integers(1, 999_999), st.integers(1, 64))
def test_texts_read_back_and_periods_repeat(num_expensive: int, num_cheap: int, num_clips: int) -> None:
    text = f"{num_expensive}:{num_cheap}"
    pattern = Pattern.parse(text)
    assert str(pattern) == text
    mask = pattern.expensive(num_clips)
    period = num_expensive + num_cheap
    assert mask.shape == (num_clips,)
    assert mask[0]
    assert int(mask[:period].sum()) == min(num_expensive, num_clips)
    np.testing.assert_array_equal(mask[period:], mask[: max(0, num_clips - period)])


@pytest.mark.parametrize("text", ["first", "all-expensive", "all-cheap"])
def test_names_read_back(text: str) -> None:
    assert str(Pattern.parse(text)) == text


@pytest.mark.parametrize("text", ["3", "0:1", "1:0", "1:-3", "1:3:5", "", "1.5:2", "First", " 1:3", "٣:1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="must be E:C with whole numbers"):
        Pattern.parse(text)
