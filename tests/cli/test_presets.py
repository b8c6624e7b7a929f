"""`--preset` of the commands that train and extract: the paper's values, unless an option is typed."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from made_up_stores import MadeUp, make_store

from vidpipe.cli import extract, sweep, train_aggregator, train_backbone
from vidpipe.cli.main import main
from vidpipe.cli.spelling import option_name
from vidpipe.pipeline.costs.presets import FASTER16, FASTER32, KINETICS_AGGREGATOR, KINETICS_BACKBONE, SETTINGS
from vidpipe.pipeline.costs.video_cost import setting_cost
from vidpipe.pipeline.errors import spelled
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.settings import build
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.transforms import jitter_range
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.presets import (
    LARGE,
    NAMES,
    OF_THE_OPTIMIZER,
    PAPER,
    SMALL,
    choose_preset,
    preset_values,
    recipes_of,
)

# Command, its preset's defaults, what it cannot do without, and its presets.
COMMANDS = {
    "train-backbone": (
        train_backbone.command,
        partial(preset_values, "train_backbone"),
        "--manifest m --out o --backbone r2d_26",
        NAMES["train_backbone"],
    ),
    "extract": (extract.command, partial(preset_values, "extract"), "--manifest m --store s", NAMES["extract"]),
    "train-aggregator": (
        train_aggregator.command,
        partial(preset_values, "train_aggregator"),
        "--store s --out o",
        NAMES["train_aggregator"],
    ),
    "sweep": (sweep.command, partial(preset_values, "sweep"), "--store s --out o", NAMES["sweep"]),
}
CASES = [(command, preset) for command, (*_, presets) in COMMANDS.items() for preset in presets]


def parsed(name: str, *arguments: str) -> dict[str, Any]:
    command, _, required, _ = COMMANDS[name]
    return command.make_context(name, [*required.split(), *arguments]).params


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_a_preset_sets_defaults_and_nothing_else(name: str, preset: str):
    plain, own = parsed(name), parsed(name, "--preset", preset)
    defaults = COMMANDS[name][1](preset)
    assert defaults.keys() <= plain.keys()
    assert own == plain | defaults


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_every_option_that_is_typed_wins(name: str, preset: str):
    """Type another value for each option that the preset sets, before it and after it."""
    command, defaults, _, _ = COMMANDS[name]
    options = {parameter.name: parameter for parameter in command.params}
    for field, value in defaults(preset).items():
        words, other = typed(options[field], value)
        for arguments in ([*words, "--preset", preset], ["--preset", preset, *words]):
            assert parsed(name, *arguments) == parsed(name, "--preset", preset) | {field: other}, field


def typed(option: Any, value: Any) -> tuple[list[str], Any]:
    """Return the words for another value than ``value``, and that value."""
    if isinstance(value, bool):
        return [option.secondary_opts[0] if value else option.opts[0]], not value
    others = {"sgd": "adamw", "adamw": "sgd", "uniform": "dense", "fast-gru": "lstm", "1:1": "1:3", "1:7": "1:3"}
    if isinstance(value, Pattern):
        other = Pattern.parse(others[str(value)])
    elif isinstance(value, str):
        other = others[value]
    else:
        other = value / 2 if isinstance(value, float) else value + 1
    return [option.opts[-1], str(other)], other


def test_the_names_are_those_of_the_settings():
    assert set(PAPER) == SETTINGS.keys()
    for command, *_, presets in COMMANDS.values():
        (option,) = [own for own in command.params if own.name == "preset"]
        assert tuple(option.type.choices) == presets


@pytest.mark.parametrize("setting", [FASTER16, FASTER32], ids=PAPER)
def test_the_three_commands_agree_with_each_other_and_with_the_setting(setting):
    name = next(name for name, own in SETTINGS.items() if own is setting)
    backbone, store, run = (parsed(command, "--preset", name) for command in COMMANDS if command != "sweep")
    roles = {"cheap": RoleWeights.parse("r2d_26=w"), "expensive": RoleWeights.parse("r2plus1d_50=w")}
    settings = build(ExtractSettings, store | roles)
    assert settings.sampling == ClipSampling(num_frames=setting.num_frames, num_clips=setting.num_clips)
    assert (backbone["num_frames"], backbone["sampling_rate"]) == (setting.num_frames, settings.sampling.sampling_rate)
    assert backbone["crop"] == settings.crop == setting.crop
    assert (run["pattern"], run["num_clips"]) == (settings.pattern, settings.sampling.num_clips)
    assert settings.pattern == setting.pattern


def test_the_papers_protocol():
    assert jitter_range(parsed("train-backbone", "--preset", "kinetics")["crop"]) == (256, 320)
    # 45 epochs of a million clips, in epochs of one clip of each of 240 thousand videos.
    assert KINETICS_BACKBONE.epochs * 240_000 == pytest.approx(45_000_000, rel=0.005)
    assert KINETICS_AGGREGATOR.epochs < KINETICS_BACKBONE.epochs / 5  # "much fewer"
    assert (str(FASTER16.pattern), FASTER16.num_frames) == ("1:7", 16)
    assert (str(FASTER32.pattern), FASTER32.num_frames) == ("1:1", 32)
    assert setting_cost(FASTER16).per_video < setting_cost(FASTER32).per_video


@pytest.mark.parametrize(
    ("name", "option"),
    [("train-backbone", "--epochs"), ("extract", "--frames"), ("extract", "--clips"), ("train-aggregator", "--epochs")],
)
def test_help_after_a_preset_shows_its_values(name: str, option: str):
    plain = CliRunner().invoke(main, [name, "--help"]).stdout
    own = CliRunner().invoke(main, [name, "--preset", "faster32", "--help"]).stdout
    (field,) = (parameter.name for parameter in COMMANDS[name][0].params if option in parameter.opts)
    value = str(COMMANDS[name][1]("faster32")[field])
    assert default_in_help(plain, option) != value
    assert default_in_help(own, option) == value


def default_in_help(shown: str, option: str) -> str:
    """Return the default that a help text gives for an option, in the paragraph that begins with its name."""
    (paragraph,) = re.findall(rf"^  {option} .*\n(?:   .*\n)*", shown, flags=re.MULTILINE)
    (default,) = re.findall(r"\[default:\s+([^\];]+)", paragraph)
    return default


def test_an_unknown_preset_is_refused():
    result = CliRunner().invoke(main, ["extract", "--preset", "faster8"])
    assert result.exit_code == 2
    assert "'faster8' is not one of 'faster16', 'faster32'" in result.stderr


def test_an_aggregator_trains_by_a_preset(tmp_path: Path):
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=16, num_test=2, pattern="1:1"))
    words = ["train-aggregator", "--store", str(store), "--out", str(tmp_path / "run"), "--preset", "faster32"]
    result = CliRunner().invoke(main, [*words, "--epochs", "2", "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["aggregator"], found["pattern"], found["num_clips"], found["epochs"]) == ("fast-gru", "1:1", 8, 2)
    assert (found["num_training"], found["num_validation"]) == (16, 0)
    optimisation = RunDirectory.open(tmp_path / "run").settings["optimisation"]
    assert (optimisation["optimizer"], optimisation["learning_rate"], optimisation["epochs"]) == ("sgd", 0.01, 2)
    assert optimisation["warmup_epochs"] == 0.2


def test_what_was_measured_on_few_videos_is_the_recipe_for_few():
    chosen = choose_preset("train_backbone", {}, num_videos=120)
    assert chosen.values == preset_values("train_backbone", SMALL)
    assert (chosen.values["optimizer"], chosen.values["learning_rate"]) == ("adamw", 2e-3)
    (said,) = chosen.said
    assert spelled(said, option_name).startswith("120 training videos: preset small (AdamW at 0.002, weight decay 0.05")
    assert "; --preset large has SGD at 0.01" in spelled(said, option_name)
    assert choose_preset("train_backbone", {}, num_videos=2000).values == preset_values("train_backbone", LARGE)


@pytest.mark.parametrize("stage", ["train_backbone", "train_aggregator", "sweep"])
@pytest.mark.parametrize("name", OF_THE_OPTIMIZER)
def test_no_recipe_is_chosen_beside_an_option_of_the_optimizer(stage: str, name: str):
    chosen = choose_preset(stage, {name: recipes_of(stage)[LARGE].get(name, 0.5)}, num_videos=120)
    assert (chosen.values, chosen.said) == ({}, ())


def test_how_long_and_in_which_batches_may_be_typed_beside_a_recipe():
    chosen = choose_preset("train_backbone", {"epochs": 45, "batch_size": 8, "seed": 3}, num_videos=120)
    assert {"epochs", "batch_size", "seed"}.isdisjoint(chosen.values)
    assert chosen.values["optimizer"] == "adamw"
    assert "batches of 8, 45 epochs); " in chosen.said[0]


@pytest.mark.parametrize(("num_videos", "epochs"), [(6, 240), (60, 120), (110, 66), (120, 60), (1999, 60)])
def test_fewer_videos_are_visited_more_often(num_videos: int, epochs: int):
    assert choose_preset("train_backbone", {}, num_videos=num_videos).values["epochs"] == epochs
    asked = choose_preset("train_backbone", {"preset": "large"}, num_videos=num_videos)
    assert (asked.values["epochs"], "has" in asked.said[0]) == (45, False)


def test_help_shows_both_recipes_until_one_is_asked_for():
    plain = CliRunner().invoke(main, ["train-backbone", "--help"]).stdout
    own = CliRunner().invoke(main, ["train-backbone", "--preset", "small", "--help"]).stdout
    assert default_in_help(plain, "--optimizer") == "small adamw, large sgd"
    assert default_in_help(own, "--optimizer") == "adamw"
