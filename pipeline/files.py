"""Files and folders as the disk sees them: what appears whole or not at all, locks, leftovers, and full disks.

Everything that vidpipe writes goes through `write_atomically` (a file) or `appearing_whole` (a folder): a kill, a power
cut or a full disk leaves what was there before, or all of the new, and the same error is raised everywhere.
"""

import contextlib
import csv
import errno
import fcntl
import glob
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import FileError, OutOfSpaceError, StoreError, VidpipeError

DRAFT = ".creating"  # ends the name of a folder that is not finished
PARTIAL = ".partial"  # ends the name of a file that is not finished; Zarr's word
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
KEPT = "What is done is kept: free some space, and the same command goes on from there."
NOTHING_KEPT = "Nothing of it was kept: free some space, and give the same command again."


def write_atomically(path: Path, write: Callable[[Path], object], *, advice: str = KEPT) -> None:
    """Let ``write`` fill a file beside ``path``, and rename it to ``path`` once it is on disk.

    Args:
        path: of the file.
        write: fills the file whose path it is given.
        advice: what to tell when the disk is full.

    Raises:
        OutOfSpaceError: if the disk is full; what was at ``path`` is left as it was.
        FileError: if the file cannot be written for another reason; likewise.
    """
    draft = draft_of(path)
    try:
        with disk_full_explained(path, advice=advice):
            write(draft)
            _sync(draft)
            draft.replace(path)
            _sync(path.parent)  # the new name, too, has to outlive a power cut
    except OSError as error:
        if isinstance(error, VidpipeError):
            raise
        reason = error.strerror or error
        raise FileError(f"{path} cannot be written: {reason}; what was there is unharmed") from error
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8, whole or not at all."""
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, whole or not at all."""

    def write(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    write_atomically(path, write)


def draft_of(path: Path) -> Path:
    """Return a name beside ``path``, like no other, for a file that is not finished."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")


def remove_drafts(path: Path) -> None:
    """Remove what writers of ``path`` that were killed left of it. No one may be writing it."""
    for draft in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL}"):
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """Give a draft folder beside ``path`` that takes its place when the block ends well, and is removed otherwise.

    Raises:
        StoreError: if there is something at ``path`` already.
    """
    if path.exists() and not _is_empty_folder(path):
        raise StoreError(f"{path} exists already. Choose another name, or remove it.")
    draft = path.with_name(f".{path.name}{DRAFT}")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    """Say whether ``path`` is a folder with nothing in it, which a rename replaces."""
    return path.is_dir() and not any(path.iterdir())


def is_draft(name: str) -> bool:
    """Say whether a folder is one that `appearing_whole` had not finished."""
    return name.startswith(".") and name.endswith(DRAFT)


def remove_leftovers(path: Path) -> None:
    """Remove what writers that were killed left half-written below ``path``. No one may be writing there."""
    for folder, folders, files in os.walk(path):
        for name in files:
            if name.endswith(PARTIAL):
                Path(folder, name).unlink(missing_ok=True)
        for name in filter(is_draft, folders.copy()):
            shutil.rmtree(Path(folder, name))
            folders.remove(name)


def lock_folder(path: Path, *, error: type[VidpipeError]) -> int:
    """Return a file descriptor that holds ``path`` for this process; closing it, or dying, lets go.

    Where the file system knows no locks, a warning says that nothing guards the folder.

    Args:
        path: an existing folder.
        error: what to raise if another process holds it.

    Raises:
        OSError: if the folder cannot be opened or locked for another reason.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as blocked:
        os.close(descriptor)
        raise error(f"Another run is writing {path}. Wait for it, or stop it.") from blocked
    except OSError as failed:
        if failed.errno not in NO_LOCKS:
            os.close(descriptor)
            raise
        warnings.warn(f"the disk of {path} knows no locks: see to it that one run at a time writes there", stacklevel=2)
    return descriptor


@contextlib.contextmanager
def held_folder(path: Path, *, error: type[VidpipeError]) -> Iterator[None]:
    """Hold a folder for this process alone within the block, cleared of what killed writers left (`lock_folder`)."""
    descriptor = lock_folder(path, error=error)
    try:
        remove_leftovers(path)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_full_explained(path: Path, *, advice: str = KEPT) -> Iterator[None]:
    """Turn "disk full" and "quota exceeded" inside the block into an error that says what to do.

    Raises:
        OutOfSpaceError: in their place.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OutOfSpaceError(f"No space left for {path} ({error.strerror}). {advice}") from error


def nearest_folder(path: Path) -> Path:
    """Return ``path``, or the nearest place above it that is there: it is on the same disk."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def free_bytes(path: Path) -> int:
    """Return the bytes free on the disk that ``path`` is, or will be, on."""
    return shutil.disk_usage(nearest_folder(path)).free


def check_free_space(path: Path, needed_bytes: int) -> int:
    """Return the bytes free on the disk that ``path`` is, or will be, on.

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
    """Return the added sizes of all files below ``path``."""
    return sum(Path(folder, name).stat().st_size for folder, _, files in os.walk(path) for name in files)
