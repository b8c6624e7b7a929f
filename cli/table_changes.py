"""What a manifest changes in a store's table of videos, in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .tables import counted

if TYPE_CHECKING:
    from ..pipeline.features.table_changes import TableChanges

_SHOWN = 3  # examples of each kind
_WORDS = {"labels": "label", "split": "split"}


def changes_text(changes: "TableChanges") -> list[str]:
    """Return a line that says so and one for each kind of change, or nothing if there is none."""
    lines = [
        *_listed(changes.added, "{} added"),
        *_listed(changes.returned, "{} in use again"),
        *_listed(changes.dropped, "{} no longer listed: left out of use, features kept"),
        *(line for name, cells in changes.cells.items() for line in _changed(cells, _WORDS.get(name, name))),
        *(f"new column: {name}" for name in changes.new_columns),
        *_changed(changes.moved, "path"),
        *_renamed(changes.by_file),
        *_listed(changes.unknown, "{} of the manifest not in the store, and passed over; vidpipe extract adds them"),
    ]
    if changes.reordered:
        lines.append("the videos stand in another order")
    if changes.labels_kept:
        lines.append("the manifest has no labels: those of the store stay")
    if changes.untouched:
        lines.append(f"{_count(changes.untouched)} in use not in the manifest, left as they are")
    if changes.new_classes or changes.gone_classes:
        lines.append(_classes(changes))
    return (
        [f"{'the store changes' if changes.any else 'nothing changes'}:", *(f"  {line}" for line in lines)]
        if lines
        else []
    )


def _listed(ids: Sequence[str], words: str) -> list[str]:
    """Return a line on the videos of one kind, if there are any."""
    return [f"{words.format(_count(len(ids)))}: {_some(ids)}"] if ids else []


def _changed(cells: Mapping[str, tuple[str, str]], what: str) -> list[str]:
    """Return a line on the changed cells of a column, if there are any."""
    if not cells:
        return []
    shown = [
        f"{name} {before or 'nothing'} → {after or 'nothing'}" for name, (before, after) in list(cells.items())[:_SHOWN]
    ]
    more = f" and {len(cells) - _SHOWN:,} more" if len(cells) > _SHOWN else ""
    return [f"{len(cells):,} × another {what}: {', '.join(shown)}{more}"]


def _renamed(ids: Mapping[str, str]) -> list[str]:
    """Return a line on the videos that have other ids in the manifest, if there are any."""
    if not ids:
        return []
    shown = _some([f"{stored} is {given}" for stored, given in ids.items()])
    return [f"{_count(len(ids))} known by file and interval, with the ids of the store: {shown} in the manifest"]


def _classes(changes: "TableChanges") -> str:
    """Return what happens to the classes, and what follows from it."""
    kinds = (("new", changes.new_classes), ("gone", changes.gone_classes))
    found = ", ".join(f"{word} {_some(names)}" for word, names in kinds if names)
    return f"other classes than before ({found}): runs trained on this store cannot be scored on it any more"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _count(number: int) -> str:
    return counted(number, "video")
