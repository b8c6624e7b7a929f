"""What official lists of data sets are read from, and what their readers return.

Every mistake is a `ManifestError` that names the file, the line, what was expected and what was found.
"""

import csv
import json
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ...errors import ManifestError, SettingsError, named
from ...settings import check_fields, setting, settings
from ..cells import default_video_id

_SPLIT_WORDS = {"train": "train", "val": "val", "test": "test"}  # in a file's name -> the split of the manifest
_MAX_FOUND_SHOWN = 100  # characters of a line that is wrong


class UnlabelledError(ManifestError):
    """A list without labels: the test set of a challenge whose answers are secret."""


@settings
class Source:
    """Which files to read."""

    annotations: tuple[Path, ...] = setting(
        help="The lists, or their folder; may be given several times.", metavar="PATH"
    )
    split: int = setting(default=1, help="Which of the official splits, from 1.", at_least=1)
    classes: Path | None = setting(
        default=None, help="The class list.", unset="sought beside the annotations, under its official name"
    )
    separator: str | None = setting(
        default=None, help="Stands between path and label in lists of them, as ',' or '\\t'.", unset="a blank"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.annotations:
            raise SettingsError(
                f"no annotations are given; {named('annotations')} names the official files or their folder"
            )
        if self.separator == "" or any(character in "\r\n" for character in self.separator or ""):
            raise SettingsError(
                f"{named('separator')} must be what stands between path and label, got {self.separator!r}"
            )

    def folder(self) -> Path:
        """Return the folder of the annotations, for sets that are published as one folder.

        Raises:
            SettingsError: if anything else is given.
        """
        folder, *others = self.annotations
        if others or not folder.is_dir():
            given = ", ".join(map(str, self.annotations))
            raise SettingsError(
                f"{named('annotations')} must be the one folder that holds the official files, got {given}"
            )
        return folder

    def files(self, *groups: Sequence[str]) -> list[Path]:
        """Return the files to read: those given, and from a folder those of the first group of patterns that finds any.

        Raises:
            ManifestError: if nothing in a folder matches any group.
        """
        found: list[Path] = []
        for path in self.annotations:
            found += _matching(path, groups) if path.is_dir() else [path]
        return list(dict.fromkeys(found))

    def class_file(self, *patterns: str) -> Path | None:
        """Return the class list: the one given, or one that a pattern matches beside the annotations, or None."""
        if self.classes is not None:
            return self.classes
        folders = dict.fromkeys(path if path.is_dir() else path.parent for path in self.annotations)
        return next((file for folder in folders for name in patterns for file in sorted(folder.glob(name))), None)


class Entry(NamedTuple):
    """One video of an official list.

    Attributes:
        file: the list.
        line: its line there, from 1.
        video_id: a name that does not depend on where the videos lie.
        labels: its classes; () if it shows none of them.
        split: "train", "val" or "test".
        name: the name of its file, as published.
        folders: where the file may lie below the folder of the videos, '/'-separated, the likeliest first.
        uncut_name: the name of the whole recording, if ``name`` is a piece cut from it.
        start: where the piece begins in the whole recording, in seconds.
        end: where it ends there, in seconds.
    """

    file: Path
    line: int
    video_id: str
    labels: tuple[str, ...]
    split: str
    name: str
    folders: tuple[str, ...] = ("",)
    uncut_name: str = ""
    start: float | None = None
    end: float | None = None

    @property
    def where(self) -> str:
        """Return the file and the line, for messages."""
        return location(self.file, self.line)


def entry_at(path: str, *, file: Path, line: int, labels: tuple[str, ...], split: str) -> Entry:
    """Return the entry of a list that gives each video's path."""
    folder, name = posixpath.split(path)
    return Entry(file, line, default_video_id(path), labels, split, name, (folder,))


@dataclass(frozen=True, slots=True)
class OfficialList:
    """What was read.

    Attributes:
        entries: the videos, in the order of the files.
        notes: what the user should know: skipped files, rows that the split does not use.
    """

    entries: list[Entry]
    notes: list[str] = field(default_factory=list)


def gather(source: Source, files: Sequence[Path], read: Callable[[Path], list[Entry]]) -> OfficialList:
    """Read each file; one without labels is skipped with a note if it was only found in a folder.

    Raises:
        ManifestError: if a file is malformed, lists no videos, or has no labels although it was named.
    """
    found = OfficialList([])
    for file in files:
        try:
            entries = read(file)
        except UnlabelledError as error:
            if file in source.annotations:
                raise
            found.notes.append(f"Passed over: {error}")
            continue
        if not entries:
            raise ManifestError(f"{file} lists no videos")
        found.entries.extend(entries)
    return found


def refuse_unlabelled(file: Path) -> NoReturn:
    """Say that a list has no labels.

    Raises:
        UnlabelledError: always.
    """
    raise UnlabelledError(f"{file} gives no labels, and a manifest needs a class for every video; leave this list out")


def split_of(file: Path) -> str:
    """Return the split that is in a file's name.

    Raises:
        ManifestError: if there is none, or several.
    """
    splits = [split for word, split in _SPLIT_WORDS.items() if word in file.name.lower()]
    if len(splits) != 1:
        raise ManifestError(
            f"{file}: the name must say the split, by one of the words {', '.join(_SPLIT_WORDS)}, and "
            f"{'says several' if splits else 'says none'}; rename or copy the file, as to train.csv"
        )
    return splits[0]


def location(file: Path, line: int) -> str:
    """Return a line's place, for messages; JSON files have entries instead of lines."""
    return f"{file}: entry {line}" if file.suffix.lower() == ".json" else f"{file}:{line}"


def malformed(file: Path, line: int, *, expected: str, found: object) -> ManifestError:
    """Return the error that says what a line should have been."""
    text = repr(found)
    text = text if len(text) <= _MAX_FOUND_SHOWN else f"{text[:_MAX_FOUND_SHOWN]}…"
    return ManifestError(f"{location(file, line)}: expected {expected}, found {text}")


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of every line that is not blank, without byte order marks and line ends of either kind.

    Raises:
        ManifestError: if the file cannot be read, or is not text in UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if "\0" in line:
                    raise malformed(file, number, expected="text", found=line)
                if text := line.strip():
                    yield number, text
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def read_records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, fields) of every record of a CSV file that is not blank.

    Raises:
        ManifestError: if the file cannot be read, or is not CSV.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            try:
                for record in reader:
                    if any("\0" in cell for cell in record):
                        raise malformed(file, reader.line_num, expected="text", found=record)
                    if record:
                        yield reader.line_num, record
            except csv.Error as error:
                raise ManifestError(f"{location(file, reader.line_num)}: is not CSV: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def read_json(file: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        ManifestError: if it cannot be read, or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ManifestError(f"{file}:{error.lineno}: is not JSON: {error.msg}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def official_file(folder: Path, name: str) -> Path:
    """Return the file of that name.

    Raises:
        ManifestError: if the folder lacks it; the message says what the folder holds.
    """
    return _matching(folder, [[name]])[0]


def _matching(folder: Path, groups: Sequence[Sequence[str]]) -> list[Path]:
    for patterns in groups:
        if files := [file for pattern in patterns for file in sorted(folder.glob(pattern))]:
            return files
    names = sorted(path.name for path in folder.iterdir())
    held = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    wanted = " or ".join(pattern for patterns in groups for pattern in patterns)
    raise ManifestError(f"{folder} holds no {wanted}; it holds {held or 'nothing'}")


def _unreadable(file: Path, error: OSError | UnicodeDecodeError) -> ManifestError:
    if isinstance(error, OSError):
        return ManifestError(f"{file} cannot be read: {error.strerror or error}")
    content = file.read_bytes()
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as whole:  # the stream's own error counts from the block that it was in
        line = content.count(b"\n", 0, whole.start) + 1
        return ManifestError(f"{file}:{line}: must be UTF-8, found the byte {content[whole.start]:#04x}")
    return ManifestError(f"{file} changed while it was read; run the command again")
