"""Claims on names in a folder: of all threads and processes of a machine, one at a time holds each.

The system releases what a process holds if it dies. Its locks belong to processes, so that two threads of one would not
exclude each other, and it drops all of them when the process closes the file once: so all claims of a process on one
folder go through one open file, which knows what its threads hold.
"""

import contextlib
import fcntl
import os
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path

_FILE = "lock"


@dataclass(slots=True)
class _Open:
    """A folder's lock file, open in this process.

    Args:
        descriptor: of the file.
        users: how many `Claims` go through it.
        held: the bytes that this process's threads have locked.
    """

    descriptor: int
    users: int = 0
    held: set[int] = field(default_factory=set)


_LOCK = threading.RLock()  # the garbage collector may call `_close` anywhere
_OPEN: dict[tuple[int, int], _Open] = {}  # by device and inode


class Claims:
    """Claims on names in ``folder``; all threads may use it.

    Raises:
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / _FILE
        with _LOCK:
            key = _identity(path)
            if key not in _OPEN:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                status = os.fstat(descriptor)
                key = status.st_dev, status.st_ino
                _OPEN[key] = _Open(descriptor)
            self._file = _OPEN[key]
            self._file.users += 1
        weakref.finalize(self, _close, key)

    def take(self, name: str) -> bool:
        """Return whether nobody held ``name``, which begins with 15 hexadecimal digits; the caller holds it now."""
        place = _place_of(name)
        with _LOCK:
            if place in self._file.held:
                return False
            try:
                fcntl.lockf(self._file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except BlockingIOError:
                return False
            except OSError:  # no locks on this file system: at worst two processes do the same, with the same result
                pass
            self._file.held.add(place)
        return True

    def release(self, name: str) -> None:
        """Give up ``name``, which the caller holds."""
        place = _place_of(name)
        with _LOCK:
            self._file.held.discard(place)
            with contextlib.suppress(OSError):
                fcntl.lockf(self._file.descriptor, fcntl.LOCK_UN, 1, place)


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode of a file, found without opening it; of none, what no file has."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return -1, -1
    return status.st_dev, status.st_ino


def _close(key: tuple[int, int]) -> None:
    with _LOCK:
        own = _OPEN[key]
        own.users -= 1
        if not own.users:
            os.close(own.descriptor)
            del _OPEN[key]


def _place_of(name: str) -> int:
    """Return the byte of the lock file that stands for a name."""
    return int(name[:15], 16)
