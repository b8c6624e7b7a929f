"""Manifest files as rows of text: CSV and Parquet, read and written, with the line of every row.

Both formats give the same rows, so the rules of `manifest.py` are written once, and mistakes are reported alike.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ManifestError
from ..files import write_atomically

COLUMNS = ("path", "label", "split", "video_id", "start", "end")  # in the order in which they are written
REQUIRED_COLUMNS = ("path", "split")
_OPTIONAL_COLUMNS = tuple(name for name in COLUMNS if name not in REQUIRED_COLUMNS)
_NUMBER_COLUMNS = ("start", "end")
_MAX_MISTAKES_SHOWN = 20


class Row(NamedTuple):
    """One row: its line in the file (a CSV's header is line 1; a Parquet file's first row is row 1) and its cells."""

    line: int
    cells: dict[str, str]


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


def read_rows(path: Path) -> tuple[list[Row], list[Mistake]]:
    """Read every row of a manifest file as text; an absent value is ''.

    Returns:
        The rows with as many cells as the header, and the mistakes in the others.

    Raises:
        ManifestError: if the file cannot be read, or its columns are not a manifest's.
    """
    check_suffix(path)
    if "\0" in str(path):
        raise ManifestError(f"a path must not hold a NUL character; got {str(path)!r}")
    if path.is_dir():
        raise ManifestError(f"{path} is a directory. To list its videos: vidpipe manifest from-folders {path} -o m.csv")
    try:
        return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error


def write_rows(path: Path, rows: Iterable[dict[str, str]], *, columns: Sequence[str]) -> None:
    """Write rows of text as a manifest file, whole or not at all.

    Args:
        path: ends in ``.csv`` or ``.parquet``.
        rows: text by column; '' stands for an absent value.
        columns: which columns to write, in this order.
    """
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    write_atomically(path, lambda draft: write(draft, rows, columns))


def _check_columns(path: Path, names: Sequence[str]) -> None:
    optional = ", ".join(_OPTIONAL_COLUMNS).replace("label", "label (to train or score)")
    known = f"known columns: {', '.join(REQUIRED_COLUMNS)} (required), {optional}"
    where = f"{path}:1" if path.suffix.lower() == ".csv" else f"{path}"
    problems = [f"{where}: column {name!r} is missing" for name in REQUIRED_COLUMNS if name not in names]
    problems += [f"{where}: column {name!r} is unknown" for name in dict.fromkeys(names) if name not in COLUMNS]
    problems += [f"{where}: column {name!r} appears twice" for name in COLUMNS if names.count(name) > 1]
    if problems:
        raise ManifestError("\n".join(problems) + f"\n{known}; columns are separated by commas, found: {list(names)}")


def _read_csv(path: Path) -> tuple[list[Row], list[Mistake]]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = location(path, content.count(b"\n", 0, error.start) + 1)
        byte = content[error.start]
        raise ManifestError(
            f"{where}: a manifest must be UTF-8, found the byte {byte:#04x}; save it as UTF-8"
        ) from error
    records = _records(text)
    line, header = next(records, (1, []))
    if isinstance(header, str):
        raise ManifestError(f"{location(path, line)}: {header}")
    names = [name.strip() for name in header]
    _check_columns(path, names)
    rows, mistakes = [], []
    for line, record in records:
        if isinstance(record, str):
            mistakes.append(Mistake(line, None, record))
        elif len(record) != len(names):
            mistakes.append(Mistake(line, None, f"has {len(record)} fields, where the header has {len(names)}"))
        else:
            rows.append(Row(line, dict(zip(names, record, strict=True))))
    return rows, mistakes


def _records(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (first line, fields) of every record that is not blank; an error of the csv module ends it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            yield line, f"is not CSV: {error}"
            return
        if record is None:
            return
        if record:
            yield line, record


def _write_csv(path: Path, rows: Iterable[dict[str, str]], columns: Sequence[str]) -> None:
    # Unix line ends on every system, so that equal manifests are equal files.
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _read_parquet(path: Path) -> tuple[list[Row], list[Mistake]]:
    # Imported here: it takes long, and most manifests are CSV.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            table = pq.ParquetFile(file).read()
    except pa.ArrowException as error:
        raise ManifestError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    _check_columns(path, table.column_names)
    rows, mistakes = [], []
    for line, values in enumerate(table.to_pylist(), start=1):
        cells, wrong = {}, []
        for column, value in values.items():
            text = _cell_text(value)
            if text is None:
                wrong.append(Mistake(line, column, f"must be text or a number, got {value!r}"))
            else:
                cells[column] = text
        mistakes += wrong
        if not wrong:
            rows.append(Row(line, cells))
    return rows, mistakes


def _cell_text(value: Any) -> str | None:
    """Return a Parquet value as it would be in a CSV, so that the digests agree; None if that is impossible."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return repr(value) if type(value) in (int, float) else None


def _write_parquet(path: Path, rows: Iterable[dict[str, str]], columns: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(rows)
    arrays = []
    for column in columns:
        cells = [row[column] for row in rows]
        if column in _NUMBER_COLUMNS:
            arrays.append(pa.array([float(cell) if cell else None for cell in cells], pa.float64()))
        else:
            arrays.append(pa.array([cell or None for cell in cells], pa.string()))
    with path.open("wb") as file:
        pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), file)
