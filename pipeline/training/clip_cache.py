"""Decoded videos on disk: what one training has decoded serves its later epochs, its restart and other trainings.

Each file holds the reduced frames of one row of a manifest. Its name is a digest of the video file's identity and of
everything else that decides the pixels, so that nothing stale is ever found. Files appear whole; what a killed process
left unfinished is removed by the next one; several processes may use one folder at a time.
"""

import contextlib
import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeVar

import torch

from ..errors import FileError, OutOfSpaceError, VideoError
from ..files import PARTIAL, free_bytes, write_atomically
from ..manifests.manifest import Video
from ..sizes import size_text
from ..videos.software import decoder_versions, decoding_digest
from .claims import Claims
from .kept_videos import DamagedEntryError, open_kept, write_kept
from .reduced import ReducedVideo, Reduction, decoded

RESERVED_BYTES = 10**9  # of the disk, for checkpoints and everything else: a cache must never be what fills it
_SUFFIX = ".frames"
_RECIPE = 1  # to be raised when the reduction or the files change; a change of decoding shows by itself
_WITHOUT = "Those that are there are used."
_LIVE_SECONDS = 3600  # what was used since then may belong to a training that goes on
_TOUCH_SECONDS = 600
_SCAN_SECONDS = 10
Made = TypeVar("Made")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the folder.

    Args:
        path: where.
        num_bytes: its size.
        used: when it was last used, in seconds since the epoch.
    """

    path: Path
    num_bytes: int
    used: float


class ClipCache:
    """A folder of decoded videos, for any number of lists of them; all threads may use it.

    Args:
        folder: made if it is not there.
        most_bytes: how large it may grow.
        say: told, once each, why something is not kept.

    Raises:
        OSError: if the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, most_bytes: float, say: Say) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.most_bytes = folder, most_bytes
        self._say = say
        self._claims = Claims(folder)
        self._lock = threading.Lock()
        self._left_out: set[Path] = set()
        self._said: set[str] = set()
        self._used_bytes, self._counted_at, self._count_seconds = 0.0, -float("inf"), 0.0
        self._stopped = False

    def see(self, video: Video, make: Callable[[ReducedVideo], Made], *, reduction: Reduction) -> Made | None:
        """Return what ``make`` makes of the video, decoded first and kept if it is not here yet; None if it cannot be.

        Raises:
            VideoError: as ``make`` raises it.
        """
        path = entry_path(self.folder, video, reduction=reduction)
        for _ in range(2):  # what is damaged is made again, once
            if path is None or not (path.exists() or self._keep(video, path, reduction=reduction)):
                return None
            try:
                with open_kept(path) as opened:
                    _touch(path)
                    return make(opened)
            except FileNotFoundError:
                continue  # another training has just made room
            except DamagedEntryError:
                _remove(path)
            except OSError:
                return None  # it may be sound for all that is known, and others may use it
        return None

    def make_room(self, kept: Iterable[Path], *, needed_bytes: float) -> None:
        """Remove unfinished files of killed processes, and what was used longest ago, for ``needed_bytes`` more.

        What was used within the last hour stays, even if the folder is larger than it may be.

        Args:
            kept: files that are about to be used: they go last, and only if the folder is larger than it may be.
            needed_bytes: of what is not here yet.
        """
        files = sorted(_files(self.folder), key=lambda own: own.used)
        dead = [own for own in files if own.path.name.endswith(PARTIAL) and self._is_dead(own)]
        files = [own for own in files if own not in dead]
        own, now = set(kept), time.time()
        idle = [file for file in files if file.path.suffix == _SUFFIX and now - file.used > _LIVE_SECONDS]
        used = sum(file.num_bytes for file in files)
        others = [file for file in idle if file.path not in own]
        gone = _first_that_make(others, surplus=used + needed_bytes - self.most_bytes)
        used -= sum(file.num_bytes for file in gone)
        gone += _first_that_make([file for file in idle if file.path in own], surplus=used - self.most_bytes)
        for file in dead + gone:
            _remove(file.path)
        self._counted_at = -float("inf")

    def room(self) -> float:
        """Return how many bytes may still be written here."""
        return max(0.0, min(self.most_bytes - used_bytes(self.folder), free_bytes(self.folder) - RESERVED_BYTES))

    def _keep(self, video: Video, path: Path, *, reduction: Reduction) -> bool:
        """Decode a video into ``path``; return whether it is there now."""
        if self._stopped or path in self._left_out or not self._claims.take(path.name):
            return False
        try:
            if path.exists():
                return True  # another has just made it
            with decoded(video, reduction=reduction) as opened:
                places = opened.usable_places(video)
                width, height = opened.size
                if not self._reserve(len(places) * width * height * 3):
                    self._left_out.add(path)
                    return False
                write_atomically(path, lambda draft: _fill(draft, opened, places.tolist()), advice=_WITHOUT)
        except VideoError:
            # It is read clip by clip: perhaps no clip needs the frame that does not decode.
            self._left_out.add(path)
            return False
        except (OutOfSpaceError, FileError) as error:
            self._stop(error)
            return False
        finally:
            self._claims.release(path.name)
        if entry_path(self.folder, video, reduction=reduction) != path:  # the file was changed meanwhile
            _remove(path)
            return False
        return True

    def _reserve(self, num_bytes: int) -> bool:
        """Count ``num_bytes`` more as used, if there is room for them."""
        with self._lock:
            began = time.monotonic()
            # Others write here too; but counting a folder of a million files takes its time.
            if began - self._counted_at > max(_SCAN_SECONDS, 20 * self._count_seconds):
                self._used_bytes = used_bytes(self.folder)
                self._counted_at = time.monotonic()
                self._count_seconds = self._counted_at - began
            if self._used_bytes + num_bytes > self.most_bytes:
                reason = f"the {size_text(self.most_bytes)} for decoded videos are full: others are decoded each time"
            elif free_bytes(self.folder) - num_bytes < RESERVED_BYTES:
                reason = (
                    f"the disk of {self.folder} has less than {size_text(RESERVED_BYTES)} left: no more decoded "
                    "videos are kept, training goes on without"
                )
            else:
                self._used_bytes += num_bytes
                return True
        self._say_once(reason)
        return False

    def _stop(self, error: Exception) -> None:
        with self._lock:
            first, self._stopped = not self._stopped, True
        if first:
            self._say(f"no more decoded videos are kept, training goes on without: {error}")

    def _say_once(self, text: str) -> None:
        with self._lock:
            new = text not in self._said
            self._said.add(text)
        if new:
            self._say(text)

    def _is_dead(self, draft: _File) -> bool:
        """Return whether nobody writes an unfinished file any more."""
        free = self._claims.take(draft.path.name)
        if free:
            self._claims.release(draft.path.name)
        return free


def entry_path(folder: Path, video: Video, *, reduction: Reduction) -> Path | None:
    """Return where the frames of a video belong, by all that decides them; None if there is no such file."""
    try:
        path = video.path.resolve()
        status = path.stat()
    except (OSError, RuntimeError):
        return None
    identity = [str(path), status.st_size, status.st_mtime_ns, video.start, video.end]
    identity += [reduction.short_side, *astuple(reduction.reading), *_made_by()]
    return folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:40]}{_SUFFIX}"


def _made_by() -> tuple[object, ...]:
    """Return what decides the pixels beside the video: the same software may round otherwise on another CPU."""
    cpu = torch.backends.cpu.get_cpu_capability()
    return _RECIPE, torch.__version__, decoding_digest(), *decoder_versions(), platform.machine(), cpu


def _fill(draft: Path, opened: ReducedVideo, places: Sequence[int]) -> None:
    with draft.open("wb") as file:
        write_kept(file, opened, places)


def used_bytes(folder: Path) -> int:
    """Return the size of all decoded videos in ``folder``, which need not exist."""
    return sum(own.num_bytes for own in _files(folder))


def _files(folder: Path) -> list[_File]:
    """Return the files of decoded videos in ``folder``, unfinished ones too; there may be no folder."""
    found: list[_File] = []
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        if _SUFFIX not in entry.name:
            continue
        try:
            status = entry.stat()
        except OSError:
            continue  # removed meanwhile
        found.append(_File(Path(entry.path), status.st_size, status.st_mtime))
    return found


def _first_that_make(files: Sequence[_File], *, surplus: float) -> list[_File]:
    """Return as many of ``files``, from the first, as take ``surplus`` bytes or more."""
    chosen = []
    for own in files:
        if surplus <= 0:
            break
        chosen.append(own)
        surplus -= own.num_bytes
    return chosen


def _touch(path: Path) -> None:
    """Note that a file is used."""
    with contextlib.suppress(OSError):  # on a disk that may only be read
        if time.time() - path.stat().st_mtime > _TOUCH_SECONDS:
            os.utime(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
