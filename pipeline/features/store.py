"""The feature store: one Zarr v3 group for a table of videos and a clip sampling, one sub-group for each backbone.

::

    kinetics-val.zarr/          attributes: format_version, kind, manifest_digest, num_videos, sampling, columns
      video_id (V,)  path (V,)  labels (V,)  split (V,)    text; labels joined by "|"
      columns/                  a manifest's other columns: text (V,)
      interval (V, 2)           float64 s, start and end in the manifest; NaN where it gives none
      place (V,)                int64, where in the manifest the video stands, from 0; -1: not listed any more
      clip_start (V, R, N)      float64 s; NaN until a video is done
      content_sha256 (V,)       text, of the files as they were extracted; only where that was asked for
      r2plus1d_50/              attributes: feature_shape, num_classes, due, compression, provenance
        features (V, R, N, T', H', W', C) float16   chunk = one clip, shard = one video (all views)
        scores   (V, R, N, K)   float32, a chunk a video
        status   (V,)           int8: 0 pending, 1 done, 2 failed, 3 partly, 4 partly failed    error (V,) text

A store belongs to its videos, not to their labels: another manifest may add rows, leave some out of use, and change
labels, splits and further columns. Rows never move, because their numbers name files; in Python, videos are numbered by
their place in the manifest, as if the store had been made from it.

Nothing in it depends on when, where or by how many processes it was written, so two runs of the same work make stores
that are equal file by file. All files have checksums, and appear whole or not at all.
"""

import json
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import zarr

from ..errors import StoreError
from ..files import appearing_whole, disk_full_explained, is_draft, lock_folder, remove_leftovers
from ..manifests.manifest import Manifest
from ..videos.clips import ClipSampling
from ..videos.reading import spelled_out
from .backbone_group import BackboneGroup
from .columns import CONTENT, VideoTable, listed_rows, read_places, read_table, write_table
from .compression import DEFAULT_COMPRESSION
from .format import (
    COMPRESSIONS,
    VIDEOS,
    VIDEOS_PER_CHUNK,
    canonical,
    create_array,
    create_backbone_arrays,
    create_clip_starts,
    differences,
    new_group,
    open_array,
    open_group,
    read_array,
    read_picked,
    read_rows,
    write_rows,
)
from .pending_change import PendingChange, carry_out, is_pending, read_pending
from .store_attributes import (
    check_readable,
    refuse_differences,
    refuse_other_content,
    sampling_advice,
    store_attributes,
    without_pattern,
)
from .table_changes import Rules, TableChanges, changed_table
from .video_ids import VideoIds

EXTENDING = Rules(add=True, drop=True)  # what an extraction from another manifest does
_ATTEMPTS = 20  # at reading a table that a coordinator is changing: each change takes moments


class FeatureStore:
    """Cached features of a manifest's videos, with a record of how they were made.

    Use `open_or_create` in the one process that coordinates a run, and `open` anywhere else.
    """

    def __init__(self, path: Path, *, writable: bool = False, becoming: PendingChange | None = None):
        self.path = Path(path)
        self.writable = writable
        self._groups: dict[str, BackboneGroup] = {}
        self._unlock: weakref.finalize | None = None
        self._open(becoming)

    def _open(self, becoming: PendingChange | None = None) -> None:
        """Read the attributes and which rows are listed: both from before a change of the table, or both from after."""
        self._groups.clear()
        for name in ("table", "manifest", "rows", "_ids"):
            self.__dict__.pop(name, None)
        for _ in range(_ATTEMPTS):
            self.group = open_group(self.path, writable=self.writable)
            change = becoming or read_pending(self.path)
            self.attributes: dict[str, Any] = dict(self.group.attrs if change is None else change.attributes)
            check_readable(self.path, self.attributes)
            if change is not None:
                self.table, self._places = change.table, change.table.places
                return
            self._places = read_places(self.group, self.path, num_rows=self.num_rows)
            if self._is_current():
                return
        raise StoreError(f"{self.path} is being changed all the time. Wait for the command that writes it.")

    def _is_current(self) -> bool:
        """Return whether the table of videos is still the one that was opened."""
        document = json.loads((self.path / "zarr.json").read_text(encoding="utf-8"))
        return not is_pending(self.path) and document.get("attributes") == self.attributes

    @classmethod
    def open(cls, path: Path, mode: Literal["r", "r+"] = "r") -> Self:
        """Open a store to read it (`r`), or to write single videos as a task does (`r+`).

        Raises:
            StoreError: if there is none, or it has another format.
        """
        return cls(Path(path), writable=mode == "r+")

    @classmethod
    def create(cls, path: Path, *, manifest: Manifest, sampling: ClipSampling) -> Self:
        """Make a store without backbones; it appears at ``path`` complete or not at all.

        Raises:
            StoreError: if there is something at ``path`` already.
            OutOfSpaceError: if the disk is full.
        """
        path = Path(path)
        table = VideoTable.of(manifest)
        attributes = store_attributes(table, digest=manifest.digest, sampling=sampling)
        with disk_full_explained(path), appearing_whole(path) as draft:
            group = new_group(draft, attributes=attributes)
            write_table(group, draft, table)
            create_clip_starts(group, (len(manifest), sampling.num_views, sampling.num_clips))
        return cls(path, writable=True)

    @classmethod
    def open_or_create(cls, path: Path, *, manifest: Manifest, sampling: ClipSampling) -> Self:
        """Open the store for the coordinator of a run, or create it; there can be only one coordinator at a time.

        If its table says something else than the manifest, it is changed (`take_over`). Half-written files that killed
        writers left behind are removed.

        Raises:
            StoreError: if what is there has another sampling or other files of the same ids (each difference is
                named), is no store, or is being written by another run.
            OutOfSpaceError: if the disk is full.
        """
        path = Path(path)
        if not (path / "zarr.json").exists():
            refuse_other_content(path)
            cls.create(path, manifest=manifest, sampling=sampling)
        store = cls.open_to_coordinate(path)
        try:
            store.check_sampling(sampling)
            store.take_over(manifest, rules=EXTENDING)
        except BaseException:
            store.__exit__()  # a notebook keeps the traceback, and with it the lock
            raise
        return store

    @classmethod
    def open_to_coordinate(cls, path: Path) -> Self:
        """Open an existing store for the one process that may record what became of its videos.

        A change of the table that a kill interrupted is carried out.

        Raises:
            StoreError: if there is none, or another run coordinates it.
        """
        store = cls(Path(path), writable=True)
        # Locked first: only then can no living writer own the half-written files that are removed next. A finalizer
        # lets go of the lock even if nobody closes the store.
        store._unlock = weakref.finalize(store, os.close, lock_folder(store.path, error=StoreError))
        try:
            remove_leftovers(store.path)
            carry_out(store.path, backbones=store.backbones())
            store._open()  # what was read before the lock may be from before another run's change
        except BaseException:
            store.__exit__()
            raise
        return store

    def changed_by(self, manifest: Manifest, *, rules: Rules = EXTENDING) -> tuple[PendingChange | None, TableChanges]:
        """Return what another manifest makes of the table, or None if nothing, and what it changes; writes nothing.

        Raises:
            StoreError: if a video has another file or interval than the store's of the same id.
        """
        if self.attributes["manifest_digest"] == manifest.digest and not manifest.videos.own_names:
            return None, TableChanges()
        table, changes = changed_table(self.table, manifest, rules=rules, path=self.path)
        if not changes.any:
            return None, changes
        # To make a manifest of a long table takes long, and mostly it is the one that was given.
        is_given = rules == EXTENDING and not changes.labels_kept
        digest = manifest.digest if is_given else table.manifest().digest
        attributes = store_attributes(table, digest=digest, sampling=self.sampling)
        return PendingChange(attributes=attributes, table=table), changes

    def take_over(self, manifest: Manifest, *, rules: Rules) -> TableChanges:
        """Change the table of videos as another manifest says; only the coordinator may do this.

        Raises:
            StoreError: as `changed_by`.
            OutOfSpaceError: if the disk is full.
        """
        change, changes = self.changed_by(manifest, rules=rules)
        if change is not None:
            change.write(self.path)
            carry_out(self.path, backbones=self.backbones())
            self._open()
        return changes

    def after(self, change: PendingChange | None) -> "FeatureStore":
        """Return this store as it will be after a change, to plan with; it must not be written to."""
        return self if change is None else FeatureStore(self.path, becoming=change)

    def check_sampling(self, sampling: ClipSampling) -> None:
        """Refuse a store whose clips lie elsewhere; writes nothing.

        Raises:
            StoreError: naming each difference.
        """
        # With what the records do not mention, so that a difference in it is named by its value.
        stored, wanted = map(spelled_out, (self.attributes["sampling"], canonical(sampling.record())))
        refuse_differences(
            self.path, differences({"sampling": stored}, {"sampling": wanted}), advice=sampling_advice(stored, wanted)
        )

    def check_backbone(self, name: str, *, attributes: Mapping[str, Any]) -> None:
        """Refuse ``attributes``, the arguments of `add_backbone`, if the backbone is there with others; writes nothing.

        Which clips are due may differ: those that are missing can be added.

        Raises:
            StoreError: naming each difference.
        """
        if name in self.backbones():
            stored, wanted = self.backbone(name).attributes, canonical(attributes)
            refuse_differences(self.path / name, differences(without_pattern(stored), without_pattern(wanted)))

    @cached_property
    def _ids(self) -> VideoIds:
        return VideoIds(self.path, rows=self.rows, num_rows=self.num_rows)

    @property
    def ids(self) -> Sequence[str]:
        """(M) the ids of the manifest's videos, in its order."""
        return self._ids.all

    def index(self, video: str | int) -> int:
        """Return the place in the manifest of a video, which is given by its id or by that place.

        Raises:
            StoreError: if there is no video of that id.
        """
        return self._ids.place(video)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._unlock is not None:
            self._unlock()

    @cached_property
    def sampling(self) -> ClipSampling:
        """Where the clips lie in each video."""
        return ClipSampling.of_record(self.attributes["sampling"])

    @property
    def num_rows(self) -> int:
        """V, with the videos that the manifest does not list any more."""
        return self.attributes["num_videos"]

    @cached_property
    def table(self) -> VideoTable:
        """All rows, with those that the manifest does not list any more.

        Raises:
            StoreError: if it is damaged, or was changed since the store was opened.
        """
        table = read_table(self.group, self.path, extras=self.attributes.get("columns", ()), places=self._places)
        if not self._is_current():
            raise StoreError(f"the videos of {self.path} were changed while they were read. Give the command again.")
        return table

    @cached_property
    def manifest(self) -> Manifest:
        """The videos of the manifest, in its order; their paths are as written in it, not resolved.

        Raises:
            StoreError: if it is damaged, or was changed since the store was opened.
        """
        return self.table.manifest()

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """(M,) the row of each of the manifest's videos."""
        return listed_rows(self._places)

    def _array(self, name: str) -> zarr.Array:
        """Open one of the arrays shared by all backbones."""
        return open_array(self.group, self.path, name)

    def video_id(self, video_index: int) -> str:
        """Return one video's id, without reading the manifest."""
        return str(read_array(self._array("video_id"), int(self.rows[video_index])))

    def clip_starts(self, video: str | int | None = None) -> np.ndarray:
        """Return (R, N) float64 s, where a video's clips start, or (M, R, N) for all; NaN if a video is not done."""
        rows = self.rows if video is None else int(self.rows[self.index(video)])
        return read_rows(self._array("clip_start"), self.num_rows, rows)

    def set_clip_starts(self, starts: Mapping[int, np.ndarray]) -> dict[int, str]:
        """Record where videos' clips start; only the coordinator may do this, before it marks the videos done.

        Args:
            starts: index of a video in the manifest -> (R, N) float64 s.

        Returns:
            Index -> that its file has changed, of each video of which another backbone got other clips; its starts
            stay as they are.
        """
        if not starts:
            return {}
        array, indices = self._array("clip_start"), np.array(list(starts))
        wanted, rows = np.stack(list(starts.values())), self.rows[indices]
        # By chunks, not row by row: each read decodes a chunk.
        stored = read_picked(array, rows)
        free = np.isnan(stored).all(axis=(1, 2))
        differ = ~free & (stored != wanted).any(axis=(1, 2))
        with disk_full_explained(self.path):
            write_rows(array, rows[free], wanted[free])
        return {
            index: f"The clips of video '{self.video_id(index)}' do not start where they did when its first "
            f"backbone was extracted into {self.path}: the file has changed. Extract into a new store."
            for index in indices[differ].tolist()
        }

    @property
    def records_content(self) -> bool:
        """Whether files' digests are recorded as they are extracted."""
        return CONTENT in self.group

    def record_content(self) -> None:
        """Let the digests of files be recorded from now on; only the coordinator may do this."""
        if not self.records_content:
            with disk_full_explained(self.path):
                shape, chunk = (self.num_rows,), (VIDEOS_PER_CHUNK,)
                create_array(self.group, CONTENT, shape=shape, chunk=chunk, dtype=str, fill="", dims=VIDEOS)

    def contents(self) -> dict[int, str]:
        """Return index -> sha256 (hex) of the file as it was extracted, of the videos for which it was recorded."""
        if not self.records_content:
            return {}
        found = read_rows(self._array(CONTENT), self.num_rows, self.rows).tolist()
        return {index: digest for index, digest in enumerate(found) if digest}

    def set_contents(self, digests: Mapping[int, str]) -> None:
        """Record the sha256 (hex) of videos' files, by index; only the coordinator may do this."""
        if digests:
            rows = self.rows[np.array(list(digests))]
            with disk_full_explained(self.path):
                write_rows(self._array(CONTENT), rows, np.array(list(digests.values()), object))

    def backbones(self) -> tuple[str, ...]:
        """Return the names of the backbones in the store, sorted."""
        folders = (entry for entry in os.scandir(self.path) if entry.is_dir() and not is_draft(entry.name))
        return tuple(sorted(entry.name for entry in folders if Path(entry.path, "features", "zarr.json").is_file()))

    def backbone(self, name: str) -> BackboneGroup:
        """Open one backbone's features.

        Raises:
            StoreError: if the store has none of that name.
        """
        if name in self._groups:
            return self._groups[name]
        if name not in self.backbones():
            known = ", ".join(self.backbones()) or "none yet"
            raise StoreError(f"{self.path} has no features of '{name}'. It has: {known}.")
        self._groups[name] = BackboneGroup(
            self.path / name, rows=self.rows, num_rows=self.num_rows, writable=self.writable, ids=self._ids
        )
        return self._groups[name]

    def add_backbone(
        self,
        name: str,
        *,
        feature_shape: tuple[int, int, int, int],
        num_classes: int,
        due: Sequence[bool] | np.ndarray,
        provenance: Mapping[str, Any],
        compression: str = DEFAULT_COMPRESSION,
    ) -> BackboneGroup:
        """Open a backbone's part of the store, or create it; only the coordinator may do this.

        If it is there and more clips are due than before, videos that are done lack these (`BackboneGroup.extend`).

        Args:
            name: of the backbone, as registered.
            feature_shape: (T', H', W', C) of one clip's map.
            num_classes: K, the length of a clip's scores.
            due: (N,) bool, the clips that the pattern gives to this backbone.
            provenance: all that the features depend on, as JSON types: weights, preprocessing, engine, pattern,
                versions.
            compression: a key of `COMPRESSIONS`.

        Raises:
            StoreError: if it is there with other attributes; each difference is named.
            OutOfSpaceError: if the disk is full.
        """
        attributes = canonical(
            {
                "compression": compression,
                "due": [bool(flag) for flag in due],
                "feature_shape": list(feature_shape),
                "num_classes": num_classes,
                "provenance": dict(provenance),
            }
        )
        path = self.path / name
        if not path.exists():
            self._create_backbone(path, attributes)
        self.check_backbone(name, attributes=attributes)
        group = self.backbone(name)
        group.settle()
        group.extend(attributes["due"], pattern=attributes["provenance"].get("pattern"))
        return group

    def _create_backbone(self, path: Path, attributes: dict[str, Any]) -> None:
        """Make an empty backbone group with these attributes; it appears complete or not at all."""
        if attributes["compression"] not in COMPRESSIONS:
            raise StoreError(f"compression must be one of {', '.join(COMPRESSIONS)}; got {attributes['compression']!r}")
        if len(attributes["due"]) != self.sampling.num_clips:
            raise StoreError(
                f"'due' must have {self.sampling.num_clips} flags, one a clip; got {len(attributes['due'])}"
            )
        clips = (self.num_rows, self.sampling.num_views, self.sampling.num_clips)
        with disk_full_explained(path), appearing_whole(path) as draft:
            group = new_group(draft, attributes=attributes)
            create_backbone_arrays(group, clips, attributes)


def open_store(path: Path | str) -> FeatureStore:
    """Open a feature store to read it: `FeatureStore.backbones`, `FeatureStore.ids`, `FeatureStore.backbone`.

    Raises:
        StoreError: if there is none, or it has another format.
    """
    return FeatureStore.open(Path(path))
