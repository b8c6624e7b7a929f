"""Classify a lot of video without running a big network on every second of it.

Clip backbones run once over the videos, into a feature store; aggregators train and are scored on that cache. What a
notebook needs stands here. A name loads what it needs when it is first used, so that ``import vidpipe`` is quick.

    import vidpipe

    vidpipe.extract(manifest="m.csv", store="s.zarr", cheap="runs/cheap", num_clips=8)
    vidpipe.train_aggregator(store="s.zarr", out="runs/average", aggregator="average")
    print(vidpipe.evaluate(store="s.zarr", runs=["runs/average"], out="results")["runs"][0]["metrics"])
"""

import importlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In a checkout the packages lie beside this folder, not in it. Python started there finds this folder before what is
# installed: without the next two lines it would then find half of vidpipe.
if not Path(__file__).with_name("pipeline").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from vidpipe.pipeline.aggregators.base import AggregatorSpec
    from vidpipe.pipeline.aggregators.registry import AGGREGATORS, build_aggregator
    from vidpipe.pipeline.aggregators.weights import load_aggregator
    from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone
    from vidpipe.pipeline.backbones.weights import load_backbone, load_weights
    from vidpipe.pipeline.errors import VidpipeError
    from vidpipe.pipeline.features.arrays import pooled_features, stored_maps
    from vidpipe.pipeline.features.patterns import Pattern
    from vidpipe.pipeline.features.store import FeatureStore, open_store
    from vidpipe.pipeline.manifests.folders import manifest_from_folders
    from vidpipe.pipeline.manifests.manifest import Manifest, read_manifest, write_manifest
    from vidpipe.pipeline.training.run_directory import RunDirectory
    from vidpipe.pipeline.videos.clips import ClipSampling
    from vidpipe.stages.calls import (
        check_manifest,
        evaluate,
        extract,
        finetune,
        probe,
        render,
        sweep,
        train_aggregator,
        train_backbone,
    )

# Name -> the module that defines it.
_HOMES = {
    # Lists of videos.
    "Manifest": "pipeline.manifests.manifest",
    "read_manifest": "pipeline.manifests.manifest",
    "write_manifest": "pipeline.manifests.manifest",
    "manifest_from_folders": "pipeline.manifests.folders",
    # Stored features.
    "ClipSampling": "pipeline.videos.clips",
    "Pattern": "pipeline.features.patterns",
    "FeatureStore": "pipeline.features.store",
    "open_store": "pipeline.features.store",
    "pooled_features": "pipeline.features.arrays",
    "stored_maps": "pipeline.features.arrays",
    # Networks.
    "BACKBONES": "pipeline.backbones.registry",
    "build_backbone": "pipeline.backbones.registry",
    "load_weights": "pipeline.backbones.weights",
    "load_backbone": "pipeline.backbones.weights",
    "AGGREGATORS": "pipeline.aggregators.registry",
    "AggregatorSpec": "pipeline.aggregators.base",
    "build_aggregator": "pipeline.aggregators.registry",
    "load_aggregator": "pipeline.aggregators.weights",
    # What the commands do; each takes the fields of its settings as keywords.
    "check_manifest": "stages.calls",
    "render": "stages.calls",
    "train_backbone": "stages.calls",
    "extract": "stages.calls",
    "probe": "stages.calls",
    "train_aggregator": "stages.calls",
    "sweep": "stages.calls",
    "finetune": "stages.calls",
    "evaluate": "stages.calls",
    # What they leave, and how they fail.
    "RunDirectory": "pipeline.training.run_directory",
    "VidpipeError": "pipeline.errors",
}

__all__ = [*sorted(_HOMES), "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]: __getattr__ has them


def __getattr__(name: str) -> Any:
    """Return a name of the face, importing what it needs."""
    if name == "__version__":
        return version("vidpipe")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next look finds it at once
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
