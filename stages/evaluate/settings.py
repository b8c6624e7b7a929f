"""What an evaluation is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.backbones.engine_settings import EngineSettings
from ...pipeline.errors import SettingsError

VIDEO_OPTIONS = {"precision": "auto", "batch": 0, "threads": None, "workers": None}  # and what leaves each as it is


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSettings:
    """What to score, on what.

    Attributes:
        store: the feature store; None where videos are scored.
        manifest: the videos to run end-to-end runs over; None where a store is.
        runs: run directories of finished trainings.
        out: where tables and pictures go; what they replace is overwritten.
        split: the videos to score.
        batch_size: videos a step of the aggregator.
        device: "auto", "cpu", "cuda" or "cuda:1".
        local_copies: as in `TrainAggregatorSettings`.
        precision: of the backbones over videos, as are the next two: see `EngineSettings`.
        batch: clips a call.
        threads: of the backbones, on a CPU.
        workers: threads that decode videos; None takes the machine's cores.
    """

    store: Path | None = None
    manifest: Path | None = None
    runs: tuple[Path, ...]
    out: Path
    split: str = "test"
    batch_size: int = 32
    device: str = "auto"
    local_copies: Path | None = None
    precision: str = "auto"
    batch: int = 0
    threads: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        if (self.store is None) == (self.manifest is None):
            found = "neither" if self.store is None else "both"
            raise SettingsError(
                "give one of --store STORE, which vidpipe extract made, and --manifest MANIFEST, whose videos an "
                f"end-to-end run decodes itself; got {found}"
            )
        places = [path.resolve() for path in self.runs]
        twice = [str(path) for path in self.runs if places.count(path.resolve()) > 1]
        if not self.runs or twice:
            raise SettingsError(f"give each run once, and one at least: --run DIR; got {twice or 'none'}")
        if self.batch_size < 1:
            raise SettingsError(f"--batch-size must be at least 1; got {self.batch_size}")
        given = [f"--{name}" for name, default in VIDEO_OPTIONS.items() if getattr(self, name) != default]
        if self.store is not None and given:
            raise SettingsError(
                f"{', '.join(given)}: with --store nothing is decoded and no backbone runs. Leave it out, or give "
                "--manifest in place of --store"
            )
        if self.workers is not None and self.workers < 0:
            raise SettingsError(f"--workers must not be negative; got {self.workers}")
        _ = self.engine  # refuses what it cannot be

    @property
    def engine(self) -> EngineSettings:
        """How backbones run over videos.

        Raises:
            SettingsError: if one of its settings is out of range.
        """
        return EngineSettings(device=self.device, precision=self.precision, batch=self.batch, threads=self.threads)
