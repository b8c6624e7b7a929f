"""What training an aggregator is asked to do."""

from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.errors import SettingsError
from ...pipeline.features.patterns import Pattern
from ...pipeline.training.settings import OptimisationSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainAggregatorSettings:
    """What to train, on what, and how.

    Attributes:
        store: the feature store.
        out: the run directory.
        aggregator: a registered name.
        pattern: which clips are expensive; None = as the store was extracted.
        num_clips: N; None = as many as are stored.
        expensive: the backbone in that role; None = the one extracted in it.
        cheap: likewise.
        split: the videos to train on.
        splits: a manifest of the same videos whose splits count in place of the store's; None = the store's.
        val_fraction: share of them, class by class, that is held out to choose the best epoch; 0 = the last is best.
        dropout: before the last linear layer.
        reduction: r of the gates' bottlenecks and of the memories.
        width: channels at which the maps of both backbones meet; None = those of the wider one.
        optimisation: epochs, batch, rates, patience, seed.
        device: "auto", "cpu", "cuda" or "cuda:1".
        cache_gib: maps are kept in memory if they fit into so much.
        local_copies: a folder of this machine where the maps are copied once, for all runs that name it; None = the
            maps are read from the store.
    """

    store: Path
    out: Path
    aggregator: str = "fast-gru"
    pattern: Pattern | None = None
    num_clips: int | None = None
    expensive: str | None = None
    cheap: str | None = None
    split: str = "train"
    splits: Path | None = None
    val_fraction: float = 0.15
    dropout: float = 0.5
    reduction: int = 4
    width: int | None = None
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    device: str = "auto"
    cache_gib: float = 4.0
    local_copies: Path | None = None

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        if not 0 <= self.val_fraction < 1:
            raise SettingsError(f"--val-fraction must be in [0, 1); got {self.val_fraction}")
        if self.optimisation.patience and not self.val_fraction:
            raise SettingsError("--patience needs videos to validate on; give --val-fraction 0.15, or --patience 0")
        if self.width is not None and self.width < 1:
            raise SettingsError(f"--width must be at least 1; got {self.width}")
        if self.cache_gib < 0:
            raise SettingsError(f"--cache-gib must be at least 0; got {self.cache_gib}")
