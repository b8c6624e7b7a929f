"""Compare a store with the videos themselves: their files with what was recorded, single clips computed again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...pipeline.backbones.engine import Engine, build_engine
from ...pipeline.backbones.engine_settings import EngineSettings
from ...pipeline.backbones.places import read_place
from ...pipeline.backbones.registry import BACKBONES, plain_name
from ...pipeline.backbones.weights import Weights, load_weights
from ...pipeline.checkpoints.ready import Given, ready_file
from ...pipeline.errors import OtherVideosError, StoreError, VideoError, named
from ...pipeline.execution import Progress, under_way
from ...pipeline.features.content import file_digest
from ...pipeline.features.store import FeatureStore
from ...pipeline.features.verify import Problem, Recompute
from ...pipeline.manifests.manifest import Video, read_manifest
from ...pipeline.videos.clip_reader import decode_clips
from ...pipeline.videos.preprocessing import Preprocessing, parse_preprocessing


def recomputer(store: FeatureStore, *, manifest: Path, weights: Sequence[Path]) -> Recompute:
    """Return a function (backbone, video index, view, clip) -> map (T', H', W', C) and scores (K,).

    It runs with the settings that the store records: preprocessing, device, precision, batch and threads.

    Args:
        store: with the clips.
        manifest: of the store's videos, whatever their labels and splits; it says where they are.
        weights: of every backbone in the store.

    Raises:
        StoreError: if manifest or weights are not those of the store.
        ManifestError, WeightsError: if they cannot be read.
        VideoError: raised by the function if a video cannot be read or its map is not finite.
    """
    videos = videos_at(store, manifest)
    return _Recomputer(store, videos=videos, engines=_engines(store, weights))


def changed_files(store: FeatureStore, *, manifest: Path, progress: Progress) -> Iterator[Problem]:
    """Compare the videos' files with what was recorded when they were extracted, and yield those that differ.

    Args:
        store: with the records.
        manifest: of the store's videos, whatever their labels and splits; it says where they are.
        progress: advanced by each file.

    Raises:
        StoreError: if the store has no such records, or the manifest is not of its videos.
        ManifestError: if the manifest cannot be read.
    """
    recorded, videos = store.contents(), videos_at(store, manifest)
    if not recorded:
        raise StoreError(
            f"{store.path} has no record of its files: vidpipe extract {named('record_content')} makes one"
        )
    with under_way(progress, "comparing files", total=len(recorded), unit="file"):
        for index, digest in recorded.items():
            try:
                file_digest(videos[index].path, expected=digest)
            except VideoError as error:
                yield Problem(video_id=videos[index].video_id, backbone=None, message=str(error))
            progress.advance()


def videos_at(store: FeatureStore, path: Path) -> list[Video]:
    """Return the store's videos with the paths that lead to them from a manifest.

    Raises:
        OtherVideosError: if the manifest lacks one of them, or has another file or interval for it.
    """
    given = {video.video_id: video for video in read_manifest(path).videos}
    stored = store.manifest.videos
    other = [video for video in stored if _identity(given.get(video.video_id)) != _identity(video)]
    if other:
        raise OtherVideosError(
            f"{store.path} was not made of {path}: {len(other)} of its {len(stored)} videos are not in there with the "
            f"same path and interval, such as {other[0].video_id!r} ({other[0].written_path!r})"
        )
    return [given[video.video_id] for video in stored]


def _identity(video: Video | None) -> tuple[str, float | None, float | None] | None:
    """Return what makes a video what it is, beside its id."""
    return None if video is None else (video.written_path, video.start, video.end)


class _Recomputer:
    def __init__(
        self, store: FeatureStore, *, videos: Sequence[Video], engines: dict[str, tuple[Engine, Preprocessing]]
    ) -> None:
        # Whoever extracted them may have allowed larger pictures than is usual; a record does not say.
        self._sampling = replace(store.sampling, reading=replace(store.sampling.reading, max_pixels=None))
        self._videos = videos
        self._engines = engines

    def __call__(self, backbone: str, video_index: int, view: int, clip: int) -> tuple[np.ndarray, np.ndarray]:
        engine, preprocessing = self._engines[backbone]
        # Only the one clip is decoded and computed; the others stay blank.
        due = {preprocessing: np.arange(self._sampling.num_clips) == clip}
        _, clips = decode_clips(self._videos[video_index], sampling=self._sampling, due=due)
        features, scores = engine.run(clips[preprocessing][view, clip][None])
        return features[0], scores[0]


def _engines(store: FeatureStore, paths: Sequence[Path]) -> dict[str, tuple[Engine, Preprocessing]]:
    """Return engine and preprocessing of each of the store's backbones, as its provenance describes them."""
    given = {weights.backbone: weights for weights in map(_weights, paths)}
    engines = {}
    for name in store.backbones():
        provenance = store.backbone(name).provenance
        if name not in given and name in BACKBONES and plain_name(name) in given:
            given[name] = replace(given[plain_name(name)], backbone=name)  # the same tensors; maps are averaged in time
        if name not in given:
            raise StoreError(f"{store.path} has features of {name}; give its weights too: {named('weights')} WEIGHTS")
        if given[name].digest != provenance["weights_sha256"]:
            raise StoreError(
                f"the weights given for {name} ({given[name].digest[:12]}…) are not those that "
                f"{store.path} was made with ({provenance['weights_sha256'][:12]}…)"
            )
        recorded = provenance["engine"]
        engine = build_engine(given[name], _engine_settings(recorded), name=recorded["name"])
        engines[name] = engine, parse_preprocessing(provenance["preprocessing"])
    return engines


def _weights(path: Path) -> Weights:
    """Return the weights of a file, a run, or a published name, each with or without a network's name before it."""
    backbone, place = read_place(str(path))
    return load_weights(ready_file(Given(backbone=backbone, place=place)))


def _engine_settings(recorded: dict[str, Any]) -> EngineSettings:
    kept = ("device", "precision", "batch", "threads")
    return EngineSettings(**{name: recorded[name] for name in kept if name in recorded})
