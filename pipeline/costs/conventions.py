"""What counts as an operation."""

from dataclasses import dataclass

from ..errors import SettingsError, named


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """What counts as an operation; publications differ, and rarely say.

    Attributes:
        per_mac: operations per multiply-accumulate.
        per_normalised: operations per element that passes a batch norm.
        unit: 10^9 of them, in words.
    """

    per_mac: int
    per_normalised: int
    unit: str


# "mac" is what the FASTER paper and fvcore call FLOPs; "mac+bn" is what mmaction2 does.
CONVENTIONS: dict[str, Convention] = {
    "mac": Convention(per_mac=1, per_normalised=0, unit="GMACs"),
    "mac+bn": Convention(per_mac=1, per_normalised=2, unit="GMACs, batch norm counted at 2 an element"),
    "flop": Convention(per_mac=2, per_normalised=0, unit="GFLOPs, 2 for each multiply-accumulate"),
}


def find_convention(name: str) -> Convention:
    """Return the convention called ``name``.

    Raises:
        SettingsError: if there is none.
    """
    if name not in CONVENTIONS:
        raise SettingsError(f"{named('convention')} must be one of {', '.join(CONVENTIONS)}; got {name!r}")
    return CONVENTIONS[name]
