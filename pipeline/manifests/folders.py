"""A manifest made from a directory in which every folder is a class."""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ManifestError, SettingsError, named
from ..execution import SILENT, Progress
from .cells import LABEL_SEPARATOR, default_video_id
from .file_kinds import VIDEO_EXTENSIONS, is_named_video
from .found_files import (
    BAD_CLASS,
    HIDDEN,
    LOST,
    NO_CLASS_VIDEOS,
    OTHER,
    UNLISTED,
    UNREADABLE,
    Finder,
    is_link,
    is_writable,
    reason_of,
    visible,
)
from .headers import GROUP
from .locations import unmarked
from .manifest import Manifest, Video
from .settings import SEED, TEST_FRACTION, FoldersSettings
from .splitting import choose_grouped, choose_test

_SPLIT_FOLDERS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderList:
    """What was found below a directory.

    Attributes:
        manifest: of the videos.
        passed_over: reason -> names below the directory, of what is not in the manifest.
        by_content: names of videos that have no video's extension.
        alone: paths of videos that ``group_by`` finds no group for.
    """

    manifest: Manifest
    passed_over: Mapping[str, Sequence[str]]
    by_content: Sequence[str]
    alone: Sequence[str] = ()

    @property
    def lost(self) -> bool:
        """Whether a video may be missing from the manifest."""
        return any(reason in self.passed_over for reason in LOST)


def manifest_from_folders(
    directory: str | Path, *, test_fraction: float = TEST_FRACTION, seed: int = SEED, group_by: str | None = None
) -> Manifest:
    """Return a manifest of the videos below ``directory``: each of its folders is a class, with videos at any depth.

    The split is stratified, and drawn by hashing the seed, the class and the path within the class, so that a class's
    split does not change when other classes come or go. Links are followed, and a file that is reached twice is listed
    once. Hidden files and folders (``.…``) are skipped, and so are files that have neither a video's extension nor its
    first bytes, and names that no manifest can hold; `list_folders` says which. Paths are written relative to
    ``directory`` (`Manifest.relative_to` changes that); ids are those paths without extension, or with it if they would
    clash.

    Args:
        directory: holds one folder per class.
        test_fraction: in [0, 1); this part of every class is "test", the rest "train". If it is not 0, a class of two
            or more videos has at least one of each; a class with one video has it in train.
        seed: another one draws another split.
        group_by: a regular expression, searched for in each path within the class: what it finds, or its one group
            in brackets, is the column `group`. Videos of one group are in one split, in all classes; where it finds
            nothing, a video stands alone.

    Raises:
        SettingsError: if ``test_fraction`` is outside of [0, 1), or ``group_by`` finds no group in any path.
        ManifestError: if the directory does not hold classes of videos.
    """
    return list_folders(
        FoldersSettings(directory=Path(directory), test_fraction=test_fraction, seed=seed, group_by=group_by)
    ).manifest


def list_folders(settings: FoldersSettings, *, progress: Progress = SILENT) -> FolderList:
    """Return a manifest of the videos below a directory, and what was passed over; see `manifest_from_folders`.

    Args:
        settings: which directory, and how it is split.
        progress: advanced by each folder of a class.

    Raises:
        SettingsError, ManifestError: likewise.
    """
    root = Path(os.path.realpath(settings.directory))  # `resolve` has no words for links in a circle
    finder, classes = _find_classes(root, progress)
    groups = {} if settings.group_by is None else _find_groups(classes, settings.group_by)
    test = _choose_test(classes, groups, settings)
    listed = [(label, path) for label, own in classes.items() for path in _paths(own)]
    ids = _unique_ids([path for _, path in listed])
    videos = [
        Video(
            video_id=video_id,
            path=root / path,
            labels=(label,),
            split="test" if path in test else "train",
            written_path=unmarked(path),
            columns={GROUP: groups[path]} if groups else {},
        )
        for (label, path), video_id in zip(listed, ids, strict=True)
    ]
    return FolderList(
        manifest=Manifest(videos),
        passed_over=finder.passed_over,
        by_content=tuple(finder.by_content),
        alone=tuple(path for path, group in groups.items() if not group),
    )


Folders = Mapping[str, Sequence[str]]  # folder -> names of its videos, '/'-separated below it
Classes = Mapping[str, Folders]  # by label; several folders may have one, if their names differ in blanks at the ends


def _paths(folders: Folders) -> list[str]:
    return [f"{folder}/{name}" for folder, names in folders.items() for name in names]


def _choose_test(classes: Classes, groups: Mapping[str, str], settings: FoldersSettings) -> frozenset[str]:
    """Return the paths for testing: the same share of each class, and whole groups if there are any."""
    if groups:
        members = {label: _paths(own) for label, own in classes.items()}
        return choose_grouped(members, groups=groups, test_fraction=settings.test_fraction, key=str(settings.seed))
    chosen: set[str] = set()
    for label, own in classes.items():
        # By the name within the class, as ever, so that the same folders give the same split.
        of_name = {path.removeprefix(f"{label}/"): path for path in _paths(own)}
        test = choose_test(list(of_name), test_fraction=settings.test_fraction, key=f"{settings.seed}\0{label}")
        chosen |= {of_name[name] for name in test}
    return frozenset(chosen)


def _find_groups(classes: Classes, text: str) -> dict[str, str]:
    """Return path -> its group; "" where the pattern finds none.

    Raises:
        SettingsError: if it finds nothing in any of the names.
    """
    pattern, found = re.compile(text), dict[str, str]()
    for own in classes.values():
        for folder, names in own.items():
            for name in names:
                match = pattern.search(name)
                found[f"{folder}/{name}"] = "" if match is None else (match[pattern.groups] or "").strip()
    if not any(found.values()):
        names = [name for own in classes.values() for names in own.values() for name in names]
        raise SettingsError(
            f"{named('group_by')} '{text}' finds nothing in any of {len(found)} names, such as {_some(names)}; it must "
            "find groups in the paths below the folder of the class"
        )
    return found


def _find_classes(root: Path, progress: Progress) -> tuple[Finder, Classes]:
    """Return the videos of every class, and who found them."""
    finder = Finder(root)
    folders = _class_folders(root, finder)
    classes: dict[str, dict[str, list[str]]] = {}
    for name, videos in finder.find(folders, progress=progress).items():
        if videos:
            classes.setdefault(name.strip(), {})[name] = videos
        elif not finder.is_unlisted(name):
            finder.pass_over(NO_CLASS_VIDEOS, name)
    if not classes:
        _check_readable(root, finder)
        raise ManifestError(
            f"{root}: no videos in {_some(folders)}, so all {len(folders)} classes would be empty; "
            f"fill these folders (a video's name ends in {' '.join(sorted(VIDEO_EXTENSIONS))})"
        )
    return finder, classes


def _class_folders(root: Path, finder: Finder) -> list[str]:
    """Return the names of the folders that are classes."""
    try:
        names = sorted(entry.name for entry in root.iterdir())
    except OSError as error:
        raise ManifestError(f"{visible(str(root))} cannot be listed: {reason_of(error)}") from error
    folders = []
    for name in names:
        if name.startswith("."):
            finder.pass_over(HIDDEN, name)
        elif not _is_folder(root, name, finder):
            continue
        elif not _is_label(name):
            finder.pass_over(BAD_CLASS, name)
        else:
            folders.append(name)
    _check_layout(root, finder, folders)
    return folders


def _is_folder(root: Path, name: str, finder: Finder) -> bool:
    """Return whether ``name`` is a folder, or leads to one; what it is otherwise is noted."""
    try:
        if stat.S_ISDIR((root / name).stat().st_mode):
            return True
    except OSError as error:
        finder.lose(name, error, is_link=is_link(root / name))
        return False
    finder.pass_over(OTHER, name)
    return False


def _check_readable(root: Path, finder: Finder) -> None:
    """Refuse a directory without classes if some of what is there could not be read: that is why."""
    if lost := [name for reason in (UNLISTED, UNREADABLE) for name in finder.passed_over.get(reason, ())]:
        raise ManifestError(
            f"{visible(str(root))}: no videos in what can be read; {len(lost)} cannot: {_some(lost)}. See to their "
            "permissions, or to the disk"
        )


def _is_label(name: str) -> bool:
    return is_writable(name) and LABEL_SEPARATOR not in name and bool(name.strip())


def _check_layout(root: Path, finder: Finder, folders: Sequence[str]) -> None:
    if not folders and BAD_CLASS not in finder.passed_over:
        _check_readable(root, finder)
        raise ManifestError(f"{root} holds no folders; put the videos of each class into a folder that has its name")
    if not folders:
        bad = _some(finder.passed_over[BAD_CLASS])
        raise ManifestError(
            f"{root}: {bad} cannot be a class: a label has no {LABEL_SEPARATOR!r}, and is UTF-8; rename it"
        )
    if stray := [name for name in finder.passed_over.get(OTHER, ()) if is_named_video(name)]:
        raise ManifestError(f"{root}: {_some(stray)} would have no class; move videos into the folder of their class")
    if all(name.lower() in _SPLIT_FOLDERS for name in folders):
        raise ManifestError(
            f"{root}: the folders {_some(folders)} are splits, not classes; "
            f"run this on each of them ({root / folders[0]}, with a test fraction of 0) and join the lists under their "
            "splits"
        )


def _unique_ids(paths: Sequence[str]) -> Sequence[str]:
    """Return an id for each path; if any two agree (``a.mp4`` beside ``a.avi``), every id keeps its extension."""
    for ids in ([default_video_id(path) for path in paths], [path.strip() for path in paths]):
        if len(set(ids)) == len(ids):
            return ids
    # Paths that differ in blanks at their ends alone.
    return [f"{path.strip()} ({number})" for number, path in enumerate(paths, start=1)]


def _some(names: Sequence[str], *, shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"'{visible(name)}'" for name in names[:shown]) + more
