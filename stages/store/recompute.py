"""Compute single clips of a store again from the videos, to compare them with what is stored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...pipeline.backbones.engine import Engine, build_engine
from ...pipeline.backbones.engine_settings import EngineSettings
from ...pipeline.backbones.weights import load_weights
from ...pipeline.errors import StoreError, named
from ...pipeline.features.store import FeatureStore
from ...pipeline.features.verify import Recompute
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.videos.clip_reader import decode_clips
from ...pipeline.videos.preprocessing import Preprocessing, parse_preprocessing


def recomputer(store: FeatureStore, *, manifest: Path, weights: Sequence[Path]) -> Recompute:
    """Return a function (backbone, video index, view, clip) -> map (T', H', W', C) and scores (K,).

    It runs with the settings that the store records: preprocessing, device, precision, batch and threads.

    Args:
        store: with the clips.
        manifest: the one that the store was made from; it says where the videos are.
        weights: of every backbone in the store.

    Raises:
        StoreError: if manifest or weights are not those of the store.
        ManifestError, WeightsError: if they cannot be read.
        VideoError: raised by the function if a video cannot be read or its map is not finite.
    """
    videos = read_manifest(manifest)
    if videos.digest != store.attributes["manifest_digest"]:
        raise StoreError(f"{store.path} was not made of {manifest}: the digests of the manifests differ")
    engines = _engines(store, weights)
    return _Recomputer(store, manifest=videos, engines=engines)


class _Recomputer:
    def __init__(
        self, store: FeatureStore, *, manifest: Manifest, engines: dict[str, tuple[Engine, Preprocessing]]
    ) -> None:
        self._sampling = store.sampling
        self._manifest = manifest
        self._engines = engines

    def __call__(self, backbone: str, video_index: int, view: int, clip: int) -> tuple[np.ndarray, np.ndarray]:
        engine, preprocessing = self._engines[backbone]
        # Only the one clip is decoded and computed; the others stay blank.
        due = {preprocessing: np.arange(self._sampling.num_clips) == clip}
        video = self._manifest.videos[video_index]
        _, clips = decode_clips(video, sampling=self._sampling, due=due)
        features, scores = engine.run(clips[preprocessing][view, clip][None])
        return features[0], scores[0]


def _engines(store: FeatureStore, paths: Sequence[Path]) -> dict[str, tuple[Engine, Preprocessing]]:
    """Return engine and preprocessing of each of the store's backbones, as its provenance describes them."""
    given = {weights.backbone: weights for weights in map(load_weights, paths)}
    engines = {}
    for name in store.backbones():
        provenance = store.backbone(name).provenance
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


def _engine_settings(recorded: dict[str, Any]) -> EngineSettings:
    kept = ("device", "precision", "batch", "threads")
    return EngineSettings(**{name: recorded[name] for name in kept if name in recorded})
