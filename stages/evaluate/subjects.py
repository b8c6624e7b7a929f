"""What is scored: runs with an aggregator, linear probes, and backbones by their own clip scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...pipeline.errors import RunError, SettingsError, named
from ...pipeline.evaluation.linear_probe import LinearProbe
from ...pipeline.evaluation.looks import BACKBONE, PROBE
from ...pipeline.features.arrays import pooled_features
from ...pipeline.features.clip_selection import ClipsByBackbone, lacking_videos
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.runs import Predictions
from ...pipeline.inference.stored_inputs import describe_backbone
from ...pipeline.training.run_directory import RunDirectory, describe_differences
from ...pipeline.training.run_kinds import LINEAR_PROBE, PROBE_FILE
from ...pipeline.training.tasks import Task, task_of
from .plan import foreign_classes

Videos = tuple[int, ...]  # indices into the manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One line of the table.

    Attributes:
        path: the run directory, whose last part is its name; of a backbone or one of several probes, a name alone.
        kind: of the run, as in `training.run_kinds`, or `BACKBONE`.
        method: the aggregator, `PROBE` or `BACKBONE`.
        pattern: which clips are expensive; empty where no pattern chose them.
        num_clips: clips of a video.
        classes: K names that it can answer, in the order of its scores.
        seed: of its training; None if it had none.
        settings: of the run.
        run: the run directory, opened; None for a backbone.
    """

    path: Path
    kind: str
    method: str
    pattern: str = ""
    num_clips: int
    classes: tuple[str, ...]
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    run: RunDirectory | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A subject, and how its predictions are made."""

    subject: Subject
    predict: Callable[[Videos], Predictions]


def subject_of_run(run: RunDirectory) -> Subject:
    """Return a run with an aggregator."""
    made = run.settings
    return Subject(
        path=run.path,
        kind=made["kind"],
        method=made["aggregator"]["name"],
        pattern=made["pattern"],
        num_clips=made["num_clips"],
        classes=tuple(made["classes"]),
        seed=made["optimisation"]["seed"],
        settings=made,
        run=run,
    )


def scored_backbone(name: str, store: FeatureStore) -> Scored:
    """Return a backbone of the store: the mean of its clips' own probabilities, over all clips that it has.

    Raises:
        SettingsError: if there is none of that name, or it knows none of the store's classes.
    """
    if name not in store.backbones():
        raise SettingsError(
            f"{named('backbones')} {name}: {store.path} has no such backbone; it has "
            f"{', '.join(store.backbones()) or 'none'}"
        )
    group = store.backbone(name)
    classes = tuple(group.provenance["classes"])
    if foreign := foreign_classes(classes, store.manifest.classes):
        raise SettingsError(
            f"{named('backbones')} {name} was trained on other classes than those of {store.path}: {foreign[0]} "
            "(there: the backbone, here: the store), so its own scores say nothing here. Leave it out, or fit a probe "
            "on its maps"
        )
    num_clips = int(group.due_everywhere.sum())
    subject = Subject(path=Path(name), kind=BACKBONE, method=BACKBONE, num_clips=num_clips, classes=classes)
    return Scored(subject=subject, predict=partial(_average, name, store))


def _average(name: str, store: FeatureStore, expected: Videos) -> Predictions:
    group, task = store.backbone(name), task_of(store.manifest)
    clips = np.flatnonzero(group.due_everywhere)
    videos, missing = _extracted(store, expected, {name: clips})
    scores = [_mean_scores(task, torch.from_numpy(group.read_scores(i)[clips])) for i in videos]
    gmacs = group.provenance["gmacs_per_clip"] * len(clips)
    return Predictions(scores=torch.stack(scores), gmacs=gmacs, videos=videos, missing=missing)


def _mean_scores(task: Task, clips: torch.Tensor) -> torch.Tensor:
    """Return (K,), the scores of a video whose clips have the scores (N, K)."""
    return task.scores(task.probabilities(clips).mean(dim=0))


def _extracted(store: FeatureStore, expected: Videos, clips: ClipsByBackbone) -> tuple[Videos, dict[str, str]]:
    """Return those of the videos that have all these clips, and id -> reason for the others.

    Raises:
        SettingsError: if there is none.
    """
    missing = lacking_videos(store, expected, clips=clips)
    videos = tuple(i for i in expected if store.manifest.videos[i].video_id not in missing)
    if not videos:
        raise SettingsError(
            f"none of the {len(expected)} videos is extracted with {' and '.join(clips)} in {store.path}. Run "
            "vidpipe extract first"
        )
    return videos, missing


def scored_probes(run: RunDirectory, store: FeatureStore) -> list[Scored]:
    """Return the probes of a finished run of `vidpipe probe`, checked against the store.

    Raises:
        RunError: if it is unfinished, or was fitted on other backbones, clips or classes; the difference is named.
    """
    _ = run.result  # refuses an unfinished run
    made = run.settings["probes"]
    several = len(made) > 1
    return [_scored_probe(run, own["sources"], store, is_one_of_several=several) for own in made]


def _scored_probe(
    run: RunDirectory, sources: list[dict[str, Any]], store: FeatureStore, *, is_one_of_several: bool
) -> Scored:
    own = {source["backbone"]["name"]: tuple(source["clips"]) for source in sources}
    name = "+".join(own)
    _check_probe(run, sources, store)
    probe = LinearProbe.load(run.path / name / PROBE_FILE)
    if foreign := foreign_classes(probe.classes, store.manifest.classes):
        raise RunError(f"the run {run.path} does not belong to the store {store.path}: {foreign[0]}")
    subject = Subject(
        path=run.path.with_name(f"{run.path.resolve().name}-{name}") if is_one_of_several else run.path,
        kind=LINEAR_PROBE,
        method=PROBE,
        num_clips=sum(map(len, own.values())),
        classes=probe.classes,
        settings=run.settings,
        run=run,
    )
    return Scored(subject=subject, predict=partial(_probe_scores, probe, own, store))


def _check_probe(run: RunDirectory, sources: list[dict[str, Any]], store: FeatureStore) -> None:
    """Refuse a store of other backbones or clips: a probe says by number which clips it was fitted on."""
    known = store.backbones()
    backbones = {source["backbone"]["name"]: source["backbone"] for source in sources}
    fitted = {"backbones": backbones, "sampling": run.settings["sampling"]}
    found = {name: describe_backbone(store.backbone(name)) if name in known else None for name in backbones}
    differences = describe_differences(fitted, {"backbones": found, "sampling": store.sampling.record()})
    # Only if all else agrees: in another store the clips' numbers mean nothing.
    differences = differences or [
        f"the store lacks some of its clips of {name}"
        for name in backbones
        if not store.backbone(name).due_everywhere[_clips_of(sources, name)].all()
    ]
    if differences:
        raise RunError(
            f"the run {run.path} does not belong to the store {store.path}: {'; '.join(differences)} (there: the run, "
            "here: the store). Score it on a store of its own backbones and clips, or fit a probe on this one"
        )


def _clips_of(sources: list[dict[str, Any]], name: str) -> list[int]:
    return next(source["clips"] for source in sources if source["backbone"]["name"] == name)


def _probe_scores(
    probe: LinearProbe, clips: Mapping[str, tuple[int, ...]], store: FeatureStore, expected: Videos
) -> Predictions:
    videos, missing = _extracted(store, expected, clips)
    groups = {name: store.backbone(name) for name in clips}
    pooled = [pooled_features(groups[name], videos, clips=own) for name, own in clips.items()]
    backbones = sum(groups[name].provenance["gmacs_per_clip"] * len(own) for name, own in clips.items())
    return Predictions(
        scores=torch.from_numpy(probe.scores(np.concatenate(pooled, axis=1))),
        gmacs=backbones + probe.coefficients.size / 1e9,
        videos=videos,
        missing=missing,
    )
