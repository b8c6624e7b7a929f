"""The names of weights that need no file: published ones, and those that pip brings."""

from .published import is_published
from .starter import STARTER_NAMES


def is_known_name(name: str) -> bool:
    """Return whether ``name`` stands for weights that vidpipe knows where to find."""
    return name in STARTER_NAMES or is_published(name)
