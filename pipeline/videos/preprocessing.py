"""How pixels are prepared for a backbone: part of its weights file, and of every store's provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from ..errors import SettingsError
from .clip_rules import CLIP_RULES, STRIDE

Triple = tuple[float, float, float]

INTERPOLATIONS = ("bilinear", "bicubic")
ROUNDINGS = ("nearest", "down")
ACTIVATIONS = ("none", "softmax")
SLOW_FRAMES = ("every", "spread")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How a network's inputs and outputs are treated: as they were for its training, and at its source's tests.

    Fields that are not the first four are mentioned in records only where they differ from their defaults, so that
    files of before they existed keep their digests.

    Attributes:
        short_side: pixels of the shorter side after resizing, at test time.
        crop: side in pixels of the square that the backbone sees, at most ``short_side``.
        mean: per channel (red, green, blue), of values in [0, 1]. Source: the usual figures of Kinetics, as in VMZ.
        std: the same for the standard deviation, positive.
        squash: (height, width) in pixels to which pictures are resized whatever their aspect ratio; None: the shorter
            side becomes ``short_side``, and the ratio is kept.
        interpolation: of the resizing, one of ``INTERPOLATIONS``.
        antialias: whether shrinking averages over all pixels that it leaves out.
        rounding: of the longer side's pixels, one of ``ROUNDINGS``.
        bn_eps: what batch norms add to variances; None: as the family builds them.
        head_window: (frames, height, width) of the map over which the head averages, at every position; None: the whole
            map. A side longer than the map's is the map's.
        head_activation: what is applied at each position before positions are averaged, one of ``ACTIVATIONS``.
        clip_rule: which frames of a window a clip takes, one of ``CLIP_RULES``.
        slow_frames: which frames of a clip a slow path takes, one of ``SLOW_FRAMES``: of 32, every fourth from the
            first, or eight spread from the first to the last (0, 4, 8, 13, 17, 22, 26, 31).
    """

    short_side: int = 256
    crop: int = 224
    mean: Triple = (0.43216, 0.394666, 0.37645)
    std: Triple = (0.22803, 0.22145, 0.216989)
    squash: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True
    rounding: str = "nearest"
    bn_eps: float | None = None
    head_window: tuple[int, int, int] | None = None
    head_activation: str = "none"
    clip_rule: str = STRIDE
    slow_frames: str = "every"

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.short_side:
            raise SettingsError(
                f"crop must lie between 1 and short_side; got crop={self.crop}, short_side={self.short_side}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise SettingsError(f"mean and std need three values, std positive; got {self.mean} and {self.std}")
        if self.squash is not None and (len(self.squash) != 2 or min(self.squash) < self.crop):
            raise SettingsError(f"squash needs a height and a width of at least crop={self.crop}; got {self.squash}")
        if self.bn_eps is not None and not 0 < self.bn_eps < 1:
            raise SettingsError(f"bn_eps must lie between 0 and 1; got {self.bn_eps}")
        if self.head_window is not None and (len(self.head_window) != 3 or min(self.head_window) < 1):
            raise SettingsError(f"head_window needs three whole numbers of at least 1; got {self.head_window}")
        self._check_choices()

    def _check_choices(self) -> None:
        """Raise unless what is one of a few words is one of them."""
        known = {
            "interpolation": INTERPOLATIONS,
            "rounding": ROUNDINGS,
            "head_activation": ACTIVATIONS,
            "clip_rule": CLIP_RULES,
            "slow_frames": SLOW_FRAMES,
        }
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise SettingsError(f"{name} must be one of {', '.join(words)}; got {getattr(self, name)!r}")

    def at_crop(self, crop: int) -> Self:
        """Return the same for another crop in pixels, with the sides before it in proportion.

        Raises:
            SettingsError: if the crop is less than one pixel.
        """
        short_side, squash = round(self.short_side * crop / self.crop), self.squash
        if squash is not None:
            height, width = (round(side * crop / self.crop) for side in squash)
            squash = height, width
        return replace(self, crop=crop, short_side=short_side, squash=squash)

    def record(self) -> dict[str, Any]:
        """Return the fields as JSON values for weights files, stores, runs and digests."""
        given = {own.name: getattr(self, own.name) for own in fields(self)}
        return {name: value for name, value in given.items() if name in _ALWAYS or value != _DEFAULTS[name]}


_ALWAYS = ("short_side", "crop", "mean", "std")
_TUPLES = ("mean", "std", "squash", "head_window")
_DEFAULTS = {own.name: own.default for own in fields(Preprocessing)}


def preprocessing_for(crop: int) -> Preprocessing:
    """Return the preprocessing of a network trained from scratch at ``crop`` pixels: 256 to 224, in proportion."""
    return Preprocessing(crop=crop, short_side=round(crop * 256 / 224))


def parse_preprocessing(record: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing from its fields as they are in JSON.

    Raises:
        KeyError, TypeError: if a field is missing, unknown or of another kind.
        SettingsError: if a value is out of range.
    """
    for name in _ALWAYS:
        record[name]
    tuples = {name: tuple(record[name]) for name in _TUPLES if record.get(name) is not None}
    return Preprocessing(**{**record, **tuples})
