"""Networks of timm, which spell themselves: our keys are theirs after ``image.``, but for the classifier."""

from collections.abc import Container

from ...backbones.registry import plain_name
from ...backbones.timm_frames import PREFIX, timm_classifier
from ..spelling import Spelling, no_classifier


def timm_spelling(backbone: str, keys: Container[str]) -> Spelling | None:
    """Return how timm spells ``backbone``; None if that is not a network of timm.

    Args:
        backbone: its name.
        keys: of the file. A network that timm publishes without a classifier may lack one.

    Raises:
        SettingsError: if timm is not installed, or has no such network.
    """
    if not backbone.startswith(PREFIX):
        return None
    plain = plain_name(backbone)
    classifier = timm_classifier(plain)
    is_bare = classifier.num_classes == 0 and f"{classifier.name}.weight" not in keys
    return Spelling(
        dialect="timm",
        backbones=(plain,),
        rules=((r"image\.(.+)", r"\1"), (r"fc\.(.+)", rf"{classifier.name}.\1")),
        recipe=plain,
        filled=no_classifier() if is_bare else (),
    )
