"""The settings of checking a manifest."""

from pathlib import Path

from ...pipeline.settings import check_fields, setting, settings
from ...pipeline.videos.memory import MAX_PIXELS, MAX_PIXELS_HELP, UNBOUNDED


@settings
class CheckSettings:
    """What to check, and how."""

    manifest: Path = setting(help="CSV or Parquet list of videos.")
    decode: bool = setting(
        default=True,
        help="Decode every frame, the only way to find files that are cut short; otherwise only read the headers.",
    )
    max_pixels: int | None = setting(default=MAX_PIXELS, help=MAX_PIXELS_HELP, at_least=1, unset=UNBOUNDED)
    workers: int | None = setting(default=None, help="Files probed at a time.", at_least=1, unset="one a core")

    def __post_init__(self) -> None:
        check_fields(self)
