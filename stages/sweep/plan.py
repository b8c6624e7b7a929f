"""What a sweep will train: aggregators × patterns × numbers of clips × seeds, on one store; writes nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...pipeline.aggregators.registry import AGGREGATORS
from ...pipeline.backbones.devices import resolve_device
from ...pipeline.errors import SettingsError, named
from ...pipeline.features.clip_selection import Selection, select, usable_videos
from ...pipeline.features.patterns import EXPENSIVE, Pattern
from ...pipeline.features.store import FeatureStore
from ...pipeline.training.learning_split import labelled
from ...pipeline.training.settings import LONGEST_WARMUP
from ...pipeline.training.split_choice import Splits, digest, read_splits, videos_of_split
from ..train_aggregator.plan import PreparedAggregatorTraining, prepare
from ..train_aggregator.settings import TrainAggregatorSettings
from .settings import SweepSettings

_TABLE_3_CLIPS = (2, 4, 8, 16, 32)
# Fields that differ between the runs of a sweep, or do not change results.
_NOT_SHARED = {"store", "out", "aggregator", "pattern", "num_clips", "cache_gib", "local_copies"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepTask:
    """One run of a sweep."""

    aggregator: str
    pattern: Pattern
    num_clips: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its run directory."""
        return f"{self.aggregator}_{str(self.pattern).replace(':', '-')}_{self.num_clips}clips_seed{self.seed}"


Cell = tuple[Pattern, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """The runs of a sweep.

    Attributes:
        tasks: the runs, in order.
        left_out: a sentence for each combination of pattern and clips that is not run.
        num_training: videos that each run trains on, held-out ones included; 0 if nothing is trained.
        test: (V,) int64 indices of the extracted videos of the test split, by pattern and number of clips.
        backbones: names of those whose maps are read.
        unlabelled: how many videos to train on or to score have no label, and are left out.
        shared_groups: a sentence about groups on both sides of the split; "" if there is none.
    """

    tasks: tuple[SweepTask, ...]
    left_out: tuple[str, ...]
    num_training: Mapping[str, int]
    test: Mapping[Cell, npt.NDArray[np.int64]]
    backbones: tuple[str, ...]
    unlabelled: int
    shared_groups: str


def _fitting_defaults(store: Path) -> tuple[tuple[Pattern, ...], tuple[int, ...]]:
    """Return the default patterns and numbers of clips of a sweep: those of the paper's Table 3 that fit.

    Raises:
        StoreError: if there is no store.
    """
    opened = FeatureStore.open(store)
    roles = {opened.backbone(name).provenance["role"] for name in opened.backbones()}
    pattern = Pattern.parse("first" if EXPENSIVE in roles else "all-cheap")
    stored = opened.sampling.num_clips
    return (pattern,), tuple(number for number in _TABLE_3_CLIPS if number <= stored) or (stored,)


def resolve(settings: SweepSettings) -> SweepSettings:
    """Return the settings with patterns and numbers of clips filled in as the store allows, if they are not given.

    Raises:
        StoreError: if there is no store.
    """
    if settings.patterns and settings.clips:
        return settings
    patterns, clips = _fitting_defaults(settings.training.store)
    return replace(settings, patterns=settings.patterns or patterns, clips=settings.clips or clips)


def run_settings(settings: SweepSettings, task: SweepTask) -> TrainAggregatorSettings:
    """Return the settings of one run."""
    return replace(
        settings.training,
        out=settings.out / "runs" / task.name,
        aggregator=task.aggregator,
        pattern=task.pattern,
        num_clips=task.num_clips,
        optimisation=replace(settings.training.optimisation, seed=task.seed),
        local_copies=None,
    )


def is_feasible(pattern: Pattern, num_clips: int) -> bool:
    """Return whether a whole period of the pattern fits into N clips; other cells of the paper's Table 4 are empty."""
    return pattern.num_expensive + (pattern.num_cheap or 0) <= num_clips


def choose_cells(
    patterns: Sequence[Pattern], clips: Sequence[int], *, known: Sequence[Pattern] = ()
) -> tuple[list[Cell], list[str]]:
    """Return which patterns to run at which numbers of clips, and a sentence for each pair that is left out.

    Patterns that do not fit are left out, and so are those that make the same clips expensive as an earlier one: these
    are run once, under the pattern that comes first in ``known`` and then ``patterns``, so that existing runs stay.
    """
    order = list(dict.fromkeys([*known, *patterns]))
    cells: dict[Cell, None] = {}
    left_out: list[str] = []
    for num_clips in clips:
        for pattern in patterns:
            if not is_feasible(pattern, num_clips):
                period = pattern.num_expensive + (pattern.num_cheap or 0)
                left_out.append(f"{pattern} at {num_clips} clips: one round of it takes {period}")
                continue
            first = stand_in(order, pattern, num_clips)
            if first != pattern:
                left_out.append(f"{pattern} at {num_clips} clips: the same clips are expensive as by {first}")
            cells[first, num_clips] = None
    return list(cells), left_out


def stand_in(patterns: Sequence[Pattern], pattern: Pattern, num_clips: int) -> Pattern:
    """Return the first feasible one of ``patterns`` that makes the same of N clips expensive as ``pattern``."""
    mask = pattern.expensive(num_clips)
    return next(
        own for own in patterns if is_feasible(own, num_clips) and np.array_equal(own.expensive(num_clips), mask)
    )


def plan(settings: SweepSettings, *, known: Sequence[Pattern] = ()) -> SweepPlan:
    """Return the runs, after checking that every one is possible.

    Args:
        settings: what to train.
        known: the patterns that the sweep's directory already had.

    Raises:
        SettingsError, ManifestError, StoreError: if the store lacks something; before anything is trained.
    """
    for name in settings.aggregators:
        _ = AGGREGATORS[name]  # refuses unknown names
    cells, left_out = choose_cells(settings.patterns, settings.clips, known=known)
    if not cells:
        raise SettingsError(
            f"there is nothing to run: {'; '.join(left_out)}. Type more {named('clips')} or other {named('patterns')}"
        )
    store = FeatureStore.open(settings.training.store)
    selections = {cell: selection_of(store, settings, cell) for cell in cells}
    tasks: list[SweepTask] = []
    num_training: dict[str, int] = {}
    trainings: dict[tuple[str, int, frozenset[str]], PreparedAggregatorTraining] = {}
    for aggregator in settings.aggregators:
        for cell in cells:
            first = SweepTask(aggregator=aggregator, pattern=cell[0], num_clips=cell[1], seed=0)
            # All that a refusal can depend on: the other patterns need not be prepared again.
            key = aggregator, cell[1], frozenset(selections[cell].backbones.values())
            if key not in trainings:
                trainings[key] = prepare(run_settings(settings, first))
            num_seeds = settings.num_seeds if trainings[key].training else 1  # without training, all would be equal
            own = [replace(first, seed=seed) for seed in range(num_seeds)]
            tasks += own
            count = len(trainings[key].training) + len(trainings[key].validation)
            num_training |= {task.name: count for task in own}
    test_videos = videos_of_split(store.manifest, settings.test_split, splits=_splits(store, settings))
    read = {own.selection.backbones[role] for own in trainings.values() for role in own.shapes}
    return SweepPlan(
        tasks=tuple(tasks),
        left_out=tuple(left_out),
        num_training=num_training,
        test=_videos_to_score(store, settings, selections),
        backbones=tuple(sorted(read)),
        shared_groups=next((own.shared_groups for own in trainings.values() if own.shared_groups), ""),
        unlabelled=max((own.unlabelled for own in trainings.values()), default=0)
        + sum(not store.manifest.videos[place].labels for place in test_videos),
    )


def selection_of(store: FeatureStore, settings: SweepSettings, cell: Cell) -> Selection:
    """Return the clips and backbones of one pattern at one number of clips.

    Raises:
        SettingsError: if the store lacks something; the message says what there is and what to type.
    """
    names = {"expensive": settings.training.expensive, "cheap": settings.training.cheap}
    return select(store, pattern=cell[0], num_clips=cell[1], names=names)


def _videos_to_score(
    store: FeatureStore, settings: SweepSettings, selections: Mapping[Cell, Selection]
) -> dict[Cell, npt.NDArray[np.int64]]:
    """Return the indices of the videos of the test split that have all features that each cell needs.

    Raises:
        SettingsError: if there are none.
        ManifestError: if there is no such split.
    """
    listed = videos_of_split(store.manifest, settings.test_split, splits=_splits(store, settings)).tolist()
    videos = np.array(labelled(store.manifest, listed, split=settings.test_split))
    found = {cell: videos[usable_videos(store, own)[videos]] for cell, own in selections.items()}
    if not all(map(len, found.values())):
        raise SettingsError(
            f"no video of the split {settings.test_split!r} is extracted in {store.path}, so nothing can be scored. "
            f"Run vidpipe extract with {named('split')} {settings.test_split} first, or name another "
            f"{named('test_split')}"
        )
    return found


def _splits(store: FeatureStore, settings: SweepSettings) -> Splits | None:
    """Return id -> split, if others than the store's own splits apply."""
    path = settings.training.splits
    return None if path is None else read_splits(path, of=store.manifest)


def shared_outcome(settings: SweepSettings) -> dict[str, Any]:
    """Return what the results of all runs depend on, as JSON reads it: a sweep goes on only if it is the same.

    Raises:
        StoreError, ManifestError: if there is no store, or the splits are not those of its videos.
    """
    training = {name: value for name, value in asdict(settings.training).items() if name not in _NOT_SHARED}
    training["optimisation"] = asdict(settings.training.optimisation.with_warmup(longest=LONGEST_WARMUP))
    training["optimisation"].pop("seed")
    if not training["options"]:
        del training["options"]  # sweeps had none once, and go on
    store = FeatureStore.open(settings.training.store)
    splits = _splits(store, settings)
    shared = {
        **training,
        "splits": None if splits is None else digest(splits),
        "device": resolve_device(settings.training.device).type,
        "manifest_digest": store.manifest.digest,
        "sampling": store.sampling.record(),
        "test_split": settings.test_split,
        "threads": settings.threads,
    }
    return json.loads(json.dumps(shared))
