"""Options are made of settings: the command line and Python have the same defaults, and every refusal has a name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from vidpipe.cli.main import COMMANDS, main
from vidpipe.cli.spelling import option_name
from vidpipe.pipeline.errors import SettingsError, named, spelled
from vidpipe.pipeline.manifests.official.lists import ImportSettings
from vidpipe.pipeline.manifests.official.source import Source
from vidpipe.pipeline.manifests.settings import FoldersSettings
from vidpipe.pipeline.settings import build, facts_of, flat_types, nested_settings, recorded_names
from vidpipe.pipeline.training.optimisation import resolved
from vidpipe.stages.calls import OF_EACH_RUN
from vidpipe.stages.check_manifest.settings import CheckSettings
from vidpipe.stages.evaluate.settings import EvaluateSettings
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.finetune.settings import FinetuneSettings, RoleBackbone
from vidpipe.stages.flops.settings import FlopsSettings
from vidpipe.stages.listing.settings import AggregatorsSettings, BackbonesSettings
from vidpipe.stages.probe.settings import ProbeSettings
from vidpipe.stages.render.settings import RenderSettings
from vidpipe.stages.store.settings import ExportSettings, VerifySettings
from vidpipe.stages.sweep.settings import SweepSettings
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings
from vidpipe.stages.train_backbone.settings import TrainBackboneSettings
from vidpipe.stages.weights.settings import ConvertSettings, FetchSettings
from vidpipe.stages.weights.settings import ListSettings as WeightsListSettings
from vidpipe.stages.words import WORDS

# Command -> (its settings, the least that has to be typed, the same in Python).
LEAST: dict[str, tuple[type, list[str], dict[str, Any]]] = {
    "train-backbone": (
        TrainBackboneSettings,
        ["--manifest=m", "--backbone=r2d_26", "--out=o"],
        {"manifest": Path("m"), "backbone": "r2d_26", "out": Path("o")},
    ),
    "extract": (
        ExtractSettings,
        ["--manifest=m", "--store=s", "--cheap=r2d_26=w"],
        {"manifest": Path("m"), "store": Path("s"), "cheap": RoleWeights(backbone="r2d_26", path=Path("w"))},
    ),
    "probe": (ProbeSettings, ["--store=s", "--out=o"], {"store": Path("s"), "out": Path("o")}),
    "train-aggregator": (
        TrainAggregatorSettings,
        ["--store=s", "--out=o"],
        {"store": Path("s"), "out": Path("o")},
    ),
    "sweep": (
        SweepSettings,
        ["--store=s", "--out=o"],
        {"training": TrainAggregatorSettings(store=Path("s"), out=Path("o"))},
    ),
    "finetune": (
        FinetuneSettings,
        ["--manifest=m", "--out=o", "--cheap=r2d_26"],
        {"manifest": Path("m"), "out": Path("o"), "cheap": RoleBackbone(backbone="r2d_26")},
    ),
    "evaluate": (
        EvaluateSettings,
        ["--store=s", "--run=r", "--out=o"],
        {"store": Path("s"), "runs": (Path("r"),), "out": Path("o")},
    ),
    "backbones": (BackbonesSettings, [], {}),
    "aggregators": (AggregatorsSettings, [], {}),
    "flops": (FlopsSettings, ["--backbone=r2d_26"], {"backbone": "r2d_26"}),
    "weights list": (WeightsListSettings, [], {}),
    "weights fetch": (FetchSettings, ["n"], {"names": ("n",)}),
    "weights convert": (ConvertSettings, ["f", "o"], {"file": Path("f"), "out": Path("o")}),
    "render": (RenderSettings, ["o"], {"out": Path("o")}),
    "store verify": (VerifySettings, ["s"], {"store": Path("s")}),
    "store export": (ExportSettings, ["s", "o"], {"store": Path("s"), "output": Path("o")}),
    "manifest check": (CheckSettings, ["m"], {"manifest": Path("m")}),
    "manifest from-kinetics": (
        ImportSettings,
        ["--annotations=a", "--videos=.", "-o=o.csv"],
        {"source": Source(annotations=(Path("a"),)), "videos": Path()},
    ),
    "manifest from-folders": (FoldersSettings, [".", "-o=o.csv"], {"directory": Path()}),
}


def parameters(words: str, arguments: list[str]) -> dict[str, Any]:
    """Return what a command's function is given."""
    context = click.Context(main)
    command: click.Command = main
    for word in words.split():
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        command = found
    return command.make_context(words, list(arguments)).params


@pytest.mark.parametrize("words", LEAST)
def test_the_command_line_and_python_have_the_same_defaults(words: str):
    kind, typed, given = LEAST[words]
    assert build(kind, parameters(words, typed)) == kind(**given)


def test_no_command_with_settings_is_left_out():
    assert {words.split()[0] for words in LEAST} == COMMANDS.keys()


@pytest.mark.parametrize("kind", [kind for kind, *_ in LEAST.values()], ids=lambda kind: kind.__name__)
def test_options_of_one_command_have_names_of_their_own(kind: type):
    left_out = OF_EACH_RUN if kind is SweepSettings else set()
    names = [option_name(name) for name in flat_types(kind) if name not in left_out]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", [kind for kind, *_ in LEAST.values()], ids=lambda kind: kind.__name__)
def test_every_field_says_what_it_is_for(kind: type):
    described = {name for name, _ in facts_of(kind)} | nested_settings(kind).keys()
    fields = kind.__dataclass_fields__.keys()
    assert described == fields
    assert all(f"    {name}: " in (kind.__doc__ or "") for name, _ in facts_of(kind))


def test_short_names_are_those_of_fields():
    everything = {name for kind, *_ in LEAST.values() for name in flat_types(kind)}
    assert WORDS.keys() <= everything


@pytest.mark.parametrize("kind", [kind for kind, *_ in LEAST.values()], ids=lambda kind: kind.__name__)
def test_values_out_of_their_bounds_are_refused_by_name(kind: type):
    given = next(least for own, _, least in LEAST.values() if own is kind)
    bounded = {name: facts for name, facts in facts_of(kind) if facts.at_least is not None and not facts.choices}
    for name, facts in bounded.items():
        assert facts.at_least is not None
        with pytest.raises(SettingsError) as caught:
            kind(**given | {name: type(facts.at_least)(facts.at_least - 1)})
        assert caught.value.text(option_name).startswith(f"{option_name(name)} must be ")
        assert str(caught.value).startswith(f"{name} must be ")


def test_marks_are_shown_as_names_or_options():
    text = f"{named('num_frames')} and {named('batch_size')}"
    assert spelled(text) == "num_frames and batch_size"
    assert spelled(text, option_name) == "--frames and --batch"
    assert str(SettingsError(text)) == "num_frames and batch_size"


def test_nested_settings_keep_the_defaults_of_their_stage():
    made = build(TrainAggregatorSettings, {"store": Path("s"), "out": Path("o"), "epochs": 3, "foreign": 1})
    assert (made.optimisation.epochs, made.optimisation.optimizer, made.optimisation.learning_rate) == (
        3,
        "adamw",
        1e-3,
    )
    assert made.optimisation.with_warmup(longest=1.0).warmup_epochs == pytest.approx(0.3)


@pytest.mark.parametrize("words", ["train-backbone", "train-aggregator", "finetune"])
def test_fewer_epochs_can_be_asked_of_settings_that_are_there(words: str):
    """The warm-up that nobody gave follows the epochs: it is no field that a change of theirs would contradict."""
    kind, _, given = LEAST[words]
    optimisation = replace(kind(**given).optimisation, epochs=1)
    changed = replace(kind(**given), optimisation=optimisation)
    assert changed.optimisation.warmup_epochs is None
    assert resolved(changed.optimisation, device="cpu").warmup_epochs == pytest.approx(0.1)
    with pytest.raises(SettingsError, match="warmup_epochs must be at least 0 and below epochs"):
        replace(optimisation, warmup_epochs=1.0)


def test_a_path_with_a_nul_is_refused_by_name():
    with pytest.raises(SettingsError, match="store must not hold a NUL character; got 's\\\\x00'"):
        TrainAggregatorSettings(store=Path("s\0"), out=Path("o"))


def test_names_in_records_lead_to_their_fields():
    names = recorded_names(TrainAggregatorSettings)
    assert (names["num_clips"], names["optimisation.epochs"]) == ("num_clips", "epochs")
    assert "optimisation" not in names
