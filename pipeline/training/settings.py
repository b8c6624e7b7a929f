"""How a network is optimised: the settings."""

import math
from dataclasses import replace
from pathlib import Path

from ..errors import SettingsError, named
from ..seeds import NUMBER_OF_SEEDS
from ..settings import check_fields, setting, settings

PRECISIONS = ("auto", "float32", "bfloat16")
OPTIMIZERS = ("sgd", "adamw")
LONGEST_WARMUP = 1.0  # epochs, where nobody says how many


@settings
class OptimisationSettings:
    """How a network is optimised.

    Each stage that trains has its own defaults: start from those, with ``dataclasses.replace``, not from fresh
    settings.
    """

    epochs: int = setting(default=30, help="Visits of each video, at most.", at_least=1)
    batch_size: int = setting(
        default=32, help="Samples a step, over all processes: clips for a backbone, else videos.", at_least=1
    )
    optimizer: str = setting(default="sgd", help="Optimizer: sgd (with momentum) or adamw.", choices=OPTIMIZERS)
    learning_rate: float = setting(default=0.01, help="Peak rate; a cosine takes it to 0.", above=0, below=math.inf)
    momentum: float = setting(default=0.9, help="Momentum of sgd.", at_least=0, below=1)
    weight_decay: float = setting(default=1e-4, help="Weight decay; decoupled with adamw.", at_least=0)
    warmup_epochs: float | None = setting(
        default=None,
        help="Linear rise of the rate over so many epochs, also fractions.",
        at_least=0,
        unset="1, for a backbone 2, or a tenth of the epochs if that is less",
    )
    label_smoothing: float = setting(
        default=0.0, help="Share of the target spread evenly over all classes.", at_least=0, below=1
    )
    clip_norm: float = setting(default=0.0, help="Largest norm of a step's gradient; 0: any.", at_least=0)
    precision: str = setting(
        default="float32", help="Of the forward passes. auto: bfloat16 where the machine has it.", choices=PRECISIONS
    )
    ema: float = setting(
        default=0.0,
        help="Decay of a moving average of the weights, which is what is kept; 0: none.",
        at_least=0,
        below=1,
    )
    patience: int = setting(default=0, help="Stop after so many epochs without a better one; 0: never.", at_least=0)
    seed: int = setting(
        default=0,
        help="Of initial weights and of every draw.",
        at_least=0,
        below=NUMBER_OF_SEEDS,
        must="at least 0 and below 2**63",
    )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingsError: for the first field that is out of range.
        """
        check_fields(self)
        if self.warmup_epochs is not None and self.warmup_epochs >= self.epochs:
            raise SettingsError(
                f"{named('warmup_epochs')} must be at least 0 and below epochs ({self.epochs}); got "
                f"{self.warmup_epochs!r}"
            )

    def with_warmup(self, *, longest: float) -> "OptimisationSettings":
        """Return the settings with a warm-up: the one given, or a tenth of the epochs, at most ``longest`` of them."""
        if self.warmup_epochs is not None:
            return self
        return replace(self, warmup_epochs=min(longest, self.epochs / 10))


@settings
class ClipCacheSettings:
    """Where training keeps the videos that it has decoded, so that no later epoch or run decodes them again."""

    clip_cache: Path | None = setting(
        default=None,
        help="Folder in which decoded videos are kept, for later epochs, restarts and other trainings.",
        unset="vidpipe/clips in $XDG_CACHE_HOME, or in ~/.cache",
    )
    clip_cache_gb: float | None = setting(
        default=None,
        help="The folder's greatest size, 10^9 bytes; 0: keep nothing on disk.",
        at_least=0,
        below=math.inf,
        unset="a tenth of the free disk",
    )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            SettingsError: for the first field that is out of range.
        """
        check_fields(self)
