"""Options generated from the library's settings: name, type, default, choices and help are stated only there."""

import dataclasses
import functools
import importlib
import types
import typing
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from ..pipeline.errors import VidpipeError, renamed
from ..pipeline.manifests.locations import local_path
from ..pipeline.registry import did_you_mean
from ..pipeline.settings import KEY, Facts, nested_settings
from .spelling import declared, option_name

F = TypeVar("F", bound=Callable[..., Any])
_UNSAID = dataclasses.MISSING

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


def setting_options(
    kind: type,
    *,
    leave_out: Container[str] = (),
    words: Mapping[str, str] | None = None,
    recipes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Return a decorator that gives a command an option for each field of the settings ``kind``.

    Fields that are settings themselves contribute their own fields. Parameters have the names of fields, as
    `vidpipe.pipeline.settings.build` expects.

    Args:
        kind: settings of the library.
        leave_out: fields that the command line does not offer, or offers in another way.
        words: field -> its help, where a command can say more than the field.
        recipes: name of a recipe -> its values, if which one applies is found out later; for the help.
    """
    offered = [own for own in _fields(kind, _UNSAID) if own[0].name not in leave_out]
    options = [_option(*own, words=(words or {}).get(own[0].name), recipes=recipes or {}) for own in offered]
    # Decorators apply from the last to the first, and help should list options in the order of the fields.
    return lambda command: functools.reduce(lambda made, add: add(made), reversed(options), command)


def _fields(kind: type, made: Any) -> Iterator[tuple[dataclasses.Field, Any, Any]]:
    """Yield (field, its type, its default), with nested settings' fields in the place of theirs."""
    hints, nested = typing.get_type_hints(kind), nested_settings(kind)
    for own in dataclasses.fields(kind):
        default = _default(own) if made is _UNSAID else getattr(made, own.name)
        if own.name in nested:
            yield from _fields(nested[own.name], default)
        elif KEY in own.metadata:
            yield own, hints[own.name], default


def _default(own: dataclasses.Field) -> Any:
    return own.default if own.default_factory is dataclasses.MISSING else own.default_factory()


def _option(
    own: dataclasses.Field, hint: Any, default: Any, *, words: str | None, recipes: Mapping[str, Mapping[str, Any]]
) -> Callable[[F], F]:
    facts: Facts = own.metadata[KEY]
    facts = facts if words is None else dataclasses.replace(facts, help=words, unset="")
    plain, many = _plain_type(hint)
    name = option_name(own.name)
    if plain is bool:
        both = f"{name}/--no-{name[2:]}" if default else name
        return click.option(both, own.name, is_flag=True, help=facts.help, default=default, show_default=default)
    traits: dict[str, Any] = {"help": facts.help, "metavar": facts.metavar, "multiple": many and not facts.commas}
    if default is _UNSAID:
        traits["required"] = True
    elif default not in (None, ()):
        traits |= {"default": default, "show_default": not facts.commas}
    elif facts.commas:
        traits |= {"default": (), "show_default": False}
    by_recipe = {recipe: values[own.name] for recipe, values in recipes.items() if own.name in values}
    traits = {"show_default": True, **traits}
    traits |= {"cls": _SettingOption, "facts": facts, "recipes": by_recipe, "type": _click_type(plain, facts)}
    return click.option(*declared(own.name), own.name, **traits)


class _SettingOption(click.Option):
    """An option whose help lists the possible names, and says what applies if nobody, not even a preset, gives it."""

    def __init__(self, *declarations: Any, facts: Facts, recipes: Mapping[str, Any], **words: Any) -> None:
        super().__init__(*declarations, **words)
        self.facts = facts
        self.recipes = recipes

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help, for the overview."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        words = record[1]
        if self.facts.names:
            words = words.replace(
                self.facts.help, f"{self.facts.help} One of {', '.join(_registered(self.facts.names))}."
            )
        if self.facts.commas and isinstance(self.default, tuple) and self.default:
            words = f"{words}  [default: {','.join(map(str, self.default))}]"
        asked = {} if ctx.default_map is None else ctx.default_map
        if len(set(self.recipes.values())) > 1 and self.name not in asked:
            each = ", ".join(f"{name} {value}" for name, value in self.recipes.items())
            words = words.replace(f"[default: {self.default}]", f"[default: {each}]")
        if self.facts.unset and "[default: " not in words:  # what click adds if there is a default
            words = f"{words}  [default: {self.facts.unset}]"
        return record[0], words


def _registered(place: str) -> list[str]:
    """Return the names in a registry of the library; it is loaded, and torch with it, only for --help."""
    module, name = place.split(":")
    return list(getattr(importlib.import_module(f"vidpipe.pipeline.{module}"), name))


def _plain_type(hint: Any) -> tuple[Any, bool]:
    """Return the type of one value, and whether there may be several: ``tuple[Path, ...]`` is (Path, True)."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _click_type(plain: Any, facts: Facts) -> click.ParamType | type:
    if facts.choices:
        return NearChoice(facts.choices)
    if facts.commas:
        return _Listed(plain)
    if plain is Path:
        return LocalPath()
    return _Parsed(plain) if hasattr(plain, "parse") else plain


class NearChoice(click.Choice[str]):
    """A choice that says which of the values is near to one that it refuses."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the refusal of ``value``."""
        return super().get_invalid_choice_message(value, ctx) + did_you_mean(str(value), self.choices, begin=" Did")


class LocalPath(click.Path):
    """A path as people write it: `~/` is the home folder even where the shell leaves it, and `file://` is read."""

    def __init__(self, **checks: bool) -> None:
        super().__init__(path_type=Path, **checks)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, checked as `click.Path` does."""
        try:
            return super().convert(local_path(value) if isinstance(value, str) else value, param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Parsed(click.ParamType):
    """A value whose class reads it from text, with ``parse``."""

    name = "text"

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value that the text ``value`` stands for."""
        if isinstance(value, self.kind):
            return value
        try:
            return _named_as(param, self.kind.parse, value)
        except VidpipeError:
            raise  # it already names the setting, which click would do once more
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _named_as(param: click.Parameter | None, parse: Callable[[str], Any], text: str) -> Any:
    """Return what ``text`` says; a refusal names the option that was typed, whatever the parser's own word for it."""
    try:
        return parse(text)
    except VidpipeError as error:
        if param is None or param.name is None:
            raise
        raise type(error)(renamed(error.marked, param.name)) from error


class _Listed(click.ParamType):
    """Values separated by commas."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.name = "N,N,…" if kind is int else "A,B,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the values, as a tuple."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        if self.kind is not int:
            return tuple(_named_as(param, getattr(self.kind, "parse", str), word) for word in words)
        try:
            return tuple(map(int, words))
        except ValueError:
            self.fail(f"must be whole numbers separated by commas, as 2,4,8; got {value!r}", param, ctx)
