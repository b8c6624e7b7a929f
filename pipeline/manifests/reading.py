"""The rules of a manifest, applied to whole columns at a time.

Cells that a pattern finds doubtful, few in most files, are parsed one by one by the functions of `cells.py`, which say
what is wrong. So a million rows take seconds, and a mistake is named as exactly as in a file of two rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ManifestError
from .arrow import compute
from .cells import LABEL_SEPARATOR, PARSERS, default_video_id
from .headers import COLUMNS
from .locations import MARKED, located
from .table import Cells, Mistake, location
from .videos import OWN_PREFIX, Videos, bytes_of

if TYPE_CHECKING:
    import pyarrow as pa

EMPTY_LABEL, DUPLICATE_ID = "empty label", "duplicate id"  # what `manifest check` lists; all else refuses the manifest

# For RE2. What `str.strip` takes away, which is more than RE2's \s.
BLANK = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
_CONTROL = r"[\x00-\x1f\x7f]"
_DOUBTFUL_PATH = rf"^{BLANK}*$|{_CONTROL}|{MARKED}"
_DOUBTFUL_ID = rf"^{BLANK}|{BLANK}$|{_CONTROL}"
_SURE_SECONDS = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"
# A path of which pathlib would change nothing, and whose last part has something before and behind its last dot.
_PLAIN_PATH = r"^/?([^/\\]+/)*[^/\\.][^/\\]*\.[^/\\.]+$"
_NOT_PLAIN = rf"(^|/)\./|^{BLANK}|{BLANK}(\.[^.]*)?$|{MARKED}"
_EXTENSION = r"\.[^/.]+$"

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Draft:
    """A manifest that may still have flaws, for `manifest check`.

    Attributes:
        videos: one per row; ids may repeat, and labels may be ().
        lines: the line of each video.
        flaws: empty labels and duplicate ids.
        bare: the lines whose label is left empty altogether: these videos can be extracted.
    """

    videos: Videos
    lines: Sequence[int]
    flaws: tuple[Mistake, ...]
    bare: frozenset[int] = frozenset()

    @property
    def refused(self) -> list[Mistake]:
        """The flaws with which it is no manifest: all but labels that are left empty altogether."""
        return [flaw for flaw in self.flaws if flaw.kind != EMPTY_LABEL or flaw.line not in self.bare]


class _Named(NamedTuple):
    """A column of names: each row's index into ``values``, into ``texts`` as they stand in the file, and both lists."""

    codes: npt.NDArray[np.int32]
    values: list[Any]
    text_codes: npt.NDArray[np.int32]
    texts: list[str]


@dataclass
class _Found:
    """Mistakes, with the places that put them in order: (row, position in the row, mistake)."""

    cells: Cells
    mistakes: list[tuple[int, int, Mistake]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.positions = {name: position for position, name in enumerate(self.cells.columns)}
        for row, mistakes in self.cells.unreadable.items():
            self.mistakes += [(row, self.positions[mistake.column or ""], mistake) for mistake in mistakes]

    def add(self, row: int, column: str, message: str, *, at_the_end: bool = False) -> None:
        position = len(self.positions) if at_the_end else self.positions[column]
        self.mistakes.append((row, position, Mistake(self.cells.lines[row], column, message)))

    def parsed(self, rows: Iterable[int], texts: Iterable[str], column: str) -> list[Any]:
        """Return the values of some cells, None after noting what is wrong with one."""
        values = []
        for row, text in zip(rows, texts, strict=True):
            try:
                values.append(PARSERS[column](text))
            except ValueError as error:
                self.add(row, column, str(error))
                values.append(None)
        return values


def read_columns(path: Path, cells: Cells, *, bare_too: bool = False) -> tuple[Draft, list[Mistake]]:
    """Return what the cells of the file at ``path`` say, without the rows that have mistakes, and those mistakes.

    Args:
        path: of the file.
        cells: as they stand there.
        bare_too: whether to list videos without any label among the flaws, and as `Draft.bare`.

    Raises:
        ManifestError: if there is no row at all.
    """
    if not len(cells.lines) and not cells.malformed:
        raise ManifestError(f"{path} lists no videos: there is no row below the header")
    found = _Found(cells)
    labels, splits = _labels(found), _splits(found)
    videos = Videos(
        _table(cells, found, labels, splits),
        label_sets=[tuple(label for label in own if label) for own in labels.values],
        split_names=splits.values,
        folder=path.parent.resolve(),
    )
    mistakes = [mistake for _, _, mistake in sorted(found.mistakes, key=lambda own: own[:2])]
    good = np.ones(len(cells.lines), bool)
    good[[row for row, _, _ in found.mistakes]] = False
    rows = np.flatnonzero(good)
    if found.mistakes:
        videos, lines = videos.take(rows), [cells.lines[row] for row in rows.tolist()]
    else:
        lines = cells.lines
    bare, half_empty = _empty_labels(labels, cells, rows, bare_too=bare_too)
    flaws = sorted([*bare, *half_empty, *_duplicates(path, videos, cells, rows)])
    bare_lines = frozenset(flaw.line for _, _, flaw in bare)
    return Draft(videos, lines, tuple(flaw for _, _, flaw in flaws), bare_lines), [*cells.malformed, *mistakes]


def _table(cells: Cells, found: _Found, labels: _Named, splits: _Named) -> "pa.Table":
    import pyarrow as pa

    columns, size = cells.columns, len(cells.lines)
    path = columns["path"]
    doubtful = np.flatnonzero(_matching(path, _DOUBTFUL_PATH))
    found.parsed(doubtful.tolist(), path.take(doubtful).to_pylist(), "path")
    start, end = (_seconds(columns.get(name), size, found, name) for name in ("start", "end"))
    _check_ends(start, end, found)
    return pa.table(
        {
            "video_id": _ids(columns.get("video_id"), path, found),
            "written_path": path,
            "place": _places(path),
            "label": pa.array(labels.codes, pa.int32()),
            "split": pa.array(splits.codes, pa.int32()),
            "start": start,
            "end": end,
            **{OWN_PREFIX + name: column for name, column in columns.items() if name not in COLUMNS},
        }
    )


def _matching(column: Any, pattern: str) -> Mask:
    pc = compute()
    return pc.match_substring_regex(column, pattern).to_numpy(zero_copy_only=False).astype(bool)


def _labels(found: _Found) -> _Named:
    column, size = found.cells.columns.get("label"), len(found.cells.lines)
    if column is None:
        none = np.zeros(size, np.int32)
        return _Named(none, [()], none, [""])
    return _named(column, found, "label")


def _splits(found: _Found) -> _Named:
    return _named(found.cells.columns["split"], found, "split")


def _named(column: "pa.ChunkedArray", found: _Found, name: str) -> _Named:
    """Parse each distinct cell of a column once."""
    import pyarrow as pa

    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    text_codes, texts = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    places: dict[Any, int] = {}
    codes = np.zeros(len(texts), np.int32)
    for code, text in enumerate(texts):
        try:
            codes[code] = places.setdefault(PARSERS[name](text), len(places))
        except ValueError as error:
            for row in np.flatnonzero(text_codes == code).tolist():
                found.add(row, name, str(error))
    return _Named(codes[text_codes] if texts else np.zeros(0, np.int32), list(places) or [""], text_codes, texts)


def _seconds(column: Any, size: int, found: _Found, name: str) -> "pa.Array":
    """Return times in seconds, null where there is none."""
    import pyarrow as pa

    pc = compute()
    if column is None:
        return pa.nulls(size, pa.float64())
    if pa.types.is_floating(column.type):
        numbers = column.to_numpy().astype(np.float64)
        given = pc.is_valid(column).to_numpy().astype(bool)
        sure = given & np.isfinite(numbers) & (numbers >= 0)
        doubtful = np.flatnonzero(given & ~sure)
        texts = map(repr, numbers[doubtful].tolist())
    else:
        sure = _matching(column, _SURE_SECONDS)
        cast = pc.cast(pc.if_else(pa.array(sure), column, None), pa.float64())
        numbers = cast.to_numpy().astype(np.float64)
        doubtful = np.flatnonzero(~sure & pc.not_equal(column, "").to_numpy().astype(bool))
        texts = column.take(doubtful).to_pylist()
    values = found.parsed(doubtful.tolist(), texts, name)
    numbers = np.where(sure, numbers, np.nan)
    numbers[doubtful] = np.array(values, np.float64)  # numpy reads None as NaN
    # Adding 0 turns -0.0 into 0.0, whose digest would differ.
    return pa.array(numbers + 0.0, pa.float64(), from_pandas=True)


def _check_ends(start: "pa.Array", end: "pa.Array", found: _Found) -> None:
    pc = compute()
    starts = pc.fill_null(start, 0.0).to_numpy(zero_copy_only=False)
    ends = pc.fill_null(end, np.nan).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(ends <= starts).tolist():
        text = found.cells.text("end", row)
        found.add(row, "end", f"must be greater than start ({float(starts[row])}), got {text!r}", at_the_end=True)


def _ids(column: Any, path: Any, found: _Found) -> "pa.Array":
    """Return the ids: as given, without blanks around them, else made from the path."""
    import pyarrow as pa

    pc = compute()
    if column is None:
        return default_ids(path)
    doubtful = _matching(column, _DOUBTFUL_ID)
    rows = np.flatnonzero(doubtful)
    if len(rows):
        values = found.parsed(rows.tolist(), column.take(rows).to_pylist(), "video_id")
        column = pc.replace_with_mask(column.combine_chunks(), pa.array(doubtful), pa.array(values, pa.large_string()))
    absent = pc.equal(column, "")
    return pc.if_else(absent, default_ids(path), column) if pc.any(absent).as_py() else column


def default_ids(path: Any) -> Any:
    """Return what `default_video_id` gives for each path."""
    import pyarrow as pa

    pc = compute()
    plain = _matching(path, _PLAIN_PATH) & ~_matching(path, _NOT_PLAIN)
    ids = pc.replace_substring_regex(path, _EXTENSION, "", max_replacements=1)
    rows = np.flatnonzero(~plain)
    if not len(rows):
        return ids
    # Of a URL the path that it means; but the home folder stays "~", since an id should not depend on the machine.
    texts = path.take(rows).to_pylist()
    others = [default_video_id(text if text.startswith("~") else located(text)) for text in texts]
    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    return pc.replace_with_mask(whole, pa.array(~plain), pa.array(others, pa.large_string()))


def _places(path: Any) -> Any:
    """Return where those paths lead that are not to be taken literally; null for the others."""
    import pyarrow as pa

    rows = np.flatnonzero(_matching(path, MARKED)).tolist()
    if not rows:
        return pa.nulls(len(path), pa.large_binary())
    places: list[bytes | None] = [None] * len(path)
    for row, text in zip(rows, path.take(rows).to_pylist(), strict=True):
        places[row] = bytes_of(located(text))
    return pa.array(places, pa.large_binary())


def _empty_labels(labels: _Named, cells: Cells, rows: Rows, *, bare_too: bool) -> list[list[tuple[int, int, Mistake]]]:
    """Return the labels among the good ``rows`` that are empty altogether, and those that are so beside a bar."""
    if "label" not in cells.columns:
        return [[], []]
    text_codes = labels.text_codes[rows]
    bare = np.array([not text.strip() for text in labels.texts] or [False])[text_codes]
    empty = np.array(["" in own for own in labels.values])[labels.codes[rows]]
    found = []
    for mask in (bare & bare_too, empty & ~bare):
        texts = [labels.texts[code] for code in text_codes[mask].tolist()]
        flaws = zip(rows[mask].tolist(), texts, strict=True)
        found.append([(row, 0, Mistake(cells.lines[row], "label", _advice(text), EMPTY_LABEL)) for row, text in flaws])
    return found


def _duplicates(path: Path, videos: Videos, cells: Cells, rows: Rows) -> list[tuple[int, int, Mistake]]:
    """Return the ids that stood in a line before, of the ``videos`` in the good ``rows``."""
    repeated = repeated_ids(videos)
    found = []
    for place, first in repeated:
        row, video_id = int(rows[place]), videos[place].video_id
        advice = f"must be unique, but {location(path, cells.lines[int(rows[first])])} has {video_id!r} too"
        column = "video_id" if cells.text("video_id", row) else "path"
        if column == "path":
            advice = f"the video's id (the path without its extension) {advice}; give each a video_id of its own"
        found.append((row, 1, Mistake(cells.lines[row], column, advice, DUPLICATE_ID)))
    return found


def repeated_ids(videos: Videos) -> list[tuple[int, int]]:
    """Return (place, place of the first) for each video whose id another one before it has, in order."""
    pc = compute()
    ids = videos.table.column("video_id")
    if pc.count_distinct(ids).as_py() == len(ids):
        return []
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return [(place, int(first[codes[place]])) for place in np.flatnonzero(first[codes] != np.arange(len(ids))).tolist()]


def _advice(label: str) -> str:
    if label.strip():
        return f"must have a name on both sides of every {LABEL_SEPARATOR!r}, got {label!r}"
    return "training and scoring leave this video out; extract takes it"
