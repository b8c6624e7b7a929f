"""Manifests from the official lists of data sets: read as published, and compared with the videos on disk.

To add a data set, write one function that reads its lists, and one entry of `DATASETS`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ManifestError, SettingsError, named
from ...execution import SILENT, Progress, under_way
from ...settings import setting, settings
from ..locations import unmarked
from .kinetics import read_kinetics
from .multi_label import read_charades, read_mmit
from .something import read_ssv1, read_ssv2
from .source import Entry, OfficialList, Source
from .ucf_hmdb import read_hmdb51, read_ucf101
from .videos import Layouts, Place, VideoFolder

# Imported where it is used: the commands' help lists the data sets, and should be quick.
if TYPE_CHECKING:
    from ..manifest import Manifest, Video


@dataclass(frozen=True, kw_only=True, slots=True)
class OfficialDataset:
    """A data set with official lists.

    Attributes:
        title: its name, as papers write it.
        read: reads its lists.
        annotations: which files it reads, for the help.
        videos: how its videos are laid out, for the help.
        example: what to type after ``annotations``, with settings as `errors.named` marks them.
        num_splits: how many official splits there are to choose from.
        class_list: the class list that can be chosen, for the help; "" if there is no choice.
        separator: whether some of its lists have columns whose separator can be chosen.
        multi_label: whether its videos have several labels.
        frame_rate: in frames/s, if it is published as frames.
    """

    title: str
    read: Callable[[Source], OfficialList]
    annotations: str
    videos: str
    example: str
    num_splits: int = 1
    class_list: str = ""
    separator: bool = False
    multi_label: bool = False
    frame_rate: int | None = None


DATASETS: dict[str, OfficialDataset] = {
    "ucf101": OfficialDataset(
        title="UCF-101",
        read=read_ucf101,
        annotations="the folder of classInd.txt, trainlist01.txt, testlist01.txt …",
        videos="Class/file.avi",
        example=f"ucfTrainTestlist {named('videos')} UCF-101 {named('split')} 1",
        num_splits=3,
    ),
    "hmdb51": OfficialDataset(
        title="HMDB-51",
        read=read_hmdb51,
        annotations="the folder of <class>_test_split1.txt …",
        videos="class/file.avi",
        example=f"testTrainMulti_7030_splits {named('videos')} hmdb51 {named('split')} 1",
        num_splits=3,
    ),
    "kinetics": OfficialDataset(
        title="Kinetics-400, -600 or -700",
        read=read_kinetics,
        annotations="official CSV files (label,youtube_id,time_start,time_end,split), or lists of 'path label'",
        videos="<id>_<start>_<end>.mp4 or a whole <id>.mp4, in one folder, one a split, one a class, or both",
        example=f"train.csv {named('annotations')} val.csv {named('videos')} k400",
        class_list="a name a line, or 'name,index', or JSON {name: index}; lists of paths give indices",
        separator=True,
    ),
    "ssv1": OfficialDataset(
        title="Something-Something v1",
        read=read_ssv1,
        annotations="something-something-v1-train.csv and -validation.csv, or their folder",
        videos="<id>.webm (or another video; it is published as frames, which vidpipe does not read)",
        example=f"ssv1_labels {named('videos')} ssv1_videos",
        class_list="something-something-v1-labels.csv, sought beside the lists",
        frame_rate=12,  # README of the release
    ),
    "ssv2": OfficialDataset(
        title="Something-Something v2",
        read=read_ssv2,
        annotations="something-something-v2-train.json and -validation.json, or their folder",
        videos="<id>.webm",
        example=f"labels {named('videos')} 20bn-something-something-v2",
        class_list="something-something-v2-labels.json, sought beside the lists",
    ),
    "charades": OfficialDataset(
        title="Charades",
        read=read_charades,
        annotations="Charades_v1_train.csv and _test.csv, or PySlowFast's lists of frames, or their folder",
        videos="<id>.mp4",
        example=f"Charades {named('videos')} Charades_v1_480",
        class_list="Charades_v1_classes.txt, sought beside the lists",
        multi_label=True,
        frame_rate=24,  # README of Charades_v1_rgb
    ),
    "mmit": OfficialDataset(
        title="Multi-Moments in Time",
        read=read_mmit,
        annotations="trainingSet.csv and validationSet.csv, X-Temporal's lists, or their folder",
        videos="as the lists say, or below a folder a split",
        example=f"Multi_Moments_in_Time {named('videos')} Multi_Moments_in_Time/videos",
        class_list="moments_categories.txt, sought beside the lists",
        multi_label=True,
    ),
}


@dataclass(frozen=True)
class Imported:
    """The result of importing an official list.

    Attributes:
        videos: the rows of the manifest, in the order of the lists.
        missing: those that are not on disk; ``videos`` has them too unless they were left out.
        left_out: whether they were left out.
        unlabelled: ids of videos that show none of the classes; they are left out.
        frame_folders: how many of the missing ones exist as a folder, most likely of frames.
        unlisted: folder -> why it could not be listed; videos that lie there count as missing.
        notes: what else the user should know, with settings as `errors.named` marks them.
    """

    videos: "tuple[Video, ...]"
    missing: "tuple[Video, ...]"
    left_out: bool
    unlabelled: tuple[str, ...]
    frame_folders: int
    unlisted: dict[str, str]
    notes: tuple[str, ...]

    @cached_property
    def num_listed(self) -> int:
        """How many videos with a label are in the lists."""
        return len(self.videos) + (len(self.missing) if self.left_out else 0)

    @cached_property
    def missing_by_split(self) -> dict[str, int]:
        """How many are missing, by split."""
        return dict(sorted(Counter(video.split for video in self.missing).items()))

    @cached_property
    def classes_without_videos(self) -> dict[str, tuple[str, ...]]:
        """By split, the classes with videos in the lists but none on disk."""
        gone = {(video.split, label) for video in self.missing for label in video.labels}
        absent = {video.video_id for video in self.missing}
        gone -= {(v.split, label) for v in self.videos if v.video_id not in absent for label in v.labels}
        splits = sorted({split for split, _ in gone})
        return {split: tuple(sorted(label for own, label in gone if own == split)) for split in splits}

    def manifest(self) -> "Manifest":
        """Return the manifest.

        Raises:
            ManifestError: if it would be empty.
        """
        from ..manifest import Manifest

        if not self.videos:
            expected = self.missing[0].path
            lost = "".join(f"; {name} cannot be listed: {reason}" for name, reason in list(self.unlisted.items())[:1])
            raise ManifestError(
                f"none of the {self.num_listed:,} videos is on disk; the first would be {expected}{lost}"
            )
        return Manifest(self.videos)


@settings
class ImportSettings:
    """Which lists to import, and where their videos are."""

    source: Source
    videos: Path = setting(help="The folder of the videos.", metavar="DIRECTORY")
    skip_missing: bool = setting(default=False, help="Leave out the videos that are not on disk.")


def import_official(
    dataset: OfficialDataset, settings: ImportSettings, *, base: Path, progress: Progress = SILENT
) -> Imported:
    """Read official lists and compare them with the videos on disk.

    Args:
        dataset: one of `DATASETS`.
        settings: the lists, and the folder of the videos.
        base: the folder of the future manifest; paths are relative to it.
        progress: advanced by each video that is looked for.

    Raises:
        SettingsError: if a file or folder that is named is not there, or there is no such split.
        ManifestError: if a list is malformed or empty, or a video is listed twice.
    """
    _check_choices(dataset, settings)
    source = settings.source
    found = dataset.read(source)
    labelled = [entry for entry in found.entries if entry.labels]
    _check_ids(found.entries)
    if not labelled:
        raise ManifestError(f"{', '.join(map(str, source.annotations))}: no video with a label is listed")
    folder = VideoFolder(settings.videos)
    places = _find(labelled, folder, progress)
    rows, absent = _rows(labelled, places, folder, base=base.resolve())
    gone = frozenset(absent) if settings.skip_missing else frozenset()
    return Imported(
        videos=tuple(row for index, row in enumerate(rows) if index not in gone),
        missing=tuple(rows[index] for index in absent),
        left_out=settings.skip_missing,
        unlabelled=tuple(entry.video_id for entry in found.entries if not entry.labels),
        frame_folders=sum(folder.is_folder_of_frames(labelled[index]) for index in absent),
        unlisted=dict(folder.unlisted),
        notes=tuple(found.notes),
    )


def _check_choices(dataset: OfficialDataset, settings: ImportSettings) -> None:
    source = settings.source
    if source.split > dataset.num_splits:
        raise SettingsError(f"{named('split')} must be from 1 to {dataset.num_splits}; got {source.split}")
    for field, paths in (("annotations", source.annotations), ("classes", (source.classes,))):
        if gone := [path for path in paths if path is not None and not path.exists()]:
            raise SettingsError(f"{named(field)}: there is no {gone[0]}; give files or folders that exist")
    if not settings.videos.is_dir():
        raise SettingsError(f"{named('videos')}: {settings.videos} is no folder; give the folder of the videos")


def _find(entries: Sequence[Entry], folder: VideoFolder, progress: Progress) -> list[Place | None]:
    """Return where each entry's video lies."""
    places = []
    with under_way(progress, "looking for videos", total=len(entries), unit="video"):
        for entry in entries:
            places.append(folder.find(entry))
            progress.advance()
    return places


def _rows(
    entries: Sequence[Entry], places: Sequence[Place | None], folder: VideoFolder, *, base: Path
) -> "tuple[list[Video], list[int]]":
    """Return a row for every entry, and the indices of those that are not on disk."""
    from ..manifest import Video

    # Two rounds: a missing video gets the path that it would most likely have, by where its split's other videos are.
    layouts = Layouts()
    for entry, place in zip(entries, places, strict=True):
        if place is not None:
            layouts.add(entry, place)
    # Cached by folder: resolving a path costs system calls.
    absolute = cache(lambda name: Path(os.path.realpath(folder.root / name)))
    written = cache(lambda name: _relative_folder(absolute(name), base))
    rows = []
    for entry, place in zip(entries, places, strict=True):
        chosen = place or layouts.likeliest(entry)
        parent, name = chosen.folder_of(entry), chosen.name_of(entry)
        rows.append(
            Video(
                video_id=entry.video_id,
                path=absolute(parent) / name,
                labels=entry.labels,
                split=entry.split,
                start=entry.start if chosen.uncut else None,
                end=entry.end if chosen.uncut else None,
                written_path=unmarked(written(parent) + name),
            )
        )
    return rows, [index for index, place in enumerate(places) if place is None]


def _relative_folder(folder: Path, base: Path) -> str:
    """Return how a manifest in ``base`` begins the paths of a folder's files, '/'-separated."""
    try:
        written = Path(os.path.relpath(folder, base)).as_posix()
    except ValueError:  # another drive on Windows: only an absolute path leads there
        written = folder.as_posix()
    return "" if written == "." else written.removesuffix("/") + "/"


def _check_ids(entries: Iterable[Entry]) -> None:
    first: dict[str, Entry] = {}
    for entry in entries:
        if (other := first.setdefault(entry.video_id, entry)) is not entry:
            raise ManifestError(f"{entry.where}: the video {entry.video_id!r} is listed already, at {other.where}")
