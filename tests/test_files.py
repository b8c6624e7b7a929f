"""Cells of reports: a spreadsheet runs none of them, and each can be read back."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidpipe.pipeline.files import escaped_cell, plain_cell, write_csv

RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
TEXTS = st.text(st.sampled_from("'=+-@\t\ra1 ＝é"), max_size=6) | st.text(max_size=20)


@given(TEXTS)
def test_every_text_is_read_back_and_none_begins_a_formula(text: str) -> None:
    cell = escaped_cell(text)
    assert not cell.startswith(RUN)
    assert plain_cell(cell) == text


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "＝1+1"])
def test_formulas_get_an_apostrophe(name: str) -> None:
    assert escaped_cell(name) == f"'{name}"


@pytest.mark.parametrize("cell", ["jump", "a=b", "it's", "'quoted'", "", -0.5, -3, None, True])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert escaped_cell(cell) is cell


def test_reports_are_written_escaped(tmp_path: Path) -> None:
    write_csv(tmp_path / "r.csv", [("class", "@name"), ("=1+1", -0.5)])
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["class", "'@name"], ["'=1+1", "-0.5"]]
