"""The scores of aggregator runs on a split of a feature store: how right they are, and what that costs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..pipeline.aggregator_inference import predict, video_gmacs
from ..pipeline.aggregator_inputs import AggregatorInputs, class_indices, describe_backbone
from ..pipeline.aggregators.weights import load_aggregator
from ..pipeline.clip_selection import select
from ..pipeline.engine import resolve_device
from ..pipeline.errors import RunError, SettingsError
from ..pipeline.metrics import Metrics, score_predictions
from ..pipeline.patterns import Pattern
from ..pipeline.run_directory import RunDirectory, describe_differences
from ..pipeline.split_choice import Splits, digest, videos_of_split
from ..pipeline.store import FeatureStore
from ..pipeline.store_format import Status
from .train_aggregator import SPLITS_FILE, WEIGHTS_FILE
from .train_aggregator_plan import KIND

SAMPLING_FIELDS = ("num_frames", "sampling_rate", "fps")  # what makes a clip; where clips lie may differ


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSettings:
    """What to score, on what.

    Attributes:
        store: the feature store.
        runs: run directories of finished trainings.
        out: where tables and pictures go; what they replace is overwritten.
        split: the videos to score.
        batch_size: videos a step.
        device: "auto", "cpu", "cuda" or "cuda:1".
        local_copies: as in `TrainAggregatorSettings`.
    """

    store: Path
    runs: tuple[Path, ...]
    out: Path
    split: str = "test"
    batch_size: int = 32
    device: str = "auto"
    local_copies: Path | None = None

    def __post_init__(self) -> None:
        """Check the fields that nothing else checks.

        Raises:
            SettingsError: naming the field and its constraint.
        """
        places = [path.resolve() for path in self.runs]
        twice = [str(path) for path in self.runs if places.count(path.resolve()) > 1]
        if not self.runs or twice:
            raise SettingsError(f"give each run once, and one at least: --run DIR; got {twice or 'none'}")
        if self.batch_size < 1:
            raise SettingsError(f"--batch-size must be at least 1; got {self.batch_size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores:
    """One run's predictions and how good they are.

    Attributes:
        run: the run directory, opened.
        gmacs: 10^9 multiply-accumulates a video, backbones included.
        metrics: how good the predictions are.
        expected: indices into the store of the videos of the run's split.
        videos: those of them that are scored.
        probabilities: (V, K) float32 of the scored videos.
        missing: id -> reason, of the expected videos that have no prediction.
    """

    run: RunDirectory
    gmacs: float
    metrics: Metrics
    expected: tuple[int, ...]
    videos: tuple[int, ...]
    probabilities: npt.NDArray[np.float32]
    missing: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """All runs' scores on one split.

    Attributes:
        targets: (V,) the class index of each of the store's videos.
    """

    settings: EvaluateSettings
    store: FeatureStore
    targets: npt.NDArray[np.int64]
    runs: tuple[RunScores, ...]


def evaluate(settings: EvaluateSettings) -> Evaluation:
    """Score every run; writes nothing.

    Raises:
        SettingsError, ManifestError, StoreError: for what the store does not hold or allow.
        RunError: if a run is unfinished, of another kind, or made from other backbones or classes.
    """
    store = FeatureStore.open(settings.store)
    targets = class_indices(store)
    runs = [RunDirectory.open(path) for path in settings.runs]
    for run in runs:
        check_fits(run, store)
    scores = tuple(score_run(run, settings=settings, store=store, targets=targets) for run in runs)
    return Evaluation(settings=settings, store=store, targets=targets, runs=scores)


def check_fits(run: RunDirectory, store: FeatureStore) -> None:
    """Refuse a run that is unfinished, or was made from other classes, backbones or clips than the store's.

    Raises:
        RunError: naming each difference.
    """
    made = run.settings
    if made.get("kind") != KIND:
        raise RunError(f"{run.path} is no run of vidpipe train-aggregator; evaluate scores no others")
    _ = run.result  # refuses an unfinished run
    asked = {
        "classes": list(store.manifest.classes),
        "backbones": {role: _describe(store, own["name"]) for role, own in made["backbones"].items()},
        "sampling": _clip_form(asdict(store.sampling)),
    }
    trained = {"classes": made["classes"], "backbones": made["backbones"], "sampling": _clip_form(made["sampling"])}
    differences = describe_differences(trained, asked)
    if differences:
        raise RunError(
            f"the run {run.path} does not belong to the store {store.path}: {'; '.join(differences)} (there: the run, "
            "here: the store). Score it on a store of its own backbones and classes, or train one on this store"
        )


def _describe(store: FeatureStore, name: str) -> dict[str, Any]:
    if name not in store.backbones():
        return {"name": None}
    return describe_backbone(store.backbone(name))


def _clip_form(sampling: Mapping[str, Any]) -> dict[str, Any]:
    return {name: sampling[name] for name in SAMPLING_FIELDS}


def score_run(
    run: RunDirectory,
    *,
    settings: EvaluateSettings,
    store: FeatureStore,
    targets: npt.NDArray[np.int64],
) -> RunScores:
    """Predict every extracted video of the split, as the run divides the videos, and score the predictions.

    Raises:
        ManifestError: if there is no such split.
        SettingsError: if none is extracted, or the store lacks what the run's pattern needs.
        WeightsError: if the run's weights are damaged.
    """
    made = run.settings
    expected = tuple(videos_of_split(store.manifest, settings.split, splits=splits_of(run, store)).tolist())
    selection = select(
        store,
        pattern=Pattern.parse(made["pattern"]),
        num_clips=made["num_clips"],
        names={role: own["name"] for role, own in made["backbones"].items()},
    )
    model, weights = load_aggregator(run.path / WEIGHTS_FILE)
    model = model.to(resolve_device(settings.device))
    inputs = AggregatorInputs(
        store,
        selection=selection,
        classes=weights.classes,
        needs_features=model.aggregator.needs_features,
        needs_scores=model.aggregator.needs_scores,
        local_copies=settings.local_copies,
    )
    status = inputs.statuses()
    videos = tuple(i for i in expected if status[i] == Status.DONE)
    if not videos:
        raise SettingsError(
            f"none of the {len(expected)} videos of the split {settings.split!r} is extracted in {store.path}. "
            f"Run vidpipe extract with --split {settings.split} first"
        )
    scores = predict(model, inputs, videos, batch_size=settings.batch_size)
    return RunScores(
        run=run,
        gmacs=video_gmacs(model, inputs),
        metrics=score_predictions(
            scores.numpy(), targets=targets[list(videos)], classes=weights.classes, num_expected=len(expected)
        ),
        expected=expected,
        videos=videos,
        probabilities=scores.softmax(dim=1).numpy(),
        missing=_missing(inputs, [i for i in expected if status[i] != Status.DONE]),
    )


def splits_of(run: RunDirectory, store: FeatureStore) -> Splits | None:
    """Return id -> split as the run has it, or None where the store's own splits count: they do on another set.

    Raises:
        RunError: if the run's splits are not those that it was trained with.
    """
    made = run.settings
    if made.get("splits_sha256") is None or made["manifest_digest"] != store.manifest.digest:
        return None
    splits = run.read_json(SPLITS_FILE)
    if digest(splits) != made["splits_sha256"]:
        raise RunError(f"{run.path / SPLITS_FILE} is not what the run was trained with; run its training command again")
    return splits


def _missing(inputs: AggregatorInputs, videos: list[int]) -> dict[str, str]:
    """Return id -> why there is no prediction."""
    errors: dict[int, str] = {}
    for group in inputs.groups.values():
        errors |= group.errors()
    manifest = inputs.store.manifest
    return {manifest.videos[i].video_id: errors.get(i, "not extracted yet") for i in videos}
