"""The lists of Kinetics-400, -600 and -700: the official CSV, and the ``path label`` lists of PySlowFast.

Source: https://github.com/cvdfoundation/kinetics-dataset and PySlowFast's DATASET.md.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from ...errors import ManifestError, named
from .classes import Classes, check_name, class_name, read_any_class_list
from .source import (
    Entry,
    OfficialList,
    Source,
    entry_at,
    gather,
    location,
    malformed,
    read_lines,
    read_records,
    refuse_unlabelled,
    split_of,
)

_COLUMNS = ("youtube_id", "time_start", "time_end")
_SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def read_kinetics(source: Source) -> OfficialList:
    """Return the videos of official CSV files and of ``path label`` lists; a folder means all its lists of splits.

    Raises:
        ManifestError: if a file is malformed, or was named although it has no labels.
    """
    classes = None if source.classes is None else read_any_class_list(source.classes)

    def read(file: Path) -> list[Entry]:
        _, first = next(read_lines(file), (1, ""))
        if "youtube_id" in first:
            return _read_csv(file, classes=classes)
        return _read_paths(file, classes=classes, separator=source.separator or " ")

    found = gather(source, source.files(["*train*.csv", "*val*.csv", "*test*.csv"]), read)
    if classes is None and found.entries and all(entry.labels[0].isdecimal() for entry in islice(found.entries, 100)):
        found.notes.append(
            f"Classes have the numbers of the lists for names; {named('classes')} gives them their names."
        )
    return found


def _read_csv(file: Path, *, classes: Classes | None) -> list[Entry]:
    records = read_records(file)
    _, header = next(records)
    columns = {name.strip(): index for index, name in enumerate(header)}
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise ManifestError(f"{location(file, 1)}: the columns {', '.join(missing)} are missing; found: {header}")
    if "label" not in columns:
        refuse_unlabelled(file)
    names = None if classes is None else frozenset(classes.values())
    by_name = "" if "split" in columns else split_of(file)
    entries = []
    for line, record in records:
        if len(record) != len(header):
            raise malformed(file, line, expected=f"{len(header)} fields, as {','.join(header)}", found=record)
        label = record[columns["label"]].strip()
        if names is not None:
            check_name(label, names, file=file, line=line)
        split = by_name or _split(record[columns["split"]], file=file, line=line)
        entries.append(_clip([record[columns[c]] for c in _COLUMNS], label=label, split=split, file=file, line=line))
    return entries


def _clip(cells: Sequence[str], *, label: str, split: str, file: Path, line: int) -> Entry:
    youtube_id = cells[0].strip()
    start, end = _seconds(cells[1]), _seconds(cells[2])
    if not youtube_id or not label or not 0 <= start < end:  # also false where a time is not a number
        expected = "a label, a youtube_id, and seconds with 0 <= time_start < time_end"
        raise malformed(file, line, expected=expected, found=[label, *cells])
    # The name under which the official downloader and its successors keep a clip.
    video_id = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
    return Entry(
        file=file,
        line=line,
        video_id=video_id,
        labels=(label,),
        split=split,
        name=f"{video_id}.mp4",
        folders=_folders(label),
        uncut_name=f"{youtube_id}.mp4",
        start=start,
        end=end,
    )


def _read_paths(file: Path, *, classes: Classes | None, separator: str) -> list[Entry]:
    split, entries = split_of(file), []
    for line, text in read_lines(file):
        path, found, key = text.rpartition(separator)
        if not found or not path.strip() or not key.strip().isdecimal():
            expected = (
                f"'path{separator}label' with a whole number for a label ({named('separator')} says what stands "
                "between them), or the official header label,youtube_id,time_start,time_end,split"
            )
            raise malformed(file, line, expected=expected, found=text)
        label = class_name(key.strip(), classes, file=file, line=line)
        entries.append(entry_at(path.strip(), file=file, line=line, labels=(label,), split=split))
    return entries


@cache
def _folders(label: str) -> tuple[str, ...]:
    """Return where clips of a class may lie: in one folder, or one per class, with its blanks kept or as '_'."""
    return "", label, label.replace(" ", "_")


def _split(word: str, *, file: Path, line: int) -> str:
    split = _SPLITS.get(word.strip().lower())
    if split is None:
        raise malformed(file, line, expected=f"a split, one of {', '.join(_SPLITS)}", found=word)
    return split


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
