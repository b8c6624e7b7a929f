"""What is left to do of an extraction: checked inputs, and the plan; writes nothing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ...pipeline.backbones.checks import check_clip, check_differ, check_roles, load_named
from ...pipeline.backbones.devices import resolve_device, resolve_precision
from ...pipeline.backbones.registry import feature_shape
from ...pipeline.backbones.weights import Weights, averaged
from ...pipeline.checkpoints.ready import Given, ready_file
from ...pipeline.costs.flops import backbone_macs
from ...pipeline.execution import IN_PROCESS, LOCAL
from ...pipeline.features.format import PARTIAL, Status, backbone_bytes, index_bytes
from ...pipeline.features.patterns import EXPENSIVE, joined_name
from ...pipeline.features.store import FeatureStore
from ...pipeline.features.table_changes import TableChanges
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.videos.clips import ClipSampling
from ...pipeline.videos.strides import look_at_some, share_seen
from .memory import check_fits
from .settings import ExtractSettings, RoleWeights
from .task import BackboneJob, ExtractJob, cropped
from .tasks import ALL_CLIPS, MISSING_CLIPS, NOTHING, Tasks


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedBackbone:
    """One backbone of a run: its weights, what workers need to know about it, and what a clip costs.

    Args:
        weights: with the requested crop.
        job: what workers need to know.
        pattern: that makes the job's clips due, for the store's provenance.
        num_frames: L.
        feature_shape: (T', H', W', C).
        recorded_gmacs: what a clip costs by the store, if that has this backbone.
    """

    weights: Weights
    job: BackboneJob
    pattern: str
    num_frames: int
    feature_shape: tuple[int, int, int, int]
    recorded_gmacs: float | None = None

    @property
    def name(self) -> str:
        """Of the backbone."""
        return self.weights.backbone

    @property
    def gmacs_per_clip(self) -> float:
        """10^9 multiply-accumulates, as recorded or else counted; the first count of a process takes seconds."""
        if self.recorded_gmacs is not None:
            return self.recorded_gmacs
        size, num_classes = self.weights.preprocessing.crop, len(self.weights.classes)
        return backbone_macs(self.name, num_frames=self.num_frames, size=size, num_classes=num_classes) / 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedExtraction:
    """A run that has been checked: its inputs, read."""

    settings: ExtractSettings
    manifest: Manifest
    job: ExtractJob
    backbones: tuple[PreparedBackbone, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackbonePlan:
    """What one backbone has to do.

    Args:
        name: of the backbone.
        role: ``expensive`` or ``cheap``.
        num_videos: videos still to be done.
        num_clips: clips still to be run, over all views.
        gmacs_per_clip: 10^9 multiply-accumulates.
        feature_shape: (T', H', W', C).
        num_bytes: that the maps take at most.
    """

    name: str
    role: str
    num_videos: int
    num_clips: int
    gmacs_per_clip: float
    feature_shape: tuple[int, int, int, int]
    num_bytes: int

    @property
    def gmacs(self) -> float:
        """10^9 multiply-accumulates still to do."""
        return self.num_clips * self.gmacs_per_clip


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractPlan:
    """The tasks of a run, one per video, and what they cost; and what the manifest changes in an existing store.

    Args:
        sampling: where the clips lie.
        share_seen: of a typical video, what its clips of one view see together; None if no video was to be read.
    """

    tasks: Tasks
    backbones: tuple[BackbonePlan, ...]
    num_bytes: int
    sampling: ClipSampling
    share_seen: float | None
    changes: TableChanges


def prepare_run(settings: ExtractSettings) -> PreparedExtraction:
    """Read manifest and weights and check that they fit each other.

    Raises:
        SettingsError, ManifestError, WeightsError: if they do not.
    """
    roles = list(settings.roles())
    manifest = read_manifest(settings.manifest)
    if settings.split is not None:
        manifest.subset(settings.split)  # refuses a split that is not there
    # Settings are checked before weights are read, and all of it before anything is written.
    backbones = tuple(_prepare_backbone(settings, role, given, clips) for role, given, clips in roles)
    check_differ({own.job.role: own.name for own in backbones})
    check_fits(settings, [own.weights for own in backbones])
    job = _job(settings, [own.job for own in backbones])
    return PreparedExtraction(settings=settings, manifest=manifest, job=job, backbones=backbones)


def _job(settings: ExtractSettings, backbones: Sequence[BackboneJob]) -> ExtractJob:
    """Return what workers need to know; they may have other working directories, so paths are absolute.

    Raises:
        SettingsError: if this machine lacks the device or the precision.
    """
    device = resolve_device(settings.engine.device)  # here, so that all workers do the same
    precision = resolve_precision(settings.engine.precision, device)
    threads = settings.engine.threads or _fair_threads(settings)
    engine = replace(settings.engine, device=str(device), precision=precision, threads=threads)
    absolute = tuple(replace(own, weights=own.weights.absolute()) for own in backbones)
    return ExtractJob(
        store=settings.store.absolute(),
        sampling=settings.sampling,
        backbones=absolute,
        engine=engine,
        record_content=settings.record_content,
    )


def _fair_threads(settings: ExtractSettings) -> int:
    """Return the threads of each worker if none are asked for: a fair share of this machine's cores.

    About a running cluster nothing is known, so torch's own choice is used.
    """
    cores = os.cpu_count() or 1
    if settings.scheduler == IN_PROCESS:
        return cores
    return max(1, cores // (settings.workers or cores)) if settings.scheduler == LOCAL else torch.get_num_threads()


def _prepare_backbone(
    settings: ExtractSettings, role: str, given: RoleWeights, clips: tuple[bool, ...]
) -> PreparedBackbone:
    path = ready_file(Given(backbone=given.backbone, place=given.path), role=role)
    loaded = load_named(path, backbone=given.backbone, role=role)
    weights = averaged(cropped(loaded, settings.crop), settings.pool_time)
    name, crop, num_frames = weights.backbone, weights.preprocessing.crop, settings.sampling.num_frames
    check_clip(weights, settings.sampling)
    return PreparedBackbone(
        weights=weights,
        pattern=str(settings.pattern) if role == EXPENSIVE else "all",
        job=BackboneJob(
            role=role,
            weights=path,
            digest=weights.digest,
            crop=settings.crop,
            pool_time=settings.pool_time,
            clips=clips,
        ),
        num_frames=num_frames,
        feature_shape=feature_shape(name, num_frames=num_frames, size=crop),
    )


def check_costs(prepared: PreparedExtraction) -> None:
    """Refuse roles that are the wrong way round.

    Raises:
        SettingsError: if the expensive backbone costs less than the cheap one.
    """
    check_roles({own.job.role: (own.name, own.gmacs_per_clip) for own in prepared.backbones})


def plan(prepared: PreparedExtraction, store: FeatureStore | None, *, changes: TableChanges) -> ExtractPlan:
    """Return what is left to do, and what it costs. Writes nothing.

    A few of the videos are opened, to tell how much of them their clips see.

    Args:
        prepared: the run, with the clips that it makes due (`with_stored_clips`).
        store: as it will be when the run begins; None if none exists yet.
        changes: what the manifest changes in it.
    """
    manifest, sampling = prepared.manifest, prepared.settings.sampling
    tasks = _tasks(prepared, store)
    backbones = tuple(_backbone_plan(own, tasks.states(own.name), sampling, store) for own in prepared.backbones)
    # The columns of an existing store are on disk already.
    fresh = len(manifest) if store is None else len(changes.added)
    shared = index_bytes(num_videos=fresh, num_views=sampling.num_views, num_clips=sampling.num_clips)
    stretches = look_at_some(tasks.videos)
    return ExtractPlan(
        tasks=tasks,
        backbones=backbones,
        num_bytes=shared + sum(own.num_bytes for own in backbones),
        sampling=sampling,
        share_seen=share_seen(stretches, sampling) if stretches else None,
        changes=changes,
    )


def videos_asked(prepared: PreparedExtraction) -> npt.NDArray[np.bool_]:
    """Return (M,) bool: which of the manifest's videos are to be extracted."""
    split, videos = prepared.settings.split, prepared.manifest.videos
    if split is None:
        return np.ones(len(videos), bool)
    return np.array([name == split for name in videos.cells("split")], bool)


def _tasks(prepared: PreparedExtraction, store: FeatureStore | None) -> Tasks:
    """Return a task for each video of the split that any backbone still has to see, in the manifest's order."""
    settings, videos = prepared.settings, prepared.manifest.videos
    asked = videos_asked(prepared)
    states = {
        own.name: np.where(asked, _states(own, store, len(videos), settings), NOTHING) for own in prepared.backbones
    }
    return Tasks(videos, states=states, contents={} if store is None else store.contents())


def _states(
    own: PreparedBackbone, store: FeatureStore | None, num_videos: int, settings: ExtractSettings
) -> npt.NDArray[np.int8]:
    """Return (M,) int8: what one backbone has to do of each of the manifest's videos."""
    if store is None or own.name not in store.backbones():
        return np.full(num_videos, ALL_CLIPS, np.int8)
    group, states = store.backbone(own.name), np.full(num_videos, NOTHING, np.int8)
    states[group.pending(retry_failed=settings.retry_failed)] = ALL_CLIPS
    status = group.status()
    if (np.array(own.job.clips) & ~group.due).any():
        states[status == Status.DONE] = MISSING_CLIPS
    states[np.isin(status, PARTIAL) & (states == ALL_CLIPS)] = MISSING_CLIPS
    return states


def _backbone_plan(
    own: PreparedBackbone, states: npt.NDArray[np.int8], sampling: ClipSampling, store: FeatureStore | None
) -> BackbonePlan:
    """Return what one backbone has to do, from its state of each video."""
    due = np.array(own.job.clips)
    there = np.zeros_like(due)
    if store is not None and own.name in store.backbones():
        there = store.backbone(own.name).due_everywhere
    whole, missing = int((states == ALL_CLIPS).sum()), int((states == MISSING_CLIPS).sum())
    clips = whole * int(due.sum()) + missing * int((due & ~there).sum())
    return BackbonePlan(
        name=own.name,
        role=own.job.role,
        num_videos=whole + missing,
        num_clips=clips * sampling.num_views,
        gmacs_per_clip=own.gmacs_per_clip,
        feature_shape=own.feature_shape,
        num_bytes=backbone_bytes(
            num_videos=whole + missing,
            num_views=sampling.num_views,
            due=own.job.clips,
            feature_shape=own.feature_shape,
            num_classes=len(own.weights.classes),
        ),
    )


def with_stored_clips(prepared: PreparedExtraction, store: FeatureStore | None) -> PreparedExtraction:
    """Return the run with the clips that the store's backbones have or had to see, beside those that it asks for.

    What their clips cost is taken from the store too.
    """
    if store is None:
        return prepared
    prepared = replace(prepared, job=replace(prepared.job, record_content=_records_content(prepared, store)))
    backbones = tuple(_joined(own, store, prepared.settings.sampling.num_clips) for own in prepared.backbones)
    job = replace(
        prepared.job,
        backbones=tuple(_with_clips(job, own) for job, own in zip(prepared.job.backbones, backbones, strict=True)),
    )
    return replace(prepared, backbones=tuple(_with_recorded(own, store) for own in backbones), job=job)


def counted(prepared: PreparedExtraction) -> PreparedExtraction:
    """Return the run with costs that are counted anew, not taken from the store."""
    return replace(prepared, backbones=tuple(replace(own, recorded_gmacs=None) for own in prepared.backbones))


def _with_recorded(own: PreparedBackbone, store: FeatureStore) -> PreparedBackbone:
    if own.name not in store.backbones():
        return own
    return replace(own, recorded_gmacs=store.backbone(own.name).provenance.get("gmacs_per_clip"))


def _records_content(prepared: PreparedExtraction, store: FeatureStore) -> bool:
    """Return whether files' digests are recorded: if that is asked for, or was once."""
    return prepared.settings.record_content or store.records_content


def _with_clips(job: BackboneJob, own: PreparedBackbone) -> BackboneJob:
    return replace(job, clips=own.job.clips)


def _joined(own: PreparedBackbone, store: FeatureStore, num_clips: int) -> PreparedBackbone:
    if own.job.role != EXPENSIVE or own.name not in store.backbones():
        return own
    group = store.backbone(own.name)
    if group.provenance["role"] != EXPENSIVE:
        return own  # refused where the store is checked
    pattern = joined_name(group.provenance["pattern"], own.pattern, num_clips=num_clips)
    clips = tuple((group.due | np.array(own.job.clips)).tolist())
    return replace(own, pattern=pattern, job=replace(own.job, clips=clips))
