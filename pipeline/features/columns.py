"""A store's table of videos: columns with a row for each video, of which a manifest lists some, in its own order.

A row stays where it is for good, whatever later manifests say, since the row's number names the video's files. Which
rows the current manifest lists, and in which order, is a column of its own: `place`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import zarr

from ..manifests.manifest import Manifest, Videos
from .format import VIDEOS, VIDEOS_PER_CHUNK, create_array, open_array, read_array, resize, write_changed

OWN_TEXTS = ("video_id", "path", "labels", "split")
CONTENT = "content_sha256"  # a text column that extractions fill in, where asked
UNLISTED = -1  # the place of a row that the manifest does not list
_KINDS = {"O": (str, ""), "f": ("<f8", np.nan), "i": ("<i8", UNLISTED)}  # numpy's kind -> dtype and fill of a column
_EXTRAS = "columns"  # the sub-group of a manifest's other columns


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoTable:
    """The rows of a store.

    Attributes:
        texts: column -> (V) its cells: first those of `OWN_TEXTS`, then a manifest's other columns, as `text_key` says.
        intervals: (V, 2) float64 s, start and end in the manifest; NaN where it gives none.
        places: (V,) int64, where in the manifest a row stands, from 0; `UNLISTED` if it does not.
    """

    texts: Mapping[str, list[str]]
    intervals: npt.NDArray[np.float64]
    places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, manifest: Manifest) -> "VideoTable":
        """Return the table of a new store: the manifest's rows in its order."""
        names = [*OWN_TEXTS, *map(text_key, manifest.videos.own_names)]
        return cls(
            texts=dict(zip(names, texts_of(manifest.videos, names), strict=True)),
            intervals=manifest.videos.intervals,
            places=np.arange(len(manifest)),
        )

    def __len__(self) -> int:
        return len(self.places)

    @property
    def ids(self) -> list[str]:
        """The videos' ids, of all rows."""
        return self.texts["video_id"]

    @property
    def extras(self) -> tuple[str, ...]:
        """The names of a manifest's other columns."""
        return tuple(_name(key) for key in self.texts if key not in OWN_TEXTS)

    def videos(self, rows: npt.NDArray[np.int64]) -> Videos:
        """Return the videos of ``rows`` (n,), in that order; their paths are as written, not resolved."""
        cells = {name: _picked(column, rows) for name, column in self.texts.items()}
        own = {name: cells.pop(text_key(name)) for name in self.extras}
        return Videos.of_texts(**cells, intervals=self.intervals[rows], own=own)

    def manifest(self) -> Manifest:
        """Return the videos that are listed, in the manifest's order."""
        return Manifest(self.videos(listed_rows(self.places)))


def _picked(column: list[str], rows: npt.NDArray[np.int64]) -> list[str]:
    """Return some cells of a column; all of them in order without copying one by one, as mostly they are."""
    if np.array_equal(rows, np.arange(len(column))):
        return column
    return [column[row] for row in rows.tolist()]


def listed_rows(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (M,) int64, the rows of the M videos that the manifest lists, in its order; ``places`` is (V,) int64."""
    listed = np.flatnonzero(places >= 0)
    return listed[np.argsort(places[listed], kind="stable")]


def texts_of(videos: Videos, names: Iterable[str]) -> Iterator[list[str]]:
    """Yield (V) the cells of ``videos`` for each text column of a table; one that they lack is empty."""
    return (videos.cells("label" if name == "labels" else _name(name)) for name in names)


def text_key(name: str) -> str:
    """Return the key of a manifest's other column among the texts: its name, unless a column of ours has that."""
    return f"{_EXTRAS}/{name}" if name.split("/")[0] in (*OWN_TEXTS, _EXTRAS) else name


def _name(key: str) -> str:
    """Return the name of the other column with this `text_key`."""
    return key.removeprefix(f"{_EXTRAS}/")


def write_table(group: zarr.Group, path: Path, table: VideoTable) -> None:
    """Make the columns of the store at ``path`` those of ``table``: new ones are created, rows added, cells replaced.

    Files whose cells stay the same are not written.
    """
    for name, cells in table.texts.items():
        parent, key = (group, name) if name in OWN_TEXTS else (group.require_group(_EXTRAS), _key(_name(name)))
        _write_column(parent, path if parent is group else path / _EXTRAS, key, np.array(cells, object))
    _write_column(group, path, "interval", table.intervals)
    _write_column(group, path, "place", table.places)


def _write_column(group: zarr.Group, path: Path, name: str, values: np.ndarray) -> None:
    """Make a column that holds ``values`` (V, ...), or change one so that it does."""
    if name in group:
        column = open_array(group, path, name)
        resize(column, len(values))
        write_changed(column, values)
        return
    dtype, fill = _KINDS[values.dtype.kind]
    chunk = (VIDEOS_PER_CHUNK, *values.shape[1:])
    dims = (*VIDEOS, "edge")[: values.ndim]
    create_array(group, name, shape=values.shape, chunk=chunk, dtype=dtype, fill=fill, dims=dims)[...] = values


def _key(name: str) -> str:
    """Return the name of an array for a column of any name: Zarr's must not hold a "/", nor be "." or empty."""
    return quote(name, safe=" ").replace(".", "%2E") or "%"


def read_places(group: zarr.Group, path: Path, *, num_rows: int) -> npt.NDArray[np.int64]:
    """Return (V,) int64, the column `place`; stores of format 1 have none, since all their rows are listed.

    Raises:
        StoreError: if it is damaged.
    """
    if not (path / "place").exists():
        return np.arange(num_rows)
    return read_array(open_array(group, path, "place"))[:num_rows]


def read_table(group: zarr.Group, path: Path, *, extras: Sequence[str], places: npt.NDArray[np.int64]) -> VideoTable:
    """Return the table of the store at ``path``.

    Raises:
        StoreError: if a column is missing or damaged.
    """
    num_rows = len(places)
    columns: dict[str, Any] = {name: open_array(group, path, name) for name in OWN_TEXTS}
    for name in extras:
        columns[text_key(name)] = open_array(group, path, f"{_EXTRAS}/{_key(name)}")
    texts = {name: read_array(column)[:num_rows].tolist() for name, column in columns.items()}
    intervals = read_array(open_array(group, path, "interval"))[:num_rows]
    return VideoTable(texts=texts, intervals=intervals, places=places)
