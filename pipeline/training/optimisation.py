"""How a network is optimised: learning-rate schedule, optimizer and precision."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..backbones.devices import resolve_device, resolve_precision
from .settings import LONGEST_WARMUP, OptimisationSettings

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def cosine_schedule(step: int, *, total: int, warmup: int = 0) -> float:
    """Return the factor on the peak learning rate at ``step`` of ``total``: a linear rise, then half a cosine to 0.

    Source: Loshchilov and Hutter, SGDR (2016), eq. 5, without restarts; the warm-up is Goyal et al. (2017).
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def build_optimizer(
    model: nn.Module, *, settings: OptimisationSettings, rates: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Return the optimizer over those parameters of ``model`` that are trained.

    Each group of parameters has its "peak_rate", for `set_rates`.

    Args:
        model: the network.
        settings: of the optimizer.
        rates: part of the model (a module's name, with dots) -> its peak learning rate; all other parts have
            ``settings.learning_rate``. A part with 0 is not trained.
    """
    # One group per rate: optimizers take a step over a group at once, and many small groups would be slow.
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = next((part for part in rates or {} if name.startswith(f"{part}.")), None)
        rate = settings.learning_rate if part is None or rates is None else rates[part]
        if parameter.requires_grad and rate:
            groups.setdefault(rate, []).append(parameter)
    own = [{"params": parameters, "lr": rate, "peak_rate": rate} for rate, parameters in groups.items()]
    decay = settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(own, weight_decay=decay)
    return torch.optim.SGD(own, momentum=settings.momentum, weight_decay=decay)


def set_rates(optimizer: torch.optim.Optimizer, *, factor: float) -> None:
    """Set each group's learning rate to ``factor`` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_rate"] * factor


def resolved(
    settings: OptimisationSettings, *, device: str, longest_warmup: float = LONGEST_WARMUP
) -> OptimisationSettings:
    """Return the settings with nothing left open: how long the warm-up is, and what "auto" means on ``device``.

    Only a run needs to know; settings that are still open can be changed field by field. The precision is bfloat16
    where the machine has it.
    """
    settings = settings.with_warmup(longest=longest_warmup)
    if settings.precision != "auto":
        return settings
    # Not float16, even if that is fastest: training in it needs a loss scale, which the loop does not have.
    fastest = resolve_precision("auto", resolve_device(device))
    return replace(settings, precision="bfloat16" if fastest == "bfloat16" else "float32")


def mixed_precision(device: torch.device | str, *, precision: str) -> AbstractContextManager[Any]:
    """Return the autocast context of ``precision`` ("float32": none) for a forward pass on ``device``."""
    dtype = DTYPES[precision]
    return torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype is not torch.float32)
