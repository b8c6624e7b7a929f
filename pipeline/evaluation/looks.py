"""What methods look like in pictures: the same colour and marker everywhere, whatever else is drawn.

The colours are Okabe and Ito's, a brown, and Tol's indigo, which colour-blind readers can tell apart. Two methods that
share one differ by their marker, its filling and their line.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from matplotlib import colormaps
from matplotlib.colors import to_hex

Dash = Literal["", "-", "--", ":", "-."]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B", "#332288")
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, BROWN, INDIGO = COLOURS
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.")
GREY = "#777777"  # of what is no method: baselines, fronts, keys
BACKBONE, PROBE = "backbone", "probe"  # methods that are no aggregators


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How a method is drawn.

    Attributes:
        colour: as hexadecimal RGB.
        marker: matplotlib's letter.
        is_hollow: whether markers are white inside, to tell it from another method of this colour.
    """

    colour: str
    marker: str
    is_hollow: bool = False

    @property
    def dash(self) -> Dash:
        """Of its lines, where nothing else decides."""
        return "--" if self.is_hollow else "-"

    @property
    def filling(self) -> str:
        """The colour inside its markers."""
        return "white" if self.is_hollow else self.colour


# By the names in `aggregators.registry`, and the two that are none.
LOOKS = {
    "fast-gru": Look(colour=VERMILLION, marker="o"),
    "fast-gru-pooled": Look(colour=VERMILLION, marker="o", is_hollow=True),
    "average": Look(colour=ORANGE, marker="s"),
    "max": Look(colour=ORANGE, marker="s", is_hollow=True),
    "lstm": Look(colour=GREEN, marker="^"),
    "multi-clip": Look(colour=GREEN, marker="^", is_hollow=True),
    "gru": Look(colour=SKY, marker="v"),
    "context-average": Look(colour=SKY, marker="v", is_hollow=True),
    "conv-gru": Look(colour=BLUE, marker="D"),
    "context-max": Look(colour=BLUE, marker="D", is_hollow=True),
    "concat": Look(colour=PURPLE, marker="P"),
    "memory": Look(colour=BLACK, marker="X"),
    "memory-residual": Look(colour=BLACK, marker="X", is_hollow=True),
    BACKBONE: Look(colour=BROWN, marker="<"),
    PROBE: Look(colour=INDIGO, marker=">"),
}


def colours_in_order(number: int) -> list[str]:
    """Return ``number`` colours from dark to light, for what has an order, as patterns by their expensive clips.

    They are those of cividis, which is made for colour-blind readers, without its lightest, and none of a method's.
    """
    return [to_hex(colormaps["cividis"](0.9 * place / max(number - 1, 1))) for place in range(number)]


def look_of(method: str) -> Look:
    """Return the look of a method; of one that is not in `LOOKS`, one that depends on nothing but its name."""
    if method in LOOKS:
        return LOOKS[method]
    number = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4], "big")
    return Look(colour=COLOURS[number % len(COLOURS)], marker=MARKERS[number // len(COLOURS) % len(MARKERS)])
