"""Where the videos of a training are kept once they are decoded: on disk, or else in memory, and what is said of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError, named
from ..files import free_bytes, user_cache
from ..sizes import size_text
from .clip_cache import RESERVED_BYTES, ClipCache, Say, entry_path, used_bytes
from .clips import VideoSource, estimated_bytes
from .distributed import is_first, local_processes
from .settings import ClipCacheSettings

_SHARE_OF_FREE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What keeping decoded videos on disk will take; looked at without writing anything.

    Attributes:
        folder: where.
        num_videos: of all splits.
        num_kept: of these, the ones that are there already.
        kept_bytes: their size.
        missing_bytes: of the others, by estimate.
        most_bytes: that the folder may take, other trainings' videos included.
        num_bytes: of all videos, by estimate, wherever they are kept.
    """

    folder: Path
    num_videos: int
    num_kept: int
    kept_bytes: int
    missing_bytes: int
    most_bytes: float

    @property
    def num_bytes(self) -> int:
        """Of all videos."""
        return self.kept_bytes + self.missing_bytes

    @property
    def fits(self) -> bool:
        """Whether all videos can be kept, other trainings' having made room."""
        return self.num_bytes <= self.most_bytes and self.missing_bytes <= free_bytes(self.folder) - RESERVED_BYTES


def fits_in_memory(outlook: Outlook, *, memory_bytes: float) -> bool:
    """Return whether all videos are kept in memory, since the disk has no room for all, and memory has."""
    return not outlook.fits and _holds(memory_bytes, outlook)


def _holds(memory_bytes: float, outlook: Outlook) -> bool:
    return 0 < memory_bytes >= outlook.num_bytes


def keep_decoded(sources: Sequence[VideoSource], *, settings: ClipCacheSettings, memory_bytes: float, say: Say) -> None:
    """Let the videos of ``sources`` be kept once they are decoded, on disk or, without room there, in memory.

    Args:
        sources: all that a training reads.
        settings: of the folder on disk.
        memory_bytes: what may be kept in memory by this process, of all sources together: all or nothing is.
        say: told where they are kept, and what came of it; in the first process alone.

    Raises:
        SettingsError: if a folder that was asked for cannot be used.
    """
    say = say if is_first() else _say_nothing
    outlook = look_ahead(sources, settings=settings)
    disk = _open_disk(outlook, settings, say)
    if (disk is None or not outlook.fits) and _holds(memory_bytes, outlook):
        for own in sources:
            own.keep_in_memory()
        say(f"decoded videos are kept in memory: {size_text(outlook.num_bytes)}")
        return
    if disk is None:
        return
    if is_first():
        disk.make_room(_paths(outlook.folder, sources), needed_bytes=outlook.missing_bytes)
        say(announcement(outlook))
    for own in sources:
        own.keep_on(disk)


def _say_nothing(_: str) -> None:
    """Stand for `say` in all processes but the first."""


def _bytes_of(source: VideoSource) -> int:
    return estimated_bytes(source.videos, reduction=source.reduction)


def look_ahead(sources: Sequence[VideoSource], *, settings: ClipCacheSettings) -> Outlook:
    """Return what keeping the videos of ``sources`` on disk will take; writes nothing."""
    folder = settings.clip_cache or default_folder()
    kept = kept_bytes = missing = 0
    for own in sources:
        sizes = [_size(path) for path in _paths(folder, [own])]
        there = [size for size in sizes if size is not None]
        kept, kept_bytes = kept + len(there), kept_bytes + sum(there)
        num_missing = len(own.videos) - len(there)
        missing += _bytes_of(own) * num_missing // len(own.videos) if num_missing else 0
    return Outlook(
        folder=folder,
        num_videos=sum(len(own.videos) for own in sources),
        num_kept=kept,
        kept_bytes=kept_bytes,
        missing_bytes=missing,
        most_bytes=_most_bytes(folder, settings),
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _paths(folder: Path, sources: Sequence[VideoSource]) -> list[Path]:
    """Return the files of all videos that can be found."""
    paths = (entry_path(folder, video, reduction=own.reduction) for own in sources for video in own.videos)
    return [path for path in paths if path is not None]


def _most_bytes(folder: Path, settings: ClipCacheSettings) -> float:
    if settings.clip_cache_gb is not None:
        return settings.clip_cache_gb * 1e9
    return _SHARE_OF_FREE * (free_bytes(folder) + used_bytes(folder))


def default_folder() -> Path:
    """Return where decoded videos are kept if nobody says: below the user's folder for caches."""
    return user_cache() / "clips"


def _open_disk(outlook: Outlook, settings: ClipCacheSettings, say: Say) -> ClipCache | None:
    """Return the cache on disk; None if none is wanted, or the usual folder cannot be used.

    Raises:
        SettingsError: if a folder that was asked for cannot be used.
    """
    if outlook.most_bytes <= 0:
        return None
    try:
        return ClipCache(outlook.folder, most_bytes=outlook.most_bytes, say=say)
    except OSError as error:
        reason = f"{outlook.folder} cannot be used: {error.strerror or error}"
        if settings.clip_cache is not None:
            raise SettingsError(
                f"{named('clip_cache')} must be a folder that can be written; {reason}. Choose another, or "
                f"{named('clip_cache_gb')} 0 to keep no decoded videos on disk"
            ) from error
        say(f"decoded videos are not kept on disk: {reason}; {named('clip_cache')} for another folder")
        return None


def announcement(outlook: Outlook) -> str:
    """Return what is said before anything is kept."""
    most = f"at most {size_text(outlook.most_bytes)} there"
    needed = f"{size_text(outlook.num_bytes)} for {outlook.num_videos:,} videos"
    words = f"decoded videos are kept in {outlook.folder}, for later epochs, restarts and runs: about {needed}"
    if outlook.num_kept:
        words += f", {size_text(outlook.kept_bytes)} of it there already ({outlook.num_kept:,} videos)"
    if outlook.fits:
        return f"{words}; {most}. Delete the folder whenever you like"
    return f"{words}; but {most}, so that others are decoded in each epoch; {named('clip_cache_gb')} for more"


def memory_share(cache_gib: float) -> float:
    """Return the bytes that this process may keep in memory, if all of a machine's share ``cache_gib``."""
    return cache_gib * 2**30 / local_processes()
