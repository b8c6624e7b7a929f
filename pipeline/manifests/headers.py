"""Which columns a manifest has: ours, and others that are the user's own and pass through."""

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ManifestError

GROUP = "group"  # an own column that keeps videos of one source on one side of every split
COLUMNS = ("path", "label", "split", "video_id", "start", "end")  # in the order in which they are written
REQUIRED_COLUMNS = ("path", "split")
_OPTIONAL_COLUMNS = (*(name for name in COLUMNS if name not in REQUIRED_COLUMNS), GROUP)
_LEAST_FOR_TYPOS = 5  # letters: of shorter names too many others are one letter away


def column_names(header: Sequence[str]) -> list[str]:
    """Return the names of columns, without blanks around them; those without one are named by place, as in pandas."""
    return [name.strip() or f"Unnamed: {place}" for place, name in enumerate(header)]


def is_unnamed(name: str) -> bool:
    """Return whether a column had no name in the file."""
    return re.fullmatch(r"Unnamed: \d+", name) is not None


def check_columns(path: Path, names: Sequence[str]) -> None:
    """Accept the columns of a manifest.

    Raises:
        ManifestError: if one is missing or twice there, or an unknown one looks like one of ours that is missing.
    """
    where = f"{path}:1" if path.suffix.lower() == ".csv" else f"{path}"
    problems = [f"{where}: column {name!r} is missing" for name in REQUIRED_COLUMNS if name not in names]
    for name in dict.fromkeys(names):
        if (meant := _meant(name, names)) is not None:
            problems.append(
                f"{where}: column {name!r} looks like {meant!r}, which is missing; name it {meant}, or otherwise if it "
                "is not meant"
            )
        if names.count(name) > 1:
            problems.append(f"{where}: column {name!r} appears twice; give each a name of its own")
    if problems:
        optional = ", ".join(_OPTIONAL_COLUMNS).replace("label", "label (to train or score)")
        known = f"known columns: {', '.join(REQUIRED_COLUMNS)} (required), {optional}; others are kept as they are"
        raise ManifestError(
            "\n".join(problems)
            + f"\n{known}; columns are separated by commas, semicolons or tabs, found: {list(names)}"
        )


def _meant(name: str, names: Sequence[str]) -> str | None:
    """Return which of our columns, that is not there, a name is most likely a misspelling of."""
    if name in (*COLUMNS, GROUP):
        return None
    absent = [own for own in (*COLUMNS, GROUP) if own not in names]
    return next((own for own in absent if _alike(_letters(name), _letters(own))), None)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _alike(one: str, other: str) -> bool:
    if one == other or one == f"{other}s":
        return True
    return (
        min(len(one), len(other)) >= _LEAST_FOR_TYPOS - 1 and len(other) >= _LEAST_FOR_TYPOS and _one_slip(one, other)
    )


def _one_slip(one: str, other: str) -> bool:
    """Return whether one letter more, less or different, or two exchanged, turns one word into the other."""
    if abs(len(one) - len(other)) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[same:], other[same:]
    exchanged = a[:2] == b[:2][::-1] and a[2:] == b[2:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or exchanged
