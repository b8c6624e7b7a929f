"""What CONTRIBUTING names is there: files, and what it says is in them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
FILES = sorted(set(re.findall(r"`((?:pipeline|stages|cli|tests|benchmarks)/[\w/.]+\.\w+)`", TEXT)))
# "`open_group` and `new_group` in `pipeline/features/format.py`"
PLACED = re.findall(r"((?:`\w+`(?: \([^)]*\))?(?: and | or )?)+) in `([\w/]+\.py)`", TEXT)


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 15
    assert len(PLACED) > 8


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_named_are_there(name: str) -> None:
    assert (ROOT / name).is_file()


@pytest.mark.parametrize(("names", "file"), PLACED)
def test_names_are_where_they_are_said_to_be(names: str, file: str) -> None:
    own = (ROOT / file).read_text(encoding="utf-8")
    for name in re.findall(r"`(\w+)`", names):
        assert re.search(rf"^(def|class) {name}\b|^{name}\b", own, re.M), f"{file} has no {name}"
