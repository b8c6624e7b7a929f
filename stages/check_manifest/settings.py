"""What checking a manifest is asked to do."""

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.errors import SettingsError


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckSettings:
    """What to check, and how.

    Attributes:
        manifest: the ``.csv`` or ``.parquet`` file.
        decode: decode every frame (slow, and the only way to find files that are cut short), or only read the headers.
        workers: files probed at a time; None is one a core.
    """

    manifest: Path
    decode: bool = True
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"the number of workers must be at least 1, got {self.workers}")
