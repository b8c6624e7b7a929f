"""Feature stores as single HDF5 files, the usual form for loaders of video features, and back without loss.

::

    /                       attributes: format_version, kind, manifest_digest, num_videos, columns, sampling (JSON),
                                        backbones (JSON: name -> all attributes of the backbone's group)
    /<video_id>             a group a video; a "/" in an id nests groups, so f["folder/name"] finds it
                            attributes: video_id, video_index, path, labels, split; start, end and
                            content_sha256 where there are any; "column <name>" for each further column of the manifest
        clip_start          (N,) float64 s, once the video is done
        <backbone>          attributes: status (pending, done, failed), error (where it failed)
            features        (N, T', H', W', C) float16, chunk = one clip; NaN where a clip was not due, and no space
            scores          (N, K) float32

If a store has R > 1 views, each of the three arrays has one more axis in front: (R, N, ...).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import StoreError, VidpipeError
from ..execution import SILENT, Progress, under_way
from ..files import (
    NOTHING_KEPT,
    appearing_whole,
    check_free_space,
    disk_full_explained,
    remove_drafts,
    write_atomically,
)
from ..manifests.manifest import Manifest, Video
from ..videos.clips import ClipSampling
from .backbone_group import BackboneGroup
from .columns import CONTENT
from .export_selection import ExportSelection, select
from .format import FORMAT_VERSION, PARTIAL, READABLE_FORMATS, Status
from .store import FeatureStore
from .store_attributes import KIND

COMPRESSIONS = {"none": {}, "gzip": {"compression": "gzip", "compression_opts": 1, "shuffle": True}}
_JSON_ATTRIBUTES = ("sampling", "backbones", "columns")
_COLUMN = "column "  # begins the name of an attribute that holds a cell of a further column
_SPARE_BYTES = 16_000_000  # left free by an export: HDF5 crashes on a full disk, even while it closes a file
Node = Any  # a group or dataset: h5py's types cannot say which one a name leads to, nor what an attribute holds


def export_hdf5(
    store: FeatureStore | ExportSelection, path: Path, *, compression: str = "none", progress: Progress = SILENT
) -> None:
    """Write a store, or some of its videos and backbones, into one HDF5 file, which appears whole or not at all.

    Args:
        store: opened to read; all of it, or what is chosen.
        path: of the new file.
        compression: of the maps, a key of `COMPRESSIONS`; gzip takes half the space and ten times as long.
        progress: advanced by each video.

    Raises:
        StoreError: if ``path`` exists, the store is damaged, or two ids name the same HDF5 group.
        OutOfSpaceError: if the disk is full.
    """
    path, chosen = Path(path), select(store) if isinstance(store, FeatureStore) else store
    if path.exists():
        raise StoreError(f"{path} exists already. Choose another name, or remove it.")
    check_free_space(path, _SPARE_BYTES + (chosen.raw_bytes if compression == "none" else 0))
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(draft: Path) -> None:
        # The file format of 1.10 allows attributes over 64 KiB, which a list of 10,000 classes needs.
        with h5py.File(draft, "w", libver=("v110", "v110")) as file:
            _write_store(chosen, file, compression, progress)

    remove_drafts(path)
    write_atomically(path, write, advice=NOTHING_KEPT)


def _write_store(chosen: ExportSelection, file: h5py.File, compression: str, progress: Progress) -> None:
    """Write attributes and videos."""
    store = chosen.store
    # Videos that the manifest does not list any more stay behind, and so do clips that not all videos have yet.
    attributes = {**store.attributes, **chosen.record(), "format_version": FORMAT_VERSION}
    for name, value in sorted(attributes.items()):
        file.attrs[name] = json.dumps(value, sort_keys=True) if name in _JSON_ATTRIBUTES else value
    states = {group.name: (group, group.errors() | group.left_out()) for group in chosen.groups}
    starts, contents = store.clip_starts(), store.contents()
    most = sum(group.raw_bytes_per_video for group in chosen.groups)
    with under_way(progress, "exporting", total=len(chosen.manifest), unit="video"):
        for place, (index, video) in enumerate(zip(chosen.indices.tolist(), chosen.manifest.videos, strict=True)):
            check_free_space(Path(file.filename), _SPARE_BYTES + most)
            at = _video_group(file, video, place)
            if store.records_content:
                at.attrs[CONTENT] = contents.get(index, "")
            if np.isfinite(starts[index]).all():
                at["clip_start"] = _without_single_view(starts[index])
            for name, (group, errors) in states.items():
                part, status = at.create_group(name), chosen.statuses[name][place]
                partly = status in PARTIAL
                part.attrs["status"] = (Status.PENDING if partly else Status(status)).name.lower()
                if index in errors and not partly:
                    part.attrs["error"] = errors[index]
                if status == Status.DONE:
                    _write_maps(part, group, index, COMPRESSIONS[compression])
            # Now, so that the free space looked at for the next video is what is really left.
            file.flush()
            progress.advance()


def _video_group(file: h5py.File, video: Video, index: int) -> h5py.Group:
    """Create the group of one video, with its row of the manifest.

    Raises:
        StoreError: if its id leads to something that is there already.
    """
    try:
        group = file.require_group(video.video_id)
        if "video_index" in group.attrs or any(isinstance(group[key], h5py.Dataset) for key in group):
            raise ValueError("that group is taken")
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"Video '{video.video_id}' cannot have a group of its own in HDF5, where '/' separates groups: {error}. "
            "Give it another video_id in the manifest, and extract again."
        ) from error
    group.attrs["video_index"] = index
    group.attrs["video_id"] = video.video_id
    group.attrs["path"] = video.written_path
    group.attrs.create("labels", list(video.labels), dtype=h5py.string_dtype())
    group.attrs["split"] = video.split
    for name, cell in video.columns.items():
        group.attrs[_COLUMN + name] = cell
    for name, edge in (("start", video.start), ("end", video.end)):
        if edge is not None:
            group.attrs[name] = edge
    return group


def _write_maps(part: h5py.Group, group: BackboneGroup, index: int, filters: dict[str, Any]) -> None:
    """Write one video's maps and scores; clips that are not due are left to the fill value, and take no space."""
    views = range(group.num_views)
    shape = (len(views), len(group.due), *group.feature_shape)
    kept = shape if len(views) > 1 else shape[1:]
    chunk = (1,) * (len(kept) - 4) + group.feature_shape
    # No times, so that equal stores give equal files; fletcher32 is the only checksum that HDF5 itself offers.
    maps = part.create_dataset(
        "features", kept, np.float16, chunks=chunk, fillvalue=np.nan, fletcher32=True, track_times=False, **filters
    )
    for view in views:
        for clip in np.flatnonzero(group.due):
            where = (view, clip) if len(views) > 1 else (clip,)
            maps[where] = group.read(index, view=view, clips=[int(clip)])[0]
    part["scores"] = _without_single_view(np.stack([group.read_scores(index, view=view) for view in views]))


def _without_single_view(array: np.ndarray) -> np.ndarray:
    """Return (R, N, ...) as (N, ...) if R is 1."""
    return array[0] if len(array) == 1 else array


def import_hdf5(path: Path, store_path: Path, *, progress: Progress = SILENT) -> None:
    """Write the store that an HDF5 file was exported from; it appears whole or not at all, equal to the original.

    Args:
        path: of a file made by `export_hdf5`.
        store_path: of the new store.
        progress: advanced by each video.

    Raises:
        StoreError: if the file is not such an export, or is damaged, or there is something at ``store_path``.
        OutOfSpaceError: if the disk is full.
    """
    with _opened(Path(path)) as file, disk_full_explained(Path(store_path)), appearing_whole(Path(store_path)) as draft:
        check_free_space(draft, Path(path).stat().st_size)
        try:
            _read_store(file, draft, progress)
        except (KeyError, OSError, TypeError, json.JSONDecodeError) as error:
            if isinstance(error, VidpipeError) or (isinstance(error, OSError) and error.errno is not None):
                raise  # the disk's fault: HDF5's own OSErrors for a damaged file carry no errno
            raise StoreError(f"{path} is damaged, or was changed since it was exported: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open an export to read it.

    Raises:
        StoreError: if the file is not one.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        why = str(error).splitlines()[0]  # the rest is a dump for HDF5's own authors
        raise StoreError(f"{path} cannot be opened as HDF5 ({why}); give a `vidpipe store export`") from error
    with file:
        kind, version = file.attrs.get("kind"), file.attrs.get("format_version")
        if kind != KIND or version not in READABLE_FORMATS:
            raise StoreError(
                f"{path} must be an export of `vidpipe store export`, format {FORMAT_VERSION}; its attributes say "
                f"kind {kind}, format_version {version}."
            )
        yield file


def _read_store(file: Node, path: Path, progress: Progress) -> None:
    """Write the store that ``file`` holds to ``path``.

    Raises:
        StoreError: if the videos in it are not those that were exported.
    """
    groups = _groups_by_index(file)
    columns = json.loads(file.attrs.get("columns", "[]"))
    manifest = Manifest(_video(group, columns) for group in groups)
    if manifest.digest != file.attrs["manifest_digest"]:
        raise StoreError(f"{file.filename} does not hold the videos that were exported: the manifest's digest differs.")
    store = FeatureStore.create(
        path, manifest=manifest, sampling=ClipSampling.of_record(json.loads(file.attrs["sampling"]))
    )
    parts = {name: store.add_backbone(name, **attrs) for name, attrs in json.loads(file.attrs["backbones"]).items()}
    if groups and CONTENT in groups[0].attrs:
        store.record_content()
    with under_way(progress, "importing", total=len(groups), unit="video"):
        for index, group in enumerate(groups):
            if "clip_start" in group:
                store.set_clip_starts({index: _with_views(group["clip_start"], axes=1)})
            if digest := group.attrs.get(CONTENT):
                store.set_contents({index: str(digest)})
            for name, part in parts.items():
                _read_video(group[name], part, index)
            progress.advance()


def _groups_by_index(file: Node) -> list[Node]:
    """Return the videos' groups, in the order of the manifest."""
    found: dict[int, Node] = {}

    def note(_: str, item: Node) -> None:
        if isinstance(item, h5py.Group) and "video_index" in item.attrs:
            index: Any = item.attrs["video_index"]
            found[int(index)] = item

    # By walking the tree, as an id with a "/" lies several groups deep.
    file.visititems(note)
    return [found[index] for index in sorted(found)]


def _video(group: Node, columns: Sequence[str]) -> Video:
    """Return the row of the manifest that a group's attributes hold."""
    written, edges = group.attrs["path"], [group.attrs.get(name) for name in ("start", "end")]
    start, end = (None if edge is None else float(edge) for edge in edges)
    return Video(
        video_id=group.attrs["video_id"],
        path=Path(written),
        written_path=written,
        labels=tuple(group.attrs["labels"]),
        split=group.attrs["split"],
        start=start,
        end=end,
        columns={name: group.attrs[_COLUMN + name] for name in columns},
    )


def _read_video(group: Node, part: BackboneGroup, index: int) -> None:
    """Copy one backbone's maps, scores and status of one video into a store."""
    status = Status[group.attrs["status"].upper()]
    if status == Status.DONE:
        part.write(index, _with_views(group["features"], axes=5), _with_views(group["scores"], axes=2))
    if status != Status.PENDING:
        part.mark(index, status, group.attrs.get("error", ""))


def _with_views(dataset: Node, *, axes: int) -> np.ndarray:
    """Return an array of (R, N, ...); ``axes`` is how many it has without the views."""
    return dataset[:] if dataset.ndim > axes else dataset[:][np.newaxis]
