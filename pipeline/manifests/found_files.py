"""The videos below a folder: links are followed, but no file is counted twice, and what is passed over is kept.

What cannot be read costs that file or folder alone, and is kept with the reason.
"""

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ManifestError
from ..execution import SILENT, Progress, under_way
from .file_kinds import FIRST_BYTES, holds_video, is_named_video, may_be_video

HIDDEN, OTHER = "hidden", "not videos"
BAD_NAME, BAD_CLASS = "names that no manifest can hold", "folders whose names cannot be labels"
EMPTY, NO_CLASS_VIDEOS = "empty folders", "folders of classes without a video"
TWICE, BROKEN = "reached twice", "broken links"
UNREADABLE, UNLISTED = "unreadable", "folders that cannot be listed"
LOST = (BAD_NAME, BAD_CLASS, UNREADABLE, UNLISTED)  # where a video may be missing from the list
_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # of a link: nothing is there, or links in a circle

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
    _unlisted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            self._folders[_identity(self.root.stat())] = "."
        except OSError as error:
            raise ManifestError(
                f"{visible(str(self.root))} cannot be listed: {reason_of(error)}. Give the folder of the videos"
            ) from error

    def find(self, folders: list[str], *, progress: Progress = SILENT) -> dict[str, list[str]]:
        """Return folder -> its videos, sorted and '/'-separated below it.

        Args:
            folders: below the root.
            progress: advanced by each of them.
        """
        found: dict[str, list[str]] = {name: [] for name in folders}
        # Folder, and what is below the root. Links that are classes themselves come before links within classes.
        links = deque((name, name) for name in folders if is_link(self.root / name))
        linked = {name for _, name in links}
        with under_way(progress, "listing", total=len(folders), unit="folder"):
            for name in folders:
                if name not in linked:
                    self._list(name, name, found[name], links)
                    progress.advance()
            while links:
                folder, name = links.popleft()
                self._follow(folder, name, found[folder], links)
                progress.advance(int(folder == name))
        return {folder: sorted(names) for folder, names in found.items()}

    def pass_over(self, reason: str, name: str) -> None:
        """Note what is not in the list, and why."""
        self.passed_over.setdefault(reason, []).append(name)

    def lose(self, name: str, error: OSError, *, is_link: bool = False) -> None:
        """Note a file that cannot be read, or a link: one that leads nowhere is broken, others lead to what is lost."""
        if is_link and error.errno in _LEADS_NOWHERE:
            self.pass_over(BROKEN, name)
        else:
            self.pass_over(UNREADABLE, f"{name} ({reason_of(error)})")

    def is_unlisted(self, name: str) -> bool:
        """Return whether ``name`` is a folder that could not be listed."""
        return name in self._unlisted

    def _list(self, folder: str, name: str, found: list[str], links: deque[tuple[str, str]]) -> None:
        """Take the videos in ``name`` and below; links wait in ``links``."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            path = self.root / name
            try:
                known = self._is_known(self._folders, path.stat(), name)
                entries = [] if known else _entries(path)
            except OSError as error:
                self._unlisted.add(name)
                self.pass_over(UNLISTED, f"{name} ({reason_of(error)})")
                continue
            if not entries and not known and name != folder:
                self.pass_over(EMPTY, name)
            for entry in entries:
                below = f"{name}/{entry.name}"
                try:
                    if entry.name.startswith("."):
                        self.pass_over(HIDDEN, below)
                    elif entry.is_symlink():
                        links.append((folder, below))
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(below)
                    else:
                        self._take(folder, below, entry.stat(follow_symlinks=False), found)
                except OSError as error:  # it has gone since the folder was listed, or the disk fails
                    self.lose(below, error)

    def _follow(self, folder: str, name: str, found: list[str], links: deque[tuple[str, str]]) -> None:
        try:
            status = (self.root / name).stat()
        except OSError as error:
            self.lose(name, error, is_link=True)
            return
        if stat.S_ISDIR(status.st_mode):
            self._list(folder, name, found, links)
        else:
            self._take(folder, name, status, found)

    def _take(self, folder: str, name: str, status: os.stat_result, found: list[str]) -> None:
        """Add a file to ``found`` if it is a video that was not met before and that a manifest can name."""
        try:
            reason = OTHER if not stat.S_ISREG(status.st_mode) else self._refusal(name)
        except OSError as error:
            self.lose(name, error)
            return
        if reason is None and not is_writable(name):
            reason = BAD_NAME
        if reason is not None:
            self.pass_over(reason, name)
        elif not self._is_known(self._files, status, name):
            found.append(name.removeprefix(f"{folder}/"))
            if not is_named_video(name):
                self.by_content.append(name)

    def _refusal(self, name: str) -> str | None:
        """Return why a file is no video, or None if it is one.

        Raises:
            OSError: if it must be read to tell, and cannot be.
        """
        if is_named_video(name):
            return None
        if not may_be_video(name):
            return OTHER
        with (self.root / name).open("rb") as file:
            return None if holds_video(file.read(FIRST_BYTES)) else OTHER

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


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def is_link(path: Path) -> bool:
    """Return whether ``path`` is a link, wherever it leads."""
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False  # it has gone, which listing it will say


def reason_of(error: OSError) -> str:
    """Return why the system refused something, in its own words."""
    return error.strerror or str(error)
