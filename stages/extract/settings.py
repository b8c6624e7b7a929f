"""The settings of an extraction."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.backbones.engine_settings import EngineSettings
from ...pipeline.backbones.places import is_word, near_by, read_place
from ...pipeline.checkpoints.names import is_known_name
from ...pipeline.checkpoints.published import published
from ...pipeline.errors import SettingsError, named
from ...pipeline.execution import IN_PROCESS, check_scheduler
from ...pipeline.features.compression import COMPRESSION_NAMES, DEFAULT_COMPRESSION
from ...pipeline.features.patterns import Pattern
from ...pipeline.registry import did_you_mean
from ...pipeline.settings import check_fields, setting, settings
from ...pipeline.videos.clips import ClipSampling

_ALL_EXPENSIVE = Pattern.parse("all-expensive")


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleWeights:
    """The weights of a role's backbone: a file, the run that left it, a folder of transformers, or a name.

    Attributes:
        backbone: the name that they must have; empty: whichever they are of.
        path: of the file, of the folder of the run or model, or a name: of published weights, ``hf:…`` or ``timm:…``.
    """

    backbone: str = ""
    path: Path

    @classmethod
    def parse(cls, text: str) -> "RoleWeights":
        """Return what WEIGHTS or NAME=WEIGHTS says.

        Raises:
            ValueError: if ``text`` is not of that form, or a mere name.
        """
        name, place = read_place(text)
        if not name and is_word(place) and not place.exists() and not is_known_name(text):
            raise ValueError(
                "must be a weights file, a run of vidpipe train-backbone, the name of published weights, or NAME= "
                f"before one of these; there is none {text!r}{near_by(place) or did_you_mean(text, published())}"
            )
        return cls(backbone=name, path=place)


@settings
class ExtractSettings:
    """What to extract, and where. The cheap backbone sees all clips."""

    manifest: Path = setting(help="CSV or Parquet list of videos.")
    store: Path = setting(help="Feature store; an unfinished one goes on.")
    expensive: RoleWeights | None = setting(
        default=None,
        help="Weights of the expensive backbone: a file, run or folder, or a name, published, hf:… or timm:….",
        metavar="[NAME=]WEIGHTS",
    )
    cheap: RoleWeights | None = setting(
        default=None, help="Weights of the cheap backbone; likewise.", metavar="[NAME=]WEIGHTS"
    )
    sampling: ClipSampling = field(default_factory=ClipSampling)
    pattern: Pattern = setting(
        default=_ALL_EXPENSIVE,
        help="Clips that the expensive backbone sees: E:C (as 1:3), first, all-expensive. The cheap one sees all.",
    )
    split: str | None = setting(default=None, help="Extract this split alone; the store has room for all.", unset="all")
    crop: int | None = setting(default=None, help="Crop, pixels.", at_least=1, unset="as the weights were trained")
    pool_time: int | None = setting(
        default=None,
        help="Average the maps of every K successive frames, of image networks: a store of a K-th the size.",
        at_least=1,
        unit="frames",
        metavar="K",
        unset="every frame's map",
    )
    engine: EngineSettings = field(default_factory=EngineSettings)
    compression: str = setting(default=DEFAULT_COMPRESSION, help="Of the stored maps.", choices=COMPRESSION_NAMES)
    scheduler: str = setting(default=IN_PROCESS, help="none, local, or tcp://host:port of a Dask cluster.")
    workers: int | None = setting(default=None, help="Processes of the local scheduler.", unset="the cores")
    record_content: bool = setting(
        default=False, help="Record each file's sha256 in the store; later, a file that has changed is refused."
    )
    retry_failed: bool = setting(default=False, help="Try the videos again that failed before.")

    def __post_init__(self) -> None:
        """Check that the fields fit each other.

        Raises:
            SettingsError: the message says what is wrong and what to type.
        """
        check_fields(self)
        check_scheduler(self.scheduler, self.workers)
        if self.expensive is None and self.cheap is None:
            raise SettingsError(f"give {named('expensive')} WEIGHTS, {named('cheap')} WEIGHTS, or both; got neither")
        if self.expensive and self.cheap and self.expensive.backbone and self.expensive.backbone == self.cheap.backbone:
            raise SettingsError(
                f"{named('expensive')} and {named('cheap')} must differ; both are {self.cheap.backbone}"
            )
        if self.expensive is None and self.pattern != _ALL_EXPENSIVE:
            raise SettingsError(
                f"{named('pattern')} {self.pattern} says what the expensive backbone sees; give {named('expensive')}"
            )

    def roles(self) -> Iterator[tuple[str, RoleWeights, tuple[bool, ...]]]:
        """Yield each role that is given, with its weights and which of the N clips it sees.

        Raises:
            SettingsError: if the pattern makes no clip expensive although a backbone is given.
        """
        if self.expensive:
            clips = self.pattern.expensive(self.sampling.num_clips)
            if not clips.any():
                raise SettingsError(
                    f"{named('pattern')} {self.pattern} leaves {named('expensive')} nothing to do; leave "
                    f"{named('expensive')} out"
                )
            yield "expensive", self.expensive, tuple(clips.tolist())
        if self.cheap:
            yield "cheap", self.cheap, (True,) * self.sampling.num_clips
