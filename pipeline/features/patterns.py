"""Patterns: which clips of a video the expensive backbone sees, and which the cheap one."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError, named

EXPENSIVE, CHEAP = "expensive", "cheap"
ROLES = (EXPENSIVE, CHEAP)
# name -> (num_expensive, num_cheap) of `Pattern`.
NAMES = {"first": (1, None), "all-expensive": (1, 0), "all-cheap": (0, 1)}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rule that makes each of N clips expensive or cheap; make it with `Pattern.parse`.

    Source: Zhu et al., FASTER (AAAI 2020), "Better accuracy/FLOPs trade-offs": ``1:3`` is one expensive clip, then
    three cheap ones, and so on to the last clip.

    Attributes:
        num_expensive: clips at the head of each period that are expensive.
        num_cheap: cheap clips after them; None = all the rest of the video, once.
    """

    num_expensive: int
    num_cheap: int | None

    def __new__(cls, *fields: object, **_: object) -> "Pattern":
        """Return an empty pattern, which `__init__` fills.

        Raises:
            SettingsError: if it is to be made of text, which `parse` reads.
        """
        if fields and isinstance(fields[0], str):
            raise SettingsError(f"a Pattern is read from text by Pattern.parse({fields[0]!r})")
        return object.__new__(cls)

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Return the pattern written as ``E:C``, ``first``, ``all-expensive`` or ``all-cheap``.

        Raises:
            SettingsError: if ``text`` is none of these.
        """
        if text in NAMES:
            return cls(*NAMES[text])
        match = re.fullmatch(r"([1-9][0-9]{0,5}):([1-9][0-9]{0,5})", text)
        if match is None:
            raise SettingsError(
                f"{named('pattern')} must be E:C with whole numbers from 1 (as 1:3) or one of "
                f"{', '.join(NAMES)}; got {text!r}. For only the first clip expensive, write 'first'"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        """Return what `parse` takes."""
        names = {fields: name for name, fields in NAMES.items()}
        return names.get((self.num_expensive, self.num_cheap)) or f"{self.num_expensive}:{self.num_cheap}"

    def expensive(self, num_clips: int) -> npt.NDArray[np.bool_]:
        """Return (N,) bool: True where a video's clip, by its place from 0, is expensive."""
        places = np.arange(num_clips)
        if self.num_cheap is None:
            return places < self.num_expensive
        return places % (self.num_expensive + self.num_cheap) < self.num_expensive

    def roles(self, num_clips: int) -> tuple[str, ...]:
        """Return the role of each of a video's clips, by its place."""
        return tuple(EXPENSIVE if expensive else CHEAP for expensive in self.expensive(num_clips))


_AND = "+"  # between the patterns of several extractions


def joined_name(stored: str, asked: str, *, num_clips: int) -> str:
    """Return the name of what two patterns, each perhaps a joined name, make expensive together.

    That is the wider one if it makes all clips expensive that the other does; otherwise both, as ``1:1+2:2``.
    """
    before, now = joined_clips(stored, num_clips), joined_clips(asked, num_clips)
    if not (now & ~before).any():
        return stored
    if not (before & ~now).any():
        return asked
    return _AND.join(sorted({*stored.split(_AND), *asked.split(_AND)}))


def joined_clips(name: str, num_clips: int) -> npt.NDArray[np.bool_]:
    """Return (N,) bool: which clips the patterns of a joined name make expensive."""
    return np.any([Pattern.parse(own).expensive(num_clips) for own in name.split(_AND)], axis=0)


def joined_patterns(name: str) -> list[Pattern]:
    """Return the patterns of a joined name."""
    return [Pattern.parse(own) for own in name.split(_AND)]
