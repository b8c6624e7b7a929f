"""A change of a store's table of videos, written down whole before the table itself is touched.

A table is many files, so that it cannot be replaced in one step. The change is: one file appears, which says what the
table is to become. From that moment it holds; readers find it and read it in the table's place. Then the table's files
are written, and the one that said so goes. A kill in between leaves a change that the next coordinator carries out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..files import disk_full_explained, write_text
from .columns import CONTENT, VideoTable, write_table
from .format import open_array, open_group, resize

_FILE = "changing.json"
_OF_ALL = ("clip_start", CONTENT)  # arrays beside the table with a row for each video
_PER_VIDEO = ("features", "scores", "status", "error")  # a backbone's arrays with a row for each video


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingChange:
    """What a store's attributes and table of videos are to become."""

    attributes: Mapping[str, Any]
    table: VideoTable

    def write(self, path: Path) -> None:
        """Make the change of the store at ``path`` hold; it is carried out afterwards."""
        document = {
            "attributes": dict(self.attributes),
            "texts": {name: list(column) for name, column in self.table.texts.items()},
            "intervals": [[None if np.isnan(edge) else edge for edge in row] for row in self.table.intervals.tolist()],
            "places": self.table.places.tolist(),
        }
        write_text(path / _FILE, json.dumps(document))


def read_pending(path: Path) -> PendingChange | None:
    """Return the change of the store at ``path`` that holds without being carried out, or None.

    Raises:
        StoreError: if it is damaged.
    """
    try:
        document = json.loads((path / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    try:
        return _change_of(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _change_of(document: Any) -> PendingChange:
    """Return the change that a file says.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: if it does not say one whole.
    """
    texts, attributes = document["texts"], document["attributes"]
    intervals = np.array(document["intervals"], np.float64).reshape(-1, 2)
    places = np.array(document["places"], np.int64)
    lengths = {"intervals": len(intervals), "places": len(places)} | {name: len(own) for name, own in texts.items()}
    wrong = {name: found for name, found in lengths.items() if found != attributes["num_videos"]}
    if wrong:
        raise ValueError(f"it should have {attributes['num_videos']} rows, and has {wrong}")
    return PendingChange(attributes=attributes, table=VideoTable(texts=texts, intervals=intervals, places=places))


def _damaged(path: Path, error: Exception) -> StoreError:
    """Say what to do about a damaged file; it is not passed over, as the table may have been changed in part."""
    return StoreError(
        f"{path / _FILE}, a change of the store's videos that is under way, is damaged ({error!r}). Bring it back from "
        "a copy of the store. Without one, remove it, and give the command that was changing the videos again, with "
        "the same manifest: features stay as they are."
    )


def is_pending(path: Path) -> bool:
    """Return whether a change of the store at ``path`` holds without being carried out."""
    return (path / _FILE).exists()


def carry_out(path: Path, *, backbones: Sequence[str]) -> None:
    """Write a pending change of the store at ``path``, if there is one, into its arrays; for the coordinator.

    Done twice, it writes the same twice, so that it may be killed anywhere.

    Raises:
        OutOfSpaceError: if the disk is full; the change stays pending.
    """
    change = read_pending(path)
    if change is None:
        return
    num_rows, root = len(change.table), open_group(path, writable=True)
    with disk_full_explained(path):
        write_table(root, path, change.table)
        for own in filter(root.__contains__, _OF_ALL):
            resize(open_array(root, path, own), num_rows)
        for name in backbones:
            group = open_group(path / name, writable=True)
            for own in _PER_VIDEO:
                resize(open_array(group, path / name, own), num_rows)
        root.attrs.put(dict(change.attributes))
    (path / _FILE).unlink()
