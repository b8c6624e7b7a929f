"""Manifests: validated, immutable lists of videos, kept as CSV or Parquet (schema: data_manifests/README.md)."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import ManifestError
from .arrow import compute
from .cells import LABEL_SEPARATOR, default_video_id
from .headers import COLUMNS, REQUIRED_COLUMNS, check_columns
from .locations import unmarked
from .reading import DUPLICATE_ID, EMPTY_LABEL, Draft, default_ids, read_columns, repeated_ids
from .table import Cells, check_suffix, read_cells, refuse, write_columns
from .videos import Video, Videos, text_array

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DUPLICATE_ID", "EMPTY_LABEL", "Draft", "Manifest", "Video", "Videos", "default_video_id"]

_ROWS_A_DIGEST = 4096  # put into JSON at a time


class Manifest:
    """An immutable list of videos with unique ids.

    Attributes:
        videos: kept as columns; each `Video` is made when it is asked for.

    Raises:
        ManifestError: if two videos have the same id.
    """

    def __init__(self, videos: Iterable[Video]) -> None:
        self.videos = videos if isinstance(videos, Videos) else Videos.of(videos)
        if repeated := repeated_ids(self.videos):
            video_id = self.videos[repeated[0][0]].video_id
            raise ManifestError(f"two videos have the id {video_id!r}; ids must be unique")

    def __len__(self) -> int:
        return len(self.videos)

    def __eq__(self, other: object) -> bool:
        return self.videos == other.videos if isinstance(other, Manifest) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.videos)

    def __repr__(self) -> str:
        return f"Manifest({self.videos!r})"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every label that occurs, sorted: a class's index is its place here."""
        # Sorted, so that a class's index does not depend on the order of the rows.
        occurring = np.unique(self.videos.label_codes).tolist()
        return tuple(sorted({label for code in occurring for label in self.videos.label_sets[code]}))

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, sorted."""
        return tuple(sorted(self.videos.split_names[code] for code in np.unique(self.videos.split_codes).tolist()))

    @cached_property
    def digest(self) -> str:
        """The sha256 (hex) of what the manifest says of ours: its place on disk and its file format do not matter.

        The user's own columns are no part of it: features do not depend on them.
        """
        found, first = hashlib.sha256(b"["), True
        for rows in _records(self.videos):
            text = json.dumps(rows, separators=(",", ":"))[1:-1]
            found.update((text if first else f",{text}").encode("ascii"))
            first = False
        found.update(b"]")
        return found.hexdigest()

    def subset(self, split: str) -> "Manifest":
        """Return the videos of one split, in order.

        Raises:
            ManifestError: if there is no such split; the message lists the existing ones.
        """
        if split not in self.splits:
            raise ManifestError(f"the manifest has no split {split!r}; it has: {', '.join(self.splits) or 'none'}")
        return Manifest(self.videos.where(self.videos.split_codes == self.videos.split_names.index(split)))

    def relative_to(self, folder: str | Path) -> "Manifest":
        """Return the same videos, with the same ids, and paths as a manifest in ``folder`` would write them."""
        base = Path(folder).resolve()
        now = Path() if self.videos.folder is None else self.videos.folder

        # Cached by folder: resolving a path costs system calls, and there may be a million videos.
        @cache
        def relative(parent: str) -> str:
            return _beginning(_relative_folder(now / (parent or "."), base))

        written = []
        for place in self.videos.places():
            parent, name = _parted(place, now)
            written.append(unmarked(relative(parent) + name))
        return Manifest(self.videos.replaced(written=written, folder=base))


def read_manifest(path: str | Path) -> Manifest:
    """Return the manifest of a ``.csv`` or ``.parquet`` file.

    Raises:
        ManifestError: if anything is wrong with it; the message names the file, the lines and the columns.
    """
    path = Path(path)
    draft, mistakes = read_columns(path, read_cells(path))
    refuse(path, [*mistakes, *draft.refused])
    return Manifest(draft.videos)


def read_draft(path: str | Path) -> Draft:
    """Return a manifest with its flaws, so that they can be listed together with those of the video files.

    Raises:
        ManifestError: if it is malformed: a missing column, no videos, a value that cannot be read.
    """
    path = Path(path)
    draft, mistakes = read_columns(path, read_cells(path), bare_too=True)
    refuse(path, mistakes)
    return draft


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest as ``.csv`` or ``.parquet``, whole or not at all, with the optional columns that are needed.

    Raises:
        ManifestError: if it would not read back the same, as when a label holds a ``|``, or if its written paths mean
            other files in the folder of ``path`` (then write ``manifest.relative_to(folder)``).
    """
    path = Path(path)
    check_suffix(path)
    columns = _file_columns(manifest.videos)
    check_columns(path, list(columns))
    _check_reads_back(manifest.videos, path, columns)
    write_columns(path, columns)


def _records(videos: Videos) -> Iterator[list[list[object]]]:
    """Yield what the digest is made of, some rows at a time."""
    table = videos.table.select(["video_id", "written_path", "label", "split", "start", "end"])
    for begin in range(0, len(videos), _ROWS_A_DIGEST):
        columns = [column.to_pylist() for column in table.slice(begin, _ROWS_A_DIGEST).columns]
        yield [
            [video_id, path, videos.label_sets[label], videos.split_names[split], start, end]
            for video_id, path, label, split, start, end in zip(*columns, strict=True)
        ]


def _relative_folder(folder: Path, base: Path) -> PurePath:
    # Resolved, because ".." behind a symbolic link leads somewhere else than it seems.
    real = os.path.realpath(folder)
    try:
        return PurePath(os.path.relpath(real, base))
    except ValueError:  # another drive on Windows: only an absolute path leads there
        return PurePath(real)


def _beginning(folder: PurePath) -> str:
    """Return how the paths of a folder's files begin, '/'-separated."""
    text = folder.as_posix()
    return "" if text == "." else text.removesuffix("/") + "/"


def _parted(place: str, folder: Path) -> tuple[str, str]:
    """Return the folder of a path in ``folder``, and its last part, as pathlib has them."""
    parent, slash, name = place.rpartition("/")
    if "\\" not in place and name not in ("", ".", "..") and (parent or not slash):
        return parent, name
    path = folder / place
    return str(path.parent), path.name


def _file_columns(videos: Videos) -> "dict[str, pa.ChunkedArray]":
    """Return the columns of a manifest's file, in their order; of the optional ones those that are needed."""
    table = videos.table
    columns = {
        "path": table.column("written_path"),
        "label": _spelled(videos.label_codes, [LABEL_SEPARATOR.join(labels) for labels in videos.label_sets]),
        "split": _spelled(videos.split_codes, videos.split_names),
        "video_id": table.column("video_id"),
        "start": table.column("start"),
        "end": table.column("end"),
    }
    needed = {
        *REQUIRED_COLUMNS,
        *(["label"] if any(videos.label_sets[code] for code in np.unique(videos.label_codes).tolist()) else []),
        *(["video_id"] if _has_own_ids(videos) else []),
        *(name for name in ("start", "end") if table.column(name).null_count < len(videos)),
    }
    own = {name: videos.own_column(name) for name in videos.own_names}
    return {name: columns[name] for name in COLUMNS if name in needed} | own


def _spelled(codes: npt.NDArray[np.int32], texts: Sequence[str]) -> "pa.ChunkedArray":
    import pyarrow as pa

    encoded = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), text_array(texts))
    return pa.chunked_array([encoded.cast(pa.large_string())])


def _has_own_ids(videos: Videos) -> bool:
    pc = compute()
    ids, written = (videos.table.column(name).combine_chunks() for name in ("video_id", "written_path"))
    return pc.any(pc.not_equal(ids, default_ids(written))).as_py() or False


def _check_reads_back(videos: Videos, path: Path, columns: "Mapping[str, pa.ChunkedArray]") -> None:
    """Pass the columns through the reader before they are written, so that the rules are in one place."""
    first = 2 if path.suffix.lower() == ".csv" else 1
    cells = Cells(columns=columns, lines=range(first, first + len(videos)), unreadable={})
    draft, mistakes = read_columns(path, cells)
    refuse(path, [*mistakes, *draft.refused])
    if not _says_the_same(videos, draft.videos):
        for video, back in zip(videos, draft.videos, strict=True):
            if replace(back, path=video.path, columns=video.columns) != video:
                raise ManifestError(f"{path}: {video} cannot be written: it would be read back as {back}")
    _check_places(videos, draft.videos, path)


def _says_the_same(videos: Videos, back: Videos) -> bool:
    """Return whether ids, written paths, labels, splits and times are equal."""
    columns = ("video_id", "written_path", "start", "end")
    return (
        all(videos.table.column(name).equals(back.table.column(name)) for name in columns)
        and videos.cells("split") == back.cells("split")
        and all(
            videos.label_sets[one] == back.label_sets[other]
            for one, other in set(zip(videos.label_codes.tolist(), back.label_codes.tolist(), strict=True))
        )
    )


def _check_places(videos: Videos, back: Videos, path: Path) -> None:
    """Refuse written paths that would lead to other files."""
    folders = [Path() if own.folder is None else own.folder for own in (videos, back)]
    if folders[0] == folders[1] and all(own.table.column("place").null_count == len(videos) for own in (videos, back)):
        return

    @cache
    def real(folder: Path, parent: str) -> str:
        return os.path.realpath(folder / (parent or "."))

    places = zip(videos.places(), back.places(), strict=True)
    for row, pair in enumerate(places):
        (parent, name), (other, other_name) = map(_parted, pair, folders)
        if name != other_name or real(folders[0], parent) != real(folders[1], other):
            video, read = videos[row], back[row]
            raise ManifestError(
                f"{path}: video {video.video_id!r} lies at {video.path}, but its written path {video.written_path!r} "
                f"would lead to {read.path}; write manifest.relative_to({str(path.parent)!r})"
            )
