"""`--preset`: defaults of options at the paper's scale; options given by the user take precedence."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Defaults = dict[str, Any]  # parameter of a command -> value

SETTING_NAMES = ("faster16", "faster32")  # known here too, so that --help need not load torch

# Without the warm-up: the commands fit it to the epochs, and these may be given by the user.
OPTIMISATION = ("epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "label_smoothing", "clip_norm")


def preset_option(defaults: Callable[[str], Defaults], *, names: tuple[str, ...]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command ``--preset``, which sets the defaults of its other options.

    Args:
        defaults: preset's name -> the defaults; called only if a preset is asked for, as it loads torch.
        names: of the presets.
    """

    def set_defaults(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
        del param  # always the one option below
        if name is not None:
            ctx.default_map = {**(ctx.default_map or {}), **defaults(name)}

    return click.option(
        "--preset",
        type=click.Choice(names),
        is_eager=True,  # before the options whose defaults it sets
        expose_value=False,
        callback=set_defaults,
        help="Take the FASTER paper's values for Kinetics as defaults; typed options win. With --help: shows them.",
    )


def backbone_defaults(name: str) -> Defaults:
    """Return what ``vidpipe train-backbone --preset`` sets; "kinetics" is for clips of 8 frames, as in Table 3."""
    from ..pipeline.costs.presets import FASTER16, KINETICS_BACKBONE, SAMPLING_RATE, SETTINGS

    optimisation = {field: getattr(KINETICS_BACKBONE, field) for field in OPTIMISATION if field != "clip_norm"}
    return {
        "num_frames": SETTINGS[name].num_frames if name in SETTINGS else 8,
        "sampling_rate": SAMPLING_RATE,
        "crop": FASTER16.crop,
        "flip": True,
        "dropout": 0.0,
        **optimisation,
    }


def extract_defaults(name: str) -> Defaults:
    """Return what ``vidpipe extract --preset`` sets; one view, although the paper draws new clips each time."""
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


def aggregator_defaults(name: str) -> Defaults:
    """Return what ``vidpipe train-aggregator --preset`` sets; the last epoch is kept, as nothing is held out."""
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
        **{field: getattr(KINETICS_AGGREGATOR, field) for field in OPTIMISATION},
    }
