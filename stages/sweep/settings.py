"""The settings of a sweep."""

from pathlib import Path

from ...pipeline.errors import SettingsError, named
from ...pipeline.execution import IN_PROCESS, LOCAL, check_scheduler
from ...pipeline.features.patterns import Pattern
from ...pipeline.settings import check_fields, setting, settings
from ..train_aggregator.settings import AGGREGATOR_NAMES, TrainAggregatorSettings


@settings
class SweepSettings:
    """What to train and score, and how.

    ``training`` is what all runs share. Its ``out`` is the sweep's directory; its aggregator, pattern, number of clips,
    seed and local copies are ignored: each run has its own.
    """

    training: TrainAggregatorSettings
    aggregators: tuple[str, ...] = setting(
        default=("average", "fast-gru"), help="What to train.", commas=True, names=AGGREGATOR_NAMES
    )
    patterns: tuple[Pattern, ...] = setting(
        default=(), help="E:C (as 1:3), first, all-expensive …", commas=True, unset="first, or all-cheap"
    )
    clips: tuple[int, ...] = setting(
        default=(), help="Numbers of clips of a video.", commas=True, unset="2,4,8,16,32 as far as stored"
    )
    num_seeds: int = setting(default=3, help="Runs of each that has weights, with the seeds 0, 1, …", at_least=1)
    test_split: str = setting(default="test", help="The videos to score.")
    scheduler: str = setting(default=IN_PROCESS, help="none, local, or tcp://host:port of a Dask cluster.")
    workers: int | None = setting(default=None, help="Processes of the local scheduler.", unset="the cores")
    threads: int = setting(default=1, help="Of each run; small networks gain nothing from more.", at_least=1)
    copies: bool = setting(default=True, help="Let each machine copy the maps that it reads to a disk of its own.")
    cache_dir: Path | None = setting(
        default=None, help="Keep each machine's copy of the maps here.", unset="a temporary one"
    )

    def __post_init__(self) -> None:
        """Check what does not need the store.

        Raises:
            SettingsError: naming the option and its constraint.
        """
        check_fields(self)
        check_scheduler(self.scheduler, self.workers)
        for name, values in (("aggregators", self.aggregators), ("patterns", self.patterns), ("clips", self.clips)):
            shown = ",".join(map(str, values))
            if len(set(values)) < len(values) or (name == "aggregators" and not values):
                raise SettingsError(f"{named(name)} must name one or more, each once, as A,B; got {shown!r}")
        if self.clips and min(self.clips) < 1:
            raise SettingsError(f"{named('clips')} must be at least 1; got {min(self.clips)}")
        if self.training.split == self.test_split:
            raise SettingsError(f"{named('split')} and {named('test_split')} must differ; both are {self.test_split!r}")
        if self.copies and self.cache_dir is None and self.scheduler not in (IN_PROCESS, LOCAL):
            raise SettingsError(
                f"with {named('scheduler')} {self.scheduler} nothing would remove the copies of the maps from the "
                f"other machines; give {named('cache_dir')}, a folder that may keep them, or {named('no_copies')}"
            )
        if self.cache_dir is not None and self.cache_dir.exists() and not self.cache_dir.is_dir():
            raise SettingsError(f"{named('cache_dir')} must be a folder; {self.cache_dir} is none")
        if self.cache_dir is not None and not self.copies:
            raise SettingsError(
                f"{named('cache_dir')} says where copies of the maps go; leave it out, or leave out "
                f"{named('no_copies')}"
            )

    @property
    def out(self) -> Path:
        """The sweep's directory."""
        return self.training.out
