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

Nothing in it depends on when, where or by how many processes it was written, so two runs of the same work give stores
that are equal file by file. All files are checksummed, and appear whole or not at all.
"""

import contextlib
import fcntl
import os
import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import zarr
from zarr.storage import LocalStore

from .clips import ClipSampling
from .errors import StoreError
from .manifest import Manifest, Video
from .store_backbone import BackboneGroup
from .store_format import (
    COMPRESSIONS,
    DEFAULT_COMPRESSION,
    FEATURE_DTYPE,
    FORMAT_VERSION,
    SCORE_DTYPE,
    VIDEOS_PER_CHUNK,
    canonical,
    create_array,
    differences,
    disk_full_explained,
    open_group,
)

KIND = "vidpipe feature store"
LABEL_SEPARATOR = "|"  # as in the manifest, where a label cannot hold it
TEXT_COLUMNS = ("video_id", "path", "labels", "split")


class FeatureStore:
    """Cached features of a manifest's videos, with all that is needed to know what they are.

    Use `open_or_create` in the one process that coordinates a run, `open` anywhere else.
    """

    def __init__(self, path: Path, *, writable: bool = False):
        self.path = Path(path)
        self.writable = writable
        self.group = open_group(self.path, writable=writable)
        self.attributes: dict[str, Any] = dict(self.group.attrs)
        if self.attributes.get("kind") != KIND:
            raise StoreError(f"{self.path} is a Zarr group but no feature store of vidpipe.")
        version = self.attributes.get("format_version")
        if version != FORMAT_VERSION:
            raise StoreError(
                f"{self.path} has format {version}; this vidpipe reads {FORMAT_VERSION}. Extract it again."
            )

    @classmethod
    def open(cls, path: Path, mode: Literal["r", "r+"] = "r") -> Self:
        """Open a store to read it (`r`), or to write single videos as a task does (`r+`).

        Raises:
            StoreError: if there is none, or its format is another.
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
        with disk_full_explained(path), _appearing_whole(path) as draft:
            group = zarr.create_group(LocalStore(draft), zarr_format=3, attributes=attributes)
            _create_shared_arrays(group, manifest, sampling)
        return cls(path, writable=True)

    @classmethod
    def open_or_create(cls, path: Path, *, manifest: Manifest, sampling: ClipSampling) -> Self:
        """Open the store for the coordinator of a run, or create it. Only one coordinator at a time gets it.

        What killed writers left half-written is removed.

        Raises:
            StoreError: if what is there has another manifest or sampling (each difference is named), is no store, or
                is being written by another run.
            OutOfSpaceError: if the disk is full.
        """
        path = Path(path)
        if not path.exists():
            cls.create(path, manifest=manifest, sampling=sampling)
        store = cls(path, writable=True)
        store._lock()
        store._refuse_other(manifest, sampling)
        store.remove_leftovers()
        return store

    def _lock(self) -> None:
        """Hold the store's folder until this object is gone; the system lets go when the process dies.

        Raises:
            StoreError: if another run holds it.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        self.close = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StoreError(f"Another run is writing {self.path}. Wait for it, or stop it.") from error
        except OSError:
            return  # a file system without locks: the user has to see to it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "close" in self.__dict__:
            self.close()

    def _refuse_other(self, manifest: Manifest, sampling: ClipSampling) -> None:
        """Raise StoreError, naming each difference, unless the store is of this manifest and this sampling."""
        different = differences(self.attributes, _store_attributes(manifest, sampling))
        if self.attributes["manifest_digest"] != manifest.digest:
            different += _manifest_differences(self.manifest, manifest)
        _refuse(self.path, different)

    def remove_leftovers(self) -> None:
        """Remove what writers that were killed left half-written. No other process may be writing."""
        for folder, folders, files in os.walk(self.path):
            for name in files:
                if name.endswith(".partial"):  # Zarr's name for a file that it has not finished
                    Path(folder, name).unlink(missing_ok=True)
            for name in [name for name in folders if _is_draft(name)]:
                shutil.rmtree(Path(folder, name))
                folders.remove(name)

    @cached_property
    def sampling(self) -> ClipSampling:
        """Where the clips lie in each video."""
        return ClipSampling(**self.attributes["sampling"])

    @property
    def num_videos(self) -> int:
        """V."""
        return self.attributes["num_videos"]

    @cached_property
    def manifest(self) -> Manifest:
        """The videos, in the store's order; their paths are as written in the manifest, not resolved."""
        columns = (self._text(name) for name in TEXT_COLUMNS)
        intervals = self._values("interval")
        rows = zip(*columns, intervals, strict=True)
        return Manifest(videos=tuple(_video(*row) for row in rows))

    def _values(self, name: str) -> np.ndarray:
        """Return one whole shared array.

        Raises:
            StoreError: if it is missing or damaged.
        """
        try:
            return np.asarray(self._array(name)[:])
        except (ValueError, RuntimeError) as error:
            raise StoreError(f"'{name}' of {self.path} is damaged ({error}). Extract the store again.") from error

    def _text(self, name: str) -> list[str]:
        """Return one text column."""
        return [str(value) for value in self._values(name)]

    def _array(self, name: str) -> zarr.Array:
        """Open one of the arrays shared by all backbones.

        Raises:
            StoreError: if it is missing or its metadata cannot be read.
        """
        try:
            array = self.group[name]
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(f"{self.path} lacks a readable array '{name}' ({error}); it is damaged.") from error
        assert isinstance(array, zarr.Array)
        return array

    def video_id(self, video_index: int) -> str:
        """Return one video's id, without reading the manifest."""
        return str(self._array("video_id")[video_index])

    def clip_starts(self, video_index: int | None = None) -> np.ndarray:
        """Return (R, N) float64 s, where a video's clips start, or (V, R, N) of all; NaN where a video is not done."""
        return self._values("clip_start") if video_index is None else np.asarray(self._array("clip_start")[video_index])

    def set_clip_starts(self, video_index: int, starts: np.ndarray) -> None:
        """Record where a video's clips start; the coordinator's job alone, before the video is marked done.

        Args:
            video_index: which video of the manifest.
            starts: (R, N) float64 s.

        Raises:
            StoreError: if another backbone was given other clips of this video: the file has changed since.
        """
        array = self._array("clip_start")
        stored = np.asarray(array[video_index])
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
        folders = (entry for entry in os.scandir(self.path) if entry.is_dir() and not _is_draft(entry.name))
        return tuple(sorted(entry.name for entry in folders if Path(entry.path, "features", "zarr.json").is_file()))

    def backbone(self, name: str) -> BackboneGroup:
        """Open one backbone's features.

        Raises:
            StoreError: if the store has none of that name.
        """
        if name not in self.backbones():
            known = ", ".join(self.backbones()) or "none yet"
            raise StoreError(f"{self.path} has no features of '{name}'. It has: {known}.")
        return BackboneGroup(self.path / name, writable=self.writable)

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
        """Open a backbone's part of the store, or create it; the coordinator's job alone.

        Args:
            name: of the backbone, as registered.
            feature_shape: (T', H', W', C) of one clip's map.
            num_classes: K, the length of a clip's scores.
            due: (N,) bool, the clips that the pattern gives to this backbone.
            provenance: JSON types; all that the features depend on: weights, preprocessing, engine, pattern, versions.
            compression: a key of `COMPRESSIONS`.

        Raises:
            StoreError: if it is there with anything else than this; each difference is named.
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
        group = BackboneGroup(path, writable=True)
        _refuse(path, differences(group.attributes, attributes))
        return group

    def _create_backbone(self, path: Path, attributes: dict[str, Any]) -> None:
        """Make an empty backbone group of these attributes; it appears complete or not at all."""
        if attributes["compression"] not in COMPRESSIONS:
            raise StoreError(f"compression must be one of {', '.join(COMPRESSIONS)}; got {attributes['compression']!r}")
        if len(attributes["due"]) != self.sampling.num_clips:
            raise StoreError(
                f"'due' must have {self.sampling.num_clips} flags, one a clip; got {len(attributes['due'])}"
            )
        clips = (self.num_videos, self.sampling.views, self.sampling.num_clips)
        with disk_full_explained(path), _appearing_whole(path) as draft:
            group = zarr.create_group(LocalStore(draft), zarr_format=3, attributes=attributes)
            _create_backbone_arrays(group, clips, attributes)


def _store_attributes(manifest: Manifest, sampling: ClipSampling) -> dict[str, Any]:
    """Return what the root of a store says of itself."""
    return canonical(
        {
            "format_version": FORMAT_VERSION,
            "kind": KIND,
            "manifest_digest": manifest.digest,
            "num_videos": len(manifest),
            "sampling": asdict(sampling),
        }
    )


def _create_shared_arrays(group: zarr.Group, manifest: Manifest, sampling: ClipSampling) -> None:
    """Write the manifest's columns into a new store, and leave the clip starts empty."""
    num_videos = len(manifest)
    rows = min(VIDEOS_PER_CHUNK, num_videos)
    texts = zip(*(_texts(video) for video in manifest.videos), strict=True)
    for name, column in zip(TEXT_COLUMNS, texts, strict=True):
        create_array(group, name, shape=(num_videos,), chunk=(rows,), dtype=str, fill="")
        group[name][:] = np.array(column, dtype=object)  # pyright: ignore[reportIndexIssue]
    nan = float("nan")
    create_array(group, "interval", shape=(num_videos, 2), chunk=(rows, 2), dtype="<f8", fill=nan)
    intervals = [[nan if edge is None else edge for edge in (video.start, video.end)] for video in manifest.videos]
    group["interval"][:] = np.array(intervals)  # pyright: ignore[reportIndexIssue]
    clips = (sampling.views, sampling.num_clips)
    create_array(group, "clip_start", shape=(num_videos, *clips), chunk=(rows, *clips), dtype="<f8", fill=nan)


def _create_backbone_arrays(group: zarr.Group, clips: tuple[int, int, int], attributes: dict[str, Any]) -> None:
    """Create the arrays of one backbone, all of them empty, for ``clips`` = (V, R, N)."""
    num_videos, *of_video = clips
    rows = min(VIDEOS_PER_CHUNK, num_videos)
    maps, nan = attributes["feature_shape"], float("nan")
    create_array(
        group,
        "features",
        shape=(*clips, *maps),
        chunk=(1, 1, 1, *maps),
        shard=(1, *of_video, *maps),
        dtype=FEATURE_DTYPE,
        fill=nan,
        compression=attributes["compression"],
    )
    num_classes = attributes["num_classes"]
    scores, scores_of_video = (*clips, num_classes), (1, *of_video, num_classes)
    create_array(group, "scores", shape=scores, chunk=scores_of_video, dtype=SCORE_DTYPE, fill=nan)
    create_array(group, "status", shape=(num_videos,), chunk=(rows,), dtype="int8", fill=0)
    create_array(group, "error", shape=(num_videos,), chunk=(rows,), dtype=str, fill="")


def _texts(video: Video) -> tuple[str, str, str, str]:
    """Return a video's entries in the text columns."""
    return video.video_id, video.written_path, LABEL_SEPARATOR.join(video.labels), video.split


def _video(video_id: str, written_path: str, labels: str, split: str, interval: np.ndarray) -> Video:
    """Return the video of one row."""
    start, end = (None if np.isnan(edge) else float(edge) for edge in interval)
    return Video(
        video_id=video_id,
        path=Path(written_path),
        written_path=written_path,
        labels=tuple(labels.split(LABEL_SEPARATOR)) if labels else (),
        split=split,
        start=start,
        end=end,
    )


def _manifest_differences(stored: Manifest, wanted: Manifest, most: int = 5) -> list[str]:
    """Name the first few fields in which two manifests differ, video by video."""
    found: list[str] = []
    for old, new in zip(stored.videos, wanted.videos, strict=False):
        for field in ("video_id", "written_path", "labels", "split", "start", "end"):
            before, after = getattr(old, field), getattr(new, field)
            if before != after:
                found.append(f"manifest, video '{old.video_id}', {field}: stored {before!r}, now {after!r}")
        if len(found) >= most:
            break
    return found[:most]


def _refuse(path: Path, different: list[str]) -> None:
    """Raise StoreError if there is any difference."""
    if different:
        listed = "".join(f"\n  {difference}" for difference in different)
        raise StoreError(
            f"{path} was made from something else than what is asked of it:{listed}\n"
            "Use the same settings, or another --store; features of two kinds are never mixed."
        )


def _is_draft(name: str) -> bool:
    """Say whether a folder is one that `_appearing_whole` had not finished."""
    return name.startswith(".") and name.endswith(".creating")


@contextlib.contextmanager
def _appearing_whole(path: Path) -> Any:
    """Give a draft folder beside ``path`` that takes its place when the block ends well, and is removed otherwise.

    Raises:
        StoreError: if there is something at ``path`` when the draft is ready.
    """
    draft = path.with_name(f".{path.name}.creating")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.rename(path)
    except OSError as error:
        if not path.exists():
            raise
        raise StoreError(f"{path} exists already. Choose another name, or remove it.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
