"""How a network is optimised: the settings."""

import math
from dataclasses import dataclass

from ..errors import SettingsError
from ..seeds import NUMBER_OF_SEEDS

PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("sgd", "adamw")


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
