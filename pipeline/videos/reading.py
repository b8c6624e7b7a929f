"""How videos are read: what is done about damage, high dynamic range and large pictures."""

from collections.abc import Mapping
from typing import Any, Self

from ..settings import check_fields, setting, settings
from .clip_rules import STRIDE
from .damage import DAMAGE_POLICIES, DAMAGED_HELP, REFUSE
from .hdr import AS_IS, HDR_HELP, HDR_POLICIES, TONE_MAP
from .memory import MAX_PIXELS, MAX_PIXELS_HELP, UNBOUNDED

_IMPLIED: dict[str, Any] = {"damaged": REFUSE, "hdr": AS_IS}  # what records mean that do not mention it


@settings
class Reading:
    """How a video is read.

    Raises:
        SettingsError: if a value is out of its range.
    """

    damaged: str = setting(default=REFUSE, help=DAMAGED_HELP, choices=DAMAGE_POLICIES)
    hdr: str = setting(default=TONE_MAP, help=HDR_HELP, choices=HDR_POLICIES)
    max_pixels: int | None = setting(default=MAX_PIXELS, help=MAX_PIXELS_HELP, at_least=1, unset=UNBOUNDED)

    def __post_init__(self) -> None:
        check_fields(self)

    def record(self) -> dict[str, Any]:
        """Return the fields as stores and runs keep them, those that results depend on.

        Older ones know only of videos without damage, and took HDR as it is: what they mean is not mentioned. How large
        a video may be decides which ones can be had, not what they give.
        """
        fields = {"damaged": self.damaged, "hdr": self.hdr}
        return {name: value for name, value in fields.items() if value != _IMPLIED[name]}

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Self:
        """Return what the record ``fields`` says or implies, which may hold more than `record` wrote."""
        return cls(**{name: fields.get(name, implied) for name, implied in _IMPLIED.items()})

    def but(self, *, damaged: str | None, hdr: str | None, max_pixels: int | None) -> Self:
        """Return this with ``max_pixels``, and with those of the policies that are given."""
        return type(self)(damaged=damaged or self.damaged, hdr=hdr or self.hdr, max_pixels=max_pixels)


def spelled_out(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record ``fields`` of a sampling with what it implies, of reading and of the frames of a clip."""
    return {**_IMPLIED, "clip_rule": STRIDE, "crops": 1, **fields}


PLAIN = Reading(hdr=AS_IS)  # the pixels as the file has them
