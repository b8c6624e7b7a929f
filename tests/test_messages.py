"""What users read when something is wrong: a golden list of messages, whole, so that none gets worse unseen.

goldens/messages.json holds command lines, and the exit code and message of each, as `made_up_mistakes.make_place` lays
out the folder that they are typed in. To add a case, add its name and arguments there; this fills in the rest, and
writes anew what has changed on purpose (read the difference before you commit it):

    python tests/test_messages.py
"""

import contextlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from made_up_mistakes import Said, make_place, type_in

from vidpipe.cli.main import COMMANDS

GOLDENS = Path(__file__).parent / "goldens" / "messages.json"
CASES: list[dict[str, Any]] = json.loads(GOLDENS.read_text(encoding="utf-8"))
ERROR = "Error: "
# What depends on the machine, or on the last bits of its arithmetic.
VARIABLE = (
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "<digest>"),
    (re.compile(r"\b[\d,.]+ (GB|MB|kB|bytes)\b"), "<size>"),
    (re.compile(r"\b([Oo])f \d+ the nearest:"), r"\1f <n> the nearest:"),
    (re.compile(r"known: efficientnet_lite0,[\w, ]+"), "known: <backbones>"),
    (re.compile(r"torch sees \d+ CUDA"), "torch sees <n> CUDA"),
)


def message_of(said: Said, place: Path) -> str:
    """Return the error as it stands in stderr, or all that was said if there is none, without the machine's traits."""
    _usage, found, error = said.stderr.partition(ERROR)
    text = found + error if found else said.stderr + said.stdout
    text = text.replace(str(place.resolve()), "<tmp>").rstrip()
    for pattern, stand_in in VARIABLE:
        text = pattern.sub(stand_in, text)
    return text


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("messages"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_message_is_the_golden_one(case: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    said = type_in(case["args"])
    assert message_of(said, place) == case["message"]
    assert said.exit_code == case["exit_code"]


def test_the_list_is_long_and_leaves_no_command_out() -> None:
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names) >= 110
    assert {case["args"][0] for case in CASES if case["exit_code"]} >= set(COMMANDS)


def regenerate() -> None:
    """Write what each command line says now into the golden file; an entry is a line for each of its fields."""
    with tempfile.TemporaryDirectory() as folder:
        place = make_place(Path(folder).resolve())
        with contextlib.chdir(place):
            for case in CASES:
                said = type_in(case["args"])
                case |= {"exit_code": said.exit_code, "message": message_of(said, place)}
    entries = [
        ",\n".join(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in case.items())
        for case in CASES
    ]
    GOLDENS.write_text("[\n" + ",\n".join(f" {{\n{entry}\n }}" for entry in entries) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    regenerate()
