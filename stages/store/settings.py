"""The settings of verifying a store, and of exporting it."""

from pathlib import Path

from ...pipeline.errors import SettingsError, named
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


HDF5, PARQUET, FOLDER = "hdf5", "parquet", "folder"
_FORMS = {".h5": HDF5, ".hdf5": HDF5, ".parquet": PARQUET, "": FOLDER}


@settings
class ExportSettings:
    """What of a store to write for other programs; the form follows the suffix."""

    store: Path = setting(help="Feature store that vidpipe extract made.")
    output: Path = setting(help="The new .h5 or .parquet, or a folder.")
    split: str | None = setting(default=None, help="Export the videos of this split.", unset="all")
    backbones: tuple[str, ...] = setting(default=(), help="Export this one; may be repeated.", unset="all")
    compression: str = setting(default="none", help="Of .h5 and .parquet.", choices=("none", "gzip"))

    def __post_init__(self) -> None:
        """Check that the form is known.

        Raises:
            SettingsError: naming those that are.
        """
        check_fields(self)
        if self.output.suffix.lower() not in _FORMS:
            raise SettingsError(
                "the output must be .h5 (one file, which vidpipe store import reads), .parquet (a row a clip, maps "
                f"pooled) or a folder, without a suffix (a .npy a video); got {str(self.output)!r}"
            )
        if self.form == FOLDER and self.compression != "none":
            raise SettingsError(f"{named('compression')} {self.compression} is for .h5 and .parquet; leave it out")
        if self.store.resolve() in self.output.resolve().parents:
            raise SettingsError(f"{self.output} lies in the feature store; choose a place outside of it")

    @property
    def form(self) -> str:
        """What is written: `HDF5`, `PARQUET` or `FOLDER`."""
        return _FORMS[self.output.suffix.lower()]
