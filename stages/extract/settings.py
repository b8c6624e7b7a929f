"""What an extraction is asked to do."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.backbones.engine_settings import EngineSettings
from ...pipeline.errors import SettingsError
from ...pipeline.execution import IN_PROCESS, check_scheduler
from ...pipeline.features.compression import DEFAULT_COMPRESSION
from ...pipeline.features.patterns import Pattern
from ...pipeline.videos.clips import ClipSampling

ALL_EXPENSIVE = Pattern.parse("all-expensive")


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleWeights:
    """The weights that play a role; ``backbone`` is the name that they must carry."""

    backbone: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractSettings:
    """What to extract, and where.

    Args:
        manifest: the list of videos.
        store: the feature store, made if it is not there.
        expensive: the expensive backbone; None leaves the role out.
        cheap: the cheap backbone; None leaves the role out.
        sampling: where the clips lie.
        pattern: the clips that the expensive backbone sees; the cheap one sees all.
        split: extract these videos alone; the store has room for all.
        size: crop in pixels; None takes what each backbone was trained with.
        engine: device, precision, batch, threads.
        compression: of the maps: zstd, lz4 or none.
        scheduler: ``none`` (in this process), ``local`` or ``tcp://host:port``.
        workers: processes of ``local``.
        retry_failed: try the videos again that failed before.
    """

    manifest: Path
    store: Path
    expensive: RoleWeights | None = None
    cheap: RoleWeights | None = None
    sampling: ClipSampling = field(default_factory=ClipSampling)
    pattern: Pattern = ALL_EXPENSIVE
    split: str | None = None
    size: int | None = None
    engine: EngineSettings = field(default_factory=EngineSettings)
    compression: str = DEFAULT_COMPRESSION
    scheduler: str = IN_PROCESS
    workers: int | None = None
    retry_failed: bool = False

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            SettingsError: naming what is wrong and what to type.
        """
        check_scheduler(self.scheduler, self.workers)
        if self.expensive is None and self.cheap is None:
            raise SettingsError("give --expensive NAME=WEIGHTS, --cheap NAME=WEIGHTS, or both; got neither")
        if self.expensive and self.cheap and self.expensive.backbone == self.cheap.backbone:
            raise SettingsError(f"--expensive and --cheap must differ; both are {self.cheap.backbone}")
        if self.expensive is None and self.pattern != ALL_EXPENSIVE:
            raise SettingsError(f"--pattern {self.pattern} says what the expensive backbone sees; give --expensive")

    def roles(self) -> Iterator[tuple[str, RoleWeights, tuple[bool, ...]]]:
        """Yield each role that is given, with its weights and which of the N clips it sees.

        Raises:
            SettingsError: if the pattern makes no clip expensive though a backbone is given.
        """
        if self.expensive:
            clips = self.pattern.expensive(self.sampling.num_clips)
            if not clips.any():
                raise SettingsError(f"--pattern {self.pattern} leaves --expensive nothing to do; leave --expensive out")
            yield "expensive", self.expensive, tuple(clips.tolist())
        if self.cheap:
            yield "cheap", self.cheap, (True,) * self.sampling.num_clips
