"""Where the videos of an official list lie on disk: each folder is listed once, however many videos it holds."""

import os
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...errors import ManifestError
from ..file_kinds import VIDEO_EXTENSIONS
from .source import Entry


class Place(NamedTuple):
    """Where a video lies below the folder of the videos, in terms of its entry.

    Attributes:
        prefix: "", or the sub-folder of its split.
        folder: the index of its folder in ``Entry.folders``.
        suffix: the extension on disk if it differs from the list's, as after transcoding; else None.
        uncut: whether the whole recording is there instead of the piece.
    """

    prefix: str
    folder: int
    suffix: str | None
    uncut: bool

    def folder_of(self, entry: Entry) -> str:
        """Return the folder below that of the videos, '/'-separated; absolute if it is in the list."""
        return posixpath.join(self.prefix, entry.folders[self.folder])

    def name_of(self, entry: Entry) -> str:
        """Return the name of the file."""
        stem, suffix = _split_name(entry.uncut_name if self.uncut else entry.name)
        return stem + (suffix if self.suffix is None else self.suffix)


@dataclass(frozen=True, slots=True)
class Listing:
    """What one folder holds: its videos, name without extension -> extensions, and the names of its folders."""

    videos: dict[str, list[str]]
    folders: frozenset[str]


class VideoFolder:
    """The folder of a data set's videos.

    A video may lie where its list says, or below a sub-folder whose name contains that of its split (``train``,
    ``videos_val``, ``validation``), and may have another video extension than in the list.

    Args:
        root: the folder.

    Attributes:
        unlisted: folder below it -> why it could not be listed, of those that were looked at.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unlisted: dict[str, str] = {}
        self._listings: dict[str, Listing] = {}
        self._sought: dict[tuple[str, tuple[str, ...]], list[tuple[str, int, Listing]]] = {}

    def find(self, entry: Entry) -> Place | None:
        """Return where the video lies, or None.

        Raises:
            ManifestError: if two files could be it, or the folder of the videos itself cannot be listed.
        """
        for uncut, name in enumerate((entry.name, entry.uncut_name)):
            stem, suffix = _split_name(name)
            for prefix, index, listing in self._places(entry):
                if suffixes := listing.videos.get(stem):
                    other = None if suffix in suffixes else self._only(suffixes, entry, stem=stem)
                    return Place(prefix, index, other, bool(uncut))
        return None

    def is_folder_of_frames(self, entry: Entry) -> bool:
        """Tell whether there is a folder with the video's name in its place."""
        stem, _ = _split_name(entry.name)
        return any(stem in listing.folders for _, _, listing in self._places(entry))

    def _places(self, entry: Entry) -> list[tuple[str, int, Listing]]:
        """Return (prefix, index of the folder, what is there) of every place to look at, the likeliest first."""
        key = (entry.split, entry.folders)
        if key not in self._sought:
            names = sorted(name for name in self._listing("").folders if entry.split in name.lower())
            self._sought[key] = [
                (prefix, index, self._listing(posixpath.join(prefix, folder)))
                for prefix in ("", *names)
                for index, folder in enumerate(entry.folders)
            ]
        return self._sought[key]

    def _listing(self, folder: str) -> Listing:
        if folder not in self._listings:
            try:
                self._listings[folder] = _list(self.root / folder)
            except OSError as error:
                reason = error.strerror or str(error)
                if not folder:
                    raise ManifestError(f"{self.root} cannot be listed: {reason}") from error
                self.unlisted[folder] = reason
                self._listings[folder] = Listing({}, frozenset())
        return self._listings[folder]

    def _only(self, suffixes: Sequence[str], entry: Entry, *, stem: str) -> str:
        if len(suffixes) > 1:
            files = " and ".join(stem + suffix for suffix in sorted(suffixes))
            raise ManifestError(f"{entry.where}: below {self.root}, {files} could both be this video; keep one of them")
        return suffixes[0]


class Layouts:
    """Where a data set's videos were found, so that missing ones are expected where the others are."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[Place]] = {}

    def add(self, entry: Entry, place: Place) -> None:
        """Count a video that was found, for each layout that puts it there."""
        counts = self._counts.setdefault(entry.split, Counter())
        for index, folder in enumerate(entry.folders):
            if folder == entry.folders[place.folder]:
                counts[place._replace(folder=index)] += 1

    def likeliest(self, entry: Entry) -> Place:
        """Return where a missing video would lie: where most of its split do, else where the list says."""
        if counts := self._counts.get(entry.split):
            place = counts.most_common(1)[0][0]
            return place._replace(uncut=place.uncut and bool(entry.uncut_name))
        return Place(prefix="", folder=0, suffix=None, uncut=False)


def _split_name(name: str) -> tuple[str, str]:
    """Return a file's name without its extension, and the extension; only extensions of videos count."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if dot + extension.lower() in VIDEO_EXTENSIONS and stem else (name, "")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to a forbidden place
        return False


def _list(folder: Path) -> Listing:
    videos: dict[str, list[str]] = {}
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, suffix = _split_name(entry.name)
                if suffix:
                    videos.setdefault(stem, []).append(suffix)
                elif _is_folder(entry):
                    folders.add(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        pass  # a place that this copy of the data set does not use
    return Listing(videos, frozenset(folders))
