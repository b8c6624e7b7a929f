"""Class lists as data sets publish them: each class's published key (an index or a code) and its name."""

import re
from collections.abc import Iterable
from pathlib import Path

from ...errors import ManifestError
from .source import location, malformed, read_json, read_lines

INDEX_FIRST = "1 ApplyEyeMakeup"  # UCF-101
CODE_FIRST = "c000 Holding some clothes"  # Charades
INDEX_LAST = "clapping,0"  # Moments in Time
NAME_ONLY = "Holding something"  # Something-Something v1; the key is the place in the list, from 0
_FORMS = {
    INDEX_FIRST: re.compile(r"(?P<key>\d+)[\s,]\s*(?P<name>.+)"),
    CODE_FIRST: re.compile(r"(?P<key>c\d+)\s+(?P<name>.+)"),
    INDEX_LAST: re.compile(r"(?P<name>.+),\s*(?P<key>\d+)"),
    NAME_ONLY: re.compile(r"(?P<name>.+)"),
}
_HEADER = "id,name"  # of Kinetics' class lists in TSM and projects after it

Classes = dict[str, str]


def read_class_list(file: Path, *, form: str) -> Classes:
    """Return the classes of a text file, by published key: indices without leading zeros, or codes as ``c012``.

    Args:
        file: one class per line.
        form: an example of a line: `INDEX_FIRST`, `CODE_FIRST`, `INDEX_LAST` or `NAME_ONLY`.

    Raises:
        ManifestError: if a line has another form, a key or a name occurs twice, or there are no classes.
    """
    classes = []
    for line, text in read_lines(file):
        if line == 1 and text.replace(" ", "").lower() == _HEADER:
            continue
        match = _FORMS[form].fullmatch(text)
        if match is None:
            raise malformed(file, line, expected=f"a class, as {form!r}", found=text)
        key = match["key"] if form != NAME_ONLY else str(len(classes))
        classes.append((line, _plain(key), match["name"].strip()))
    return _by_key(file, classes)


def read_class_json(file: Path) -> Classes:
    """Return the classes of a JSON file ``{"name": index}``, by index; quotes around names are removed.

    Raises:
        ManifestError: if it holds anything else, or an index or a name occurs twice.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        raise malformed(file, 1, expected='{"class": index, …}', found=content)
    classes = []
    for number, (name, index) in enumerate(content.items(), start=1):
        if not str(index).isdecimal() or isinstance(index, bool):
            raise malformed(file, number, expected=f"a whole number as the index of {name!r}", found=index)
        classes.append((number, _plain(str(index)), name.strip().strip('"')))
    return _by_key(file, classes)


def read_any_class_list(file: Path) -> Classes:
    """Return the classes of a file in any form; all lines must have the form of the first.

    Raises:
        ManifestError: if the file is malformed.
    """
    if file.suffix.lower() == ".json":
        return read_class_json(file)
    first = next((text for _, text in read_lines(file) if text.replace(" ", "").lower() != _HEADER), "")
    form = next(form for form in (INDEX_LAST, INDEX_FIRST, NAME_ONLY) if _FORMS[form].fullmatch(first) or not first)
    return read_class_list(file, form=form)


def class_name(key: str, classes: Classes | None, *, file: Path, line: int) -> str:
    """Return the name of the class with ``key`` on a list's line; without a class list, the key itself.

    Raises:
        ManifestError: if the class list lacks it.
    """
    if classes is None:
        return _plain(key)
    if (name := classes.get(_plain(key))) is None:
        keys = sorted(classes, key=lambda key: (len(key), key))
        raise malformed(
            file, line, expected=f"a class of the class list, one of {len(keys)}: {keys[0]} … {keys[-1]}", found=key
        )
    return name


def check_name(name: str, names: Iterable[str], *, file: Path, line: int) -> str:
    """Return ``name`` if it is among ``names``.

    Raises:
        ManifestError: if it is not.
    """
    if name not in names:
        raise malformed(file, line, expected="a label of the class list", found=name)
    return name


def _plain(key: str) -> str:
    return str(int(key)) if key.isdecimal() else key


def _by_key(file: Path, classes: list[tuple[int, str, str]]) -> Classes:
    if not classes:
        raise ManifestError(f"{file} lists no classes")
    found: Classes = {}
    names: set[str] = set()
    for line, key, name in classes:
        if key in found or name in names:
            raise ManifestError(f"{location(file, line)}: the class {key if key in found else name!r} comes twice")
        found[key] = name
        names.add(name)
    return found
