"""What is left to do of an extraction: checked inputs, and the plan; writes nothing."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ...pipeline.backbones.checks import check_clip, check_differ, check_roles, load_named
from ...pipeline.backbones.devices import resolve_device, resolve_precision
from ...pipeline.backbones.places import weights_file
from ...pipeline.backbones.registry import feature_shape
from ...pipeline.backbones.weights import Weights
from ...pipeline.costs.flops import backbone_macs
from ...pipeline.execution import IN_PROCESS, LOCAL
from ...pipeline.features.format import backbone_bytes, index_bytes
from ...pipeline.features.store import FeatureStore
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.videos.clips import ClipSampling
from ...pipeline.videos.strides import look_at_some, share_seen
from .settings import ExtractSettings, RoleWeights
from .task import BackboneJob, ExtractJob, ExtractTask, cropped


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedBackbone:
    """One backbone of a run: its weights, what workers need to know about it, and what a clip costs.

    Args:
        weights: with the requested crop.
        job: what workers need to know.
        feature_shape: (T', H', W', C).
        gmacs_per_clip: 10^9 multiply-accumulates.
    """

    weights: Weights
    job: BackboneJob
    feature_shape: tuple[int, int, int, int]
    gmacs_per_clip: float

    @property
    def name(self) -> str:
        """Of the backbone."""
        return self.weights.backbone


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
        clips_per_video: clips that it sees of each, over all views.
        gmacs_per_clip: 10^9 multiply-accumulates.
        feature_shape: (T', H', W', C).
        num_bytes: that the maps take at most.
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
        """10^9 multiply-accumulates still to do."""
        return self.num_clips * self.gmacs_per_clip


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractPlan:
    """The tasks of a run, one per video, and what they cost.

    Args:
        sampling: where the clips lie.
        share_seen: of a typical video, what its clips of one view see together; None if no video was to be read.
    """

    tasks: tuple[ExtractTask, ...]
    backbones: tuple[BackbonePlan, ...]
    num_bytes: int
    sampling: ClipSampling
    share_seen: float | None


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
    check_roles({own.job.role: (own.name, own.gmacs_per_clip) for own in backbones})
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
    return ExtractJob(store=settings.store.absolute(), sampling=settings.sampling, backbones=absolute, engine=engine)


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
    weights = cropped(load_named(given.path, backbone=given.backbone, role=role), settings.crop)
    name, crop, num_frames = weights.backbone, weights.preprocessing.crop, settings.sampling.num_frames
    check_clip(weights, settings.sampling)
    macs = backbone_macs(name, num_frames=num_frames, size=crop, num_classes=len(weights.classes))
    return PreparedBackbone(
        weights=weights,
        job=BackboneJob(
            role=role,
            weights=weights_file(given.path, role=role),
            digest=weights.digest,
            crop=settings.crop,
            clips=clips,
        ),
        feature_shape=feature_shape(name, num_frames=num_frames, size=crop),
        gmacs_per_clip=macs / 1e9,
    )


def plan(prepared: PreparedExtraction, store: FeatureStore | None) -> ExtractPlan:
    """Return what is left to do, and what it costs; ``store`` is None if none exists yet. Writes nothing.

    A few of the videos are opened, to tell how much of them their clips see.
    """
    manifest, sampling = prepared.manifest, prepared.settings.sampling
    tasks = _tasks(prepared, store)
    counts = Counter(name for task in tasks for name in task.backbones)
    backbones = tuple(_backbone_plan(own, sampling, num_videos=counts[own.name]) for own in prepared.backbones)
    # The columns of an existing store are on disk already.
    fresh = len(manifest) if store is None else 0
    shared = index_bytes(num_videos=fresh, num_views=sampling.views, num_clips=sampling.num_clips)
    stretches = look_at_some([task.video for task in tasks])
    return ExtractPlan(
        tasks=tasks,
        backbones=backbones,
        num_bytes=shared + sum(own.num_bytes for own in backbones),
        sampling=sampling,
        share_seen=share_seen(stretches, sampling) if stretches else None,
    )


def _tasks(prepared: PreparedExtraction, store: FeatureStore | None) -> tuple[ExtractTask, ...]:
    """Return a task for each video of the split that any backbone still has to see, in the manifest's order."""
    settings, videos = prepared.settings, prepared.manifest.videos
    due: dict[int, list[str]] = {i: [] for i, video in enumerate(videos) if settings.split in (None, video.split)}
    for own in prepared.backbones:
        pending = range(len(videos))
        if store is not None and own.name in store.backbones():
            pending = store.backbone(own.name).pending(retry_failed=settings.retry_failed).tolist()
        for index in pending:
            if index in due:
                due[index].append(own.name)
    return tuple(
        ExtractTask(index=index, video=videos[index], backbones=tuple(names)) for index, names in due.items() if names
    )


def _backbone_plan(own: PreparedBackbone, sampling: ClipSampling, *, num_videos: int) -> BackbonePlan:
    return BackbonePlan(
        name=own.name,
        role=own.job.role,
        num_videos=num_videos,
        clips_per_video=sum(own.job.clips) * sampling.views,
        gmacs_per_clip=own.gmacs_per_clip,
        feature_shape=own.feature_shape,
        num_bytes=backbone_bytes(
            num_videos=num_videos,
            num_views=sampling.views,
            due=own.job.clips,
            feature_shape=own.feature_shape,
            num_classes=len(own.weights.classes),
        ),
    )
