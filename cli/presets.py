"""`--preset`: sets of defaults by name; options given by the user take precedence."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..stages.presets import FEW_VIDEOS, LARGE, NAMES, SMALL, preset_values
from .options import NearChoice

ASKED = "vidpipe.preset"  # where a command's context keeps the name of the preset that was asked for
Command = TypeVar("Command", bound=Callable[..., Any])


def preset_option(stage: str) -> Callable[[Command], Command]:
    """Return a decorator that gives a command ``--preset``, which sets the defaults of its other options.

    Args:
        stage: the command's.
    """

    def set_defaults(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
        del param  # always the one option below
        if name is not None:
            ctx.meta[ASKED] = name
            ctx.default_map = {**(ctx.default_map or {}), **preset_values(stage, name)}

    return click.option(
        "--preset",
        type=NearChoice(NAMES[stage]),
        is_eager=True,  # before the options whose defaults it sets
        expose_value=False,
        callback=set_defaults,
        help=_help(NAMES[stage]),
    )


def _help(names: tuple[str, ...]) -> str:
    """Return what the presets are, and which applies if none is asked for."""
    own = "Take these values as defaults; typed options win. With --help: shows them."
    paper = " Those of the FASTER paper are for Kinetics."
    if SMALL not in names:
        return own + paper
    automatic = (
        f" [default: {SMALL} below {FEW_VIDEOS:,} training videos, else {LARGE}; neither if an option of the optimizer "
        "is typed (--optimizer, --learning-rate, --momentum, --weight-decay)]"
    )
    return own + (paper if len(names) > 2 else "") + automatic
