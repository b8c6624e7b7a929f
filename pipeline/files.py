"""Files and folders that appear whole or not at all, locks, leftovers, and full disks.

Everything that vidpipe writes goes through `write_atomically` (a file) or `appearing_whole` (a folder): after a kill, a
power cut or a full disk there is either what was there before or all of the new, and the error is the same everywhere.
"""

import contextlib
import csv
import errno
import fcntl
import glob
import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import FileError, OutOfSpaceError, StoreError, VidpipeError

_DRAFT = ".creating"  # ends the name of a folder that is not finished
PARTIAL = ".partial"  # ends the name of a file that is not finished; Zarr's word
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNFINISHED = re.compile(rf".*\.[0-9a-f]{{32}}{re.escape(PARTIAL)}")  # as `_draft_of` names them
# What begins a formula, in wide forms too, behind apostrophes if any.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)  # of a folder, on some shared file systems
_KEPT = "What is done is kept: free some space, and the same command goes on from there."
NOTHING_KEPT = "Nothing of it was kept: free some space, and give the same command again."


def write_atomically(path: Path, write: Callable[[Path], object], *, advice: str = _KEPT) -> None:
    """Let ``write`` fill a file beside ``path``, and rename it to ``path`` once it is on disk.

    Args:
        path: of the file.
        write: fills the file whose path it is given.
        advice: the end of the message if the disk is full.

    Raises:
        OutOfSpaceError: if the disk is full; what was at ``path`` is left as it was.
        FileError: if the file cannot be written for another reason; likewise.
    """
    draft = _draft_of(path)
    try:
        with disk_full_explained(path, advice=advice):
            write(draft)
            # The content before the name: otherwise a power cut could leave an empty file under the final name.
            _sync(draft)
            draft.replace(path)
            _sync_folder(path.parent)  # the new name must survive a power cut too
    except OSError as error:
        if isinstance(error, VidpipeError):
            raise
        reason = error.strerror or error
        raise FileError(f"{path} cannot be written: {reason}; what was there is unharmed") from error
    finally:
        with contextlib.suppress(OSError):  # it would hide what went wrong before
            draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8, whole or not at all."""
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a report as CSV, whole or not at all; texts that a spreadsheet would run are escaped (`escaped_cell`)."""

    def write(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(map(escaped_cell, row) for row in rows)

    write_atomically(path, write)


def escaped_cell(cell: Any) -> Any:
    """Return a cell of a report with an apostrophe before a text that a spreadsheet would take for a formula.

    Names of classes and files come from strangers. A text that begins with an apostrophe and would then be taken for
    escaped gets one more, so that `plain_cell` gives back what was there. Numbers stay as they are.

    Source: OWASP, CSV Injection.
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def plain_cell(cell: str) -> str:
    """Return what a cell of a report said before `escaped_cell`; every reader of reports must use it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def _draft_of(path: Path) -> Path:
    """Return a unique name beside ``path`` for an unfinished file."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")


def remove_drafts(path: Path) -> None:
    """Remove the unfinished files of killed writers of ``path``. Nobody may be writing it."""
    for draft in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL}"):
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    try:
        _sync(path)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


@contextlib.contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """Yield a draft folder beside ``path`` that is renamed to it if the block succeeds, and removed otherwise.

    Raises:
        StoreError: if there is something at ``path`` already.
    """
    if path.exists() and not _is_empty_folder(path):
        raise StoreError(f"{path} exists already. Choose another name, or remove it.")
    draft = path.with_name(f".{path.name}{_DRAFT}")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.rename(path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    """Return whether ``path`` is an empty folder, which a rename replaces."""
    return path.is_dir() and not any(path.iterdir())


def is_draft(name: str) -> bool:
    """Return whether a folder's name is that of an unfinished one of `appearing_whole`."""
    return name.startswith(".") and name.endswith(_DRAFT)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers left half-written below ``path``. Nobody may be writing there."""
    for folder, folders, files in os.walk(path):
        for name in files:
            if name.endswith(PARTIAL):
                Path(folder, name).unlink(missing_ok=True)
        for name in filter(is_draft, folders.copy()):
            shutil.rmtree(Path(folder, name))
            folders.remove(name)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed calls of `write_atomically` left in ``folder`` itself. Nobody may be writing there.

    Unlike `remove_leftovers`, it leaves the folders below alone, which may be others', and files of other names.
    """
    for entry in folder.iterdir():
        if _UNFINISHED.fullmatch(entry.name):
            entry.unlink(missing_ok=True)


def lock_folder(path: Path, *, error: type[VidpipeError]) -> int:
    """Return a file descriptor that locks ``path`` for this process until it is closed or the process dies.

    If the file system has no locks, a warning says that nothing guards the folder. On network file systems the lock may
    hold among the processes of one host alone.

    Args:
        path: an existing folder.
        error: what to raise if another process holds it.

    Raises:
        OSError: if the folder cannot be opened or locked for another reason.
    """
    # flock on the folder itself: the system releases it with the process, so that no stale lock file is ever left.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as blocked:
        os.close(descriptor)
        raise error(f"Another run is writing {path}. Wait for it, or stop it.") from blocked
    except OSError as failed:
        if failed.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise
        warnings.warn(
            f"the file system of {path} has no locks: make sure that only one run at a time writes there", stacklevel=2
        )
    return descriptor


@contextlib.contextmanager
def held_file(path: Path) -> Iterator[None]:
    """Within the block, hold ``path``, made if need be, for this process alone; others wait.

    The system releases it if the process dies.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def user_cache() -> Path:
    """Return vidpipe's folder among the user's caches; it need not exist."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # Relative paths are to be ignored, says the XDG Base Directory Specification.
    return (base if base.is_absolute() else _home() / ".cache") / "vidpipe"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without a name, in a container; nothing can be written there, and that is said
        return Path("/")


@contextlib.contextmanager
def held_folder(path: Path, *, error: type[VidpipeError]) -> Iterator[None]:
    """Within the block, lock a folder for this process, without killed writers' leftovers (`lock_folder`)."""
    descriptor = lock_folder(path, error=error)
    try:
        remove_unfinished(path)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_full_explained(path: Path, *, advice: str = _KEPT) -> Iterator[None]:
    """Turn "disk full" and "quota exceeded" inside the block into an error that says what to do.

    Raises:
        OutOfSpaceError: in their place.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise OutOfSpaceError(f"No space left for {path} ({error.strerror}). {advice}") from error


def nearest_folder(path: Path) -> Path:
    """Return ``path``, or its nearest existing parent, which is on the same disk."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def free_bytes(path: Path) -> int:
    """Return how many bytes are free on the disk of ``path``, which need not exist yet."""
    return shutil.disk_usage(nearest_folder(path)).free


def check_free_space(path: Path, needed_bytes: int) -> int:
    """Return how many bytes are free on the disk of ``path``, which need not exist yet.

    Raises:
        OutOfSpaceError: if fewer than ``needed_bytes`` are free.
    """
    free = free_bytes(path)
    if needed_bytes > free:
        raise OutOfSpaceError(
            f"{path} needs up to {needed_bytes / 1e9:.3f} GB, and {free / 1e9:.3f} GB are free on its disk. Free some "
            "space, choose another disk, fewer clips, or a pattern with fewer expensive clips."
        )
    return free


def bytes_on_disk(path: Path) -> int:
    """Return the sum of the sizes of all files below ``path``."""
    return sum(Path(folder, name).stat().st_size for folder, _, files in os.walk(path) for name in files)
