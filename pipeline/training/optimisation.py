"""How a network is optimised: settings, learning-rate schedule, optimizer, precision and loss."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SettingsError
from ..seeds import NUMBER_OF_SEEDS

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimisationSettings:
    """How a network is optimised.

    Attributes:
        epochs: passes over the training set, at most.
        batch_size: samples a step.
        optimizer: "sgd" (with momentum) or "adamw".
        learning_rate: the peak; a cosine brings it to 0 at the end of the last epoch.
        momentum: of "sgd".
        weight_decay: added to the gradient ("sgd") or decoupled ("adamw").
        warmup_epochs: epochs over which the rate rises linearly from 0; fractions are allowed.
        label_smoothing: share of the target spread evenly over all classes.
        clip_norm: largest norm of a step's gradient; 0 = any.
        precision: of the forward pass, "float32" or "bfloat16" (autocast); weights are always float32.
        ema: decay of an exponential moving average of the weights, which is then what is validated and kept; 0 = none.
        patience: epochs without a better validation after which training stops; 0 = never.
        seed: of initial weights, draws and dropout.
    """

    epochs: int = 30
    batch_size: int = 32
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    precision: str = "float32"
    ema: float = 0.0
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingsError: at the first that cannot be.
        """
        rules = (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "greater than 0"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("warmup_epochs", 0 <= self.warmup_epochs < self.epochs, f"at least 0 and below epochs ({self.epochs})"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)"),
            ("clip_norm", self.clip_norm >= 0, "at least 0"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            ("ema", 0 <= self.ema < 1, "in [0, 1)"),
            ("patience", self.patience >= 0, "at least 0"),
            ("seed", 0 <= self.seed < NUMBER_OF_SEEDS, "at least 0 and below 2**63"),
        )
        for name, holds, constraint in rules:
            if not holds:
                raise SettingsError(f"--{name.replace('_', '-')} must be {constraint}; got {getattr(self, name)!r}")


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
    """Return the optimizer over the parameters of ``model`` that are to be trained.

    Each group of parameters has its "peak_rate", for `set_rates`.

    Args:
        model: whose parameters.
        settings: the optimizer's own.
        rates: part of the model (a module's name, with dots) -> its peak learning rate; the others have
            ``settings.learning_rate``. At 0 a part is not trained.
    """
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


def mixed_precision(device: torch.device | str, *, precision: str) -> AbstractContextManager[Any]:
    """Return the autocast context of ``precision`` ("float32": none) for a forward pass on ``device``."""
    dtype = PRECISIONS[precision]
    return torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype is not torch.float32)


def classification_loss(scores: Tensor, *, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of ``scores`` (B, K) against class indices ``targets`` (B,), in float32."""
    return F.cross_entropy(scores.float(), targets, label_smoothing=label_smoothing)


def accuracy(scores: Tensor, *, targets: Tensor) -> Tensor:
    """Return the share, a float32 scalar, of rows of ``scores`` (B, K) whose maximum stands at ``targets`` (B,)."""
    return (scores.argmax(dim=1) == targets).float().mean()
