"""Not a stage: presets, which are sets of defaults by name; what is typed wins over them.

"small" and "large" are our recipes for few and for many training videos, of which one is chosen if none is asked for
and no option of the optimizer is typed. The others are the FASTER paper's values, at its scale.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..pipeline.errors import SettingsError, named
from ..pipeline.training.settings import OptimisationSettings
from .defaults import Chosen, Values
from .train_aggregator import settings as aggregators
from .train_backbone import settings as backbones

SMALL, LARGE = RECIPES = ("small", "large")
PAPER = ("faster16", "faster32")
# Stage -> the presets that it has.
NAMES = {
    "train_backbone": (SMALL, LARGE, "kinetics", *PAPER),
    "extract": PAPER,
    "train_aggregator": (SMALL, LARGE, *PAPER),
    "sweep": (SMALL, LARGE),
}
# Below it a recipe for few videos is chosen: what it was measured on had 60 to 360 of them, and like ones up to 1,440.
FEW_VIDEOS = 2000
# With fewer clips than so many, a backbone's epochs are over before it has seen enough: it gets more of them.
# Aggregators do not need it: with 60 videos the best of 120 epochs came before the thirtieth.
_LEAST_VISITS, _MOST_EPOCHS = {"train_backbone": 7200}, 240
# Whoever types one of these has a recipe of their own.
OF_THE_OPTIMIZER = ("optimizer", "learning_rate", "momentum", "weight_decay")
# What a recipe says. Without the warm-up: it is fitted to the epochs, and these may be typed.
_RECIPE = ("epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "label_smoothing", "clip_norm")
_RECIPES = {
    "train_backbone": {SMALL: backbones.FEW, LARGE: backbones.OPTIMISATION},
    "train_aggregator": dict.fromkeys(RECIPES, aggregators.OPTIMISATION),  # made for few videos; many need no other
    "sweep": dict.fromkeys(RECIPES, aggregators.OPTIMISATION),
}


def preset_values(stage: str, name: str) -> dict[str, Any]:
    """Return the defaults that the preset ``name`` sets for a stage, by the names of fields.

    Raises:
        SettingsError: if the stage has no such preset.
    """
    known = NAMES.get(stage, ())
    if name not in known:
        raise SettingsError(f"{named('preset')} must be one of {', '.join(known)}; got {name!r}")
    if name in RECIPES:
        return recipes_of(stage)[name]
    return {"train_backbone": _backbone, "extract": _extract, "train_aggregator": _aggregator}[stage](name)


def recipes_of(stage: str) -> dict[str, dict[str, Any]]:
    """Return name -> values of the recipes between which the number of videos decides."""
    return {name: _values(recipe) for name, recipe in _RECIPES[stage].items()}


def _values(recipe: OptimisationSettings) -> dict[str, Any]:
    return {name: value for name, value in asdict(recipe).items() if name in _RECIPE}


def choose_preset(stage: str, typed: Values, *, num_videos: int) -> Chosen:
    """Return the recipe for so many training videos; what is typed of it stays.

    Args:
        stage: that trains.
        typed: if it names a preset, that is taken; if it has an option of the optimizer, none is chosen.
        num_videos: to train on.
    """
    asked = typed.get("preset")
    if asked is None and any(name in typed for name in OF_THE_OPTIMIZER):
        return Chosen()
    name = asked or (SMALL if num_videos < FEW_VIDEOS else LARGE)
    other = LARGE if name == SMALL else SMALL
    both = {own: _fitted(stage, own, values, num_videos) for own, values in recipes_of(stage).items()}
    used = {field: typed.get(field, value) for field, value in both[name].items()}
    said = f"{num_videos:,} training videos: preset {name} ({_in_words(used)})"
    if asked is None and both[name] != both[other]:
        said += f"; {named('preset')} {other} has {_in_words(both[other])}"
    return Chosen(values={field: value for field, value in both[name].items() if field not in typed}, said=(said,))


def _fitted(stage: str, name: str, recipe: Mapping[str, Any], num_videos: int) -> dict[str, Any]:
    """Return a recipe with as many epochs as so few videos need."""
    if name == LARGE:
        return dict(recipe)
    least = min(_MOST_EPOCHS, math.ceil(_LEAST_VISITS.get(stage, 0) / num_videos))
    return {**recipe, "epochs": max(recipe["epochs"], least)}


def _in_words(recipe: Mapping[str, Any]) -> str:
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[recipe["optimizer"]]
    return (
        f"{optimizer} at {recipe['learning_rate']:g}, weight decay {recipe['weight_decay']:g}, batches of "
        f"{recipe['batch_size']}, {recipe['epochs']} {'epoch' if recipe['epochs'] == 1 else 'epochs'}"
    )


def _backbone(name: str) -> dict[str, Any]:
    """Return what training a backbone takes from the paper; "kinetics" is for clips of 8 frames, as in Table 3."""
    # Imported on use here and below: these load torch, and the names above are needed for help.
    from ..pipeline.costs.presets import FASTER16, KINETICS_BACKBONE, SAMPLING_RATE, SETTINGS

    recipe = _values(KINETICS_BACKBONE)
    del recipe["clip_norm"]
    return {
        "num_frames": SETTINGS[name].num_frames if name in SETTINGS else 8,
        "sampling_rate": SAMPLING_RATE,
        "crop": FASTER16.crop,
        "flip": True,
        "dropout": 0.0,
        **recipe,
    }


def _extract(name: str) -> dict[str, Any]:
    """Return what extraction takes from the paper; one view, although the paper draws new clips each time."""
    from ..pipeline.costs.presets import SAMPLING_RATE, SETTINGS

    setting = SETTINGS[name]
    return {
        "num_frames": setting.num_frames,
        "sampling_rate": SAMPLING_RATE,
        "num_clips": setting.num_clips,
        "placement": "uniform",
        "pattern": setting.pattern,
        "views": 1,
        "crop": setting.crop,
    }


def _aggregator(name: str) -> dict[str, Any]:
    """Return what training an aggregator takes from the paper; the last epoch is kept, as nothing is held out."""
    from ..pipeline.costs.presets import KINETICS_AGGREGATOR, SETTINGS

    setting = SETTINGS[name]
    return {
        "aggregator": setting.aggregator,
        "pattern": setting.pattern,
        "num_clips": setting.num_clips,
        "reduction": setting.reduction,
        "dropout": 0.0,
        "val_fraction": 0.0,
        "patience": 0,
        **_values(KINETICS_AGGREGATOR),
    }
