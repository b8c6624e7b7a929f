"""Which files of a manifest to probe."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ...pipeline.manifests.manifest import Draft

_CHANGED_BY_PATHLIB = ("//", "/./")  # in a path; these and a dot or slash at an end have no meaning


@dataclass(frozen=True, slots=True)
class FilesToProbe:
    """The distinct files of a manifest.

    Attributes:
        folder: that ``names`` are relative to.
        names: of the files, each once, in the manifest's order.
        of_rows: (V,) the place in ``names`` of each row's file.
    """

    folder: Path
    names: Sequence[str]
    of_rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, number: int) -> Path:
        """Return the path of one of the files."""
        return self.folder / self.names[number]


def plan(draft: Draft) -> FilesToProbe:
    """Return the files to probe; as text and numbers, since a manifest may have a million of them."""
    numbers: dict[str, int] = {}
    of_rows = array("q", (numbers.setdefault(_plain(name), len(numbers)) for name in draft.videos.places()))
    return FilesToProbe(draft.videos.folder or Path(), list(numbers), of_rows)


def _plain(name: str) -> str:
    """Return a path as pathlib writes it, so that one file has one name."""
    if name.startswith("./") or name.endswith(("/", "/.")) or any(part in name for part in _CHANGED_BY_PATHLIB):
        return str(PurePath(name))
    return name
