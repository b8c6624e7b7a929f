"""Packages that tests marked ``parity`` compare with, imported when such a test runs."""

import importlib
from functools import cache
from types import ModuleType

import torch


@cache
def _operators() -> torch.library.Library:
    """Declare the operators that torchvision's import asks for; the builds for GPUs bring none for a CPU's torch."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    return library  # what it declares goes when it does


def brought(name: str) -> ModuleType:
    """Return the package called ``name``, or a module in it."""
    needs_torchvision = name.split(".")[0] in ("torchvision", "timm")
    if needs_torchvision and not hasattr(torch.ops.torchvision, "nms"):
        _operators()
    return importlib.import_module(name)
