"""A manifest made from a directory in which every folder is a class."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import ManifestError
from .manifest import Manifest, Video, default_video_id
from .settings import SEED, TEST_FRACTION, FoldersSettings

VIDEO_EXTENSIONS = frozenset(
    {
        *(".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
        *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    }
)
_SPLIT_FOLDERS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def manifest_from_folders(directory: str | Path, *, test_fraction: float = TEST_FRACTION, seed: int = SEED) -> Manifest:
    """Return a manifest of the videos below ``directory``: each of its folders is a class, with videos at any depth.

    The split is stratified, and drawn by hashing the seed, the class and the path within the class, so that a class's
    split does not change when other classes come or go. Hidden files and folders (``.…``) are skipped, and so are files
    without a video's extension. Paths are written relative to ``directory``
    (`Manifest.relative_to` changes that); ids are those paths without extension, or with it if they would clash.

    Args:
        directory: holds one folder per class.
        test_fraction: in [0, 1); this part of every class is "test", the rest "train". If it is not 0, a class of two
            or more videos has at least one of each; a class with one video has it in train.
        seed: another one draws another split.

    Raises:
        SettingsError: if ``test_fraction`` is outside of [0, 1).
        ManifestError: if the directory does not hold classes of videos.
    """
    return list_folders(FoldersSettings(directory=Path(directory), test_fraction=test_fraction, seed=seed))


def list_folders(settings: FoldersSettings) -> Manifest:
    """Return a manifest of the videos below a directory; see `manifest_from_folders`.

    Raises:
        ManifestError: if the directory does not hold classes of videos.
    """
    root = settings.directory.resolve()
    videos = []
    for label, paths in _find_classes(root).items():
        test = choose_test(paths, test_fraction=settings.test_fraction, key=f"{settings.seed}\0{label}")
        videos += [
            Video(
                video_id=default_video_id(f"{label}/{path}"),
                path=root / label / path,
                labels=(label,),
                split="test" if path in test else "train",
                written_path=f"{label}/{path}",
            )
            for path in paths
        ]
    return Manifest(tuple(_with_unique_ids(videos)))


def choose_test(names: Sequence[str], *, test_fraction: float, key: str) -> frozenset[str]:
    """Return which of a class's names are for testing: the first ones when sorted by their hashes with ``key``."""
    if test_fraction == 0 or len(names) < 2:
        return frozenset()
    number = min(max(round(len(names) * test_fraction), 1), len(names) - 1)

    # File names need not be valid UTF-8; surrogates stand for the bytes that are not.
    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{key}\0{name}".encode("utf-8", "surrogateescape")).digest()

    return frozenset(sorted(names, key=rank)[:number])


def _find_classes(root: Path) -> dict[str, list[str]]:
    """Return the videos of every class, sorted: paths within the class's folder, '/'-separated."""
    try:
        entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise ManifestError(f"{root} cannot be listed: {error.strerror}") from error
    folders = [entry for entry in entries if entry.is_dir()]
    _check_layout(root, entries, folders)
    classes = {folder.name: sorted(_find_videos(folder)) for folder in folders}
    if empty := [name for name, paths in classes.items() if not paths]:
        raise ManifestError(
            f"{root}: no videos in {_some(empty)}, so {len(empty)} of {len(folders)} classes would be empty; "
            f"fill these folders or move them away (a video's name ends in {' '.join(sorted(VIDEO_EXTENSIONS))})"
        )
    return classes


def _check_layout(root: Path, entries: Sequence[Path], folders: Sequence[Path]) -> None:
    if not folders:
        raise ManifestError(f"{root} holds no folders; put the videos of each class into a folder that has its name")
    if stray := [entry.name for entry in entries if _is_video(entry.name) and entry not in folders]:
        raise ManifestError(f"{root}: {_some(stray)} would have no class; move videos into the folder of their class")
    if all(folder.name.lower() in _SPLIT_FOLDERS for folder in folders):
        raise ManifestError(
            f"{root}: the folders {_some([folder.name for folder in folders])} are splits, not classes; "
            f"run this on each of them ({folders[0]}, with a test fraction of 0) and join the lists under their splits"
        )


def _find_videos(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder, onerror=_refuse_unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if _is_video(name):
                yield (Path(parent) / name).relative_to(folder).as_posix()


def _refuse_unlisted(error: OSError) -> None:
    raise ManifestError(f"{error.filename} cannot be listed: {error.strerror}") from error


def _is_video(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in VIDEO_EXTENSIONS


def _with_unique_ids(videos: Sequence[Video]) -> Sequence[Video]:
    """Return the videos; if any two ids agree (``a.mp4`` beside ``a.avi``), every id keeps its extension."""
    if len({video.video_id for video in videos}) == len(videos):
        return videos
    return [replace(video, video_id=video.written_path) for video in videos]


def _some(names: Sequence[str], *, shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(repr(name) for name in names[:shown]) + more
