"""How pixels are prepared for a backbone: part of its weights file, and of every store's provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How pixels are prepared for a backbone: as they were for its training.

    Attributes:
        short_side: pixels of the shorter side after resizing, at test time.
        crop: side in pixels of the square that the backbone sees, at most ``short_side``.
        mean: per channel (red, green, blue), of values in [0, 1]. Source: the usual figures of Kinetics, as in VMZ.
        std: the same for the standard deviation, positive.
    """

    short_side: int = 256
    crop: int = 224
    mean: Triple = (0.43216, 0.394666, 0.37645)
    std: Triple = (0.22803, 0.22145, 0.216989)

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.short_side:
            raise SettingsError(
                f"crop must lie between 1 and short_side; got crop={self.crop}, short_side={self.short_side}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise SettingsError(f"mean and std need three values, std positive; got {self.mean} and {self.std}")


def preprocessing_for(crop: int) -> Preprocessing:
    """Return the preprocessing of a network trained from scratch at ``crop`` pixels: 256 to 224, in proportion."""
    return Preprocessing(crop=crop, short_side=round(crop * 256 / 224))


def parse_preprocessing(fields: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing from its fields as they are in JSON.

    Raises:
        KeyError, TypeError: if a field is missing or of another kind.
        SettingsError: if a value is out of range.
    """
    return Preprocessing(
        short_side=fields["short_side"], crop=fields["crop"], mean=tuple(fields["mean"]), std=tuple(fields["std"])
    )
