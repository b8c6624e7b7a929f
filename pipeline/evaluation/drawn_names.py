"""Names of classes and runs in pictures: drawn as they are where this machine's fonts can, and numbered otherwise."""

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib import ft2font
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font

BASE_FONT = "DejaVu Sans"  # comes with matplotlib
_LONGEST = 28  # columns of a name that is written whole
_TAIL = 12  # columns of its end that a shortened name keeps: names often differ there
# Blocks whose letters are joined, moved or stacked: India's and its neighbours', Tibetan, Burmese, Khmer, Mongolian.
_STACKED = ((0x0900, 0x0DFF), (0x0E31, 0x109F), (0x1780, 0x18AF))
_RIGHT_TO_LEFT = ("R", "AL", "AN")
# What makes one picture of several characters, which only fonts with colours have: joiner, flags, tones, keycap.
_COMPOSING = ((0x200D, 0x200D), (0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF), (0x20E3, 0x20E3))
_INVISIBLE = ((0xFE00, 0xFE0F), (0x200B, 0x200F), (0x2060, 0x2064))  # no font needs to have them
# Control, unpaired surrogate, unassigned, private, separators of lines and paragraphs.
_NO_CHARACTERS = ("Cc", "Cs", "Cn", "Co", "Zl", "Zp")
_BOX = "\u25a1"
_BOXES = "Last Resort"  # begins the names of fonts that come with matplotlib and have a box for any character


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnNames:
    """What to write in a picture for each of some names.

    Attributes:
        shown: per name, the name, the name shortened in the middle, or its number.
        fonts: families to look for characters in, in this order.
        numbered: places of the names that are only a number, from 0; the number itself counts from 1.
    """

    shown: tuple[str, ...]
    fonts: tuple[str, ...]
    numbered: tuple[int, ...]


def drawn_names(names: Sequence[str]) -> DrawnNames:
    """Return how to write ``names``, all different, so that each can be told from the others.

    A name is numbered if no font of this machine has all its characters, or if drawing it takes a layout of letters
    that the installed matplotlib lacks (Arabic, Hindi and others before 3.11), or composed emoji.
    """
    fonts = fonts_for(character for name in names for character in name)
    able = frozenset[int]().union(*map(_characters, fonts))
    numbered = tuple(place for place, name in enumerate(names) if not _is_drawable(name, able))
    short = [shorten(name) for name in names]
    alike = {own for own in short if short.count(own) > 1} if len(set(short)) < len(short) else set[str]()
    shown = [f"{place + 1} {own}" if own in alike else own for place, own in enumerate(short)]
    for place in numbered:
        shown[place] = number_of(place)
    return DrawnNames(shown=tuple(shown), fonts=fonts, numbered=numbered)


def drawn_title(title: str) -> tuple[str, tuple[str, ...]]:
    """Return a title with a box for each character that this machine cannot draw, and the families that it needs."""
    fonts = fonts_for(title)
    able = frozenset[int]().union(*map(_characters, fonts))
    return "".join(own if own == "\n" or _is_drawable(own, able) else _BOX for own in title), fonts


def number_of(place: int) -> str:
    """Return what stands for the name at ``place``, from 0, where it is not written itself."""
    return f"no. {place + 1}"


def shorten(name: str, *, longest: int = _LONGEST) -> str:
    """Return a name that takes at most ``longest`` columns, with an ellipsis for its middle if it is longer."""
    if columns(name) <= longest:
        return name
    head, tail = 0, len(name)
    while columns(name[: head + 1]) <= longest - _TAIL - 1:
        head += 1
    while columns(name[tail - 1 :]) <= _TAIL:
        tail -= 1
    return f"{name[:head].rstrip()}…{name[tail:].lstrip()}"


def columns(text: str) -> int:
    """Return how many letters wide a text is: Chinese characters and emoji count twice, accents not at all."""
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def fonts_for(characters: Iterable[str]) -> tuple[str, ...]:
    """Return families that have the ``characters``, as far as this machine has any, the usual one first."""
    drawable = (own for own in set(characters) if unicodedata.category(own) not in _NO_CHARACTERS)
    wanted = {ord(own) for own in drawable if not _lies_in(ord(own), _INVISIBLE)}
    fonts, left = [BASE_FONT], wanted - _characters(BASE_FONT)
    # A font that has the most of what is left, again and again; by name, so that equal ones are chosen alike.
    while left and (found := max(_families(), key=lambda name: len(left & _characters(name)), default="")):
        if not left & _characters(found):
            break
        fonts.append(found)
        left -= _characters(found)
    return tuple(fonts)


def _is_drawable(name: str, able: frozenset[int]) -> bool:
    codes = [ord(own) for own in name]
    if any(unicodedata.category(own) in _NO_CHARACTERS for own in name) or any(_lies_in(c, _COMPOSING) for c in codes):
        return False
    if not _lays_out() and any(map(_needs_layout, name)):
        return False
    return all(code in able or _lies_in(code, _INVISIBLE) for code in codes)


def _needs_layout(character: str) -> bool:
    return unicodedata.bidirectional(character) in _RIGHT_TO_LEFT or _lies_in(ord(character), _STACKED)


def _lays_out() -> bool:
    """Return whether the installed matplotlib joins and orders letters: from 3.11 on it has libraqm for that."""
    return hasattr(ft2font, "__libraqm_version__")


def _lies_in(code: int, blocks: Sequence[tuple[int, int]]) -> bool:
    return any(first <= code <= last for first, last in blocks)


@functools.cache
def _families() -> tuple[str, ...]:
    """Return the machine's families that have an upright face of usual weight in plain outlines, sorted."""
    return tuple(sorted({entry.name for entry in fontManager.ttflist if _is_plain(entry)}))


def _is_plain(entry: FontEntry) -> bool:
    # Fonts with colours have pictures in place of outlines, which matplotlib does not draw.
    is_usual = entry.style == "normal" and entry.weight in (400, "normal", "regular", "book")
    return is_usual and "Color" not in entry.name and not entry.name.startswith(_BOXES)


@functools.cache
def _characters(family: str) -> frozenset[int]:
    """Return the code points that a family has; none if it cannot be read."""
    try:
        font = get_font(findfont(FontProperties(family=[family]), fallback_to_default=False))
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):  # a damaged file must not cost a picture
        return frozenset()
