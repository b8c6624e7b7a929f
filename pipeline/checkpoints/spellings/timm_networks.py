"""Networks of timm, which spell themselves: our keys are theirs after ``image.``, but for the classifier."""

from ...backbones.registry import plain_name
from ...backbones.timm_frames import PREFIX, timm_classifier
from ..spelling import Spelling


def timm_spelling(backbone: str) -> Spelling | None:
    """Return how timm spells ``backbone``; None if that is not a network of timm.

    Raises:
        SettingsError: if timm is not installed, or has no such network.
    """
    if not backbone.startswith(PREFIX):
        return None
    plain = plain_name(backbone)
    return Spelling(
        dialect="timm",
        backbones=(plain,),
        rules=((r"image\.(.+)", r"\1"), (r"fc\.(.+)", rf"{timm_classifier(plain)}.\1")),
        recipe=plain,
    )
