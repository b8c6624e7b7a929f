"""Run an expensive and a cheap backbone over videos once, and keep their feature maps in a store.

The plan is pure, tasks are one video each and own whole shards, and the coordinator alone records what became of them;
so a run may be stopped at any moment and gone on with, in this process or on a cluster, to the same bytes.
"""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..pipeline.backbones import feature_shape
from ..pipeline.clips import ClipSampling
from ..pipeline.engine import EngineSettings, resolve_device, resolve_precision
from ..pipeline.errors import SettingsError
from ..pipeline.execution import IN_PROCESS, check_scheduler, run_tasks
from ..pipeline.flops import backbone_macs
from ..pipeline.manifest import Manifest, read_manifest
from ..pipeline.patterns import Pattern
from ..pipeline.store import FeatureStore
from ..pipeline.store_backbone import BackboneGroup
from ..pipeline.store_format import DEFAULT_COMPRESSION, Status, backbone_bytes, check_free_space, index_bytes
from ..pipeline.weights import Weights
from .extract_task import (
    BackboneJob,
    ExtractJob,
    ExtractTask,
    LoadedVideo,
    TaskResult,
    compute,
    load,
    prepare,
    run_task,
    weights_of,
)

ALL_EXPENSIVE = Pattern.parse("all-expensive")
DECODED_AHEAD = 2  # videos that wait in memory, decoded, for the backbones
Progress = Callable[[TaskResult], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleWeights:
    """The weights that play a role; ``backbone`` is the name that they must carry."""

    backbone: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractSettings:
    """What to extract, and where.

    Args:
        manifest: the list of videos.
        store: the feature store, made if it is not there.
        expensive: the expensive backbone; None leaves the role out.
        cheap: the cheap backbone; None leaves the role out.
        sampling: where the clips lie.
        pattern: the clips that the expensive backbone sees; the cheap one sees all.
        split: extract these videos alone; the store has room for all.
        size: crop in pixels; None takes what each backbone was trained with.
        engine: device, precision, batch, threads.
        compression: of the maps: zstd, lz4 or none.
        scheduler: ``none`` (in this process), ``local`` or ``tcp://host:port``.
        workers: processes of ``local``.
        retry_failed: try the videos again that failed before.
    """

    manifest: Path
    store: Path
    expensive: RoleWeights | None = None
    cheap: RoleWeights | None = None
    sampling: ClipSampling = field(default_factory=ClipSampling)
    pattern: Pattern = ALL_EXPENSIVE
    split: str | None = None
    size: int | None = None
    engine: EngineSettings = field(default_factory=EngineSettings)
    compression: str = DEFAULT_COMPRESSION
    scheduler: str = IN_PROCESS
    workers: int | None = None
    retry_failed: bool = False

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            SettingsError: naming what is wrong and what to type.
        """
        check_scheduler(self.scheduler, self.workers)
        if self.expensive is None and self.cheap is None:
            raise SettingsError("give --expensive NAME=WEIGHTS, --cheap NAME=WEIGHTS, or both; got neither")
        if self.expensive and self.cheap and self.expensive.backbone == self.cheap.backbone:
            raise SettingsError(f"--expensive and --cheap must differ; both are {self.cheap.backbone}")
        if self.expensive is None and self.pattern != ALL_EXPENSIVE:
            raise SettingsError(f"--pattern {self.pattern} says what the expensive backbone sees; give --expensive")

    def job(self) -> ExtractJob:
        """Return what workers need to know.

        Raises:
            SettingsError: if the pattern makes no clip expensive though a backbone is given.
        """
        backbones = []
        if self.expensive:
            clips = self.pattern.expensive(self.sampling.num_clips)
            if not clips.any():
                raise SettingsError(f"--pattern {self.pattern} leaves --expensive nothing to do; leave --expensive out")
            backbones.append(self._backbone_job("expensive", self.expensive, clips.tolist()))
        if self.cheap:
            backbones.append(self._backbone_job("cheap", self.cheap, [True] * self.sampling.num_clips))
        device = resolve_device(self.engine.device)  # here, so that all workers do the same
        precision = resolve_precision(self.engine.precision, device)
        threads = self.engine.threads or torch.get_num_threads()
        engine = replace(self.engine, device=str(device), precision=precision, threads=threads)
        return ExtractJob(store=self.store, sampling=self.sampling, backbones=tuple(backbones), engine=engine)

    def _backbone_job(self, role: str, given: RoleWeights, clips: Sequence[bool]) -> BackboneJob:
        return BackboneJob(role=role, weights=given.path, crop=self.size, clips=tuple(clips))


@dataclass(frozen=True, kw_only=True, slots=True)
class BackbonePlan:
    """What one backbone has to do.

    Args:
        name: of the backbone.
        role: ``expensive`` or ``cheap``.
        num_videos: videos still to be done.
        clips_per_video: clips it sees of each, over all views.
        gmacs_per_clip: 10^9 multiply-accumulates.
        feature_shape: (T', H', W', C).
        num_bytes: room that the maps take at most.
    """

    name: str
    role: str
    num_videos: int
    clips_per_video: int
    gmacs_per_clip: float
    feature_shape: tuple[int, int, int, int]
    num_bytes: int

    @property
    def num_clips(self) -> int:
        """Clips still to be run."""
        return self.num_videos * self.clips_per_video

    @property
    def gmacs(self) -> float:
        """10^9 multiply-accumulates still to be spent."""
        return self.num_clips * self.gmacs_per_clip


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractPlan:
    """The tasks of a run, one a video, and what they cost."""

    tasks: tuple[ExtractTask, ...]
    backbones: tuple[BackbonePlan, ...]
    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractSummary:
    """What a run came to.

    Args:
        done: videos extracted by this run.
        already_done: videos that had been extracted before it.
        failed: id -> reason, of the videos asked for; those of earlier runs as well.
        num_clips: clips run, each counted once a backbone.
        seconds: wall clock; ``decode_seconds`` and ``compute_seconds`` (by backbone) add up over workers, and overlap.
    """

    store: Path
    done: int
    already_done: int
    failed: dict[str, str]
    num_clips: int
    gmacs: float
    seconds: float
    decode_seconds: float
    compute_seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A run that has been checked: its inputs, read."""

    settings: ExtractSettings
    manifest: Manifest
    job: ExtractJob
    weights: dict[str, Weights]


def prepare_run(settings: ExtractSettings) -> Prepared:
    """Read manifest and weights and check that they fit each other.

    Raises:
        SettingsError, ManifestError, WeightsError: for what does not fit.
    """
    job = settings.job()
    manifest = read_manifest(settings.manifest)
    if settings.split is not None:
        manifest.subset(settings.split)  # refuses a split that is not there
    weights = {}
    for given, backbone in zip(filter(None, (settings.expensive, settings.cheap)), job.backbones, strict=True):
        own = weights_of(backbone)
        if own.backbone != given.backbone:
            raise SettingsError(f"{given.path} holds {own.backbone}; --{backbone.role} calls it {given.backbone}")
        _check_clip_length(own, settings.sampling)
        weights[own.backbone] = own
    return Prepared(settings=settings, manifest=manifest, job=job, weights=weights)


def _check_clip_length(weights: Weights, sampling: ClipSampling) -> None:
    """Refuse clips of other frames than the backbone was trained on: its scores would mean nothing."""
    trained = (weights.num_frames, weights.sampling_rate)
    if trained != (sampling.num_frames, sampling.sampling_rate):
        raise SettingsError(
            f"{weights.backbone} was trained on clips of {trained[0]} frames at stride {trained[1]}; asked for are "
            f"{sampling.num_frames} at stride {sampling.sampling_rate}. "
            f"Give --frames {trained[0]} --stride {trained[1]}"
        )


def plan(prepared: Prepared, store: FeatureStore | None) -> ExtractPlan:
    """Return what is left to do, and what it costs; ``store`` is None where none exists yet. Writes nothing."""
    settings, manifest = prepared.settings, prepared.manifest
    wanted = [i for i, video in enumerate(manifest.videos) if settings.split in (None, video.split)]
    due: dict[int, list[str]] = {index: [] for index in wanted}
    for name in prepared.weights:
        pending = range(len(manifest))
        if store is not None and name in store.backbones():
            pending = store.backbone(name).pending(retry_failed=settings.retry_failed).tolist()
        for index in pending:
            if index in due:
                due[index].append(name)
    tasks = tuple(
        ExtractTask(index=index, video=manifest.videos[index], backbones=tuple(names))
        for index, names in due.items()
        if names
    )
    counts = Counter(name for task in tasks for name in task.backbones)
    backbones = tuple(_backbone_plan(prepared, job, counts) for job in prepared.job.backbones)
    fresh = len(manifest) if store is None else 0
    sampling = settings.sampling
    shared = index_bytes(num_videos=fresh, num_views=sampling.views, num_clips=sampling.num_clips)
    return ExtractPlan(tasks=tasks, backbones=backbones, num_bytes=shared + sum(b.num_bytes for b in backbones))


def _backbone_plan(prepared: Prepared, job: BackboneJob, counts: Counter[str]) -> BackbonePlan:
    weights = next(
        own for own, each in zip(prepared.weights.values(), prepared.job.backbones, strict=True) if each is job
    )
    sampling, name, crop = prepared.settings.sampling, weights.backbone, weights.preprocessing.crop
    num_classes = len(weights.classes)
    shape = feature_shape(name, num_frames=sampling.num_frames, size=crop)
    macs = backbone_macs(name, num_frames=sampling.num_frames, size=crop, num_classes=num_classes)
    return BackbonePlan(
        name=name,
        role=job.role,
        num_videos=counts[name],
        clips_per_video=sum(job.clips) * sampling.views,
        gmacs_per_clip=macs / 1e9,
        feature_shape=shape,
        num_bytes=backbone_bytes(
            num_videos=counts[name],
            num_views=sampling.views,
            due=job.clips,
            feature_shape=shape,
            num_classes=num_classes,
        ),
    )


def existing_store(path: Path) -> FeatureStore | None:
    """Open the store at ``path`` to read it, or return None where nothing is yet."""
    return FeatureStore.open(path) if path.exists() else None


def run(settings: ExtractSettings, *, planned: Callable[[ExtractPlan], Progress] | None = None) -> ExtractSummary:
    """Extract what is still missing.

    Args:
        settings: what to extract.
        planned: called with the plan before anything is written; returns what is called with each finished task.

    Raises:
        OutOfSpaceError: if the disk does not hold what is planned, or fills up; the store stays whole.
        StoreError: if the store was made from anything else, naming the difference.
        SettingsError, ManifestError, WeightsError: as `prepare_run`.
    """
    began = time.perf_counter()
    prepared = prepare_run(settings)
    todo = plan(prepared, existing_store(settings.store))
    check_free_space(settings.store, todo.num_bytes)
    sampling = settings.sampling
    with FeatureStore.open_or_create(settings.store, manifest=prepared.manifest, sampling=sampling) as store:
        groups = {own.name: _add_backbone(store, prepared, own) for own in todo.backbones}
        progress = planned(todo) if planned else lambda _: None
        results = []
        with contextlib.closing(_results(settings, prepared.job, todo.tasks)) as finished:
            for result in finished:
                _record(store, groups, result)
                results.append((result.error, result.num_clips, result.decode_seconds, result.compute_seconds))
                progress(result)
        return _summary(prepared, todo, groups, results, time.perf_counter() - began)


def _add_backbone(store: FeatureStore, prepared: Prepared, own: BackbonePlan) -> BackboneGroup:
    weights = prepared.weights[own.name]
    job = next(job for job in prepared.job.backbones if job.role == own.role)
    return store.add_backbone(
        own.name,
        feature_shape=own.feature_shape,
        num_classes=len(weights.classes),
        due=job.clips,
        provenance=_provenance(prepared, own, weights),
        compression=prepared.settings.compression,
    )


def _provenance(prepared: Prepared, own: BackbonePlan, weights: Weights) -> dict[str, Any]:
    """Return all that a backbone's maps depend on, beside manifest and sampling; any difference is refused later."""
    return {
        "role": own.role,
        "backbone": own.name,
        "weights_sha256": weights.digest,
        "classes": list(weights.classes),
        "preprocessing": asdict(weights.preprocessing),
        "engine": prepare(prepared.job)[own.name].engine.provenance,
        "pattern": str(prepared.settings.pattern) if own.role == "expensive" else "all",
        "gmacs_per_clip": own.gmacs_per_clip,
        "versions": {name: version(name) for name in ("av", "torch")},
    }


def _results(
    settings: ExtractSettings, job: ExtractJob, tasks: Sequence[ExtractTask]
) -> Generator[TaskResult, None, None]:
    if settings.scheduler == IN_PROCESS:
        yield from decoded_ahead(job, tasks)
    else:
        yield from run_tasks(
            partial(run_task, job),
            tasks,
            scheduler=settings.scheduler,
            workers=settings.workers,
            threads_per_worker=job.engine.threads or 1,
        )


def decoded_ahead(job: ExtractJob, tasks: Iterable[ExtractTask]) -> Generator[TaskResult, None, None]:
    """Do tasks in this process, in order, while a thread decodes the videos that come next."""
    waiting: deque[Future[LoadedVideo]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as decoder:
        try:
            for task in tasks:
                waiting.append(decoder.submit(load, job, task))
                if len(waiting) > DECODED_AHEAD:
                    yield compute(job, waiting.popleft().result())
            while waiting:
                yield compute(job, waiting.popleft().result())
        finally:
            decoder.shutdown(wait=True, cancel_futures=True)


def _record(store: FeatureStore, groups: dict[str, BackboneGroup], result: TaskResult) -> None:
    """Write down what became of a video: after its shards, so that what says done is done."""
    index = result.task.index
    if result.clip_start is not None:
        store.set_clip_starts(index, result.clip_start)
    for name in result.task.backbones:
        if result.error is None:
            groups[name].mark(index, Status.DONE)
        else:
            groups[name].mark(index, Status.FAILED, result.error)


def _summary(
    prepared: Prepared,
    todo: ExtractPlan,
    groups: dict[str, BackboneGroup],
    results: Sequence[tuple[str | None, int, float, dict[str, float]]],
    seconds: float,
) -> ExtractSummary:
    videos, split = prepared.manifest.videos, prepared.settings.split
    failed = {
        videos[index].video_id: reason
        for group in groups.values()
        for index, reason in group.errors().items()
        if split in (None, videos[index].split)
    }
    wanted = sum(split in (None, video.split) for video in videos)
    compute_seconds: Counter[str] = Counter()
    for *_, by_backbone in results:
        compute_seconds.update(by_backbone)
    return ExtractSummary(
        store=prepared.settings.store,
        done=sum(error is None for error, *_ in results),
        already_done=wanted - len(todo.tasks),
        failed=dict(sorted(failed.items())),
        num_clips=sum(num_clips for _, num_clips, *_ in results),
        gmacs=sum(own.gmacs for own in todo.backbones),
        seconds=seconds,
        decode_seconds=sum(decode for _, _, decode, _ in results),
        compute_seconds=dict(compute_seconds),
    )
