"""The videos below a folder: links are followed, but no file is counted twice, and what is passed over is kept."""

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ManifestError
from .file_kinds import FIRST_BYTES, holds_video, is_named_video, may_be_video

HIDDEN, OTHER = "hidden", "not videos"
BAD_NAME, BAD_CLASS = "names that no manifest can hold", "folders whose names cannot be labels"
EMPTY, NO_CLASS_VIDEOS = "empty folders", "folders of classes without a video"
TWICE, BROKEN, UNREADABLE = "reached twice", "broken links", "unreadable"
LOST = (BAD_NAME, BAD_CLASS, UNREADABLE)  # where a video may be missing from the list

_Identity = tuple[int, int]  # device and inode


@dataclass
class Finder:
    """Finds the videos below folders, each file and each folder once, however many ways lead to it.

    What lies in a folder itself comes before what a link leads to.

    Attributes:
        root: names are given below it.
        passed_over: reason -> names, '/'-separated below ``root``.
        by_content: names of videos that were known by their first bytes alone.
    """

    root: Path
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    by_content: list[str] = field(default_factory=list)
    _files: dict[_Identity, str] = field(default_factory=dict)
    _folders: dict[_Identity, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self._folders[_identity(self.root.stat())] = "."
        except OSError as error:
            raise ManifestError(
                f"{self.root} cannot be listed: {error.strerror}. Give the folder of the videos"
            ) from error

    def find(self, folders: list[str]) -> dict[str, list[str]]:
        """Return folder -> its videos, sorted and '/'-separated below it.

        Raises:
            ManifestError: if a folder cannot be listed.
        """
        found: dict[str, list[str]] = {name: [] for name in folders}
        # Folder, and what is below the root. Links that are classes themselves come before links within classes.
        links = deque((name, name) for name in folders if (self.root / name).is_symlink())
        for name in folders:
            if not (self.root / name).is_symlink():
                self._list(name, name, found[name], links)
        while links:
            folder, name = links.popleft()
            self._follow(folder, name, found[folder], links)
        return {folder: sorted(names) for folder, names in found.items()}

    def pass_over(self, reason: str, name: str) -> None:
        """Note what is not in the list, and why."""
        self.passed_over.setdefault(reason, []).append(name)

    def _list(self, folder: str, name: str, found: list[str], links: deque[tuple[str, str]]) -> None:
        """Take the videos in ``name`` and below; links wait in ``links``."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            path = self.root / name
            if self._is_known(self._folders, path.stat(), name):
                continue
            entries = sorted(_entries(path), key=lambda entry: entry.name)
            if not entries and name != folder:
                self.pass_over(EMPTY, name)
            for entry in entries:
                below = f"{name}/{entry.name}"
                if entry.name.startswith("."):
                    self.pass_over(HIDDEN, below)
                elif entry.is_symlink():
                    links.append((folder, below))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(below)
                else:
                    self._take(folder, below, entry.stat(follow_symlinks=False), found)

    def _follow(self, folder: str, name: str, found: list[str], links: deque[tuple[str, str]]) -> None:
        try:
            status = (self.root / name).stat()
        except OSError:  # nothing there, or links in a circle
            self.pass_over(BROKEN, name)
            return
        if stat.S_ISDIR(status.st_mode):
            self._list(folder, name, found, links)
        else:
            self._take(folder, name, status, found)

    def _take(self, folder: str, name: str, status: os.stat_result, found: list[str]) -> None:
        """Add a file to ``found`` if it is a video that was not met before and that a manifest can name."""
        reason = OTHER if not stat.S_ISREG(status.st_mode) else self._refusal(name)
        if reason is None and not is_writable(name):
            reason = BAD_NAME
        if reason is not None:
            self.pass_over(reason, name)
        elif not self._is_known(self._files, status, name):
            found.append(name.removeprefix(f"{folder}/"))
            if not is_named_video(name):
                self.by_content.append(name)

    def _refusal(self, name: str) -> str | None:
        """Return why a file is no video, or None if it is one."""
        if is_named_video(name):
            return None
        if not may_be_video(name):
            return OTHER
        try:
            with (self.root / name).open("rb") as file:
                is_video = holds_video(file.read(FIRST_BYTES))
        except OSError:
            return UNREADABLE
        return None if is_video else OTHER

    def _is_known(self, known: dict[_Identity, str], status: os.stat_result, name: str) -> bool:
        """Return whether a file or folder was met before, which is noted; else it is now."""
        first = known.setdefault(_identity(status), name)
        if first != name:
            self.pass_over(TWICE, f"{name} (is {first})")
        return first != name


def is_writable(name: str) -> bool:
    """Return whether a manifest can hold a name: it is UTF-8 and has no control characters."""
    return not any(character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in name)


def visible(name: str) -> str:
    """Return a name with escapes for what cannot be shown: bytes that are not UTF-8, and control characters."""
    return "".join(map(_visible_character, name))


def _visible_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"  # an undecodable byte, as Python keeps it
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise ManifestError(f"{visible(str(folder))} cannot be listed: {error.strerror or error}") from error
