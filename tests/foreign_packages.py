"""Packages that tests compare with, imported where they are installed."""

import importlib
from functools import cache
from types import ModuleType

import pytest
import torch


@cache
def _operators() -> torch.library.Library:
    """Declare the operators that torchvision's import asks for; the builds for GPUs bring none for a CPU's torch."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    return library  # what it declares goes when it does


def brought(name: str) -> ModuleType:
    """Return the package called ``name``; skip the test where it, or what it needs, is not installed."""
    needs_torchvision = name.split(".")[0] in ("torchvision", "timm", "transformers")
    if needs_torchvision and not hasattr(torch.ops.torchvision, "nms"):
        _operators()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"compares with {name}, and {error.name} is not installed")
