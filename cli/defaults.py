"""Options that nobody typed: what follows from the files that a command is given, said aloud."""

from typing import Any

import click
from click.core import ParameterSource

from ..pipeline.errors import spelled
from ..stages.presets import RECIPES
from .presets import ASKED
from .progress import progress_shown
from .spelling import option_name


def with_defaults(ctx: click.Context, stage: str, options: dict[str, Any], *, aloud: bool = True) -> dict[str, Any]:
    """Return a command's ``options``, those that nobody typed as they follow from the videos, weights or store.

    Args:
        ctx: of the command.
        stage: whose options these are.
        options: name of a field -> value, typed or not.
        aloud: say on stderr what was chosen, and why.
    """
    from ..stages.defaults import choose

    preset = ctx.meta.get(ASKED)
    # What a preset of the paper sets counts as typed; our own recipes are fitted to the number of videos.
    untyped = {ParameterSource.DEFAULT, *((ParameterSource.DEFAULT_MAP,) if preset in RECIPES else ())}
    typed = {name: own for name, own in options.items() if ctx.get_parameter_source(name) not in untyped}
    if preset in RECIPES:
        typed["preset"] = preset
    chosen = choose(stage, typed, progress=progress_shown())
    for sentence in chosen.said if aloud else ():
        click.echo(spelled(sentence, option_name), err=True)  # stdout is for the result alone
    return options | chosen.values
