"""One spelling for one thing in all commands, and what a mistyped word gets."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import vidpipe
from vidpipe.cli.main import main
from vidpipe.cli.spelling import FIELDS_IN_REASONS, FORMER_NAMES, FORMER_NAMES_OF, known_otherwise, reason_text
from vidpipe.pipeline.registry import did_you_mean, nearest
from vidpipe.pipeline.videos.memory import Size, check_size
from vidpipe.stages.words import WORDS, field_of


def commands(group: click.Group = main, words: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, by the words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, f"{words}{name} ")
        else:
            yield f"{words}{name}", found


ALL = dict(commands())


def said(*words: str) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    return result.stderr.splitlines()[-1]


def test_one_thing_has_one_spelling():
    spellings = defaultdict(set)
    for command in ALL.values():
        for own in command.params:
            if isinstance(own, click.Option):
                # An output is the same thing whatever the function calls it.
                spellings["out" if own.name == "output" else own.name].add(tuple(own.opts))
    assert {name: own for name, own in spellings.items() if len(own) > 1} == {}


def test_short_forms_belong_to_one_option():
    short = {(opt, own.opts[-1]) for command in ALL.values() for own in command.params for opt in own.opts
             if opt.startswith("-") and not opt.startswith("--")}  # fmt: skip
    assert short == {("-o", "--out")}


def test_former_names_are_gone_and_lead_to_names_that_are_there():
    everything = {opt for command in ALL.values() for own in command.params for opt in own.opts}
    assert not everything & {*FORMER_NAMES, *(name for _, name in FORMER_NAMES_OF)}
    assert everything >= {*FORMER_NAMES.values(), *FORMER_NAMES_OF.values()}


@pytest.mark.parametrize("former", FORMER_NAMES)
def test_former_names_are_refused_with_the_new_one_wherever_that_is(former: str):
    new = FORMER_NAMES[former]
    having = [command for command in ALL.values() if any(new in own.opts for own in command.params)]
    assert having
    for command in having:
        now = FORMER_NAMES_OF.get((str(command.name), former), new)
        assert known_otherwise(command, former) == f"{former} is called {now} now."


def test_an_option_as_python_has_it_is_named():
    assert known_otherwise(ALL["extract"], "--num-frames") == "--num-frames is called --frames here."
    assert known_otherwise(ALL["train-backbone"], "--sampling-rate") == "--sampling-rate is called --stride here."
    assert known_otherwise(ALL["extract"], "--nothing") is None


@pytest.mark.parametrize(
    ("typed", "option"), [("--lr", "--learning-rate"), ("--bs", "--batch"), ("--wd", "--weight-decay")]
)
def test_an_option_as_other_programs_shorten_it_is_named(typed: str, option: str):
    assert said("train-aggregator", typed, "1") == f"Error: {typed} is called {option} here."


def test_reasons_why_videos_failed_name_options():
    folder = Path(__file__).parents[2] / "pipeline" / "videos"
    raised = re.compile(r"VideoError\((?:[^()]|\([^()]*\))*?named\('(\w+)'\)")
    found = {name for path in folder.glob("*.py") for name in raised.findall(path.read_text(encoding="utf-8"))}
    assert found == set(FIELDS_IN_REASONS)
    with pytest.raises(vidpipe.VidpipeError) as refusal:
        check_size(Size(width=64, height=48, bits=12, codec="h264"), max_pixels=1000)
    assert reason_text(str(refusal.value)).endswith("are 3,072 pixels, more than --max-pixels 1,000")


def test_an_argument_typed_as_an_option_is_named():
    assert said("manifest", "check", "--manifest", "m.csv") == (
        "Error: MANIFEST is typed here without an option before it."
    )
    assert said("store", "export", "s.zarr", "-o", "s.h5").endswith("OUTPUT is typed here without an option before it.")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trainbackbone", "train-backbone"),
        ("Train_Backbone", "train-backbone"),
        ("trian", "train-backbone or train-aggregator"),
        ("extrat", "extract"),
        ("eval", "evaluate"),
        ("fine-tune", "finetune"),
        ("backbone", "backbones"),
        ("check", "manifest check"),
        ("from-folder", "manifest from-folders"),
        ("verify", "store verify"),
    ],
)
def test_a_mistyped_command_gets_the_nearest(typed: str, meant: str):
    assert said(typed) == f"Error: No such command '{typed}'. Did you mean {meant}?"


def test_a_word_like_none_gets_the_list():
    assert said("qqq").startswith("Error: No such command 'qqq'. There are manifest, render, ")
    assert said("store", "qqq").startswith("Error: No such command 'qqq'. There are ")
    assert said("store", "verfy", "s").endswith("Did you mean verify?")
    assert said("manifest", "from-kinetic").endswith("Did you mean from-kinetics?")


def test_a_mistyped_option_or_choice_gets_the_nearest():
    assert "Did you mean '--manifest'?" in said("extract", "--manifst", "m.csv")
    assert said("train-aggregator", "--optimizer", "adam").endswith("is not one of 'sgd', 'adamw'. Did you mean adamw?")
    assert said("train-backbone", "--preset", "smal").endswith("Did you mean small?")
    assert "Did you mean" not in said("train-aggregator", "--optimizer", "rprop")


def test_near_names():
    known = ["fast-gru", "gru", "average", "memory", "context-average"]
    assert nearest("FAST_GRU", known) == ["fast-gru"]
    assert nearest("fastgru", known) == ["fast-gru"]
    assert nearest("averge", known) == ["average"]
    assert nearest("xyz", known) == nearest("", known) == nearest("gru", []) == []
    assert did_you_mean("gur", known) == "; did you mean gru?"
    assert did_you_mean("xyz", known) == ""


def test_python_has_the_words_of_the_options():
    assert field_of("size", {"crop"}) == "crop"
    assert field_of("size", {"size"}) == "size"
    assert field_of("clips", {"num_clips"}) == "num_clips"
    assert field_of("epoch", {"epochs"}) == "epoch"
    assert len(set(WORDS.values())) == len(WORDS)
    given = {"manifest": "m", "backbone": "r2d_26", "out": "o"}
    with pytest.raises(vidpipe.VidpipeError, match="crop must be at least 16 pixels; got 3"):
        vidpipe.train_backbone(**given, size=3)
    with pytest.raises(vidpipe.VidpipeError, match="batch_size is given twice: batch is another word for it"):
        vidpipe.train_backbone(**given, batch_size=3, batch=4)
    with pytest.raises(vidpipe.VidpipeError, match="has no field 'lr'; did you mean learning_rate"):
        vidpipe.train_backbone(**given, lr=1)
    with pytest.raises(vidpipe.VidpipeError, match="has no field 'epoch'; did you mean epochs"):
        vidpipe.train_backbone(**given, epoch=1)
    with pytest.raises(vidpipe.VidpipeError, match="learning_rate must be finite; got inf"):
        vidpipe.train_backbone(**given, learning_rate=float("inf"))
    with pytest.raises(vidpipe.VidpipeError, match="patterns must be E:C"):
        vidpipe.sweep(store="s", out="o", pattern=["often"])
