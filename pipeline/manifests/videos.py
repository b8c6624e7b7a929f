"""Videos of a manifest, kept as columns: a million take some 100 MB, and each `Video` is made when it is asked for."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from ..errors import ManifestError
from .cells import LABEL_SEPARATOR, cell_text
from .headers import GROUP

if TYPE_CHECKING:
    import pyarrow as pa

OWN_PREFIX = "own:"  # before the names of the user's own columns in the table
_BLOCK, _BLOCKS_KEPT = 1024, 8  # videos made at a time, and how many such blocks are kept for the next access
# Name in a file -> here.
_FILE_COLUMNS = {
    "path": "written_path",
    "video_id": "video_id",
    "start": "start",
    "end": "end",
}  # name in a file -> here
_NO_COLUMNS: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """One video of a manifest, or one stretch of a video.

    Attributes:
        video_id: unique in its manifest.
        path: of the file, absolute.
        labels: its classes; one, several in a multi-label set, or none if nobody has labelled it.
        split: "train", "test", or any other name that the manifest uses.
        start: where the stretch begins, in seconds; None is the beginning.
        end: where it ends, in seconds, greater than ``start``; None is the end of the video.
        written_path: the path as written in the manifest's file, usually relative to that file.
        columns: the user's own columns, name -> cell as text.
    """

    video_id: str
    path: Path
    labels: tuple[str, ...]
    split: str
    start: float | None = None
    end: float | None = None
    written_path: str
    columns: Mapping[str, str] = field(default_factory=lambda: _NO_COLUMNS, hash=False, repr=False)

    @property
    def group(self) -> str:
        """What it belongs to (the own column `group`), or "": videos of one group stay on one side of a split."""
        return self.columns.get(GROUP, "").strip()


class Videos(Sequence[Video]):
    """Videos as columns.

    Args:
        table: "video_id" and "written_path" (text), "place" (bytes: the path in ``folder``, null: as written), "label"
            and "split" (int32, into the next two), "start" and "end" (float64 s or null), and "own:…" for own columns.
        label_sets: the sets of labels that occur, and perhaps others.
        split_names: the splits that occur, and perhaps others.
        folder: what paths are relative to; None: the working directory, without resolving it.
    """

    def __init__(
        self,
        table: "pa.Table",
        *,
        label_sets: Sequence[tuple[str, ...]],
        split_names: Sequence[str],
        folder: Path | None = None,
    ) -> None:
        self.table = table
        self.label_sets, self.split_names, self.folder = tuple(label_sets), tuple(split_names), folder
        self._blocks: OrderedDict[int, list[Video]] = OrderedDict()

    @classmethod
    def of(cls, videos: Iterable[Video]) -> "Videos":
        """Return the same videos as columns.

        Raises:
            ManifestError: if a text has no UTF-8 form, as an undecodable file name.
        """
        import pyarrow as pa

        videos = tuple(videos)
        label_codes: dict[tuple[str, ...], int] = {}
        split_codes: dict[str, int] = {}
        own = list(dict.fromkeys(name for video in videos for name in video.columns))
        columns: dict[str, Any] = {
            "video_id": _text_array(videos, lambda video: video.video_id),
            "written_path": _text_array(videos, lambda video: video.written_path),
            "place": pa.array([bytes_of(str(video.path)) for video in videos], pa.large_binary()),
            "label": pa.array([label_codes.setdefault(v.labels, len(label_codes)) for v in videos], pa.int32()),
            "split": pa.array([split_codes.setdefault(v.split, len(split_codes)) for v in videos], pa.int32()),
            "start": pa.array([video.start for video in videos], pa.float64()),
            "end": pa.array([video.end for video in videos], pa.float64()),
            **{OWN_PREFIX + name: _text_array(videos, lambda video, n=name: video.columns.get(n, "")) for name in own},
        }
        return cls(pa.table(columns), label_sets=list(label_codes), split_names=list(split_codes))

    @classmethod
    def of_texts(
        cls,
        *,
        video_id: Sequence[str],
        path: Sequence[str],
        labels: Sequence[str],
        split: Sequence[str],
        intervals: npt.NDArray[np.float64],
        own: Mapping[str, Sequence[str]],
    ) -> "Videos":
        """Return V videos from columns of text, as another file has them; quick, even for a million.

        Args:
            video_id: of each.
            path: as written; it is not resolved.
            labels: of each, joined by "|"; "" for none.
            split: of each.
            intervals: (V, 2) float64 s, start and end; NaN for None.
            own: name -> cells of the user's own columns.

        Raises:
            ManifestError: if a text has no UTF-8 form.
        """
        import pyarrow as pa

        label_codes, split_codes = dict[str, int](), dict[str, int]()
        table = pa.table(
            {
                "video_id": text_array(video_id),
                "written_path": text_array(path),
                "place": pa.nulls(len(video_id), pa.large_binary()),
                "label": pa.array([label_codes.setdefault(text, len(label_codes)) for text in labels], pa.int32()),
                "split": pa.array([split_codes.setdefault(text, len(split_codes)) for text in split], pa.int32()),
                "start": pa.array(intervals[:, 0], pa.float64(), from_pandas=True),
                "end": pa.array(intervals[:, 1], pa.float64(), from_pandas=True),
                **{OWN_PREFIX + name: text_array(cells) for name, cells in own.items()},
            }
        )
        label_sets = [tuple(text.split(LABEL_SEPARATOR)) if text else () for text in label_codes]
        return cls(table, label_sets=label_sets, split_names=list(split_codes))

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> "Videos": ...
    def __getitem__(self, index: int | slice) -> "Video | Videos":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = range(len(self))[index]
        number = place // _BLOCK
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = list(self._made(self.table.slice(number * _BLOCK, _BLOCK)))
            while len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return block[place % _BLOCK]

    def __iter__(self) -> Iterator[Video]:
        for begin in range(0, len(self), _BLOCK):
            yield from self._made(self.table.slice(begin, _BLOCK))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Videos) and self._same_columns(other):
            return True
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), *(video.video_id for video in islice(self, 1))))

    def __repr__(self) -> str:
        return f"<{len(self)} videos>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_blocks": OrderedDict()}

    def take(self, rows: npt.NDArray[np.int64]) -> "Videos":
        """Return the videos of some rows, in the order of ``rows`` (n,)."""
        return self._with(self.table.take(rows))

    def where(self, mask: npt.NDArray[np.bool_]) -> "Videos":
        """Return the videos for which ``mask`` (V,) is true."""
        return self.take(np.flatnonzero(mask))

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names of the user's own columns."""
        return tuple(name.removeprefix(OWN_PREFIX) for name in self.table.column_names if name.startswith(OWN_PREFIX))

    def own_column(self, name: str) -> "pa.ChunkedArray":
        """Return an own column as it was read, with the type that it has in Parquet."""
        return self.table.column(OWN_PREFIX + name)

    @cached_property
    def label_codes(self) -> npt.NDArray[np.int32]:
        """(V,) int32, each video's labels as an index into `label_sets`."""
        return self.table.column("label").to_numpy()

    @cached_property
    def split_codes(self) -> npt.NDArray[np.int32]:
        """(V,) int32, each video's split as an index into `split_names`."""
        return self.table.column("split").to_numpy()

    @property
    def intervals(self) -> npt.NDArray[np.float64]:
        """(V, 2) float64 s, start and end; NaN for None."""
        edges = [self.table.column(name).to_numpy() for name in ("start", "end")]
        return np.stack([edge.astype(np.float64) for edge in edges], axis=1)

    def cells(self, name: str) -> list[str]:
        """Return a column as text, as a CSV file has it; quick, even for a million videos.

        Args:
            name: "video_id", "path" (as written), "label", "split", "start", "end", or an own column; one that is not
                there is empty throughout.
        """
        if name == "label":
            texts = [LABEL_SEPARATOR.join(labels) for labels in self.label_sets]
            return [texts[code] for code in self.label_codes.tolist()]
        if name == "split":
            return [self.split_names[code] for code in self.split_codes.tolist()]
        column = {"path": "written_path", "video_id": "video_id", "start": "start", "end": "end"}.get(
            name, OWN_PREFIX + name
        )
        if column not in self.table.column_names:
            return [""] * len(self)
        return _as_texts(self.table.column(column))

    def groups(self) -> list[str]:
        """Return each video's `Video.group`."""
        return [text.strip() for text in self.cells(GROUP)]

    def places(self) -> list[str]:
        """Return each video's path as text: absolute, or relative to `folder`."""
        places = self.table.column("place")
        if places.null_count == len(self):
            return self.table.column("written_path").to_pylist()
        written = self.table.column("written_path").to_pylist()
        found = (None if place is None else os.fsdecode(place) for place in places.to_pylist())
        return [text if place is None else place for place, text in zip(found, written, strict=True)]

    def replaced(self, *, written: Sequence[str], folder: Path) -> "Videos":
        """Return the videos with other written paths, which are relative to ``folder``."""
        import pyarrow as pa

        table = self.table
        for name, column in (
            ("written_path", text_array(written)),
            ("place", pa.nulls(len(self), pa.large_binary())),
        ):
            table = table.set_column(table.schema.get_field_index(name), name, column)
        made = self._with(table)
        made.folder = folder
        return made

    def _with(self, table: "pa.Table") -> "Videos":
        return Videos(table, label_sets=self.label_sets, split_names=self.split_names, folder=self.folder)

    def _made(self, table: "pa.Table") -> Iterator[Video]:
        own = self.own_names
        folder = Path() if self.folder is None else self.folder
        names = ("video_id", "written_path", "place", "label", "split", "start", "end")
        columns = [table.column(name).to_pylist() for name in names]
        cells = zip(*(_as_texts(table.column(OWN_PREFIX + name)) for name in own), strict=True) if own else None
        for video_id, written, place, label, split, start, end in zip(*columns, strict=True):
            yield Video(
                video_id=video_id,
                path=folder / (written if place is None else os.fsdecode(place)),
                labels=self.label_sets[label],
                split=self.split_names[split],
                start=start,
                end=end,
                written_path=written,
                columns=_NO_COLUMNS if cells is None else dict(zip(own, next(cells), strict=True)),
            )

    def _same_columns(self, other: "Videos") -> bool:
        """Return whether all is the same, by a quick comparison that may say no too often."""
        return (
            self.label_sets == other.label_sets
            and self.split_names == other.split_names
            and self.folder == other.folder
            and self.table.equals(other.table)
        )


def text_array(texts: Sequence[str]) -> "pa.Array":
    """Return texts as an array.

    Raises:
        ManifestError: if one has no UTF-8 form, as an undecodable file name.
    """
    import pyarrow as pa

    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError as error:
        raise ManifestError(f"a manifest's texts must be UTF-8, got {error.object!r}") from error


def bytes_of(path: str) -> bytes:
    """Return a path as the operating system has it.

    Raises:
        ManifestError: if it has no such form.
    """
    try:
        return os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ManifestError(f"no file can have the path {path!r}") from error


def _text_array(videos: Sequence[Video], text: Callable[[Video], str]) -> "pa.Array":
    return text_array([text(video) for video in videos])


def _as_texts(column: "pa.ChunkedArray") -> list[str]:
    return [cell_text(value) for value in column.to_pylist()]
