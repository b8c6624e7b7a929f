"""The Makefile's demo: every command that it runs, or tells its reader to type, is one that vidpipe understands."""

import shlex
import subprocess
from pathlib import Path

import click
import pytest

from vidpipe.cli.main import main

ROOT = Path(__file__).resolve().parents[1]


def demo_lines() -> list[str]:
    """Return what `make demo` would run, a line a command."""
    words = ["make", "--no-print-directory", "--dry-run", "demo"]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return printed.replace("\\\n", " ").splitlines()


def typed(line: str) -> list[list[str]]:
    """Return the vidpipe commands of a line: the one that it runs, or those that it prints."""
    words = shlex.split(line)
    shown = words[2:] if words[:1] == ["printf"] else [line]
    commands = [shlex.split(text, comments=True) for text in shown if "bin/vidpipe " in text]
    return [words[[word.endswith("bin/vidpipe") for word in words].index(True) + 1 :] for words in commands]


COMMANDS = [command for line in demo_lines() if "bin/vidpipe " in line for command in typed(line)]


def assert_parsed(command: click.Command, words: list[str]) -> None:
    """Parse the options of a command, which may be a group's, and run nothing."""
    if isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        assert_parsed(found, words[1:])
    else:
        command.make_context(command.name, list(words))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_of_the_demo_is_understood(words: list[str], tmp_path):
    assert_parsed(main, [str(tmp_path) if word == "VIDEOS" else word for word in words])


def test_the_demo_runs_every_stage_and_ends_with_what_to_type_next():
    stages = [words[0] for words in COMMANDS]
    assert {"render", "train-backbone", "extract", "train-aggregator", "evaluate"} < set(stages)
    assert stages[-3:] == ["probe", "sweep", "manifest"]


def test_an_unknown_option_would_be_noticed():
    with pytest.raises(click.NoSuchOption, match="--hosts"):
        assert_parsed(main, ["render", "out", "--hosts", "2"])
