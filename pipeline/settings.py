"""Settings: frozen dataclasses whose fields state their purpose, their range and their default.

This is stated once, in the library: the command line generates its options from the fields, and errors name the field.
"""

import dataclasses
import json
import math
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

from .errors import SettingsError, named

KEY = "vidpipe"  # of our entry in a field's metadata
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")  # a sha256, of which the beginning is enough
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a field of settings says about itself.

    Attributes:
        help: what it is for, in one sentence without its default.
        choices: the only values, if they are few.
        at_least: the smallest value.
        above: a bound below every value.
        at_most: the largest value.
        below: a bound above every value.
        unit: of the bounds, for messages ("pixels").
        unset: what None stands for.
        metavar: how a value is written, if its type does not show it.
        must: what a value must be, in words that follow "must be", if the bounds do not make good ones.
        advice: what to do about a value that is refused.
        names: "module:REGISTRY" of the library, if the value is a name in it.
        commas: whether several values are written as one, separated by commas.
    """

    help: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    unit: str = ""
    unset: str = ""
    metavar: str | None = None
    must: str = ""
    advice: str = ""
    names: str = ""
    commas: bool = False

    def allows(self, value: Any) -> bool:
        """Return whether ``value`` is allowed; NaN never is."""
        if self.choices:
            return value in self.choices
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
            # Every comparison with NaN is false, so without a bound it would pass.
            and not (isinstance(value, float) and math.isnan(value))
        )

    @property
    def constraint(self) -> str:
        """What a value must be, in words that follow "must be"."""
        if self.must:
            return self.must
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        bounds = (self.at_least, self.above, self.at_most, self.below)
        lower = self.at_least if self.at_least is not None else self.above
        upper = self.at_most if self.at_most is not None else self.below
        unit = f" {self.unit}" if self.unit else ""
        if lower is not None and upper is not None and upper != math.inf:
            brackets = "[" if bounds[0] is not None else "(", "]" if bounds[2] is not None else ")"
            if brackets == ("[", "]"):
                return f"from {lower} to {upper}{unit}"
            return f"in {brackets[0]}{lower}, {upper}{brackets[1]}{unit}"
        if lower is not None:
            return f"{'at least' if bounds[0] is not None else 'greater than'} {lower}{unit}"
        return f"{'at most' if bounds[2] is not None else 'less than'} {upper}{unit}"


def setting(
    *,
    default: Any = MISSING,
    help: str,  # noqa: A002
    factory: Callable[[], Any] | None = None,
    choices: Sequence[str] = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    unit: str = "",
    unset: str = "",
    metavar: str | None = None,
    must: str = "",
    advice: str = "",
    names: str = "",
    commas: bool = False,
) -> Any:
    """Return a field of settings.

    ``default`` is its value if none is given, or ``factory`` makes it; without either, the field is required. `Facts`
    explains the other arguments.
    """
    facts = Facts(
        help=help,
        choices=tuple(choices),
        at_least=at_least,
        above=above,
        at_most=at_most,
        below=below,
        unit=unit,
        unset=unset,
        metavar=metavar,
        must=must,
        advice=advice,
        names=names,
        commas=commas,
    )
    metadata = {KEY: facts}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting, field))
def settings(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen dataclass of settings, whose docstring lists its fields."""
    # The docstring is made from the fields, so that their texts are written only once.
    made = dataclass(frozen=True, kw_only=True, slots=True)(cls)
    lines = (f"    {name}: {_sentence(own)}" for name, own in facts_of(made))
    made.__doc__ = "\n".join([(made.__doc__ or "").rstrip(), "", "Attributes:", *lines])
    return made


def facts_of(kind: type) -> Iterator[tuple[str, Facts]]:
    """Yield the name of each field of settings, in order, and what it says about itself."""
    for own in dataclasses.fields(kind):
        if KEY in own.metadata:
            yield own.name, own.metadata[KEY]


def nested_settings(kind: type) -> dict[str, type]:
    """Return name -> kind of those fields of ``kind`` that are settings themselves."""
    hints = typing.get_type_hints(kind)
    names = [own.name for own in dataclasses.fields(kind)]
    return {name: hints[name] for name in names if dataclasses.is_dataclass(hints[name]) and any(facts_of(hints[name]))}


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return settings made from flat ``values``, in which fields of nested settings stand beside the others.

    Fields of nested settings that are not given keep the defaults of ``kind``. Values with other names are ignored.

    Raises:
        SettingsError: if a value is refused.
    """
    nested, made = nested_settings(kind), {}
    for own in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]: every kind is a dataclass
        if own.name in values:
            made[own.name] = values[own.name]
        elif own.name in nested:
            default = None if own.default_factory is dataclasses.MISSING else own.default_factory()
            made[own.name] = _changed(nested[own.name], default, values)
    return kind(**made)


def _changed(kind: type, default: Any, values: Mapping[str, Any]) -> Any:
    """Return ``default``, or fresh settings of ``kind``, changed by those ``values`` that are its fields."""
    if default is None:
        return build(kind, values)
    known = {own.name for own in dataclasses.fields(kind)}
    inner = {
        name: _changed(own, getattr(default, name), values)
        for name, own in nested_settings(kind).items()
        if name not in values
    }
    return dataclasses.replace(default, **inner, **{name: value for name, value in values.items() if name in known})


def flat_types(kind: type) -> dict[str, Any]:
    """Return name -> type of the values that `build` takes for ``kind``."""
    hints, nested, found = typing.get_type_hints(kind), nested_settings(kind), {}
    for own in dataclasses.fields(kind):
        found |= flat_types(nested[own.name]) if own.name in nested else {own.name: hints[own.name]}
    return found


def recorded_names(kind: type, *, at: str = "") -> dict[str, str]:
    """Return dotted name -> field, for all fields of ``kind`` and of the settings in it, as `asdict` nests them."""
    nested, found = nested_settings(kind), {}
    for own in dataclasses.fields(kind):
        name = f"{at}{own.name}"
        found |= recorded_names(nested[own.name], at=f"{name}.") if own.name in nested else {name: own.name}
    return found


def check_fields(given: Any) -> None:
    """Check every field of settings against its own bounds; None is not checked.

    Raises:
        SettingsError: for the first that is broken, naming the field, its constraint and what was given.
    """
    for name, facts in facts_of(type(given)):
        value = getattr(given, name)
        if isinstance(value, Path) and "\0" in str(value):
            raise SettingsError(f"{named(name)} must not hold a NUL character; got {str(value)!r}")
        bounded = facts.choices or any(
            bound is not None for bound in (facts.at_least, facts.above, facts.at_most, facts.below)
        )
        if value is not None and bounded and not facts.allows(value):
            advice = f". {facts.advice}" if facts.advice else ""
            must = "finite" if value == facts.below == math.inf else facts.constraint
            raise SettingsError(f"{named(name)} must be {must}; got {value!r}{advice}")


def differing(have: Any, asked: Any, *, absent: Any = None, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, value of ``have``, value of ``asked``) for each field in which two nested JSON values differ.

    ``absent`` stands for a field that only the other of them has.
    """
    if isinstance(have, Mapping) and isinstance(asked, Mapping):
        for key in [*have, *(key for key in asked if key not in have)]:
            name = f"{at}.{key}" if at else str(key)
            yield from differing(have.get(key, absent), asked.get(key, absent), absent=absent, at=name)
    elif have != asked:
        yield at, have, asked


def describe_differences(have: Any, asked: Any, *, options: Mapping[str, str] | None = None) -> list[str]:
    """Return a phrase for each field of two nested JSON values that differs.

    Args:
        have: what is there.
        asked: what should be.
        options: dotted name -> the field by which a user sets it; other fields stand under their dotted name.
    """
    fields = {name: named(field) for name, field in (options or {}).items()}
    found = (
        f"{fields.get(name, name)} is {_shorten(old)} there, {_shorten(new)} here"
        for name, old, new in differing(have, asked)
    )
    return list(dict.fromkeys(found))  # one setting may stand in two places


def _shorten(value: Any, *, limit: int = 120) -> str:
    text = _DIGEST.sub(r"\1…", json.dumps(value))
    return text if len(text) <= limit else text[:limit] + "…"


def _sentence(facts: Facts) -> str:
    return f"{facts.help} None: {facts.unset}." if facts.unset else facts.help
