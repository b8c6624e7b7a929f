"""The settings of an end-to-end training."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.backbones.places import is_word, read_place
from ...pipeline.end_to_end.strategies import BATCH_REDUCTION, STATISTICS, StrategySettings
from ...pipeline.errors import SettingsError, named
from ...pipeline.features.patterns import CHEAP, EXPENSIVE, Pattern
from ...pipeline.settings import check_fields, setting, settings
from ...pipeline.training.settings import ClipCacheSettings, OptimisationSettings
from ...pipeline.videos.damage import DAMAGE_POLICIES, DAMAGED_HELP
from ...pipeline.videos.hdr import HDR_HELP, HDR_POLICIES
from ...pipeline.videos.memory import MAX_PIXELS, MAX_PIXELS_HELP, UNBOUNDED

_MOST_PIXELS, MOST_CLIPS = 8192, 10_000  # beyond any use: a typing error should not take an hour to show


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleBackbone:
    """The backbone of a role, by its registered name, by the weights it begins from, or by both.

    Attributes:
        backbone: its name; empty: whichever the weights are of.
        weights: a weights file, or the folder of the run that left it; None: from scratch.
    """

    backbone: str = ""
    weights: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "RoleBackbone":
        """Return what NAME, WEIGHTS or NAME=WEIGHTS says; a mere word is a name here, and `named_backbones` looks.

        Raises:
            ValueError: if there is nothing before or after the equals sign.
        """
        name, place = read_place(text)
        return cls(backbone=text) if not name and is_word(place) else cls(backbone=name, weights=place)


# Ours, for small sets of videos.
OPTIMISATION = OptimisationSettings(
    epochs=20,
    batch_size=8,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=1e-2,
    clip_norm=1.0,
    precision="auto",
)


@settings
class FinetuneSettings:
    """What to train, on what, and how."""

    manifest: Path = setting(help="CSV or Parquet list of videos.")
    out: Path = setting(help="Run directory; an unfinished run goes on.")
    start: Path | None = setting(
        default=None, help="Run of train-aggregator to begin from.", unset="a fresh aggregator"
    )
    expensive: RoleBackbone | None = setting(
        default=None,
        help="Expensive backbone: its weights, a file or the run that left it; or its name, for one from scratch.",
        metavar="WEIGHTS|NAME",
    )
    cheap: RoleBackbone | None = setting(default=None, help="Cheap backbone; likewise.", metavar="WEIGHTS|NAME")
    aggregator: str | None = setting(default=None, help="As in train-aggregator.", unset="the start's, or memory")
    pattern: Pattern | None = setting(
        default=None,
        help="E:C (as 1:3), first, all-expensive or all-cheap.",
        unset="the start's, or all clips of the only backbone",
    )
    num_clips: int | None = setting(
        default=None, help="Clips of a video.", at_least=1, at_most=MOST_CLIPS, unset="the start's, or 8"
    )
    num_frames: int | None = setting(
        default=None, help="Frames in a clip.", at_least=1, unset="the start's, the weights', or the backbone's usual"
    )
    sampling_rate: int | None = setting(default=None, help="Take every so many frames.", at_least=1, unset="likewise")
    fps: float | None = setting(
        default=None,
        help="Resample to this rate by time.",
        above=0,
        below=math.inf,
        unset="likewise, or the videos' own frames",
        advice="Leave it out for the videos' own frames",
    )
    crop: int | None = setting(
        default=None,
        help="From scratch: side of the square input, pixels.",
        at_least=16,
        at_most=_MOST_PIXELS,
        unit="pixels",
        unset="224",
    )
    damaged: str | None = setting(
        default=None, help=DAMAGED_HELP, choices=DAMAGE_POLICIES, unset="the start's, or refuse"
    )
    hdr: str | None = setting(default=None, help=HDR_HELP, choices=HDR_POLICIES, unset="the start's, or tone-map")
    max_pixels: int | None = setting(default=MAX_PIXELS, help=MAX_PIXELS_HELP, at_least=1, unset=UNBOUNDED)
    flip: bool = setting(default=True, help="Mirror half of the videos.")
    split: str = setting(default="train", help="The videos to train on.")
    val_fraction: float = setting(
        default=0.15,
        help="Share of them held out, class by class, to choose the best epoch; 0: the last epoch is best.",
        at_least=0,
        below=1,
    )
    strategy: StrategySettings = field(default_factory=StrategySettings)
    accumulate: int = setting(default=1, help="Run a batch in so many parts, for one step.", at_least=1)
    statistics: str | None = setting(
        default=None,
        help="Statistics of the backbones: frozen or tracked.",
        choices=STATISTICS,
        unset="frozen with weights, tracked from scratch",
    )
    clip_weight: float = setting(default=1.0, help="Of the clips' loss, beside 1 for the video's.", at_least=0)
    dropout: float | None = setting(
        default=None, help="Before the aggregator's classifier.", at_least=0, below=1, unset="the start's, or 0.5"
    )
    reduction: int | None = setting(
        default=None,
        help="C over C' of the memory, and of FAST-GRU's bottleneck.",
        at_least=1,
        unset="the start's, or 4",
    )
    width: int | None = setting(
        default=None,
        help="Channels at which both backbones' maps meet.",
        at_least=1,
        unset="the start's, or the wider one's",
    )
    optimisation: OptimisationSettings = field(default_factory=lambda: OPTIMISATION)
    expensive_learning_rate: float | None = setting(
        default=None,
        help="Peak rate of that backbone; 0: not trained.",
        at_least=0,
        unset="a tenth of the aggregator's with weights, the same from scratch",
    )
    cheap_learning_rate: float | None = setting(default=None, help="Likewise.", at_least=0, unset="likewise")
    device: str = setting(default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1.")
    threads: int | None = setting(
        default=None, help="Of the network, on a CPU; 1 is best for small ones.", at_least=1, unset="the cores"
    )
    workers: int | None = setting(default=None, help="Threads that read clips.", at_least=0, unset="the cores")
    keeping: ClipCacheSettings = field(default_factory=ClipCacheSettings)
    cache_gib: float = setting(
        default=2.0, help="Without room on disk: keep decoded videos in memory if they fit in this.", at_least=0
    )
    memory_gb: float | None = setting(
        default=None,
        help="Refuse a training that by estimate needs more, 10^9 bytes.",
        above=0,
        below=math.inf,
        unset="what is free",
    )
    checkpoint_seconds: float = setting(
        default=5.0,
        help="Write a checkpoint after an epoch, at most this often; within one, twelve times as seldom.",
        at_least=0,
        below=math.inf,
    )

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        check_fields(self)
        if not self.backbones:
            raise SettingsError(
                f"give {named('expensive')} WEIGHTS or NAME, {named('cheap')} WEIGHTS or NAME, or both; got neither"
            )
        if self.optimisation.patience and not self.val_fraction:
            raise SettingsError(
                f"{named('patience')} needs videos to validate on; give {named('val_fraction')} 0.15, or "
                f"{named('patience')} 0"
            )
        idle = [role for role in self.rates if role not in self.backbones]
        if idle:
            rate = named(f"{idle[0]}_learning_rate")
            raise SettingsError(f"{rate} is given, but no {named(idle[0])} backbone")

    @property
    def rates(self) -> dict[str, float]:
        """Role -> peak learning rate of its backbone, for the roles whose rate is given."""
        given = ((EXPENSIVE, self.expensive_learning_rate), (CHEAP, self.cheap_learning_rate))
        return {role: rate for role, rate in given if rate is not None}

    @property
    def backbones(self) -> dict[str, RoleBackbone]:
        """Role -> its backbone, for the roles that have one."""
        pairs = ((EXPENSIVE, self.expensive), (CHEAP, self.cheap))
        return {role: backbone for role, backbone in pairs if backbone is not None}

    def videos_per_step(self, num_clips: int) -> int:
        """Return how many videos a step uses, over all processes: the batch size, or less if the strategy reduces it.

        Source: Yang et al., Beyond Short Clips (CVPR 2021), batch reduction: round(B / N).

        Raises:
            SettingsError: if the batch is smaller than N under batch reduction.
        """
        size = self.optimisation.batch_size
        if self.strategy.name != BATCH_REDUCTION:
            return size
        if size < num_clips:
            raise SettingsError(
                f"batch-reduction divides {named('batch_size')} by the {num_clips} clips of a video; {size} is "
                f"smaller. Give {named('batch_size')} {num_clips} or more, fewer {named('num_clips')}, or another "
                f"{named('strategy')}, such as two-pass"
            )
        return round(size / num_clips)
