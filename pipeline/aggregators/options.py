"""An aggregator's own hyper-parameters: what it declares about each, and how given values are checked."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import SettingsError

Value = int | float | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One hyper-parameter; its type is that of its default.

    Attributes:
        default: its value when none is given.
        help: one line of what it does.
        least: the smallest number that it may be; None for no bound.
        greatest: the largest one, likewise.
        choices: the words that it may be; empty for a number, or for any word.
    """

    default: Value
    help: str
    least: float | None = None
    greatest: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """What it may be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = {int: "a whole number", float: "a number", str: "a word"}[type(self.default)]
        bounds = [(" of at least", self.least), (" of at most", self.greatest)]
        return kind + " and".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)

    def checked(self, value: Value, *, name: str) -> Value:
        """Return ``value`` in the option's own type.

        Raises:
            SettingsError: naming the option, its range and the value, if it is not allowed.
        """
        # `type(...) is`, not isinstance: True is an int, and must not pass for 1.
        if type(self.default) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default) or not self._allows(value):
            raise SettingsError(f"{name} must be {self.range}; got {value!r}")
        return value

    def _allows(self, value: Value) -> bool:
        if isinstance(value, str):
            return not self.choices or value in self.choices
        above = self.least is None or value >= self.least
        return math.isfinite(value) and above and (self.greatest is None or value <= self.greatest)


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A value given for one of an aggregator's own options."""

    name: str
    value: Value

    @classmethod
    def parse(cls, text: str) -> "NamedValue":
        """Return what NAME=VALUE says; a VALUE that reads as a number becomes one.

        Raises:
            ValueError: if ``text`` is not of that form.
        """
        name, equals, written = text.partition("=")
        if not (name and equals and written):
            raise ValueError(f"must be NAME=VALUE, as reduction=8; got {text!r}")
        # int first: float would take 8 too, and an option's type must be that of its default.
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return cls(name, kind(written))
        return cls(name, written)


def complete(given: Mapping[str, Value], *, declared: Mapping[str, Option], owner: str) -> dict[str, Value]:
    """Return the value of each declared option: as given, else its default.

    Args:
        given: name -> value.
        declared: name -> option.
        owner: whose options they are, for messages.

    Raises:
        SettingsError: for an option that is not declared (the message lists those that are), or a value not allowed.
    """
    unknown = [name for name in given if name not in declared]
    if unknown:
        known = f"it has {', '.join(declared)}" if declared else "it has none"
        raise SettingsError(f"{owner} has no option {unknown[0]!r}; {known}")
    return {name: own.checked(given.get(name, own.default), name=name) for name, own in declared.items()}
