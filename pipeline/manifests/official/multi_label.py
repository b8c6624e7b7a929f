"""The lists of Charades and of Multi-Moments in Time, whose videos show several classes each.

Source: https://prior.allenai.org/projects/charades, PySlowFast's frame lists of Charades,
http://moments.csail.mit.edu, and X-Temporal's lists of Multi-Moments in Time.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from ...errors import ManifestError, named
from .classes import CODE_FIRST, INDEX_LAST, Classes, class_name, read_class_list
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
    split_of,
)

_ACTION = re.compile(r"(?P<code>c\d{3})\s+\d+(\.\d+)?\s+\d+(\.\d+)?")
_FRAME_LIST = "original_vido_id"  # the published spelling
_FRAME_COLUMNS = "original_vido_id video_id frame_id path labels"
_X_TEMPORAL_LINE = re.compile(r"(?P<path>.+?)\s+(?P<num_frames>\d+)\s+(?P<labels>\d+(,\d+)*)")
_WITHOUT_NAMES = (
    f"No class list was found: classes have their published {{}} for names; {named('classes')} gives them names."
)


def read_charades(source: Source) -> OfficialList:
    """Return the videos of ``Charades_v1_train.csv`` and ``_test.csv``, or of PySlowFast's lists of frames.

    A video has the classes of all its actions, or of all its frames.

    Raises:
        ManifestError: if a file is malformed.
    """
    class_file = source.class_file("Charades_v1_classes.txt")
    classes = None if class_file is None else read_class_list(class_file, form=CODE_FIRST)

    def read(file: Path) -> list[Entry]:
        _, first = next(read_lines(file), (1, ""))
        return (_read_frames if first.startswith(_FRAME_LIST) else _read_actions)(file, classes=classes)

    files = source.files(["Charades_v1_train.csv", "Charades_v1_test.csv"], ["train.csv", "val.csv"])
    found = gather(source, files, read)
    if classes is None:
        found.notes.append(_WITHOUT_NAMES.format("codes"))
    return found


def read_mmit(source: Source) -> OfficialList:
    """Return the videos of ``trainingSet.csv`` and ``validationSet.csv``, or of X-Temporal's lists.

    Raises:
        ManifestError: if a file is malformed.
    """
    class_file = source.class_file("*categories*.txt")
    classes = None if class_file is None else read_class_list(class_file, form=INDEX_LAST)
    files = source.files(["trainingSet*.csv", "validationSet*.csv"], ["trainingSet*.txt", "validationSet*.txt"])
    found = gather(source, files, partial(_read_mmit_list, classes=classes))
    if classes is None:
        found.notes.append(_WITHOUT_NAMES.format("numbers"))
    return found


def _read_actions(file: Path, *, classes: Classes | None) -> list[Entry]:
    split, entries = split_of(file), []
    records = read_records(file)
    _, header = next(records, (1, []))
    if not {"id", "actions"} <= set(header):
        raise ManifestError(
            f"{location(file, 1)}: expected the official header, with the columns id and actions, or "
            f"'{_FRAME_COLUMNS}', found {header}"
        )
    id_column, actions_column = header.index("id"), header.index("actions")
    for line, record in records:
        if len(record) != len(header):
            raise malformed(file, line, expected=f"{len(header)} fields, as in the header", found=record)
        actions = [_ACTION.fullmatch(text.strip()) for text in record[actions_column].split(";") if text.strip()]
        codes = [action["code"] for action in actions if action]
        if not record[id_column] or len(codes) != len(actions):
            expected = "an id, and actions as 'c092 11.90 21.20;c147 0.00 12.60'"
            raise malformed(file, line, expected=expected, found=[record[id_column], record[actions_column]])
        labels = _names(codes, classes, file=file, line=line)
        entries.append(_charades_entry(record[id_column], labels=labels, split=split, file=file, line=line))
    return entries


def _read_frames(file: Path, *, classes: Classes | None) -> list[Entry]:
    split = split_of(file)
    # A list has a line for each of millions of frames, with few different labels: each text is parsed only once.
    first_line: dict[str, int] = {}
    found: dict[str, dict[str, int]] = {}  # video -> labels as written -> the first line with them
    for line, text in read_lines(file):
        columns = text.split()
        if len(columns) != len(_FRAME_COLUMNS.split()):
            raise malformed(file, line, expected=f"'{_FRAME_COLUMNS}'", found=text)
        if columns[0] != _FRAME_LIST:
            first_line.setdefault(columns[0], line)
            found.setdefault(columns[0], {}).setdefault(columns[4], line)
    return [
        _charades_entry(video, labels=_frame_labels(lists, classes, file=file), split=split, file=file, line=line)
        for (video, lists), line in zip(found.items(), first_line.values(), strict=True)
    ]


def _frame_labels(lists: dict[str, int], classes: Classes | None, *, file: Path) -> tuple[str, ...]:
    """Return the union of the frames' labels, each list written as ``"12,144"`` or ``""``."""
    labels: dict[str, None] = {}
    for text, line in lists.items():
        indices = [index for index in text.strip('"').split(",") if index]
        if not all(index.isdecimal() for index in indices):
            raise malformed(file, line, expected='labels as "12,144"', found=text)
        codes = [f"c{int(index):03d}" for index in indices]  # classes are numbered in the order of their codes
        labels |= dict.fromkeys(_names(codes, classes, file=file, line=line))
    return tuple(labels)


def _charades_entry(video: str, *, labels: tuple[str, ...], split: str, file: Path, line: int) -> Entry:
    return Entry(file, line, video, labels, split, f"{video}.mp4")


def _read_mmit_list(file: Path, *, classes: Classes | None) -> list[Entry]:
    split, entries = split_of(file), []
    for line, record in read_records(file):
        match = _X_TEMPORAL_LINE.fullmatch(",".join(record).strip())
        path, indices = (match["path"], match["labels"].split(",")) if match else (record[0].strip(), record[1:])
        indices = [index.strip() for index in indices]
        if not path or not indices or not all(index.isdecimal() for index in indices):
            raise malformed(
                file, line, expected="'path.mp4,12,55', or X-Temporal's 'path frames 12,55'", found=",".join(record)
            )
        labels = _names(indices, classes, file=file, line=line)
        entries.append(entry_at(path, file=file, line=line, labels=labels, split=split))
    return entries


def _names(keys: Iterable[str], classes: Classes | None, *, file: Path, line: int) -> tuple[str, ...]:
    """Return the names of classes, each once, in the order of their first occurrence."""
    return tuple(dict.fromkeys(class_name(key, classes, file=file, line=line) for key in keys))
