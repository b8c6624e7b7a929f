"""How the cells of a manifest are read: one function per column, which raises ValueError with the broken rule."""

import math
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from .locations import local_path

LABEL_SEPARATOR = "|"

# Control characters break lines of reports, and unpaired surrogates (undecodable file names) have no UTF-8 form.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def default_video_id(written_path: str) -> str:
    """Return the id of a video without one: its path as written, without the extension, '/'-separated."""
    path = PurePath(written_path)
    return path.as_posix().removesuffix(path.suffix).strip() or path.as_posix().strip()


def cell_text(value: Any) -> str:
    """Return a value of an own column as a CSV file has it; None is empty."""
    return "" if value is None else value if isinstance(value, str) else str(value)


def _parse_text(text: str) -> str:
    """Return the text without surrounding blanks."""
    if _UNWRITABLE.search(text):
        raise ValueError(f"must not hold control characters, got {text!r}")
    return text.strip()


def _parse_path(text: str) -> str:
    """Return the path exactly as it is written."""
    if not _parse_text(text):
        raise ValueError("must be the path of a video file, absolute or relative to the manifest; it is empty")
    local_path(text)  # refuses the URLs of other machines
    return text  # not stripped: a file's name may begin or end with a space


def _parse_labels(text: str) -> tuple[str, ...]:
    """Return the classes in a cell, with '' for each that is left out; an empty cell gives ('',)."""
    labels = tuple(label.strip() for label in _parse_text(text).split(LABEL_SEPARATOR))
    named = [label for label in labels if label]
    if len(set(named)) < len(named):
        raise ValueError(f"must name each class once, got {text!r}")
    return labels


def _parse_split(text: str) -> str:
    """Return the name of the split."""
    if split := _parse_text(text):
        return split
    raise ValueError("must name the video's split, as train or test; it is empty")


def _parse_seconds(text: str) -> float | None:
    """Return a time in seconds, or None for an empty cell."""
    if not text.strip():
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    # float() takes 1_000 for 1000, which no other reader of a CSV does.
    if not math.isfinite(seconds) or seconds < 0 or "_" in text:
        raise ValueError(f"must be a number of seconds, 0 or greater, got {text!r}")
    return seconds + 0.0  # turns -0.0 into 0.0, whose digest would differ


PARSERS: dict[str, Callable[[str], Any]] = {
    "path": _parse_path,
    "label": _parse_labels,
    "split": _parse_split,
    "video_id": _parse_text,
    "start": _parse_seconds,
    "end": _parse_seconds,
}
