"""Options made of the library's settings: name, type, default, choices and help stand at the fields, and only there."""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from ..pipeline.settings import KEY, Facts
from .spelling import option_name

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def setting_options(kind: type, *, leave_out: Container[str] = ()) -> Callable[[F], F]:
    """Return a decorator that gives a command an option for each field of the settings ``kind``.

    Fields that are settings themselves lend their fields. Parameters have the names of fields: see `build`.

    Args:
        kind: a dataclass made by `vidpipe.pipeline.settings.settings`.
        leave_out: fields that the command line does not offer, or offers in another way.
    """
    options = [_option(*own) for own in _fields(kind, _NO_DEFAULTS) if own[0].name not in leave_out]
    return lambda command: functools.reduce(lambda made, add: add(made), reversed(options), command)


def build(kind: type[T], options: Mapping[str, Any], **given: Any) -> T:
    """Return the settings of a command's parameters; what is ``given`` goes before them.

    Raises:
        SettingsError: if they refuse themselves.
    """
    values: dict[str, Any] = {}
    for own in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]: every kind is a dataclass
        nested = _nested(kind, own)
        if own.name in given:
            values[own.name] = given[own.name]
        elif nested is not None:
            values[own.name] = build(nested, options)
        elif own.name in options:
            values[own.name] = options[own.name]
    return kind(**values)


class _NoDefaults:
    """Where no settings are made yet, a field's default is its own."""


_NO_DEFAULTS = _NoDefaults()


def _fields(kind: type, made: Any) -> Iterator[tuple[dataclasses.Field, Any, Any]]:
    """Yield (field, its type, its default), those of nested settings in the place of their field."""
    hints = typing.get_type_hints(kind)
    for own in dataclasses.fields(kind):
        default = _default(own) if made is _NO_DEFAULTS else getattr(made, own.name)
        nested = _nested(kind, own)
        if nested is not None:
            yield from _fields(nested, default)
        elif KEY in own.metadata:
            yield own, hints[own.name], default


def _default(own: dataclasses.Field) -> Any:
    if own.default_factory is not dataclasses.MISSING:
        return own.default_factory()
    return own.default


def _nested(kind: type, own: dataclasses.Field) -> type | None:
    """Return the settings that a field holds, or None if it holds a plain value."""
    hint = typing.get_type_hints(kind)[own.name]
    is_settings = dataclasses.is_dataclass(hint) and any(KEY in part.metadata for part in dataclasses.fields(hint))
    return hint if is_settings else None  # pyright: ignore[reportReturnType]: a hint that is a dataclass is a type


def _option(own: dataclasses.Field, hint: Any, default: Any) -> Callable[[F], F]:
    facts: Facts = own.metadata[KEY]
    plain, many = _plain_type(hint)
    name = option_name(own.name)
    required = default is dataclasses.MISSING
    words: dict[str, Any] = {
        "help": _help(facts),
        "required": required,
        "multiple": many,
        "metavar": facts.metavar,
        "default": None if required or many else default,
        "show_default": not (required or many or default is None),
    }
    if plain is bool:
        both = f"{name}/--no-{name[2:]}" if default else name
        return click.option(both, own.name, is_flag=True, help=words["help"], default=default, show_default=default)
    return click.option(name, own.name, type=_click_type(plain, facts), **words)


def _help(facts: Facts) -> str:
    return f"{facts.help}  [default: {facts.unset}]" if facts.unset else facts.help


def _plain_type(hint: Any) -> tuple[Any, bool]:
    """Return the type of one value, and whether there may be several: ``tuple[Path, ...]`` is (Path, True)."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _click_type(plain: Any, facts: Facts) -> click.ParamType | type:
    if facts.choices:
        return click.Choice(facts.choices)
    if plain is Path:
        return click.Path(path_type=Path)
    return _Parsed(plain) if hasattr(plain, "parse") else plain


class _Parsed(click.ParamType):
    """A value whose class reads it from text, by ``parse``."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value that the text ``value`` stands for."""
        del param, ctx
        return value if isinstance(value, self.kind) else self.kind.parse(value)
