"""A dictionary of named builders that refuses duplicates and explains unknown names."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from .errors import SettingsError


class Described(Protocol):
    """An entry with a one-line description."""

    @property
    def summary(self) -> str:
        """One line, without a full stop, for lists and help texts."""
        ...


T = TypeVar("T")
D = TypeVar("D", bound=Described)
_SHOWN_NAMES, _NEAREST = 20, 6
_LIKE_ENOUGH, _AS_LIKE = 0.65, 0.02  # of difflib's measure, in which 1 is the same
_WITHIN, _OF_PART, _LONG, _MOST_MEANT = 0.7, 0.9, 4, 3
_SEPARATORS = re.compile(r"[\W_]+")


def nearest(word: str, known: Iterable[str], *, least: float = _LIKE_ENOUGH) -> list[str]:
    """Return those of ``known`` that someone who typed ``word`` is likely to mean: mostly none or one.

    Case, hyphens, underscores and the like do not count. Names are also known by one of their parts.

    Args:
        word: what was typed.
        known: what could have been.
        least: how like a name must be, in (0, 1]; 1 is the same.
    """
    typed = _plain(word)
    likeness = {name: _likeness(typed, name) for name in known}
    best = max(likeness.values(), default=0.0)
    if best < least:
        return []
    return [name for name, own in likeness.items() if own > best - _AS_LIKE][:_MOST_MEANT]


def _likeness(typed: str, name: str) -> float:
    """Return how much a name is like what was typed, 1 for the same."""
    whole = _plain(name)
    found = _ratio(typed, whole)
    if len(typed) >= _LONG and len(whole) >= _LONG and (typed in whole or whole in typed):
        found = max(found, _WITHIN)  # difflib finds these too different in length
    parts = [part for part in map(_plain, _SEPARATORS.split(name)) if len(part) >= _LONG and part != whole]
    return max([found, *(_OF_PART * _ratio(typed, part) for part in parts)])


def _ratio(typed: str, name: str) -> float:
    return difflib.SequenceMatcher(None, typed, name).ratio()


def did_you_mean(word: str, known: Iterable[str], *, begin: str = "; did") -> str:
    """Return a question that names the likely ones of ``known``; empty if none is like ``word``.

    Args:
        word: what was typed.
        known: what could have been.
        begin: how the question begins: as a part of a sentence, or with `` Did`` as one of its own.
    """
    found = nearest(word, known)
    return f"{begin} you mean {' or '.join(found)}?" if found else ""


def _plain(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())


class Registry(Generic[T]):
    """Named builders of one kind of thing.

    Args:
        kind: what the entries are, in the singular, for messages ("backbone").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._resolvers: list[Callable[[str], T | None]] = []

    def resolve(self, resolver: Callable[[str], T | None]) -> None:
        """Have names that are not registered answered by ``resolver``, which gives None for those it does not know.

        It serves names with parameters, and those of another library: `names` does not list them.
        """
        self._resolvers.append(resolver)

    def _find(self, name: str) -> T | None:
        """Return the entry called ``name``, registered or resolved; None if there is none."""
        if name in self._entries:
            return self._entries[name]
        found = (resolver(name) for resolver in self._resolvers)
        return next((entry for entry in found if entry is not None), None)

    def add(self, name: str, entry: T) -> T:
        """Register ``entry`` under ``name``.

        Raises:
            ValueError: if the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers what it decorates under ``name``."""
        return lambda entry: self.add(name, entry)

    def __getitem__(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            SettingsError: if there is none; the message lists the known names, or the nearest if there are very many.
        """
        entry = self._find(name)
        if entry is None:
            known = self.names()
            listed = f"known: {', '.join(known)}"
            if len(known) > _SHOWN_NAMES:
                like = difflib.get_close_matches(name, known, n=_NEAREST, cutoff=0.0)
                listed = f"of {len(known)} the nearest: {', '.join(like)}"
            question = did_you_mean(name, known)
            listed = f"{question} {listed[0].upper()}{listed[1:]}" if question else f"; {listed}"
            raise SettingsError(f"there is no {self.kind} {name!r}{listed}")
        return entry

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        return sorted(self._entries)

    def in_order(self) -> list[str]:
        """Return the known names in the order in which they were registered."""
        return list(self._entries)


def summaries(registry: Registry[D]) -> dict[str, str]:
    """Return name -> one line of what it is, in the order in which they were registered."""
    return {name: registry[name].summary for name in registry.in_order()}
