"""What follows from the store that an aggregator is to learn from: the recipe for so many videos."""

import torch

from ...pipeline.aggregators.base import AggregatorSpec
from ...pipeline.aggregators.registry import build_aggregator
from ...pipeline.errors import VidpipeError
from ...pipeline.features.store import FeatureStore
from ...pipeline.training.split_choice import read_splits, videos_of_split
from ..defaults import Chosen, Values
from ..presets import choose_preset


def choose(typed: Values) -> Chosen:
    """Return the recipe for so many training videos, unless one is typed or nothing has to be trained."""
    return choose_recipe("train_aggregator", typed, aggregators=(typed.get("aggregator", "fast-gru"),))


def choose_recipe(stage: str, typed: Values, *, aggregators: tuple[str, ...]) -> Chosen:
    """Return the recipe for so many training videos as the store lists."""
    try:
        if not any(_is_trained(name) for name in aggregators):
            return Chosen()
        manifest = FeatureStore.open(typed["store"]).manifest
        splits = None if typed.get("splits") is None else read_splits(typed["splits"], of=manifest)
        videos = videos_of_split(manifest, typed.get("split", "train"), splits=splits)
    except VidpipeError:
        return Chosen()  # training says what is wrong
    labelled = sum(bool(manifest.videos[index].labels) for index in videos)  # the others are left out
    return choose_preset(stage, typed, num_videos=labelled) if labelled else Chosen()


def _is_trained(name: str) -> bool:
    """Return whether the aggregator has weights."""
    with torch.device("meta"):  # only to ask: any width and number of classes will do
        return build_aggregator(AggregatorSpec(name=name, channels=64, num_classes=2)).is_trained
