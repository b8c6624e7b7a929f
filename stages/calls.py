"""Not a stage: the stages as plain functions, whose keywords are the fields of their settings.

The words of the command line will do as well, with underscores: ``frames`` for ``num_frames``, ``size`` for ``crop``.
Paths, patterns and weights of a role may be given as text, as on the command line; what is not given has its default.
Fields of nested settings, such as ``epochs`` or ``num_clips``, are keywords like all others; so is ``preset``, where
the command has it.
"""

import dataclasses
import functools
import importlib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..pipeline.errors import SettingsError, VidpipeError, named, renamed, spelled
from ..pipeline.execution import SILENT
from ..pipeline.registry import did_you_mean
from ..pipeline.settings import build, flat_types, nested_settings
from .defaults import choose
from .words import ABBREVIATIONS, field_of

if TYPE_CHECKING:
    from .check_manifest.run import CheckReport
    from .extract.run import ExtractSummary
    from .finetune.run import FinetuneSummary
    from .render.run import RenderSummary
    from .sweep.run import SweepSummary
    from .train_aggregator.run import TrainAggregatorSummary
    from .train_backbone.run import TrainBackboneSummary

P = ParamSpec("P")
T = TypeVar("T")

# Settings of training that a sweep sets in each run -> its own field in their place.
OF_EACH_RUN = {
    "aggregator": "aggregators",
    "pattern": "patterns",
    "num_clips": "clips",
    "seed": "",
    "local_copies": "",
}


def _by_keyword(first: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that refuses values without a keyword; one would most likely be meant as ``first``."""

    def decorate(call: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(call)
        def called(*given: P.args, **settings: P.kwargs) -> T:
            if given:
                like = f"{call.__name__}({first}={given[0]!r}, …)"
                raise SettingsError(f"{call.__name__} takes its settings by keyword, as {like}")
            return call(*given, **settings)

        return called

    return decorate


@_by_keyword("manifest")
def check_manifest(**settings: Any) -> "CheckReport":
    """Decode every file of a manifest and return what is in it and what is wrong.

    Keywords: the fields of `vidpipe.stages.check_manifest.settings.CheckSettings` and of the settings in it.
    The help of the command ``vidpipe manifest check`` describes each.
    """
    return _call("check_manifest", "CheckSettings", settings)


@_by_keyword("out")
def render(**settings: Any) -> "RenderSummary":
    """Render a labelled set of videos whose best accuracy is known by construction.

    Keywords: the fields of `vidpipe.stages.render.settings.RenderSettings` and of the settings in it.
    The help of the command ``vidpipe render`` describes each.
    """
    return _call("render", "RenderSettings", settings)


@_by_keyword("manifest")
def train_backbone(**settings: Any) -> "TrainBackboneSummary":
    """Train a clip backbone from scratch, or go on training it.

    Keywords: the fields of `vidpipe.stages.train_backbone.settings.TrainBackboneSettings` and of the settings in it.
    The help of the command ``vidpipe train-backbone`` describes each.
    """
    return _call("train_backbone", "TrainBackboneSettings", settings)


@_by_keyword("manifest")
def extract(**settings: Any) -> "ExtractSummary":
    """Run backbones over videos into a feature store, or go on with it.

    Keywords: the fields of `vidpipe.stages.extract.settings.ExtractSettings` and of the settings in it.
    The help of the command ``vidpipe extract`` describes each.
    """
    return _call("extract", "ExtractSettings", settings)


@_by_keyword("store")
def probe(**settings: Any) -> dict[str, Any]:
    """Fit logistic regression on pooled features and return its figures.

    Keywords: the fields of `vidpipe.stages.probe.settings.ProbeSettings` and of the settings in it.
    The help of the command ``vidpipe probe`` describes each.
    """
    return _call("probe", "ProbeSettings", settings)


@_by_keyword("store")
def train_aggregator(**settings: Any) -> "TrainAggregatorSummary":
    """Train an aggregator on a feature store, or go on training it.

    Keywords: the fields of `vidpipe.stages.train_aggregator.settings.TrainAggregatorSettings` and of its settings.
    The help of the command ``vidpipe train-aggregator`` describes each.
    """
    return _call("train_aggregator", "TrainAggregatorSettings", settings)


@_by_keyword("store")
def sweep(**settings: Any) -> "SweepSummary":
    """Train and score many aggregators on one store, or go on with it.

    Keywords: the fields of `vidpipe.stages.sweep.settings.SweepSettings` and of the settings in it.
    The help of the command ``vidpipe sweep`` describes each.
    """
    settings = {OF_EACH_RUN.get(word) or word: value for word, value in settings.items()}
    own = [word for word in settings if word in OF_EACH_RUN]
    if own:
        raise SettingsError(f"a sweep sets {own[0]} in each run{'; give num_seeds' if own[0] == 'seed' else ''}")
    summary = _call("sweep", "SweepSettings", settings)
    return dataclasses.replace(summary, failed={name: spelled(reason) for name, reason in summary.failed.items()})


@_by_keyword("manifest")
def finetune(**settings: Any) -> "FinetuneSummary":
    """Train backbones and aggregator together, or go on training them.

    Keywords: the fields of `vidpipe.stages.finetune.settings.FinetuneSettings` and of the settings in it.
    The help of the command ``vidpipe finetune`` describes each.
    """
    return _call("finetune", "FinetuneSettings", settings)


@_by_keyword("store")
def evaluate(**settings: Any) -> dict[str, Any]:
    """Score runs on a store or on videos, and return accuracies beside costs.

    Keywords: the fields of `vidpipe.stages.evaluate.settings.EvaluateSettings` and of the settings in it.
    The help of the command ``vidpipe evaluate`` describes each.
    """
    return _call("evaluate", "EvaluateSettings", settings)


def _call(stage: str, name: str, given: Mapping[str, Any]) -> Any:
    """Run a stage with settings made from ``given``; ``progress`` is passed on.

    Raises:
        SettingsError: for a keyword that is not a setting of the stage, or one that is missing.
    """
    # Imported on the call, so that `import vidpipe` loads neither torch nor zarr.
    kind = getattr(importlib.import_module(f".{stage}.settings", __package__), name)
    words = _by_field(kind, given)
    passed = {"progress": words.pop("progress")} if "progress" in words else {}
    words, asked = _under_preset(stage, words)
    read = _read(kind, words)
    chosen = choose(stage, read | asked)
    for sentence in chosen.said:
        passed.get("progress", SILENT).milestone(spelled(sentence))
    settings = build(kind, read | chosen.values)
    return importlib.import_module(f".{stage}.run", __package__).run(settings, **passed)


def _under_preset(stage: str, words: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``words`` over the values of the preset that they name, and the preset if it still has to be fitted.

    Raises:
        SettingsError: if there is no such preset.
    """
    presets = importlib.import_module(".presets", __package__)
    if stage not in presets.NAMES or "preset" not in words:
        return words, {}
    name = words.pop("preset")
    if name is None:
        return words, {}
    values = presets.preset_values(stage, name)
    return (words, {"preset": name}) if name in presets.RECIPES else (values | words, {})


def _by_field(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``given`` by the names of the fields of ``kind``, in place of other words for them.

    Raises:
        SettingsError: if one field is given twice.
    """
    known, words = flat_types(kind), {}
    for word, value in given.items():
        field = field_of(word, known)
        if field in words:
            raise SettingsError(f"{field} is given twice: {word} is another word for it")
        words[field] = value
    return words


def _read(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values in the form of the fields of ``kind``, from any accepted form."""
    known = flat_types(kind)
    for word in given:
        if word not in known:
            meant = ABBREVIATIONS.get(word, word)
            hint = did_you_mean(meant, known) or f"; it has {', '.join(known)}"
            raise SettingsError(f"{kind.__name__} has no field {word!r}{hint}")
    missing = [name for name in _required(kind) if name not in given]
    if missing:
        raise SettingsError(f"{kind.__name__} needs {' and '.join(missing)}")
    return {word: _value(word, known[word], value) for word, value in given.items()}


def _required(kind: type) -> Iterator[str]:
    """Yield the names that `build` must be given, those of nested settings too."""
    nested = nested_settings(kind)
    for own in dataclasses.fields(kind):
        if own.default is dataclasses.MISSING and own.default_factory is dataclasses.MISSING:
            yield from _required(nested[own.name]) if own.name in nested else (own.name,)


def _value(word: str, hint: Any, value: Any) -> Any:
    """Return ``value`` in the form of a field of type ``hint``, in which text may stand for what it says.

    Raises:
        SettingsError: if the text does not say such a value, or the value is of another type.
    """
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        several = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
        return tuple(_value(word, typing.get_args(hint)[0], one) for one in several)
    try:
        read = getattr(hint, "parse", hint)(value) if isinstance(value, str) else value
    except VidpipeError as error:
        raise type(error)(renamed(error.marked, word)) from error
    except ValueError as error:
        raise SettingsError(f"{named(word)}: {error}") from error
    wanted = (int, float) if hint is float else (str, Path) if hint is Path else hint
    if not isinstance(read, wanted) or (isinstance(read, bool) and hint is not bool):
        raise SettingsError(f"{named(word)} must be of type {hint.__name__}; got {value!r}")
    return read
