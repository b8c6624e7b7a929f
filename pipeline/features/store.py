"""The feature store: one Zarr v3 group for a manifest and a clip sampling, one sub-group for each backbone.

::

    kinetics-val.zarr/          attributes: format_version, kind, manifest_digest, num_videos, sampling
      video_id (V,)  path (V,)  labels (V,)  split (V,)    text; labels joined by "|"
      interval (V, 2)           float64 s, start and end in the manifest; NaN where it gives none
      clip_start (V, R, N)      float64 s; NaN until a video is done
      r2plus1d_50/              attributes: feature_shape, num_classes, due, compression, provenance
        features (V, R, N, T', H', W', C) float16   chunk = one clip, shard = one video (all views)
        scores   (V, R, N, K)   float32, a chunk a video
        status   (V,)           int8: 0 pending, 1 done, 2 failed        error (V,) text

Nothing in it depends on when, where or by how many processes it was written, so two runs of the same work make stores
that are equal file by file. All files have checksums, and appear whole or not at all.
"""

import os
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import zarr

from ..errors import StoreError, named
from ..files import appearing_whole, disk_full_explained, is_draft, lock_folder, remove_leftovers
from ..manifests.manifest import Manifest
from ..videos.clips import ClipSampling
from .backbone_group import BackboneGroup
from .columns import manifest_differences, read_columns, write_columns
from .compression import DEFAULT_COMPRESSION
from .format import (
    COMPRESSIONS,
    FORMAT_VERSION,
    canonical,
    create_backbone_arrays,
    create_clip_starts,
    differences,
    new_group,
    open_array,
    open_group,
    read_array,
)

KIND = "vidpipe feature store"


class FeatureStore:
    """Cached features of a manifest's videos, with a record of how they were made.

    Use `open_or_create` in the one process that coordinates a run, and `open` anywhere else.
    """

    def __init__(self, path: Path, *, writable: bool = False):
        self.path = Path(path)
        self.writable = writable
        self.group = open_group(self.path, writable=writable)
        self.attributes: dict[str, Any] = dict(self.group.attrs)
        self._groups: dict[str, BackboneGroup] = {}
        self._unlock: weakref.finalize | None = None
        if self.attributes.get("kind") != KIND:
            raise StoreError(f"{self.path} is a Zarr group but no feature store of vidpipe.")
        version = self.attributes.get("format_version")
        if version != FORMAT_VERSION:
            raise StoreError(
                f"{self.path} has format {version}; this vidpipe reads format {FORMAT_VERSION}. Extract it again."
            )

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
        attributes = _store_attributes(manifest, sampling)
        with disk_full_explained(path), appearing_whole(path) as draft:
            group = new_group(draft, attributes=attributes)
            write_columns(group, manifest)
            create_clip_starts(group, (len(manifest), sampling.views, sampling.num_clips))
        return cls(path, writable=True)

    @classmethod
    def open_or_create(cls, path: Path, *, manifest: Manifest, sampling: ClipSampling) -> Self:
        """Open the store for the coordinator of a run, or create it; there can be only one coordinator at a time.

        Half-written files that killed writers left behind are removed.

        Raises:
            StoreError: if what is there has another manifest or sampling (each difference is named), is no store, or
                is being written by another run.
            OutOfSpaceError: if the disk is full.
        """
        path = Path(path)
        if not (path / "zarr.json").exists():
            refuse_other_content(path)
            cls.create(path, manifest=manifest, sampling=sampling)
        store = cls.open_to_coordinate(path)
        try:
            store.check_matches(manifest, sampling=sampling)
        except BaseException:
            store.__exit__()  # a notebook keeps the traceback, and with it the lock
            raise
        return store

    @classmethod
    def open_to_coordinate(cls, path: Path) -> Self:
        """Open an existing store for the one process that may record what became of its videos.

        Raises:
            StoreError: if there is none, or another run coordinates it.
        """
        store = cls(Path(path), writable=True)
        # Locked first: only then can no living writer own the half-written files that are removed next. A finalizer
        # lets go of the lock even if nobody closes the store.
        store._unlock = weakref.finalize(store, os.close, lock_folder(store.path, error=StoreError))
        remove_leftovers(store.path)
        return store

    def check_matches(self, manifest: Manifest, *, sampling: ClipSampling) -> None:
        """Refuse a store of another manifest or sampling; writes nothing.

        Raises:
            StoreError: naming each difference.
        """
        # The digest decides; the columns are read only to name the videos that differ.
        different = differences(self.attributes, _store_attributes(manifest, sampling))
        if self.attributes["manifest_digest"] != manifest.digest:
            different += manifest_differences(self.manifest, manifest)
        _refuse(self.path, different)

    def check_backbone(self, name: str, *, attributes: Mapping[str, Any]) -> None:
        """Refuse ``attributes``, the arguments of `add_backbone`, if the backbone is there with others; writes nothing.

        Raises:
            StoreError: naming each difference.
        """
        if name in self.backbones():
            _refuse(self.path / name, differences(self.backbone(name).attributes, canonical(attributes)))

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
    def num_videos(self) -> int:
        """V."""
        return self.attributes["num_videos"]

    @cached_property
    def manifest(self) -> Manifest:
        """The videos, in the store's order; their paths are as written in the manifest, not resolved.

        Raises:
            StoreError: if it is damaged.
        """
        return read_columns(self.group, self.path)

    def _array(self, name: str) -> zarr.Array:
        """Open one of the arrays shared by all backbones."""
        return open_array(self.group, self.path, name)

    def video_id(self, video_index: int) -> str:
        """Return one video's id, without reading the manifest."""
        return str(read_array(self._array("video_id"), video_index))

    def clip_starts(self, video_index: int | None = None) -> np.ndarray:
        """Return (R, N) float64 s, where a video's clips start, or (V, R, N) for all; NaN if a video is not done."""
        return read_array(self._array("clip_start"), ... if video_index is None else video_index)

    def set_clip_starts(self, video_index: int, starts: np.ndarray) -> None:
        """Record where a video's clips start; only the coordinator may do this, before it marks the video done.

        Args:
            video_index: which video of the manifest.
            starts: (R, N) float64 s.

        Raises:
            StoreError: if another backbone got other clips of this video: the file has changed since.
        """
        array = self._array("clip_start")
        stored = read_array(array, video_index)
        if np.array_equal(stored, starts):
            return
        if not np.isnan(stored).all():
            raise StoreError(
                f"The clips of video '{self.video_id(video_index)}' do not start where they did when its first "
                f"backbone was extracted into {self.path}: the file has changed. Extract into a new store."
            )
        with disk_full_explained(self.path):
            array[video_index] = starts

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
        self._groups[name] = BackboneGroup(self.path / name, writable=self.writable)
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
        return self.backbone(name)

    def _create_backbone(self, path: Path, attributes: dict[str, Any]) -> None:
        """Make an empty backbone group with these attributes; it appears complete or not at all."""
        if attributes["compression"] not in COMPRESSIONS:
            raise StoreError(f"compression must be one of {', '.join(COMPRESSIONS)}; got {attributes['compression']!r}")
        if len(attributes["due"]) != self.sampling.num_clips:
            raise StoreError(
                f"'due' must have {self.sampling.num_clips} flags, one a clip; got {len(attributes['due'])}"
            )
        clips = (self.num_videos, self.sampling.views, self.sampling.num_clips)
        with disk_full_explained(path), appearing_whole(path) as draft:
            group = new_group(draft, attributes=attributes)
            create_backbone_arrays(group, clips, attributes)


def _store_attributes(manifest: Manifest, sampling: ClipSampling) -> dict[str, Any]:
    """Return the attributes of a store's root."""
    return canonical(
        {
            "format_version": FORMAT_VERSION,
            "kind": KIND,
            "manifest_digest": manifest.digest,
            "num_videos": len(manifest),
            "sampling": sampling.record(),
        }
    )


def refuse_other_content(path: Path) -> None:
    """Refuse a place for a new store where there is something else; an empty folder will do.

    Raises:
        StoreError: if there is.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise StoreError(
            f"{path} exists already, and is no feature store. Choose another {named('store')}, or remove it"
        )


def _refuse(path: Path, different: list[str]) -> None:
    """Raise StoreError if there is any difference."""
    if different:
        listed = "".join(f"\n  {difference}" for difference in different)
        raise StoreError(
            f"{path} was made from something else than what is asked of it:{listed}\n"
            f"Use the same settings, or another {named('store')}; features of two kinds are never mixed."
        )
