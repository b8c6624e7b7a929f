"""A dictionary of named builders that refuses duplicates and explains unknown names."""

import difflib
from collections.abc import Callable, Iterator
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


class Registry(Generic[T]):
    """Named builders of one kind of thing.

    Args:
        kind: what the entries are, in the singular, for messages ("backbone").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

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
        if name not in self._entries:
            known = self.names()
            if len(known) > _SHOWN_NAMES:
                nearest = difflib.get_close_matches(name, known, n=_NEAREST, cutoff=0.0)
                raise SettingsError(
                    f"there is no {self.kind} {name!r}; of {len(known)} the nearest: {', '.join(nearest)}"
                )
            raise SettingsError(f"there is no {self.kind} {name!r}; known: {', '.join(known)}")
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

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
