"""The lists of Something-Something: v1 as CSV with semicolons, v2 as JSON.

Source: https://www.qualcomm.com/developer/software/something-something-v-2-dataset
"""

from pathlib import Path
from typing import Any

from .classes import NAME_ONLY, check_name, read_class_json, read_class_list
from .source import (
    Entry,
    OfficialList,
    Source,
    gather,
    malformed,
    read_json,
    read_lines,
    refuse_unlabelled,
    split_of,
)


def read_ssv1(source: Source) -> OfficialList:
    """Return the videos of ``something-something-v1-train.csv`` and ``-validation.csv``, lines ``id;label``.

    Raises:
        ManifestError: if a file is malformed, or was named although it has no labels.
    """
    class_file = source.class_file("*labels.csv")
    names = None if class_file is None else frozenset(read_class_list(class_file, form=NAME_ONLY).values())

    def read(file: Path) -> list[Entry]:
        split, entries = split_of(file), []
        lines = list(read_lines(file))
        if lines and all(text.rstrip(";").isdecimal() for _, text in lines):
            refuse_unlabelled(file)
        for line, text in lines:
            video_id, _, label = (part.strip() for part in text.partition(";"))
            if not video_id.isdecimal() or not label:
                raise malformed(file, line, expected="'id;label', as '100218;Holding something'", found=text)
            if names is not None:
                check_name(label, names, file=file, line=line)
            entries.append(Entry(file, line, video_id, (label,), split, f"{video_id}.webm"))
        return entries

    return gather(source, source.files(["*train.csv", "*validation.csv", "*test.csv"]), read)


def read_ssv2(source: Source) -> OfficialList:
    """Return the videos of ``something-something-v2-train.json`` and ``-validation.json``; the class is the template.

    Raises:
        ManifestError: if a file is malformed, or was named although it has no labels.
    """
    class_file = source.class_file("*labels.json")
    names = None if class_file is None else frozenset(read_class_json(class_file).values())

    def read(file: Path) -> list[Entry]:
        split, items = split_of(file), read_json(file)
        if not isinstance(items, list):
            raise malformed(file, 1, expected='a list of {"id": …, "template": …}', found=items)
        if items and not any(isinstance(item, dict) and "template" in item for item in items):
            refuse_unlabelled(file)
        entries = []
        for number, item in enumerate(items, start=1):
            video_id, label = _id_and_label(item, file=file, line=number)
            if names is not None:
                check_name(label, names, file=file, line=number)
            entries.append(Entry(file, number, video_id, (label,), split, f"{video_id}.webm"))
        return entries

    return gather(source, source.files(["*train.json", "*validation.json", "*test.json"]), read)


def _id_and_label(item: Any, *, file: Path, line: int) -> tuple[str, str]:
    if not isinstance(item, dict) or not str(item.get("id", "")) or not isinstance(item.get("template"), str):
        raise malformed(file, line, expected='{"id": "78687", "template": "Holding [something]", …}', found=item)
    return str(item["id"]), item["template"].replace("[", "").replace("]", "").strip()
