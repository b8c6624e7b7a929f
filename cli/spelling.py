"""How the command line spells the library's settings: options have the names of fields, or a plainer word for them."""

import re

import click

from ..stages.words import ABBREVIATIONS, WORDS

# Options that used to have another name: whoever types it is told the new one, in every command that has that.
FORMER_NAMES = {
    "--aggregators": "--aggregator",
    "--batch-size": "--batch",
    "--crop": "--size",
    "--output": "--out",
    "--patterns": "--pattern",
}
# Where the new name is another than elsewhere.
FORMER_NAMES_OF = {("evaluate", "--batch-size"): "--videos-at-once"}
# Options that have a short form, the same in every command.
SHORT_FORMS = {"--out": "-o"}
# Fields that the reasons why a video failed may name. Stores and runs keep reasons with Python's names.
FIELDS_IN_REASONS = ("max_pixels",)
_IN_REASON = re.compile(rf"\b({'|'.join(FIELDS_IN_REASONS)})(?= [\d,]+)")


def option_name(field: str) -> str:
    """Return the option that sets the field of that name, such as ``--val-fraction``."""
    return f"--{WORDS.get(field, field).replace('_', '-')}"


def reason_text(reason: str) -> str:
    """Return why a video failed, as it was kept, with options in the place of the fields that it names."""
    return _IN_REASON.sub(lambda found: option_name(found[1]), reason)


def declared(field: str) -> tuple[str, ...]:
    """Return how an option for ``field`` is written, its short form first."""
    name = option_name(field)
    return (SHORT_FORMS[name], name) if name in SHORT_FORMS else (name,)


def known_otherwise(command: click.Command, typed: str) -> str | None:
    """Return what to type for an option that ``command`` does not have by this name; None if that is unknown.

    It may have had the name once, have it in Python or in other programs, or be an argument, which is typed without.
    """
    named = {name: own for own in command.params for name in own.opts}
    former = FORMER_NAMES_OF.get((str(command.name), typed)) or FORMER_NAMES.get(typed)
    if former in named:
        return f"{typed} is called {former} now."
    field = typed.removeprefix("--").replace("-", "_")
    field = ABBREVIATIONS.get(field, field)
    for own in command.params:
        if own.name == field and isinstance(own, click.Option):
            return f"{typed} is called {own.opts[-1]} here."
        if isinstance(own, click.Argument) and typed in (f"--{own.name}", *_output_options(own)):
            return f"{own.human_readable_name} is typed here without an option before it."
    return None


def _output_options(own: click.Argument) -> tuple[str, ...]:
    return ("--out", "-o", "--output") if own.name in ("out", "output") else ()
