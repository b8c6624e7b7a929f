"""What a sweep is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.errors import SettingsError
from ...pipeline.execution import IN_PROCESS, LOCAL, check_scheduler
from ...pipeline.features.patterns import Pattern
from ..train_aggregator.settings import TrainAggregatorSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSettings:
    """What to train and score, and how.

    Attributes:
        training: what all runs share. Its ``out`` is the sweep's directory; its aggregator, pattern, number of clips,
            seed and local copies do not count: each run has its own.
        aggregators: registered names.
        patterns: which clips are expensive.
        clips: numbers of clips, N.
        num_seeds: how often each aggregator that has weights is trained, with the seeds 0, 1, …
        test_split: the videos to score.
        scheduler: ``none`` (in this process), ``local`` or ``tcp://host:port``.
        workers: processes of ``local``.
        threads: of each run; float32 results depend on it.
        copies: whether each machine copies the maps that it reads to a disk of its own.
        cache_dir: where such copies go, and stay; None = in the folder of temporary files, until the sweep ends.
    """

    training: TrainAggregatorSettings
    aggregators: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    clips: tuple[int, ...]
    num_seeds: int = 3
    test_split: str = "test"
    scheduler: str = IN_PROCESS
    workers: int | None = None
    threads: int = 1
    copies: bool = True
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        """Check what does not need the store.

        Raises:
            SettingsError: naming the option and its constraint.
        """
        check_scheduler(self.scheduler, self.workers)
        for name, values in (("aggregators", self.aggregators), ("patterns", self.patterns), ("clips", self.clips)):
            shown = ",".join(map(str, values))
            if not values or len(set(values)) < len(values):
                raise SettingsError(f"--{name} must name one or more, each once, as A,B; got {shown!r}")
        for name, value in (("clips", min(self.clips)), ("seeds", self.num_seeds), ("threads", self.threads)):
            if value < 1:
                raise SettingsError(f"--{name} must be at least 1; got {value}")
        if self.training.split == self.test_split:
            raise SettingsError(f"--split and --test-split must differ; both are {self.test_split!r}")
        if self.copies and self.cache_dir is None and self.scheduler not in (IN_PROCESS, LOCAL):
            raise SettingsError(
                f"with --scheduler {self.scheduler} nothing would remove the copies of the maps from the other "
                "machines; give --cache-dir, a folder that may keep them, or --no-copies"
            )
        if self.cache_dir is not None and self.cache_dir.exists() and not self.cache_dir.is_dir():
            raise SettingsError(f"--cache-dir must be a folder; {self.cache_dir} is none")
        if self.cache_dir is not None and not self.copies:
            raise SettingsError("--cache-dir says where copies of the maps go; leave it out, or leave out --no-copies")

    @property
    def out(self) -> Path:
        """The sweep's directory."""
        return self.training.out
