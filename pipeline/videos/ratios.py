"""Rates, aspect ratios and time bases as fractions, whichever version of PyAV gives them."""

from fractions import Fraction
from typing import Protocol


class _Ratio(Protocol):
    """What PyAV gives for a ratio: up to 18 a `Fraction` or None, from 19 on an `av.AVRational`."""

    @property
    def numerator(self) -> int: ...

    @property
    def denominator(self) -> int: ...


def fraction(ratio: _Ratio | None) -> Fraction | None:
    """Return a rate, aspect ratio or time base of PyAV's; None if the file gives none, or one without a value.

    An `av.AVRational` may be 0/0 or 1/0, and rounds what is worked out with it, so none leaves this door.
    """
    return Fraction(ratio.numerator, ratio.denominator) if ratio else None
