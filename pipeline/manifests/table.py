"""Manifest files as columns of text: CSV and Parquet, read and written, with the line of every row.

Both formats give the same columns, so the rules of `reading.py` are written once, and mistakes are reported alike.
"""

import csv
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ..errors import ManifestError
from ..files import write_atomically
from .arrow import compute
from .cells import cell_text
from .headers import COLUMNS, check_columns, column_names, is_unnamed

if TYPE_CHECKING:
    import pyarrow as pa

NUMBER_COLUMNS = ("start", "end")
_MAX_MISTAKES_SHOWN = 20
_ROWS_AT_ONCE = 16384  # held as Python's texts while a file is read or written
_SEPARATORS = (",", ";", "\t")  # spreadsheets write the last two, by language and by format
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n')  # what Excel may begin a file with


class Mistake(NamedTuple):
    """Something wrong at one place in a manifest; ``kind`` names the mistakes that `manifest check` only lists."""

    line: int
    column: str | None
    message: str
    kind: str = "malformed"


def location(path: Path, line: int) -> str:
    """Return a line's place, for messages: ``m.csv:17`` or ``m.parquet: row 17``."""
    return f"{path}:{line}" if path.suffix.lower() == ".csv" else f"{path}: row {line}"


def describe(path: Path, mistake: Mistake) -> str:
    """Return one line that names the file, the line, the column and the mistake."""
    column = "" if mistake.column is None else f"column {mistake.column!r}: "
    return f"{location(path, mistake.line)}: {column}{mistake.message}"


def refuse(path: Path, mistakes: Sequence[Mistake]) -> None:
    """Do nothing if there are no mistakes.

    Raises:
        ManifestError: with the first mistakes, one per line, in the order of the file.
    """
    if not mistakes:
        return
    lines = [describe(path, mistake) for mistake in sorted(mistakes, key=lambda m: m.line)[:_MAX_MISTAKES_SHOWN]]
    if len(mistakes) > 1:
        lines.insert(0, f"{path} has {len(mistakes)} mistakes:")
    if len(mistakes) > _MAX_MISTAKES_SHOWN:
        lines.append(f"… and {len(mistakes) - _MAX_MISTAKES_SHOWN} more")
    raise ManifestError("\n".join(lines))


def check_suffix(path: Path) -> None:
    """Accept ``.csv`` and ``.parquet``.

    Raises:
        ManifestError: for any other suffix.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ManifestError(f"{path}: a manifest's name ends in .csv or .parquet, not in {path.suffix or 'nothing'!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """A manifest's columns as they stand in its file.

    Attributes:
        columns: name -> cells. Ours are large_string, '' where absent; `start` and `end` may be float64 instead, null
            where absent; own columns have any type.
        lines: the line of each row (a CSV's header is line 1; a Parquet file's first row is row 1).
        malformed: mistakes in rows that are not among the columns' rows.
        unreadable: place of a row -> mistakes in it that were found already.
    """

    columns: Mapping[str, "pa.ChunkedArray"]
    lines: Sequence[int]
    malformed: Sequence[Mistake] = ()
    unreadable: Mapping[int, Sequence[Mistake]]

    def text(self, column: str, row: int) -> str:
        """Return one cell as text; '' if there is no such column."""
        return _cell_text(self.columns[column][row].as_py()) or "" if column in self.columns else ""


def read_cells(path: Path) -> Cells:
    """Read a manifest file.

    Raises:
        ManifestError: if the file cannot be read, or its columns are not a manifest's.
    """
    check_suffix(path)
    if "\0" in str(path):
        raise ManifestError(f"a path must not hold a NUL character; got {str(path)!r}")
    if path.is_dir():
        raise ManifestError(f"{path} is a directory. To list its videos: vidpipe manifest from-folders {path} -o m.csv")
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise ManifestError(f"{path} is empty; vidpipe manifest example prints one to begin with")
        return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error


def write_columns(path: Path, columns: Mapping[str, "pa.ChunkedArray"]) -> None:
    """Write columns as a manifest file, whole or not at all.

    Args:
        path: ends in ``.csv`` or ``.parquet``.
        columns: name -> cells as of `Cells`, in the order in which they are written.
    """
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    write_atomically(path, lambda draft: write(draft, columns))


def _read_csv(path: Path) -> Cells:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_records(path, file)
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path) from error


def _wrong_encoding(path: Path) -> ManifestError:
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ManifestError(f"{path}: a manifest must be UTF-8, and this is UTF-16; save it as UTF-8")
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = location(path, content.count(b"\n", 0, error.start) + 1)
        byte = content[error.start]
        return ManifestError(f"{where}: a manifest must be UTF-8, found the byte {byte:#04x}; save it as UTF-8")
    return ManifestError(f"{path} changed while it was read; run the command again")


def _read_records(path: Path, file: TextIO) -> Cells:
    records, names = _open_records(path, file)
    rows: list[list[str]] = []
    lines, malformed = array("q"), list[Mistake]()
    chunks: list[list[pa.Array]] = []
    for line, record in records:
        if isinstance(record, str):
            malformed.append(Mistake(line, None, record))
        elif len(record) != len(names):
            malformed.append(Mistake(line, None, f"has {len(record)} fields, where the header has {len(names)}"))
        else:
            rows.append(record)
            lines.append(line)
            if len(rows) == _ROWS_AT_ONCE:
                chunks.append(_arrays(rows, len(names)))
                rows = []
    chunks.append(_arrays(rows, len(names)))
    return Cells(columns=_joined(names, chunks), lines=_compact(lines), malformed=malformed, unreadable={})


def _open_records(path: Path, file: TextIO) -> tuple[Iterator[tuple[int, list[str] | str]], list[str]]:
    """Return the records below the header, and the names of the columns, separated by what spreadsheets write."""
    named = _SEPARATOR_LINE.match(file.readline(16))
    refused: list[tuple[int, list[str] | str]] = []
    for separator in (named[1],) if named else _SEPARATORS:
        file.seek(0)
        records = _records(file, separator)
        if named:
            next(records)
        line, header = next(records, (1, list[str]()))
        if not isinstance(header, str) and "path" in (names := column_names(header)):
            check_columns(path, names)
            return records, names
        refused.append((line, header))
    line, header = refused[0]
    if isinstance(header, str):
        raise ManifestError(f"{location(path, line)}: {header}")
    check_columns(path, column_names(header))
    raise AssertionError("columns without a path are refused")


def _records(file: TextIO, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (first line, fields) of every record that is not blank; an error of the csv module ends it."""
    reader = csv.reader(file, strict=True, delimiter=separator)
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        yield line, f"is not CSV: {error}"


def _arrays(rows: Sequence[Sequence[str]], width: int) -> list["pa.Array"]:
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else ((),) * width
    return [pa.array(column, pa.large_string()) for column in columns]


def _joined(names: Sequence[str], chunks: Sequence[Sequence["pa.Array"]]) -> dict[str, "pa.ChunkedArray"]:
    """Return name -> column; those that have neither a name nor content are left out, as spreadsheets leave them."""
    import pyarrow as pa

    pc = compute()
    columns = {name: pa.chunked_array(parts) for name, parts in zip(names, zip(*chunks, strict=True), strict=True)}
    empty = [
        name for name, column in columns.items() if is_unnamed(name) and not pc.any(pc.not_equal(column, "")).as_py()
    ]
    return {name: column for name, column in columns.items() if name not in empty}


def _compact(lines: "array[int]") -> Sequence[int]:
    """Return the lines as a range where none is passed over, as in nearly every file."""
    if lines and lines[-1] - lines[0] + 1 == len(lines):
        return range(lines[0], lines[-1] + 1)
    return lines


def _write_csv(path: Path, columns: Mapping[str, "pa.ChunkedArray"]) -> None:
    # Unix line ends on every system, so that equal manifests are equal files.
    with path.open("w", encoding="utf-8", newline="") as file:
        plain = csv.writer(file, lineterminator="\n")
        # Python's writer leaves a bare carriage return unquoted, and readers take it for the end of the line.
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        plain.writerow(columns)
        for rows in _batches(columns):
            for row in rows:
                (quoting if any("\r" in cell for cell in row) else plain).writerow(row)


def _batches(columns: Mapping[str, "pa.ChunkedArray"]) -> Iterator[list[tuple[str, ...]]]:
    """Yield the rows as text, some at a time."""
    import pyarrow as pa

    table = pa.table(dict(columns))
    for begin in range(0, table.num_rows, _ROWS_AT_ONCE):
        part = table.slice(begin, _ROWS_AT_ONCE)
        texts = [[cell_text(value) for value in column.to_pylist()] for column in part.columns]
        yield list(zip(*texts, strict=True))


def _read_parquet(path: Path) -> Cells:
    # Imported here: it takes long, and most manifests are CSV.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            table = pq.ParquetFile(file).read()
        table.validate(full=True)
    except pa.ArrowException as error:
        raise ManifestError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    names = column_names(table.column_names)
    check_columns(path, names)
    unreadable: dict[int, list[Mistake]] = {}
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        columns[name] = _own_cells(name, plain, unreadable) if name in COLUMNS else plain
    return Cells(columns=columns, lines=range(1, table.num_rows + 1), unreadable=unreadable)


def _own_cells(name: str, column: "pa.ChunkedArray", unreadable: dict[int, list[Mistake]]) -> "pa.ChunkedArray":
    """Return one of our columns as `Cells` has it; what is neither text nor a number is noted in ``unreadable``."""
    import pyarrow as pa

    pc = compute()
    kind = column.type
    if name in NUMBER_COLUMNS and (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        return column.cast(pa.float64(), safe=False)
    if any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_null, pa.types.is_integer)
    ):
        return pc.fill_null(column.cast(pa.large_string()), "")
    texts = []
    for row, value in enumerate(column.to_pylist()):
        text = _cell_text(value)
        if text is None:
            wrong = Mistake(row + 1, name, f"must be text or a number, got {value!r}")
            unreadable.setdefault(row, []).append(wrong)
        texts.append(text or "")
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def _cell_text(value: Any) -> str | None:
    """Return a Parquet value as it would be in a CSV, so that the digests agree; None if that is impossible."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return repr(value) if type(value) in (int, float) else None


def _write_parquet(path: Path, columns: Mapping[str, "pa.ChunkedArray"]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pc = compute()
    made = {}
    for name, column in columns.items():
        texts = pa.types.is_large_string(column.type)
        # Null means empty, in our columns, and in text that may come from a CSV.
        plain = pc.if_else(pc.equal(column, ""), None, column).cast(pa.string()) if texts else column
        made[name] = plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain
    with path.open("wb") as file:
        pq.write_table(pa.table(made), file)
