"""Which files of a manifest to probe."""

import os
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
        names: of the files, each once, as first written, in the manifest's order.
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
    """Return the files to probe; as text and numbers, since a manifest may have a million of them.

    A file that is written in two ways, as through ``..`` or a link, is one.
    """
    folder = draft.videos.folder or Path()
    one_name, numbers, names, of_rows = _OneName(folder), dict[str, int](), list[str](), array("q")
    for name in map(_plain, draft.videos.places()):
        number = numbers.setdefault(one_name(name), len(names))
        of_rows.append(number)
        if number == len(names):
            names.append(name)
    return FilesToProbe(folder, names, of_rows)


class _OneName:
    """Gives each file one name, however it is written; looks once at each folder, and at the files that are links."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._heads: dict[str, tuple[str, frozenset[str]]] = {}  # as written -> the one name, and the links in it
        self._first: dict[str, str] = {}  # a folder without links -> how it was written first, with a slash

    def __call__(self, name: str) -> str:
        last = name.rpartition("/")[2]
        head = name[: len(name) - len(last)]
        first, links = self._heads.get(head) or self._look(head)
        if last in links or last in ("", ".."):
            real = os.path.realpath(self._folder / name)
            return self._of_target(real)
        return name if first == head else first + last

    def _look(self, head: str) -> tuple[str, frozenset[str]]:
        real = os.path.realpath(self._folder / head)
        found = self._heads[head] = self._first.setdefault(real, head), _links_in(real)
        return found

    def _of_target(self, real: str) -> str:
        parent, last = os.path.split(real)
        return self._first.setdefault(parent, os.path.join(parent, "")) + last  # noqa: PTH118


def _links_in(folder: str) -> frozenset[str]:
    """Return the names of the links in a folder; none if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:
        return frozenset()


def _plain(name: str) -> str:
    """Return a path as pathlib writes it, so that one file has one name."""
    if name.startswith("./") or name.endswith(("/", "/.")) or any(part in name for part in _CHANGED_BY_PATHLIB):
        return str(PurePath(name))
    return name
