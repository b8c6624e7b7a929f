"""The registry of published weights: where each file is, what it holds, and what its source says of it.

The entries stand in ``data_manifests/published_weights.csv``. Accuracies and costs are the sources' own figures, by
their own protocols; none was reproduced here.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..errors import SettingsError
from ..registry import did_you_mean

_FILE = "published_weights.csv"
PIP = "pip:"  # begins the place of weights that a package of Python's index holds
_HUB = "hf:"  # begins that of a model of Hugging Face's hub
_NOT_COMMERCIAL = re.compile(r"-nc\b|non-?commercial", re.IGNORECASE)
_TEXTS = ("name", "backbone", "dialect", "url", "sha256", "classes", "recipe", "protocol", "licence")


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """One published file of weights.

    Attributes:
        name: in the registry, ``backbone.source_data``.
        backbone: the registered network that it holds.
        dialect: how its tensors are spelled.
        url: of the file; ``pip:PACKAGE`` for one that a package holds, ``hf:ORG/NAME`` for a folder of Hugging Face's
            hub.
        sha256: the beginning of the file's digest, hexadecimal; empty where the source gives none.
        classes: the class list of its scores; empty if nobody has named them, or the folder itself does.
        recipe: how the source prepares pixels, in ``RECIPES``.
        frames: L of its clips.
        stride: of its clips, in frames.
        top1: the accuracy that the source publishes, percent; None if it has none.
        protocol: how it was measured: clips × crops a video, or in words.
        gmacs: of one clip of ``frames``, as the source publishes them, or ``frames`` times what it says of a picture;
            None if it says nothing.
        size: side in pixels of the pictures of ``gmacs``; None if unknown.
        licence: of the weights, or of the repository that gives them; empty if unknown.
    """

    name: str
    backbone: str
    dialect: str
    url: str
    sha256: str
    classes: str
    recipe: str
    frames: int
    stride: int
    top1: float | None
    protocol: str
    gmacs: float | None
    size: int | None
    licence: str

    @property
    def file(self) -> str:
        """The name that the file has where it is published."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def repository(self) -> str:
        """ORG/NAME of Hugging Face's hub; empty if the weights are not there."""
        return self.url.removeprefix(_HUB) if self.url.startswith(_HUB) else ""


@cache
def published() -> dict[str, Published]:
    """Return name -> entry, in the order of the table."""
    text = (resources.files("vidpipe.data_manifests") / _FILE).read_text(encoding="utf-8")
    return {own.name: own for own in _entries(text)}


def is_published(name: str) -> bool:
    """Return whether the registry has weights called ``name``."""
    return name in published()


def find_published(name: str) -> Published:
    """Return the entry called ``name``.

    Raises:
        SettingsError: if there is none; the message has the nearest.
    """
    known = published()
    if name not in known:
        raise SettingsError(
            f"there are no published weights {name!r}{did_you_mean(name, known) or '.'} vidpipe weights list "
            f"shows all {len(known)}"
        )
    return known[name]


def published_in(repository: str) -> Published | None:
    """Return the entry whose weights are in ORG/NAME of Hugging Face's hub; None if the registry has none."""
    return next((own for own in published().values() if repository and own.repository == repository), None)


def licence_words(name: str, licence: str) -> str:
    """Return a sentence if a licence forbids commercial use, as far as its name tells; else an empty text."""
    is_forbidden = _NOT_COMMERCIAL.search(licence) is not None
    return f"the licence of {name}, {licence}, forbids commercial use" if is_forbidden else ""


def _entries(text: str) -> Iterator[Published]:
    for row in csv.DictReader(text.splitlines()):
        texts = {name: row[name] for name in _TEXTS}
        frames, stride, size = int(row["frames"]), int(row["stride"]), row["size"]
        top1, gmacs = (float(row[name]) if row[name] else None for name in ("top1", "gmacs"))
        yield Published(**texts, frames=frames, stride=stride, size=int(size) if size else None, top1=top1, gmacs=gmacs)
