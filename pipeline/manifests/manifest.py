"""Manifests: validated, immutable lists of videos, kept as CSV or Parquet (schema: data_manifests/README.md)."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Any

from ..errors import ManifestError
from .cells import LABEL_SEPARATOR, PARSERS
from .table import (
    COLUMNS,
    REQUIRED_COLUMNS,
    Mistake,
    Row,
    check_suffix,
    location,
    read_rows,
    refuse,
    write_rows,
)

EMPTY_LABEL, DUPLICATE_ID = "empty label", "duplicate id"
_FLAWS = (EMPTY_LABEL, DUPLICATE_ID)  # what `manifest check` lists; everything else refuses the manifest


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
    """

    video_id: str
    path: Path
    labels: tuple[str, ...]
    split: str
    start: float | None = None
    end: float | None = None
    written_path: str


@dataclass(frozen=True)
class Manifest:
    """An immutable list of videos with unique ids.

    Raises:
        ManifestError: if two videos have the same id.
    """

    videos: tuple[Video, ...]

    def __post_init__(self) -> None:
        seen = set()
        for video in self.videos:
            if video.video_id in seen:
                raise ManifestError(f"two videos have the id {video.video_id!r}; ids must be unique")
            seen.add(video.video_id)

    def __len__(self) -> int:
        return len(self.videos)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every label that occurs, sorted: a class's index is its place here."""
        # Sorted, so that a class's index does not depend on the order of the rows.
        return tuple(sorted({label for video in self.videos for label in video.labels}))

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, sorted."""
        return tuple(sorted({video.split for video in self.videos}))

    @cached_property
    def digest(self) -> str:
        """The sha256 (hex) of what the manifest says: its place on disk and its file format do not matter."""
        content = [
            [v.video_id, v.written_path, v.labels, v.split, *(t if t is None else float(t) for t in (v.start, v.end))]
            for v in self.videos
        ]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode("ascii")).hexdigest()

    def subset(self, split: str) -> "Manifest":
        """Return the videos of one split, in order.

        Raises:
            ManifestError: if there is no such split; the message lists the existing ones.
        """
        if split not in self.splits:
            raise ManifestError(f"the manifest has no split {split!r}; it has: {', '.join(self.splits) or 'none'}")
        return Manifest(tuple(video for video in self.videos if video.split == split))

    def relative_to(self, folder: str | Path) -> "Manifest":
        """Return the same videos, with the same ids, and paths as a manifest in ``folder`` would write them."""
        base = Path(folder).resolve()
        # Cached by folder: resolving a path costs system calls, and there may be a million videos.
        relative = cache(lambda parent: _relative_folder(parent, base))
        videos = []
        for video in self.videos:
            written = (relative(video.path.parent) / video.path.name).as_posix()
            videos.append(replace(video, path=base / written, written_path=written))
        return Manifest(tuple(videos))


@dataclass(frozen=True)
class Draft:
    """A manifest that may still have flaws, for `manifest check`.

    Attributes:
        videos: one per row; ids may repeat, and labels may be ().
        lines: the line of each video.
        flaws: empty labels and duplicate ids.
        bare: the lines whose label is left empty altogether: these videos can be extracted.
    """

    videos: tuple[Video, ...]
    lines: tuple[int, ...]
    flaws: tuple[Mistake, ...]
    bare: frozenset[int] = frozenset()

    @property
    def refused(self) -> list[Mistake]:
        """The flaws with which it is no manifest: all but labels that are left empty altogether."""
        return [flaw for flaw in self.flaws if flaw.kind != EMPTY_LABEL or flaw.line not in self.bare]


def read_manifest(path: str | Path) -> Manifest:
    """Return the manifest of a ``.csv`` or ``.parquet`` file.

    Raises:
        ManifestError: if anything is wrong with it; the message names the file, the lines and the columns.
    """
    path = Path(path)
    draft, mistakes = _parse(path, *read_rows(path))
    refuse(path, [*mistakes, *draft.refused])
    return Manifest(draft.videos)


def read_draft(path: str | Path) -> Draft:
    """Return a manifest with its flaws, so that they can be listed together with those of the video files.

    Raises:
        ManifestError: if it is malformed: a missing column, no videos, a value that cannot be read.
    """
    path = Path(path)
    draft, mistakes = _parse(path, *read_rows(path))
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
    columns = _columns_needed(manifest.videos)
    rows = [_cells(video) for video in manifest.videos]
    _check_reads_back(manifest, path, rows)
    write_rows(path, rows, columns=columns)


def default_video_id(written_path: str) -> str:
    """Return the id of a video without one: its path as written, without the extension, '/'-separated."""
    path = PurePath(written_path)
    return path.as_posix().removesuffix(path.suffix).strip() or path.as_posix().strip()


def _relative_folder(folder: Path, base: Path) -> PurePath:
    # Resolved, because ".." behind a symbolic link leads somewhere else than it seems.
    real = os.path.realpath(folder)
    try:
        return PurePath(os.path.relpath(real, base))
    except ValueError:  # another drive on Windows: only an absolute path leads there
        return PurePath(real)


def _columns_needed(videos: Iterable[Video]) -> list[str]:
    needed = {*REQUIRED_COLUMNS}
    for video in videos:
        needed |= {"label"} if video.labels else set()
        needed |= {"video_id"} if video.video_id != default_video_id(video.written_path) else set()
        needed |= {"start"} if video.start is not None else set()
        needed |= {"end"} if video.end is not None else set()
    return [column for column in COLUMNS if column in needed]


def _cells(video: Video) -> dict[str, str]:
    return {
        "path": video.written_path,
        "label": LABEL_SEPARATOR.join(video.labels),
        "split": video.split,
        "video_id": video.video_id,
        "start": "" if video.start is None else repr(float(video.start)),
        "end": "" if video.end is None else repr(float(video.end)),
    }


def _check_reads_back(manifest: Manifest, path: Path, cells: Sequence[dict[str, str]]) -> None:
    """Pass the rows through the reader before they are written, so that the rules are in one place."""
    first = 2 if path.suffix.lower() == ".csv" else 1
    draft, mistakes = _parse(path, [Row(line, row) for line, row in enumerate(cells, start=first)], [])
    refuse(path, [*mistakes, *draft.refused])
    real = cache(os.path.realpath)
    for video, back in zip(manifest.videos, draft.videos, strict=True):
        if replace(back, path=video.path) != video:
            raise ManifestError(f"{path}: {video} cannot be written: it would be read back as {back}")
        if (real(video.path.parent), video.path.name) != (real(back.path.parent), back.path.name):
            raise ManifestError(
                f"{path}: video {video.video_id!r} lies at {video.path}, but its written path {video.written_path!r} "
                f"would lead to {back.path}; write manifest.relative_to({str(path.parent)!r})"
            )


def _parse(path: Path, rows: Sequence[Row], malformed: list[Mistake]) -> tuple[Draft, list[Mistake]]:
    if not rows and not malformed:
        raise ManifestError(f"{path} lists no videos: there is no row below the header")
    folder = path.parent.resolve()
    mistakes, flaws, videos, lines = list(malformed), [], [], []
    first_line: dict[str, int] = {}
    for row in rows:
        values = _parse_cells(row, mistakes)
        if values is None:
            continue
        video = _video(values, folder)
        if "" in values.get("label", ()):
            flaws.append(Mistake(row.line, "label", _label_advice(row.cells["label"]), EMPTY_LABEL))
        if video.video_id in first_line:
            first = location(path, first_line[video.video_id])
            flaws.append(Mistake(row.line, *_id_advice(row, video.video_id, first), DUPLICATE_ID))
        first_line.setdefault(video.video_id, row.line)
        videos.append(video)
        lines.append(row.line)
    bare = frozenset(row.line for row in rows if not row.cells.get("label", "").strip())
    return Draft(tuple(videos), tuple(lines), tuple(flaws), bare), mistakes


def _video(values: dict[str, Any], folder: Path) -> Video:
    return Video(
        video_id=values.get("video_id") or default_video_id(values["path"]),
        path=folder / values["path"],
        labels=tuple(label for label in values.get("label", ()) if label),
        split=values["split"],
        start=values.get("start"),
        end=values.get("end"),
        written_path=values["path"],
    )


def _label_advice(text: str) -> str:
    if text.strip():
        return f"must have a name on both sides of every {LABEL_SEPARATOR!r}, got {text!r}"
    return "training and scoring leave this video out; extract takes it"


def _id_advice(row: Row, video_id: str, first: str) -> tuple[str, str]:
    """Return the column at fault, and what to do; ``first`` is where the id was used before."""
    advice = f"must be unique, but {first} has {video_id!r} too"
    if row.cells.get("video_id"):
        return "video_id", advice
    return "path", f"the video's id (the path without its extension) {advice}; give each a video_id of its own"


def _parse_cells(row: Row, mistakes: list[Mistake]) -> dict[str, Any] | None:
    """Return the values by column, or None after noting what is wrong with them."""
    values, before = {}, len(mistakes)
    for column, text in row.cells.items():
        try:
            values[column] = PARSERS[column](text)
        except ValueError as error:
            mistakes.append(Mistake(row.line, column, str(error)))
    start, end = values.get("start") or 0.0, values.get("end")
    if end is not None and end <= start:
        mistakes.append(Mistake(row.line, "end", f"must be greater than start ({start}), got {row.cells['end']!r}"))
    return values if len(mistakes) == before else None
