"""Which runs may be scored on which stores and manifests."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...pipeline.aggregators.weights import load_aggregator
from ...pipeline.errors import RunError, named
from ...pipeline.features.patterns import EXPENSIVE, ROLES
from ...pipeline.features.store import FeatureStore
from ...pipeline.inference.runs import weights_of
from ...pipeline.inference.stored_inputs import describe_backbone, describe_engine
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.settings import describe_differences
from ...pipeline.training.learning_split import class_differences
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import (
    AGGREGATOR,
    COMMANDS,
    END_TO_END,
    ENGINES_FIELD,
    LINEAR_PROBE,
    SPLITS_FILE,
    WEIGHTS_FILE,
    backbone_file,
    backbones_of,
)
from ...pipeline.training.split_choice import Splits, digest
from ...pipeline.videos.clips import ClipSampling
from ...pipeline.videos.reading import spelled_out

# How large videos may be stands in no record: it decides which ones can be had, not what they give.
_CLIP_FIELDS = (
    "num_frames",
    "sampling_rate",
    "fps",
    "clip_rule",
    "hdr",
)  # what makes a clip; where clips lie may differ
_PLACE_FIELDS = ("num_clips", "placement", "short", "crops", "damaged")  # what decides where in a video its clips lie


def check_fits(run: RunDirectory, store: FeatureStore) -> None:
    """Refuse a run that is unfinished, or was made from other backbones, clips or engines than the store's.

    Classes may differ as long as one is the same: a test set need not show all, and videos of a class that the run does
    not know are counted wrong. Of engines, name and precision are compared if both the run and the store state them:
    runs of earlier versions do not, and end-to-end runs read no store.

    Raises:
        RunError: naming each difference.
    """
    _check_kind(run)
    made, backbones = run.settings, backbones_of(run)
    trained = {"backbones": backbones, "sampling": _of_clips(made["sampling"], _CLIP_FIELDS)}
    asked = {
        "backbones": {role: _describe(store, own["name"]) for role, own in backbones.items()},
        "sampling": _of_clips(store.sampling.record(), _CLIP_FIELDS),
    }
    differences = foreign_classes(made["classes"], store.manifest.classes) + describe_differences(trained, asked)
    advice = "Score it on a store of its own backbones and classes, or train one on this store"
    # Only if all else agrees: with another backbone, the engine is no news.
    if not differences:
        differences = _engine_differences(run, store)
        advice = "Score it on a store that the same engine made in the same precision, or train one on this store"
    if differences:
        raise RunError(
            f"the run {run.path} does not belong to the store {store.path}: {'; '.join(differences)} (there: the run, "
            f"here: the store). {_extract_advice(run) if made['kind'] == END_TO_END else advice}"
        )


def other_clips(run: RunDirectory, store: FeatureStore) -> dict[str, dict[str, Any]]:
    """Return field -> values of "run" and "store", where a store's clips lie elsewhere than an end-to-end run's.

    The run can be scored on such a store, but the figures then differ from those on the videos themselves.
    """
    if run.settings["kind"] != END_TO_END:
        return {}
    made, stored = (_of_clips(own, _PLACE_FIELDS) for own in (run.settings["sampling"], store.sampling.record()))
    return {name: {"run": made[name], "store": stored[name]} for name in _PLACE_FIELDS if made[name] != stored[name]}


def check_has_backbones(run: RunDirectory) -> None:
    """Refuse a run that is unfinished, or has no backbones of its own because it was trained on a store.

    Raises:
        RunError: the message says what to type.
    """
    if run.settings.get("kind") == LINEAR_PROBE:
        raise RunError(
            f"{run.path} is a run of vidpipe probe, which reads stored maps, so it cannot be scored on videos "
            f"themselves. Type vidpipe evaluate {named('store')} STORE {named('runs')} {run.path}"
        )
    _check_kind(run)
    if run.settings["kind"] == AGGREGATOR:
        names = ", ".join(f"{own['name']} ({role})" for role, own in backbones_of(run).items())
        raise RunError(
            f"{run.path} is a run of {COMMANDS[AGGREGATOR]}: it holds an aggregator without its backbones, {names}, so "
            "it cannot be scored on videos themselves. Extract them with these backbones, then type vidpipe evaluate "
            f"{named('store')} STORE {named('runs')} {run.path}"
        )


def foreign_classes(known: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Return a phrase that says how two lists of classes differ if they have none in common; nothing otherwise."""
    return [] if set(known) & set(shown) else class_differences(known, shown)


def check_classes(run: RunDirectory, manifest: Manifest, *, path: Path) -> None:
    """Refuse a manifest that shows none of the run's classes.

    Raises:
        RunError: naming the difference.
    """
    differences = foreign_classes(run.settings["classes"], manifest.classes)
    if differences:
        raise RunError(
            f"the run {run.path} does not belong to the manifest {path}: {'; '.join(differences)} (there: the run, "
            "here: the manifest). Give a manifest with videos of the run's classes, spelled as there"
        )


def _check_kind(run: RunDirectory) -> None:
    if run.settings.get("kind") not in COMMANDS:
        known = ", ".join(COMMANDS.values())
        raise RunError(f"{run.path} is no run of {known} or vidpipe probe; evaluate scores no others")
    _ = run.result  # refuses an unfinished run


def _extract_advice(run: RunDirectory) -> str:
    """Return what to type to get a store on which an end-to-end run can be scored."""
    own, backbones = run.settings, backbones_of(run)
    fields = [name for name in (*_CLIP_FIELDS, *_PLACE_FIELDS) if name != "num_clips"]
    usual, sampling = (_of_clips(record, fields) for record in (ClipSampling().record(), own["sampling"]))
    words = [f"{named('num_clips')} {own['num_clips']}"]
    words += [f"{named(name)} {value}" for name, value in sampling.items() if value != usual[name]]
    words += [f"{named('pattern')} {own['pattern']}"] if EXPENSIVE in backbones else []
    for role in (role for role in ROLES if role in backbones):
        given = f"{backbones[role]['name']}={run.path / backbone_file(role)}"
        words.append(f"{named(role)} {shlex.quote(given)}")
    return (
        f"A store for it has the run's own backbones, as trained: vidpipe extract {named('manifest')} MANIFEST "
        f"{named('store')} NEW.zarr "
        f"{' '.join(words)}. Or score it on the videos themselves, with {named('manifest')} in place of "
        f"{named('store')}"
    )


def _describe(store: FeatureStore, name: str) -> dict[str, Any]:
    if name not in store.backbones():
        return {"name": None}
    return describe_backbone(store.backbone(name))


def _engine_differences(run: RunDirectory, store: FeatureStore) -> list[str]:
    """Return a phrase for each difference between the engine of a run's training maps and a store's engine."""
    trained = run.settings.get(ENGINES_FIELD, {})
    asked = {role: describe_engine(store.backbone(own["name"])) for role, own in backbones_of(run).items()}
    both = [role for role in trained if asked.get(role)]
    own, other = ({role: engines[role] for role in both} for engines in (trained, asked))
    return describe_differences({"engines": own}, {"engines": other})


def _of_clips(record: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Return ``fields`` of the record of a sampling, with what it implies."""
    said = spelled_out(record)
    return {name: said[name] for name in fields}


def check_weights(run: RunDirectory) -> None:
    """Read an end-to-end run's weights, so that damaged files are found before hours are spent on other runs.

    Raises:
        WeightsError: if a file is gone or damaged.
        RunError: if a backbone is not what the run trained.
    """
    weights_of(run)
    load_aggregator(run.path / WEIGHTS_FILE)


def splits_of(run: RunDirectory, manifest: Manifest) -> Splits | None:
    """Return the run's id -> split, or None if the manifest's own splits apply, as they do on another set of videos.

    On the run's own videos they do not, even if some have other labels now, or there are more or fewer: a video that
    the run was trained on must not be one that it is scored on.

    Raises:
        RunError: if the run's splits are not those that it was trained with.
    """
    made = run.settings
    if made.get("splits_sha256") is None:
        return None
    splits = run.read_json(SPLITS_FILE)
    known = sum(video.video_id in splits for video in manifest.videos)
    if made["manifest_digest"] != manifest.digest and 2 * known <= len(splits):
        return None  # other videos, of which a few may have the same ids by chance
    if digest(splits) != made["splits_sha256"]:
        raise RunError(f"{run.path / SPLITS_FILE} is not what the run was trained with; run its training command again")
    return splits
