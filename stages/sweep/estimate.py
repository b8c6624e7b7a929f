"""What a sweep will cost, by estimate: a few real steps of each aggregator are timed; ``out`` is not touched."""

import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...pipeline.aggregators.weights import load_aggregator
from ...pipeline.backbones.devices import resolve_device
from ...pipeline.execution import LOCAL, SILENT, Progress, under_way
from ...pipeline.features.backbone_group import BackboneGroup
from ...pipeline.features.format import Status
from ...pipeline.features.local_copies import check_space, write_maps
from ...pipeline.features.store import FeatureStore
from ...pipeline.files import bytes_on_disk, check_free_space
from ...pipeline.inference.predict import predict
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import WEIGHTS_FILE
from ..train_aggregator.plan import PreparedAggregatorTraining, prepare
from ..train_aggregator.run import train
from ..train_aggregator.settings import TrainAggregatorSettings
from .plan import SweepPlan, SweepTask, plan, resolve, run_settings, shared_outcome
from .run import absolute, copies_folder, known_patterns, unfinished
from .settings import SweepSettings
from .task import one_of_many

_TIMED_BATCHES, _TIMED_EPOCHS = 4, 3
_TIMED_READS = 8  # videos


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEstimate:
    """What one run of an aggregator will probably cost.

    Attributes:
        gmacs: 10^9 multiply-accumulates per video, backbones included.
        num_weights: to train.
        epochs: at most.
        epoch_seconds: of one pass over all training and held-out videos.
        other_seconds: of all that does not depend on the epochs: opening the store, pictures, scoring the test split.
        num_bytes: of its directory, at the end.
    """

    aggregator: str
    pattern: str
    num_clips: int
    gmacs: float
    num_weights: int
    epochs: int
    epoch_seconds: float
    other_seconds: float
    num_bytes: int

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.other_seconds + self.epochs * self.epoch_seconds

    @property
    def checkpoint_bytes(self) -> int:
        """Of the checkpoint, while it trains: the weights, the best ones, and two moments of each."""
        return 4 * 4 * self.num_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEstimate:
    """What is left to do, and what it will probably cost.

    Attributes:
        plan: all runs.
        num_todo: those without a score yet.
        runs: what was timed: each aggregator at its fewest and at its most clips.
        copy_bytes: of the copies of the maps that each machine makes.
        copy_seconds: to make them, once per machine.
        copies: the folder for them; None if none are made.
        free_copy_bytes: on its disk.
        run_bytes: at most, of all runs' directories.
        free_run_bytes: on their disk.
        workers: how many runs go on in parallel.
        total_seconds: wall clock, if every run trains all its epochs.
    """

    plan: SweepPlan
    num_todo: int
    runs: tuple[RunEstimate, ...]
    copy_bytes: int
    copy_seconds: float
    copies: Path | None
    free_copy_bytes: int
    run_bytes: int
    free_run_bytes: int
    workers: int
    total_seconds: float


def estimate(settings: SweepSettings, *, progress: Progress = SILENT) -> SweepEstimate:
    """Time a few steps of each aggregator at its fewest and most clips, and estimate what the rest will take.

    Args:
        settings: of the sweep.
        progress: advanced by each run that is timed.

    Raises:
        SettingsError, ManifestError, StoreError, RunError, OutOfSpaceError: as the sweep itself would.
    """
    settings = resolve(settings)
    settings = absolute(settings)
    whole = plan(settings, known=known_patterns(settings.out, shared_outcome(settings)))
    todo = unfinished(settings, whole)
    copies = copies_folder(settings) if settings.copies else None
    copy_bytes, copy_seconds = _copying(settings, whole, copies)
    runs, timed = list[RunEstimate](), _timed_tasks(todo)
    with under_way(progress, "timing", total=len(timed), unit="run"):
        for task in timed:
            runs.append(_time_run(settings, whole, task))
            progress.advance()
    each = [_between([run for run in runs if run.aggregator == task.aggregator], task) for task in todo]
    workers = (settings.workers or os.cpu_count() or 1) if settings.scheduler == LOCAL else 1
    seconds = [run.seconds for run in each]
    return SweepEstimate(
        plan=whole,
        num_todo=len(todo),
        runs=tuple(runs),
        copy_bytes=copy_bytes,
        copy_seconds=copy_seconds,
        copies=copies,
        free_copy_bytes=check_free_space(copies or settings.out, 0),
        run_bytes=sum(run.num_bytes for run in each) + workers * max((run.checkpoint_bytes for run in each), default=0),
        free_run_bytes=check_free_space(settings.out, 0),
        workers=workers,
        # Evenly shared, but never shorter than the longest run.
        total_seconds=copy_seconds + max(sum(seconds) / workers, max(seconds, default=0.0)),
    )


def _timed_tasks(todo: Sequence[SweepTask]) -> list[SweepTask]:
    """Return a task of each aggregator with the fewest and one with the most clips."""
    ends: dict[SweepTask, None] = {}
    for aggregator in dict.fromkeys(task.aggregator for task in todo):
        own = sorted((task for task in todo if task.aggregator == aggregator), key=lambda task: task.num_clips)
        ends |= dict.fromkeys((own[0], own[-1]) if own[0].num_clips < own[-1].num_clips else own[:1])
    return list(ends)


def _between(runs: Sequence[RunEstimate], task: SweepTask) -> RunEstimate:
    """Return an estimate between those of the fewest and the most clips, in proportion."""
    low, high = runs[0], runs[-1]
    share = (task.num_clips - low.num_clips) / max(1, high.num_clips - low.num_clips)
    names = ("epoch_seconds", "other_seconds")
    between = {name: (1 - share) * getattr(low, name) + share * getattr(high, name) for name in names}
    return replace(high, pattern=str(task.pattern), num_clips=task.num_clips, **between)


def _time_run(settings: SweepSettings, whole: SweepPlan, task: SweepTask) -> RunEstimate:
    """Train and score on a few videos with the real code, in a temporary directory."""
    with one_of_many(settings.threads), tempfile.TemporaryDirectory(prefix="vidpipe-") as scratch:
        own = replace(run_settings(settings, task), out=Path(scratch) / "run", cache_gib=math.inf)
        began = time.perf_counter()
        prepared = prepare(own)
        opening = time.perf_counter() - began
        few = _few_videos(prepared, _TIMED_BATCHES * own.optimisation.batch_size)
        _train_few(own, few, epochs=1)  # reads the maps into memory, and prepares kernels
        step, rest = _train_few(own, few, epochs=_TIMED_EPOCHS)
        test = whole.test[task.pattern, task.num_clips]
        score = _time_scoring(own, few, test)
        result = RunDirectory.open(own.out).result
        return RunEstimate(
            aggregator=task.aggregator,
            pattern=str(task.pattern),
            num_clips=task.num_clips,
            gmacs=result["gmacs"],
            num_weights=result["num_weights"],
            epochs=own.optimisation.epochs if prepared.training else 0,
            epoch_seconds=step * len(prepared.training) + score * len(prepared.validation),
            other_seconds=2 * opening + rest + score * len(test),
            num_bytes=bytes_on_disk(own.out),
        )


def _few_videos(prepared: PreparedAggregatorTraining, number: int) -> PreparedAggregatorTraining:
    """Return the same training on at most so many videos, with its share of held-out ones."""
    share = min(1.0, number / max(1, len(prepared.training)))
    num_held_out = math.ceil(share * len(prepared.validation))
    return replace(prepared, training=prepared.training[:number], validation=prepared.validation[:num_held_out])


def _train_few(own: TrainAggregatorSettings, few: PreparedAggregatorTraining, *, epochs: int) -> tuple[float, float]:
    """Return the seconds of a video in an epoch of training, and those of everything outside of epochs."""
    shutil.rmtree(own.out, ignore_errors=True)
    optimisation = replace(own.optimisation, epochs=epochs, warmup_epochs=0.0, patience=0)
    with RunDirectory.open_or_create(own.out, settings={}) as directory:
        began = time.perf_counter()
        train(replace(own, optimisation=optimisation), few, directory)
        whole = time.perf_counter() - began
        seconds = [record["seconds"] for record in directory.read_metrics()]
    return statistics.median(seconds or [0.0]) / max(1, len(few.training)), whole - sum(seconds)


def _time_scoring(own: TrainAggregatorSettings, few: PreparedAggregatorTraining, test: npt.NDArray[np.int64]) -> float:
    """Return the seconds to predict one of the ``test`` videos."""
    model, _ = load_aggregator(own.out / WEIGHTS_FILE)
    model = model.to(resolve_device(own.device))
    videos = test[: _TIMED_BATCHES * own.optimisation.batch_size].tolist()
    predict(model, few.inputs, videos, batch_size=own.optimisation.batch_size)  # reads the maps into memory
    began = time.perf_counter()
    predict(model, few.inputs, videos, batch_size=own.optimisation.batch_size)
    return (time.perf_counter() - began) / len(videos)


def _copying(settings: SweepSettings, whole: SweepPlan, copies: Path | None) -> tuple[int, float]:
    """Return the bytes of the copies that this machine still has to make, and the seconds for that."""
    if copies is None:
        return 0, 0.0
    store = FeatureStore.open(settings.training.store)
    groups = [store.backbone(name) for name in whole.backbones]
    seconds = sum(_time_copying(group) for group in groups if check_space([group], copies))
    return check_space(groups, copies), seconds


def _time_copying(group: BackboneGroup) -> float:
    videos = np.flatnonzero(group.status() == Status.DONE).tolist()
    some = videos[:: max(1, len(videos) // _TIMED_READS)][:_TIMED_READS]
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        write_maps(file, group, some)
        return (time.perf_counter() - began) * len(videos) / len(some)
