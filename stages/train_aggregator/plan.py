"""The plan of training an aggregator: its settings, checked against the store, and the videos to train on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ...pipeline.aggregators.base import AggregatorSpec, check_min_clips
from ...pipeline.aggregators.registry import complete_spec
from ...pipeline.aggregators.video_model import build_video_model
from ...pipeline.backbones.devices import resolve_device
from ...pipeline.errors import SettingsError, named
from ...pipeline.features.clip_selection import (
    ClipsByRole,
    Selection,
    clips_read,
    keep_to,
    missing_videos,
    select,
)
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.stored_inputs import AggregatorInputs, describe_backbone, describe_engine
from ...pipeline.training.learning_split import check_classes, hold_out, labelled, shared_groups_words
from ...pipeline.training.run_directory import recorded_settings
from ...pipeline.training.run_kinds import AGGREGATOR, CLIPS_FIELD, ENGINES_FIELD, LABELS_FIELD
from ...pipeline.training.split_choice import Splits, digest, read_splits, videos_of_split
from ...pipeline.training.tasks import Task, targets_by_place, task_of, task_record
from .settings import TrainAggregatorSettings

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedAggregatorTraining:
    """A training that has been checked against its store.

    Attributes:
        shapes: role -> (T', H', W', C) of the maps; empty if none are read.
        splits: id -> split, if they are not the store's own.
        training: indices of the videos to train on; none for an aggregator without weights.
        validation: indices of the held-out ones.
        missing: id -> reason, of the videos of the training split that lack features.
        unlabelled: how many videos of the training split have no label, and are left out.
        shared_groups: a sentence about groups on both sides of the split; "" if there is none.
        targets: (V, …) each video's labels as the task encodes them, as `targets_by_place`.
    """

    store: FeatureStore
    selection: Selection
    spec: AggregatorSpec
    shapes: dict[str, tuple[int, int, int, int]]
    classes: tuple[str, ...]
    task: Task
    targets: np.ndarray
    splits: Splits | None
    training: tuple[int, ...]
    validation: tuple[int, ...]
    missing: dict[str, str]
    unlabelled: int
    shared_groups: str
    inputs: AggregatorInputs


def prepare(settings: TrainAggregatorSettings) -> PreparedAggregatorTraining:
    """Read the store and check that it holds what is needed. Writes nothing.

    Args:
        settings: what to train, on what, and how.

    Raises:
        SettingsError, ManifestError, StoreError: if it does not.
    """
    store = FeatureStore.open(settings.store)
    names = {"expensive": settings.expensive, "cheap": settings.cheap}
    selection = select(store, pattern=settings.pattern, num_clips=settings.num_clips, names=names)
    selection = keep_to(store, selection, _clips_begun_with(settings, store, selection))
    classes, task = store.manifest.classes, task_of(store.manifest)
    targets = targets_by_place(task, store.manifest)
    check_classes(store.manifest)
    shapes = selection.shapes(store)
    spec = complete_spec(
        AggregatorSpec(
            name=settings.aggregator,
            channels=settings.width or max(shape[-1] for shape in shapes.values()),
            num_classes=len(classes),
            dropout=settings.dropout,
            reduction=settings.reduction,
            options={own.name: own.value for own in settings.options},
        )
    )
    # Built without memory, only to ask what it needs and to find settings that do not suit it.
    with torch.device("meta"):
        model = build_video_model(spec, shapes=shapes)
    check_min_clips(spec.name, num_clips=selection.num_clips, min_clips=model.aggregator.min_clips)
    splits = None if settings.splits is None else read_splits(settings.splits, of=store.manifest)
    listed = videos_of_split(store.manifest, settings.split, splits=splits).tolist() if model.is_trained else []
    known = labelled(store.manifest, listed, split=settings.split)
    missing = missing_videos(store, known, selection=selection)
    # An aggregator without weights needs no videos: a store with only test videos will do.
    training, validation = _split(settings, store, known, missing) if model.is_trained else ((), ())
    inputs = AggregatorInputs(
        store,
        selection=selection,
        classes=classes,
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
        cache_bytes=settings.cache_gib * GIB,
        cached_videos=len(training) + len(validation),
        local_copies=settings.local_copies,
    )
    return PreparedAggregatorTraining(
        store=store,
        selection=selection,
        spec=spec,
        shapes=inputs.shapes,
        classes=classes,
        task=task,
        targets=targets,
        splits=splits,
        training=training,
        validation=validation,
        missing=missing,
        unlabelled=len(listed) - len(known),
        shared_groups=shared_groups_words(store.manifest, split=settings.split, splits=splits) if listed else "",
        inputs=inputs,
    )


def _clips_begun_with(
    settings: TrainAggregatorSettings, store: FeatureStore, selection: Selection
) -> ClipsByRole | None:
    """Return the clips of the run that goes on, though the store may have more by now; None if there is no such run.

    A run of another pattern or of other clips says nothing here; it is refused later, with each difference named.
    """
    begun = recorded_settings(settings.out)
    same = {
        "pattern": str(selection.pattern),
        "num_clips": selection.num_clips,
        "sampling": store.sampling.record(),
        "backbones": {role: describe_backbone(store.backbone(name)) for role, name in selection.backbones.items()},
    }
    return begun.get(CLIPS_FIELD) if all(begun.get(name) == value for name, value in same.items()) else None


def _split(
    settings: TrainAggregatorSettings, store: FeatureStore, listed: Sequence[int], missing: dict[str, str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the videos to train on and those held out; refuse a training split that lacks a class."""
    manifest = store.manifest
    usable = [index for index in listed if manifest.videos[index].video_id not in missing]
    if not usable:
        raise SettingsError(
            f"no video of the split {settings.split!r} is extracted in {store.path} ({len(listed)} are listed). "
            f"Run vidpipe extract with {named('split')} {settings.split} first"
        )
    return hold_out(
        manifest,
        usable=usable,
        fraction=settings.val_fraction,
        seed=settings.optimisation.seed,
    )


def outcome(settings: TrainAggregatorSettings, prepared: PreparedAggregatorTraining) -> dict[str, Any]:
    """Return what the trained weights depend on, as JSON values: a run goes on only if all of it is the same."""
    store, selection = prepared.store, prepared.selection
    groups = {role: store.backbone(name) for role, name in selection.backbones.items()}
    engines = {role: engine for role, group in groups.items() if (engine := describe_engine(group))}
    trained_on = [store.manifest.videos[i] for i in prepared.training + prepared.validation]
    labels = json.dumps([[video.video_id, *video.labels] for video in trained_on])
    return {
        "kind": AGGREGATOR,
        "aggregator": prepared.spec.record(),
        "pattern": str(selection.pattern),
        "num_clips": selection.num_clips,
        "backbones": {role: describe_backbone(group) for role, group in groups.items()},
        "classes": list(prepared.classes),
        "sampling": store.sampling.record(),
        "manifest_digest": store.manifest.digest,
        "split": settings.split,
        "splits_sha256": None if prepared.splits is None else digest(prepared.splits),
        "val_fraction": settings.val_fraction,
        "num_training": len(prepared.training),
        "num_validation": len(prepared.validation),
        "videos_sha256": hashlib.sha256("\n".join(video.video_id for video in trained_on).encode()).hexdigest(),
        LABELS_FIELD: hashlib.sha256(labels.encode()).hexdigest(),
        "optimisation": asdict(settings.optimisation),
        "device": resolve_device(settings.device).type,
        # Left out if unknown, as in runs of earlier versions, so that those go on.
        **({ENGINES_FIELD: engines} if engines else {}),
        CLIPS_FIELD: clips_read(store, selection),
        **task_record(prepared.task),
    }
