"""Which files of a manifest to probe."""

import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
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
    spelled: dict[str, int] = {}
    of_rows = array("q", (spelled.setdefault(_plain(name), len(spelled)) for name in draft.videos.places()))
    numbers: dict[str, int] = {}

    @cache  # files share their folders
    def real_parent(folder: str) -> str:
        return os.path.realpath(folder)

    of_spelled, names = array("q"), list[str]()
    for name in spelled:
        number = numbers.setdefault(_real(os.path.join(folder, name), real_parent), len(names))  # noqa: PTH118 - quick
        of_spelled.append(number)
        if number == len(names):
            names.append(name)
    return FilesToProbe(folder, names, array("q", (of_spelled[number] for number in of_rows)))


def _real(path: str, real_parent: Callable[[str], str]) -> str:
    """Return a path without ``..`` and links."""
    parent, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):  # noqa: PTH114 - quick
        return os.path.realpath(path)
    return f"{real_parent(parent)}/{name}"


def _plain(name: str) -> str:
    """Return a path as pathlib writes it, so that one file has one name."""
    if name.startswith("./") or name.endswith(("/", "/.")) or any(part in name for part in _CHANGED_BY_PATHLIB):
        return str(PurePath(name))
    return name
