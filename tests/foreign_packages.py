"""Packages that tests marked ``parity`` compare with, imported when such a test runs."""

import importlib
import sys
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch


@cache
def _torchvision() -> torch.library.Library | None:
    """Import torchvision, on which others rest; return the operators that had to be declared for it.

    The builds for GPUs bring none for a CPU's torch.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [own for own in sys.modules if own.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        importlib.import_module("torchvision")
        return library  # what it declares goes when it does
    return None


def brought(name: str) -> ModuleType:
    """Return the package called ``name``, or a module in it."""
    if find_spec("torchvision"):
        _torchvision()
    return importlib.import_module(name)
