"""The settings of an evaluation."""

import os
from pathlib import Path

from ...pipeline.backbones.engine_settings import PRECISIONS, EngineSettings
from ...pipeline.errors import SettingsError, named
from ...pipeline.settings import check_fields, setting, settings
from ...pipeline.videos.damage import DAMAGE_POLICIES, DAMAGED_HELP
from ...pipeline.videos.hdr import HDR_HELP, HDR_POLICIES
from ...pipeline.videos.memory import MAX_PIXELS, MAX_PIXELS_HELP, UNBOUNDED
from ...pipeline.videos.reading import Reading

_VIDEO_OPTIONS = {  # with the value of "not given"
    "precision": "auto",
    "batch": 0,
    "threads": None,
    "damaged": None,
    "hdr": None,
    "max_pixels": MAX_PIXELS,
    "workers": None,
}


@settings
class EvaluateSettings:
    """What to score, and on what; files in ``out`` are overwritten."""

    store: Path | None = setting(default=None, help="Feature store that vidpipe extract made.")
    manifest: Path | None = setting(
        default=None,
        help="In place of a store, for end-to-end runs: decode these videos and run each run's own backbones.",
    )
    runs: tuple[Path, ...] = setting(default=(), help="Run directory, also of a probe; give several.")
    backbones: tuple[str, ...] = setting(
        default=(), help="Score this backbone of the store too: its own clip scores, averaged; may be repeated."
    )
    out: Path = setting(help="Directory for tables and pictures.")
    split: str = setting(default="test", help="The videos to score.")
    videos_at_once: int = setting(default=32, help="Videos a step of the aggregator.", at_least=1)
    device: str = setting(default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1.")
    local_copies: Path | None = setting(default=None, help="As in training an aggregator.")
    precision: str = setting(
        default="auto", help="Of the backbones over videos; auto: the fastest that the machine has.", choices=PRECISIONS
    )
    batch: int = setting(default=0, help="Clips a call of a backbone; 0: what suits the device.")
    threads: int | None = setting(default=None, help="Of the backbones over videos.", at_least=1, unset="the cores")
    damaged: str | None = setting(
        default=None, help=DAMAGED_HELP, choices=DAMAGE_POLICIES, unset="as in the run's training"
    )
    hdr: str | None = setting(default=None, help=HDR_HELP, choices=HDR_POLICIES, unset="as in the run's training")
    max_pixels: int | None = setting(default=MAX_PIXELS, help=MAX_PIXELS_HELP, at_least=1, unset=UNBOUNDED)
    workers: int | None = setting(default=None, help="Threads that decode videos.", at_least=0, unset="the cores")

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        check_fields(self)
        if (self.store is None) == (self.manifest is None):
            found = "neither" if self.store is None else "both"
            raise SettingsError(
                f"give one of {named('store')} STORE, which vidpipe extract made, and {named('manifest')} MANIFEST, "
                f"whose videos an end-to-end run decodes itself; got {found}"
            )
        places = [path.resolve() for path in self.runs]
        twice = [str(path) for path in self.runs if places.count(path.resolve()) > 1]
        if not (self.runs or self.backbones):
            raise SettingsError(f"give what to score, {named('runs')} DIR or {named('backbones')} NAME; got neither")
        if twice:
            raise SettingsError(f"give each run once: {named('runs')} DIR; got {twice}")
        if len(set(self.backbones)) < len(self.backbones):
            raise SettingsError(f"give each {named('backbones')} once; got {', '.join(self.backbones)}")
        if self.backbones and self.manifest is not None:
            raise SettingsError(
                f"{named('backbones')} {self.backbones[0]}: only a store holds the scores of a backbone's clips. Give "
                f"{named('store')} in place of {named('manifest')}, or leave {named('backbones')} out"
            )
        given = [named(name) for name, default in _VIDEO_OPTIONS.items() if getattr(self, name) != default]
        if self.store is not None and given:
            raise SettingsError(
                f"{', '.join(given)}: with {named('store')} nothing is decoded and no backbone runs. Leave it out, "
                f"or give {named('manifest')} in place of {named('store')}"
            )
        _ = self.engine  # checks its settings

    def reading_after(self, trained: Reading) -> Reading:
        """Return how videos are read for a run that was ``trained`` on videos read so."""
        return trained.but(damaged=self.damaged, hdr=self.hdr, max_pixels=self.max_pixels)

    @property
    def videos(self) -> Path:
        """The store or manifest of the videos."""
        found = self.store or self.manifest
        assert found is not None, "one of them is given"
        return found

    @property
    def engine(self) -> EngineSettings:
        """How backbones run over videos.

        Raises:
            SettingsError: if one of its settings is out of range.
        """
        threads = self.threads if self.manifest is None else self.threads or os.cpu_count()
        return EngineSettings(device=self.device, precision=self.precision, batch=self.batch, threads=threads)
