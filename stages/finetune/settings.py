"""What an end-to-end training is asked to do."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.end_to_end.strategies import BATCH_REDUCTION, STATISTICS, StrategySettings
from ...pipeline.errors import SettingsError
from ...pipeline.features.patterns import CHEAP, EXPENSIVE, Pattern
from ...pipeline.training.settings import OptimisationSettings

MOST_PIXELS, MOST_CLIPS = 8192, 10_000  # beyond any use; a slip of the finger should not take an hour to be noticed


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleBackbone:
    """The backbone that plays a role: its registered name, and where it begins; without weights, from scratch."""

    backbone: str
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSettings:
    """What to train, on what, and how.

    Attributes:
        manifest: the list of videos.
        out: the run directory.
        start: the run of train-aggregator to begin from; None = a fresh aggregator.
        expensive: the backbone in that role; None = none.
        cheap: likewise.
        aggregator: a registered name; None = the start's, or "memory".
        pattern: which clips are expensive; None = the start's, or all clips of the only backbone.
        num_clips: N; None = the start's, or 8.
        num_frames: L; None = the start's, the weights', or the backbone's usual; likewise the next two.
        sampling_rate: every how many frames one is taken.
        fps: frames a second to resample to, by time.
        crop: side in pixels of the square input of backbones that begin from scratch; None = 224.
        flip: whether videos may be mirrored.
        split: the videos to train on.
        val_fraction: share of them, class by class, that is held out to choose the best epoch; 0 = the last is best.
        dropout: before the aggregator's last linear layer; None = the start's, or a half.
        reduction: r of the gates' bottlenecks and of the memories; None = the start's, or 4.
        width: channels at which the maps of both backbones meet; None = the start's, or those of the wider one.
        clip_weight: of the clips' loss beside the video's.
        statistics: of the backbones' batch norms: "frozen", "tracked"; None = frozen where all backbones have weights.
        rates: role -> peak learning rate of its backbone, 0 to leave it as it is; where a role is missing, a tenth of
            the aggregator's with weights, the same from scratch.
        strategy: how the clips share the memory.
        accumulate: parts into which a batch is divided, one after the other, for one step.
        optimisation: epochs, batch, rates, precision, moving average, seed.
        device: "auto", "cpu", "cuda" or "cuda:1".
        threads: of the network, on a CPU; None leaves torch's choice.
        workers: threads that read clips; None takes the machine's cores.
        cache_gib: decoded videos are kept in memory if they are foreseen to fit into so much.
        memory_gb: refuse what is foreseen to need more memory, 10^9 bytes; None = more than is free.
        checkpoint_seconds: as in `Schedule`.
    """

    manifest: Path
    out: Path
    start: Path | None = None
    expensive: RoleBackbone | None = None
    cheap: RoleBackbone | None = None
    aggregator: str | None = None
    pattern: Pattern | None = None
    num_clips: int | None = None
    num_frames: int | None = None
    sampling_rate: int | None = None
    fps: float | None = None
    crop: int | None = None
    flip: bool = True
    split: str = "train"
    val_fraction: float = 0.15
    dropout: float | None = None
    reduction: int | None = None
    width: int | None = None
    clip_weight: float = 1.0
    statistics: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    strategy: StrategySettings = field(default_factory=StrategySettings)
    accumulate: int = 1
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    cache_gib: float = 2.0
    memory_gb: float | None = None
    checkpoint_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        rules = (
            ("crop", self.crop is None or 16 <= self.crop <= MOST_PIXELS, f"from 16 to {MOST_PIXELS} pixels", "size"),
            ("val_fraction", 0 <= self.val_fraction < 1, "in [0, 1)", None),
            ("width", self.width is None or self.width >= 1, "at least 1", None),
            ("clip_weight", self.clip_weight >= 0, "at least 0", None),
            ("statistics", self.statistics in (None, *STATISTICS), f"one of {', '.join(STATISTICS)}", "batch-norm"),
            ("num_clips", self.num_clips is None or self.num_clips <= MOST_CLIPS, f"at most {MOST_CLIPS}", "clips"),
            ("checkpoint_seconds", 0 <= self.checkpoint_seconds < math.inf, "at least 0", None),
            ("accumulate", self.accumulate >= 1, "at least 1", None),
            ("threads", self.threads is None or self.threads >= 1, "at least 1", None),
            ("workers", self.workers is None or self.workers >= 0, "at least 0", None),
            ("cache_gib", self.cache_gib >= 0, "at least 0", None),
            ("memory_gb", self.memory_gb is None or 0 < self.memory_gb < math.inf, "greater than 0", None),
        )
        for name, holds, constraint, option in rules:
            if not holds:
                raise SettingsError(
                    f"--{option or name.replace('_', '-')} must be {constraint}; got {getattr(self, name)!r}"
                )
        if not self.backbones:
            raise SettingsError("give --expensive NAME[=WEIGHTS], --cheap NAME[=WEIGHTS], or both; got neither")
        if self.optimisation.patience and not self.val_fraction:
            raise SettingsError("--patience needs videos to validate on; give --val-fraction 0.15, or --patience 0")
        idle = [role for role in self.rates if role not in self.backbones]
        if idle:
            raise SettingsError(f"--{idle[0]}-learning-rate is given, but no --{idle[0]} backbone")
        if any(not rate >= 0 for rate in self.rates.values()):
            raise SettingsError(f"a backbone's learning rate must be at least 0; got {dict(self.rates)}")

    @property
    def backbones(self) -> dict[str, RoleBackbone]:
        """Role -> its backbone, of the roles that are played."""
        pairs = ((EXPENSIVE, self.expensive), (CHEAP, self.cheap))
        return {role: backbone for role, backbone in pairs if backbone is not None}

    def videos_per_step(self, num_clips: int) -> int:
        """Return how many videos a step takes, over all processes: the batch size, reduced if the strategy says so.

        Source: Yang et al., Beyond Short Clips (CVPR 2021), batch reduction: round(B / N).

        Raises:
            SettingsError: if the batch is smaller than N under batch reduction.
        """
        size = self.optimisation.batch_size
        if self.strategy.name != BATCH_REDUCTION:
            return size
        if size < num_clips:
            raise SettingsError(
                f"batch-reduction divides --batch-size by the {num_clips} clips of a video; {size} is smaller. Give "
                f"--batch-size {num_clips} or more, fewer --clips, or another --strategy, such as two-pass"
            )
        return round(size / num_clips)
