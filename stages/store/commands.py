"""Operations on a whole feature store: inspect, relabel and check it, write it for other programs and read it back."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pipeline.errors import SettingsError
from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.features.backbone_group import BackboneGroup
from ...pipeline.features.export_selection import select
from ...pipeline.features.format import PARTIAL, Status
from ...pipeline.features.store import FeatureStore
from ...pipeline.features.table_changes import Rules, TableChanges
from ...pipeline.features.verify import Comparison, Problem, Recompute, compare_clips, find_problems, reset
from ...pipeline.files import bytes_on_disk
from ...pipeline.manifests.manifest import read_manifest
from .settings import HDF5, PARQUET, ExportSettings, RelabelSettings, VerifySettings

FileCheck = Callable[[FeatureStore, Progress], Iterable[Problem]]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneInfo:
    """What a store holds for one backbone.

    Args:
        name: of the backbone.
        feature_shape: (T', H', W', C) of a clip's map.
        num_classes: K, the length of a clip's scores.
        clips_due: how many of the N clips the pattern gives to this backbone.
        compression: of the maps.
        provenance: how they were computed.
        counts: videos by status.
        raw_bytes: the maps of the videos that are done, uncompressed.
        stored_bytes: the same, as they are on disk.
        failures: id -> reason.
    """

    name: str
    feature_shape: tuple[int, int, int, int]
    num_classes: int
    clips_due: int
    compression: str
    provenance: dict[str, Any]
    counts: dict[str, int]
    raw_bytes: int
    stored_bytes: int
    failures: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreInfo:
    """What a store holds; ``splits`` counts videos, ``stored_bytes`` all files, with those of unlisted videos.

    Unlisted videos were left out of use by a later manifest.
    """

    path: Path
    format_version: int
    manifest_digest: str
    num_videos: int
    num_unlisted: int
    num_classes: int
    splits: dict[str, int]
    sampling: dict[str, Any]
    stored_bytes: int
    backbones: tuple[BackboneInfo, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What the check found.

    Args:
        num_done: videos checked, each counted once per backbone.
        problems: all that is wrong, including clips that differ when computed again.
        comparisons: the clips that were computed again.
        num_reset: videos that were marked as pending.
    """

    num_done: int
    problems: tuple[Problem, ...]
    comparisons: tuple[Comparison, ...]
    num_reset: int


def info(path: Path) -> StoreInfo:
    """Return what the store at ``path`` holds, without reading a map.

    Raises:
        StoreError: if there is none, or it is damaged.
    """
    store = FeatureStore.open(path)
    manifest, attributes = store.manifest, store.attributes
    return StoreInfo(
        path=path,
        format_version=attributes["format_version"],
        manifest_digest=attributes["manifest_digest"],
        num_videos=len(manifest),
        num_unlisted=store.num_rows - len(manifest),
        num_classes=len(manifest.classes),
        splits=dict(sorted(Counter(video.split for video in manifest.videos).items())),
        sampling=attributes["sampling"],
        stored_bytes=bytes_on_disk(path),
        backbones=tuple(_backbone_info(store, store.backbone(name)) for name in store.backbones()),
    )


def _backbone_info(store: FeatureStore, group: BackboneGroup) -> BackboneInfo:
    """Return what the store holds for one backbone."""
    status = group.status()
    counts = {state.name.lower(): int((status == state).sum()) for state in Status}
    for rare in PARTIAL:
        if not counts[rare.name.lower()]:
            del counts[rare.name.lower()]
    return BackboneInfo(
        name=group.name,
        feature_shape=group.feature_shape,
        num_classes=group.num_classes,
        clips_due=int(group.due.sum()),
        compression=group.attributes["compression"],
        provenance=group.provenance,
        counts=counts,
        raw_bytes=counts["done"] * group.raw_bytes_per_video,
        stored_bytes=bytes_on_disk(group.path / "features"),
        failures={store.manifest.videos[index].video_id: reason for index, reason in group.errors().items()},
    )


def relabel(settings: RelabelSettings) -> TableChanges:
    """Give a store's videos the labels and splits of a manifest, and return what that changes.

    Raises:
        StoreError: if there is no store, or another run writes it.
        ManifestError: if the manifest cannot be read.
        OtherVideosError: if a video has another file or interval, or none is the store's.
    """
    manifest = read_manifest(settings.manifest)
    rules = Rules(add=False, drop=settings.drop, move=settings.moved, by_file=True)
    with FeatureStore.open_to_coordinate(settings.store) as store:
        return store.take_over(manifest, rules=rules)


def verify(
    settings: VerifySettings,
    *,
    recompute: Recompute | None = None,
    files: FileCheck | None = None,
    progress: Progress = SILENT,
) -> VerifyReport:
    """Read everything in a store again, compute some clips again if asked, and report what is wrong.

    Args:
        settings: what to check.
        recompute: (backbone, video index, view, clip) -> map and scores; needed if ``settings.num_recomputed`` is set.
        files: (store, progress) -> the files that have changed; needed if ``settings.content`` is set.
        progress: advanced by each video and backbone, then by each clip that is computed again and each file.

    Raises:
        StoreError: if there is no store at all.
        SettingsError: if clips are to be recomputed, but ``recompute`` is not given; likewise for files.
    """
    if settings.content and files is None:
        raise SettingsError("to compare the files, the manifest is needed")
    if settings.num_recomputed and recompute is None:
        raise SettingsError("to recompute clips, the manifest and the weights are needed")
    if not settings.reset:
        return _verify(FeatureStore.open(settings.store), settings, recompute, files, progress)
    with FeatureStore.open_to_coordinate(settings.store) as store:
        return _verify(store, settings, recompute, files, progress)


def _verify(
    store: FeatureStore,
    settings: VerifySettings,
    recompute: Recompute | None,
    files: FileCheck | None,
    progress: Progress,
) -> VerifyReport:
    """Check an opened store."""
    problems = list(find_problems(store, progress=progress))
    changed = list(files(store, progress)) if files is not None and settings.content else []
    comparisons: list[Comparison] = []
    # Only in a store that is otherwise sound: unreadable clips cannot be compared.
    if recompute is not None and settings.num_recomputed and not problems:
        with under_way(progress, "computing again", total=settings.num_recomputed, unit="clip"):
            for each in compare_clips(store, recompute, num_clips=settings.num_recomputed, seed=settings.seed):
                comparisons.append(each)
                progress.advance()
        problems += [_problem(each) for each in comparisons if not _agrees(each, settings.tolerance)]
    # A problem without a video is one of the store itself; then nothing is counted, and nothing is reset.
    readable = all(problem.video_id is not None for problem in problems)
    num_reset = reset(store, problems) if settings.reset and readable else 0
    return VerifyReport(
        num_done=sum(int((store.backbone(name).status() == Status.DONE).sum()) for name in store.backbones())
        if readable
        else 0,
        problems=(*problems, *changed),
        comparisons=tuple(comparisons),
        num_reset=num_reset,
    )


def _agrees(comparison: Comparison, tolerance: float) -> bool:
    """Return whether a clip computed again agrees with the stored one; NaN never agrees."""
    return comparison.difference <= tolerance and comparison.score_difference <= tolerance


def _problem(comparison: Comparison) -> Problem:
    """Say how a recomputed clip differs."""
    message = (
        f"view {comparison.view}, clip {comparison.clip}: computed again, its features differ by "
        f"{comparison.difference:.3g}, its scores by {comparison.score_difference:.3g} (norms relative to those stored)"
    )
    return Problem(video_id=comparison.video_id, backbone=comparison.backbone, message=message)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportSummary:
    """What was written.

    Args:
        num_videos: that were asked for.
        num_done: backbone -> how many of them have features.
        num_bytes: of the file or folder.
    """

    num_videos: int
    num_done: dict[str, int]
    num_bytes: int


def export_store(settings: ExportSettings, *, progress: Progress = SILENT) -> ExportSummary:
    """Write a store, or some of it, in the form that the output's suffix names.

    Raises:
        StoreError: if there is no store, it is damaged, it has no such backbone, or the output exists.
        ManifestError: if it has no such split.
        OutOfSpaceError: if the disk is full; nothing is kept.
    """
    chosen = select(FeatureStore.open(settings.store), split=settings.split, backbones=settings.backbones)
    # Imported here: only these commands need these libraries.
    if settings.form == HDF5:
        from ...pipeline.features.hdf5 import export_hdf5

        export_hdf5(chosen, settings.output, compression=settings.compression, progress=progress)
    elif settings.form == PARQUET:
        from ...pipeline.features.parquet import export_parquet

        export_parquet(chosen, settings.output, compression=settings.compression, progress=progress)
    else:
        from ...pipeline.features.npy_folder import export_npy

        export_npy(chosen, settings.output, progress=progress)
    written = settings.output
    num_bytes = bytes_on_disk(written) if written.is_dir() else written.stat().st_size
    return ExportSummary(num_videos=len(chosen.manifest), num_done=chosen.num_done, num_bytes=num_bytes)


def import_store(path: Path, output: Path, *, progress: Progress = SILENT) -> None:
    """Write the HDF5 file at ``path`` as a store; see `import_hdf5`."""
    from ...pipeline.features.hdf5 import import_hdf5

    import_hdf5(path, output, progress=progress)
