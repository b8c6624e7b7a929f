"""Settings: frozen dataclasses whose fields say what they are for, what they may be, and what they are by default.

That is said once, here in the library: the command line makes its options of the fields, and a refusal names the field.
"""

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar, dataclass_transform

from .errors import SettingsError, named

KEY = "vidpipe"  # of what a field's metadata holds for us
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a field of settings says of itself.

    Attributes:
        help: what it is for, in one sentence without its default.
        choices: the only values, if they are few.
        at_least: the smallest value.
        above: a bound below every value.
        at_most: the largest value.
        below: a bound above every value.
        unit: of the bounds, for messages ("pixels").
        unset: what None stands for.
        metavar: how a value is written, for types that do not say it.
        must: what a value must be, in words that follow "must be", where the bounds do not make good ones.
        advice: what to do about a value that may not be.
        names: "module:REGISTRY" of the library, if the value is one of its names.
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
        """Say whether ``value`` may be; NaN never may."""
        if self.choices:
            return value in self.choices
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
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

    ``default`` is its value if none is given, or ``factory`` makes it; without both, one has to be given. `Facts` says
    what the other arguments mean.
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
    made = dataclass(frozen=True, kw_only=True, slots=True)(cls)
    lines = (f"    {name}: {_sentence(own)}" for name, own in facts_of(made))
    made.__doc__ = "\n".join([(made.__doc__ or "").rstrip(), "", "Attributes:", *lines])
    return made


def facts_of(kind: type) -> Iterator[tuple[str, Facts]]:
    """Yield the name of each field of settings, in order, with what it says of itself."""
    for own in dataclasses.fields(kind):
        if KEY in own.metadata:
            yield own.name, own.metadata[KEY]


def nested_settings(kind: type) -> dict[str, type]:
    """Return, by name, the fields of ``kind`` that hold settings themselves, with their kinds."""
    hints = typing.get_type_hints(kind)
    names = [own.name for own in dataclasses.fields(kind)]
    return {name: hints[name] for name in names if dataclasses.is_dataclass(hints[name]) and any(facts_of(hints[name]))}


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return settings of flat ``values``: the fields of nested settings stand beside the others.

    What nested settings are not told stays as ``kind`` has it by default. Values of other names are passed over.

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
    """Return ``default``, or fresh settings of ``kind``, with those of ``values`` that are its fields."""
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
    """Return the names that `build` takes for ``kind``, with their types."""
    hints, nested, found = typing.get_type_hints(kind), nested_settings(kind), {}
    for own in dataclasses.fields(kind):
        found |= flat_types(nested[own.name]) if own.name in nested else {own.name: hints[own.name]}
    return found


def check_fields(given: Any) -> None:
    """Check every field of settings against its own bounds; None is let pass where it stands for something.

    Raises:
        SettingsError: at the first that does not hold, naming the field, its constraint and what was given.
    """
    for name, facts in facts_of(type(given)):
        value = getattr(given, name)
        bounded = facts.choices or any(
            bound is not None for bound in (facts.at_least, facts.above, facts.at_most, facts.below)
        )
        if value is not None and bounded and not facts.allows(value):
            advice = f". {facts.advice}" if facts.advice else ""
            raise SettingsError(f"{named(name)} must be {facts.constraint}; got {value!r}{advice}")


def _sentence(facts: Facts) -> str:
    return f"{facts.help} None: {facts.unset}." if facts.unset else facts.help
