"""The names of weights that need no file: published ones, and those of other libraries."""

from ..backbones.places import MODEL_OF_HUB
from .published import is_published


def is_known_name(name: str) -> bool:
    """Return whether ``name`` stands for weights that vidpipe knows where to look for."""
    return is_published(name) or name.startswith(MODEL_OF_HUB)
