"""What verifying a store is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.errors import SettingsError


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifySettings:
    """What to check.

    Args:
        store: the feature store.
        num_recomputed: K, how many clips to compute again.
        seed: of the draw of these clips.
        tolerance: largest norm of the difference, relative to what is stored. The same machine gives the same bytes;
            another one rounds bfloat16 otherwise, which adds up to a few thousandths over a network.
        reset: mark damaged videos as pending, so that the next extraction redoes them.
    """

    store: Path
    num_recomputed: int = 0
    seed: int = 0
    tolerance: float = 0.02
    reset: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: naming the setting.
        """
        if self.num_recomputed < 0:
            raise SettingsError(f"--recompute must be 0 or more clips; got {self.num_recomputed}.")
        if not self.tolerance >= 0:
            raise SettingsError(f"--tolerance must be 0 or more; got {self.tolerance}.")
