"""Files of a feature store as the disk sees them: folders that appear whole, leftovers, and running out of space."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutOfSpaceError, StoreError

DRAFT = ".creating"
PARTIAL = ".partial"  # ends the name of a file that is not finished; Zarr's word


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


def lock_folder(path: Path) -> int:
    """Return a file descriptor that holds ``path`` for this process; closing it, or dying, lets go.

    Raises:
        StoreError: if another run holds it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreError(f"Another run is writing {path}. Wait for it, or stop it.") from error
    except OSError:
        pass  # a file system without locks: the user has to see to it
    return descriptor


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn "disk full" and "quota exceeded" inside the block into an error that says what to do.

    Raises:
        OutOfSpaceError: in their place.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfSpaceError(
            f"No space left for {path} ({error.strerror}). What is done is kept: free some space, and the same command "
            "goes on from there."
        ) from error


def nearest_folder(path: Path) -> Path:
    """Return ``path``, or the nearest place above it that is there: it is on the same disk."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def check_free_space(path: Path, needed_bytes: int) -> int:
    """Return the bytes free on the disk that ``path`` is, or will be, on.

    Raises:
        OutOfSpaceError: if fewer than ``needed_bytes`` are free.
    """
    free = shutil.disk_usage(nearest_folder(path)).free
    if needed_bytes > free:
        raise OutOfSpaceError(
            f"{path} needs up to {needed_bytes / 1e9:.3f} GB, and {free / 1e9:.3f} GB are free on its disk. Free some "
            "space, choose another disk, fewer clips, or a pattern with fewer expensive clips."
        )
    return free


def bytes_on_disk(path: Path) -> int:
    """Return the added sizes of all files below ``path``."""
    return sum(Path(folder, name).stat().st_size for folder, _, files in os.walk(path) for name in files)
