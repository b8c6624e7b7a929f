"""The official splits of UCF-101 and HMDB-51: three each, and results are the mean over them.

Source: https://www.crcv.ucf.edu/data/UCF101.php and
https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database
"""

import re
from functools import partial
from pathlib import Path

from .classes import INDEX_FIRST, Classes, check_name, class_name, read_class_list
from .source import (
    Entry,
    OfficialList,
    Source,
    entry_at,
    gather,
    malformed,
    official_file,
    read_lines,
    split_of,
)

_UCF_LINE = re.compile(r"(?P<path>(?P<label>[^/]+)/[^/]+?)(?:\s+(?P<index>\d+))?")
_HMDB_LINE = re.compile(r"(?P<name>.+?)\s+(?P<code>[012])")
_HMDB_SPLITS = {"0": "unused", "1": "train", "2": "test"}  # all are kept, so that one store serves all three splits


def read_ucf101(source: Source) -> OfficialList:
    """Return one split from the folder of ``classInd.txt``, ``trainlist01.txt``, ``testlist01.txt`` and so on.

    Raises:
        ManifestError: if a file is missing or malformed.
    """
    folder = source.folder()
    classes = read_class_list(source.classes or official_file(folder, "classInd.txt"), form=INDEX_FIRST)
    files = [official_file(folder, f"{split}list{source.split:02d}.txt") for split in ("train", "test")]
    return gather(source, files, partial(_read_ucf_list, classes=classes))


def read_hmdb51(source: Source) -> OfficialList:
    """Return one split from the folder of ``<class>_test_split1.txt`` and so on.

    Raises:
        ManifestError: if there are no such files, or one is malformed.
    """
    ending = f"_test_split{source.split}.txt"

    def read(file: Path) -> list[Entry]:
        label, entries = file.name.removesuffix(ending), []
        for line, text in read_lines(file):
            match = _HMDB_LINE.fullmatch(text)
            if match is None:
                raise malformed(file, line, expected="'file.avi code', with the code 0, 1 or 2", found=text)
            path, split = f"{label}/{match['name']}", _HMDB_SPLITS[match["code"]]
            entries.append(entry_at(path, file=file, line=line, labels=(label,), split=split))
        return entries

    source.folder()  # refuses single files: one class alone is no data set
    return gather(source, source.files([f"*{ending}"]), read)


def _read_ucf_list(file: Path, *, classes: Classes) -> list[Entry]:
    """Read lines ``Class/file.avi 1``, with the class's index; test lists leave it out."""
    split, entries = split_of(file), []
    names = frozenset(classes.values())
    for line, text in read_lines(file):
        match = _UCF_LINE.fullmatch(text)
        if match is None or (split == "train" and match["index"] is None):
            form = "Class/file.avi index" if split == "train" else "Class/file.avi"
            raise malformed(file, line, expected=f"{form!r}", found=text)
        label = check_name(match["label"], names, file=file, line=line)
        if match["index"] and class_name(match["index"], classes, file=file, line=line) != label:
            raise malformed(file, line, expected=f"the index that the class list gives to {label!r}", found=text)
        entries.append(entry_at(match["path"], file=file, line=line, labels=(label,), split=split))
    return entries
