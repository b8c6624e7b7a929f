"""The settings of verifying a store, and of exporting it."""

from pathlib import Path

from ...pipeline.settings import check_fields, setting, settings


@settings
class RelabelSettings:
    """What a manifest may change in a store, beside labels and splits."""

    store: Path = setting(help="Feature store that vidpipe extract made.")
    manifest: Path = setting(help="CSV or Parquet list of videos, with the labels and splits that they are to have.")
    drop: bool = setting(default=False, help="Leave videos out of use that the manifest does not list.")
    moved: bool = setting(default=False, help="Take over paths too: the same files lie elsewhere now.")


@settings
class VerifySettings:
    """What to check.

    The same machine gives the same bytes again; another one rounds bfloat16 differently, which adds up to a few
    thousandths over a network. Hence the tolerance.
    """

    store: Path = setting(help="Feature store that vidpipe extract made.")
    num_recomputed: int = setting(
        default=0,
        help="Compute so many clips again from the videos, and compare.",
        at_least=0,
        unit="clips",
        metavar="K",
    )
    seed: int = setting(default=0, help="Of the draw of these clips.")
    tolerance: float = setting(
        default=0.02, help="Largest norm of the difference, relative to what is stored.", at_least=0
    )
    content: bool = setting(
        default=False, help="Compare the files with the sha256 that `vidpipe extract` recorded of them."
    )
    reset: bool = setting(default=False, help="Mark damaged videos as pending: the next `vidpipe extract` redoes them.")

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: naming the setting.
        """
        check_fields(self)


@settings
class ExportSettings:
    """Which store to write as one HDF5 file, and how."""

    store: Path = setting(help="Feature store that vidpipe extract made.")
    output: Path = setting(help="The new file.")
    compression: str = setting(default="none", help="Of the maps.", choices=("none", "gzip"))

    def __post_init__(self) -> None:
        check_fields(self)
