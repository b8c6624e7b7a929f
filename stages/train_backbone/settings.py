"""The settings of training a backbone."""

import math
from dataclasses import field, replace
from pathlib import Path

from ...pipeline.errors import SettingsError, named
from ...pipeline.settings import check_fields, setting, settings
from ...pipeline.training.settings import ClipCacheSettings, OptimisationSettings
from ...pipeline.videos.reading import Reading

# From scratch: for many videos, and for few (preset "small"). Other presets have the paper's recipe for Kinetics.
OPTIMISATION = OptimisationSettings(epochs=45, batch_size=32, optimizer="sgd", learning_rate=0.01, precision="auto")
FEW = replace(OPTIMISATION, epochs=60, batch_size=16, optimizer="adamw", learning_rate=2e-3, weight_decay=0.05)
LONGEST_WARMUP = 2.0  # epochs, where nobody says how many: from scratch takes longer than on features


@settings
class TrainBackboneSettings:
    """What to train, on what, and how."""

    manifest: Path = setting(help="CSV or Parquet list of videos.")
    backbone: str = setting(help="Registered name, such as r2d_26, r2plus1d_50, r2plus1d_14_w16.")
    out: Path = setting(help="Run directory; an unfinished run goes on.")
    split: str = setting(default="train", help="The videos to train on.")
    val_split: str | None = setting(
        default=None,
        help="Score the central clips of these each epoch and keep the best epoch.",
        unset="none: the last epoch is kept, as in the paper",
    )
    num_frames: int | None = setting(
        default=None, help="Frames in a clip.", at_least=1, unset="what the backbone is known for; see above"
    )
    sampling_rate: int | None = setting(
        default=None,
        help="Take every so many frames.",
        at_least=1,
        unset="so that a clip spans half of a typical video, or two seconds",
    )
    fps: float | None = setting(
        default=None,
        help="Resample to this rate by time.",
        above=0,
        below=math.inf,
        unset="the videos' own frames",
        advice="Leave it out for the videos' own frames",
    )
    crop: int = setting(default=224, help="Side of the square input, pixels.", at_least=16, unit="pixels")
    reading: Reading = field(default_factory=Reading)
    flip: bool = setting(default=True, help="Mirror half of the clips.")
    dropout: float = setting(default=0.0, help="Before the classifier.", at_least=0, below=1)
    zero_init_residual: bool = setting(default=True, help="Let every residual block begin as the identity.")
    optimisation: OptimisationSettings = field(default_factory=lambda: OPTIMISATION)
    device: str = setting(default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1.")
    threads: int | None = setting(
        default=None, help="Of the network, on a CPU; 1 is best for small ones.", at_least=1, unset="the cores"
    )
    workers: int | None = setting(default=None, help="Threads that read clips.", at_least=0, unset="the cores")
    keeping: ClipCacheSettings = field(default_factory=ClipCacheSettings)
    cache_gib: float = setting(
        default=2.0, help="Without room on disk: keep decoded videos in memory if they fit in this.", at_least=0
    )
    checkpoint_seconds: float = setting(
        default=5.0,
        help="Write a checkpoint after an epoch, at most this often; within one, twelve times as seldom.",
        at_least=0,
    )

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        check_fields(self)
        if self.optimisation.batch_size < 2:
            raise SettingsError(
                f"{named('batch_size')} must be at least 2, for batch norm; got {self.optimisation.batch_size}"
            )
        if self.optimisation.patience and self.val_split is None:
            raise SettingsError(f"{named('patience')} needs videos to validate on; give {named('val_split')} too")
