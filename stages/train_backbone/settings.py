"""What training a backbone is asked to do."""

from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.errors import SettingsError
from ...pipeline.training.settings import OptimisationSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainBackboneSettings:
    """What to train, on what, and how.

    Args:
        manifest: the list of videos.
        out: the run directory.
        backbone: a registered name.
        split: the videos to train on.
        val_split: videos on whose central clips each epoch is scored; the best epoch's weights are kept. Without it the
            last epoch's are, as in the paper.
        num_frames: L.
        sampling_rate: every how many frames one is taken.
        fps: frames a second to resample to, by time; None takes the videos' own frames.
        crop: side of the square input in pixels.
        flip: whether clips may be mirrored.
        dropout: before the classifier.
        zero_init_residual: let every block begin as the identity.
        optimisation: epochs, batch, rates, seed.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        threads: of the network, on a CPU; None leaves torch's choice. Small networks gain nothing from a second one.
        workers: threads that read clips; None takes the machine's cores.
        checkpoint_seconds: a checkpoint is written at the end of an epoch if the last one is at least this old.
        cache_gib: decoded videos are kept in memory if they are foreseen to fit into so much.
    """

    manifest: Path
    out: Path
    backbone: str
    split: str = "train"
    val_split: str | None = None
    num_frames: int = 8
    sampling_rate: int = 1
    fps: float | None = None
    crop: int = 224
    flip: bool = True
    dropout: float = 0.0
    zero_init_residual: bool = True
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    checkpoint_seconds: float = 5.0
    cache_gib: float = 2.0

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        if self.crop < 16:
            raise SettingsError(f"--size must be at least 16 pixels; got {self.crop}")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"--dropout must lie in [0, 1); got {self.dropout}")
        if self.optimisation.batch_size < 2:
            raise SettingsError(f"--batch-size must be at least 2, for batch norm; got {self.optimisation.batch_size}")
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"--threads must be at least 1; got {self.threads}")
        if self.workers is not None and self.workers < 0:
            raise SettingsError(f"--workers must not be negative; got {self.workers}")
