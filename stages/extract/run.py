"""Run an expensive and a cheap backbone over videos once, and keep their feature maps in a store.

The plan is pure, a task is one video and owns whole shards, and only the coordinator records what became of it. So a
run may be stopped at any moment and continued, in this process or on a cluster, and ends with the same bytes.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...pipeline.backbones.engine import engine_provenance
from ...pipeline.errors import StoreError
from ...pipeline.execution import IN_PROCESS, SILENT, Progress, run_tasks, under_way
from ...pipeline.features.backbone_group import BackboneGroup
from ...pipeline.features.format import Status
from ...pipeline.features.recording import Recorder
from ...pipeline.features.store import EXTENDING, FeatureStore
from ...pipeline.features.store_attributes import refuse_other_content
from ...pipeline.features.table_changes import TableChanges
from ...pipeline.files import check_free_space
from ...pipeline.training.batches import prefetched
from .plan import (
    ExtractPlan,
    PreparedBackbone,
    PreparedExtraction,
    check_costs,
    counted,
    plan,
    prepare_run,
    videos_asked,
    with_stored_clips,
)
from .settings import ExtractSettings
from .task import ExtractJob, ExtractTask, TaskResult, compute, load, lost_task, prepare, run_task

_DECODED_AHEAD = 2  # decoded videos that wait in memory for the backbones


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractSummary:
    """The result of a run.

    Args:
        changes: what the run's manifest changed in a store that was there.
        done: videos extracted by this run.
        already_done: videos that had been extracted before it.
        failed: id -> reason, of the requested videos; those of earlier runs as well.
        left_out: id -> what of a damaged video was not used; likewise.
        num_tasks: videos that this run tried.
        num_clips: clips run, each counted once per backbone.
        seconds: wall clock; ``decode_seconds`` and ``compute_seconds`` (by backbone) add up over workers, and overlap.
    """

    store: Path
    changes: TableChanges
    done: int
    already_done: int
    failed: dict[str, str]
    left_out: dict[str, str]
    num_tasks: int
    num_clips: int
    gmacs: float
    seconds: float
    decode_seconds: float
    compute_seconds: dict[str, float]

    @property
    def nothing_to_do(self) -> bool:
        """Whether every video had been done, or had failed, before this run."""
        return self.num_tasks == 0


@dataclass(kw_only=True, slots=True)
class _Totals:
    """Running totals of a run, so that nothing is kept for each video."""

    done: int = 0
    num_clips: int = 0
    decode_seconds: float = 0.0
    compute_seconds: dict[str, float] = field(default_factory=dict)

    def add(self, result: TaskResult) -> None:
        """Count one finished task."""
        self.done += result.error is None
        self.num_clips += result.num_clips
        self.decode_seconds += result.decode_seconds
        for name, seconds in result.compute_seconds.items():
            self.compute_seconds[name] = self.compute_seconds.get(name, 0.0) + seconds


def planned_run(
    prepared: PreparedExtraction, *, locked: FeatureStore | None = None
) -> tuple[PreparedExtraction, ExtractPlan]:
    """Check the store of a run against it, and return what is left to do; writes nothing.

    No network is run or counted for a finished store: what its clips cost follows from weights, preprocessing and
    sampling, which are compared.

    Args:
        prepared: the run.
        locked: its store, if this process coordinates it already; None: it is opened to read it.

    Returns:
        The run, with the clips that its backbones had to see before; and the plan.

    Raises:
        StoreError: if the store was made from other files, sampling or backbones; each difference is named.
        SettingsError: if the roles are the wrong way round.
    """
    prepared, store, changes = _matching_store(prepared, locked=locked)
    todo = plan(prepared, store, changes=changes)
    if store is not None and todo.tasks:  # nothing is written beside what was counted otherwise
        _check_backbones(counted(prepared), store)
    return prepared, todo


def _matching_store(
    prepared: PreparedExtraction, *, locked: FeatureStore | None
) -> tuple[PreparedExtraction, FeatureStore | None, TableChanges]:
    """Return the run, the store as it will be when the run begins, None if there is none yet, and what changes in it.

    Raises:
        StoreError, SettingsError: as `planned_run`.
    """
    path = prepared.settings.store
    if not (path / "zarr.json").exists():
        refuse_other_content(path)
        check_costs(prepared)
        return prepared, None, TableChanges()
    store = locked or FeatureStore.open(path)
    change, changes = store.changed_by(prepared.manifest)  # first: with other videos, no other setting would help
    store.check_sampling(prepared.settings.sampling)
    prepared = with_stored_clips(prepared, store)
    check_costs(prepared)
    _check_backbones(prepared, store)
    return prepared, store.after(change), changes


def _check_backbones(prepared: PreparedExtraction, store: FeatureStore) -> None:
    """Refuse a store in which a backbone of the run was made from something else.

    Raises:
        StoreError: naming each difference.
    """
    for own in prepared.backbones:
        store.check_backbone(own.name, attributes=_attributes(prepared, own))


def run(
    settings: ExtractSettings,
    *,
    planned: Callable[[ExtractPlan], object] = lambda _: None,
    progress: Progress = SILENT,
) -> ExtractSummary:
    """Extract what is still missing.

    Args:
        settings: what to extract.
        planned: called with the plan before anything is written.
        progress: advanced by each video, with the reason if it failed.

    Raises:
        OutOfSpaceError: if the planned data does not fit on the disk, or the disk fills up; the store stays whole.
        StoreError: if the store was made from anything else; the difference is named.
        SettingsError, ManifestError, WeightsError: as `prepare_run`.
    """
    began = time.perf_counter()
    prepared = prepare_run(settings)
    totals = _Totals()
    with contextlib.ExitStack() as held:
        # Locked before the plan is made: what another run does between the two would not be in it.
        there = (settings.store / "zarr.json").exists()
        store = held.enter_context(FeatureStore.open_to_coordinate(settings.store)) if there else None
        prepared, todo = planned_run(prepared, locked=store)
        if todo.tasks:
            prepare(prepared.job)  # before anything is written: a network may not fit the device
        # Before the first video: a full disk after days of extraction would be a bad time to learn of it.
        check_free_space(settings.store, todo.num_bytes)
        planned(todo)
        if store is None:
            store = held.enter_context(
                FeatureStore.open_or_create(
                    settings.store, manifest=prepared.manifest, sampling=prepared.settings.sampling
                )
            )
            _refuse_begun(store)
        else:
            store.take_over(prepared.manifest, rules=EXTENDING)
        if prepared.job.record_content:
            store.record_content()
        groups = {own.name: store.add_backbone(own.name, **_attributes(prepared, own)) for own in prepared.backbones}
        with (
            under_way(progress, "extract", total=len(todo.tasks), unit="video"),
            Recorder(store) as recorder,
            contextlib.closing(_results(settings, prepared.job, todo.tasks)) as finished,
        ):
            for result in finished:
                _record(recorder, result)
                totals.add(result)
                failed = result.error is not None
                progress.advance(note=f"failed: {result.task.video.video_id}: {result.error}" if failed else "")
        for group in groups.values():
            group.settle()
        return _summary(prepared, todo, groups, totals, time.perf_counter() - began)


def _refuse_begun(store: FeatureStore) -> None:
    """Refuse a store that another run has begun since the plan found none.

    Raises:
        StoreError: if it has.
    """
    if store.backbones():
        raise StoreError(f"{store.path} was begun by another command at the same time. Give this one again.")


def _attributes(prepared: PreparedExtraction, own: PreparedBackbone) -> dict[str, Any]:
    """Return the arguments of `FeatureStore.add_backbone`: what a backbone's part of the store is made of."""
    return {
        "feature_shape": own.feature_shape,
        "num_classes": len(own.weights.classes),
        "due": own.job.clips,
        "provenance": _provenance(prepared, own),
        "compression": prepared.settings.compression,
    }


def _provenance(prepared: PreparedExtraction, own: PreparedBackbone) -> dict[str, Any]:
    """Return all that a backbone's maps depend on beside manifest and sampling; later, any difference is refused."""
    return {
        "role": own.job.role,
        "backbone": own.name,
        "weights_sha256": own.weights.digest,
        "classes": list(own.weights.classes),
        "preprocessing": own.weights.preprocessing.record(),
        "engine": engine_provenance(prepared.job.engine),
        "pattern": own.pattern,
        "gmacs_per_clip": own.gmacs_per_clip,
        # Decoding and arithmetic may change with these in the last bits, and stores are compared bit for bit.
        "versions": {name: version(name) for name in ("av", "torch")},
    }


def _results(
    settings: ExtractSettings, job: ExtractJob, tasks: Sequence[ExtractTask]
) -> Generator[TaskResult, None, None]:
    # In one process a thread decodes ahead; workers of a cluster overlap by being several.
    if settings.scheduler == IN_PROCESS:
        yield from _decoded_ahead(job, tasks)
    else:
        yield from run_tasks(
            partial(run_task, job),
            tasks,
            scheduler=settings.scheduler,
            workers=settings.workers,
            threads_per_worker=job.engine.threads or 1,
            lost=lost_task,
        )


def _decoded_ahead(job: ExtractJob, tasks: Iterable[ExtractTask]) -> Generator[TaskResult, None, None]:
    """Do tasks in this process, in order, while a thread decodes the next videos."""
    batches = prefetched(partial(load, job), ([task] for task in tasks), workers=1, ahead=_DECODED_AHEAD)
    with contextlib.closing(batches):
        # A loop's variable would keep each decoded video, which is large, until the next; map and chain do not.
        yield from map(partial(compute, job), itertools.chain.from_iterable(batches))


def _record(recorder: Recorder, result: TaskResult) -> None:
    """Record what became of a video: after its shards, so that a video marked done is done."""
    task = result.task
    # A video that fails keeps the clips that it has.
    states = {name: Status.PARTLY_FAILED if name in task.extended else Status.FAILED for name in task.backbones}
    if result.error is None:
        states = dict.fromkeys(task.backbones, Status.DONE)
    words = result.left_out if result.error is None else result.error
    recorder.record(task.index, status=states, words=words, clip_start=result.clip_start, content=result.content)


def _summary(
    prepared: PreparedExtraction,
    todo: ExtractPlan,
    groups: dict[str, BackboneGroup],
    totals: _Totals,
    seconds: float,
) -> ExtractSummary:
    videos, asked = prepared.manifest.videos, videos_asked(prepared)
    failed = {
        videos[index].video_id: reason
        for group in groups.values()
        for index, reason in group.errors().items()
        if asked[index]
    }
    left_out = {
        videos[index].video_id: words
        for group in groups.values()
        for index, words in group.left_out().items()
        if asked[index]
    }
    return ExtractSummary(
        store=prepared.settings.store,
        changes=todo.changes,
        done=totals.done,
        already_done=int(asked.sum()) - len(todo.tasks),
        failed=dict(sorted(failed.items())),
        left_out=dict(sorted(left_out.items())),
        num_tasks=len(todo.tasks),
        num_clips=totals.num_clips,
        gmacs=sum(own.gmacs for own in todo.backbones),
        seconds=seconds,
        decode_seconds=totals.decode_seconds,
        compute_seconds=totals.compute_seconds,
    )
