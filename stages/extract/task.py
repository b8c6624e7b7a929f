"""What one extraction task does on its worker: decode one video once, run the backbones, write the video's shards."""

import functools
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ...pipeline.backbones.engine import Engine, build_engine
from ...pipeline.backbones.engine_settings import EngineSettings
from ...pipeline.backbones.weights import Weights, averaged, load_weights
from ...pipeline.errors import VideoError, WeightsError, named
from ...pipeline.execution import WorkerLostError
from ...pipeline.features.content import file_digest
from ...pipeline.features.store import FeatureStore
from ...pipeline.manifests.manifest import Video
from ...pipeline.videos.clip_reader import decode_video, due_clips
from ...pipeline.videos.clips import ClipSampling
from ...pipeline.videos.memory import memory_errors_told
from ...pipeline.videos.preprocessing import Preprocessing

Stored = tuple[np.ndarray, np.ndarray]  # (R, N, T', H', W', C) float16 maps and (R, N, K) float32 scores


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneJob:
    """One backbone of a run.

    Args:
        role: ``expensive`` or ``cheap``.
        weights: the safetensors file.
        digest: sha256 of the weights in it, hexadecimal; if the file changes, so does the job.
        crop: side of the square input in pixels; None: the one that the weights were trained with.
        clips: which of a video's N clips it sees, as a tuple of N booleans.
        pool_time: K, if the maps of every K frames are averaged.
    """

    role: str
    weights: Path
    digest: str
    crop: int | None
    clips: tuple[bool, ...]
    pool_time: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractJob:
    """All that a worker needs to know about a run; hashable, so that a worker prepares for it only once."""

    store: Path
    sampling: ClipSampling
    backbones: tuple[BackboneJob, ...]
    engine: EngineSettings
    record_content: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractTask:
    """One video, and the names of the backbones that still have to see it.

    Args:
        index: the video's place in the manifest.
        video: the video.
        backbones: that have to see it.
        extended: those of them that saw some of its clips before, under another pattern; these are kept.
        content: sha256 of the file as it was extracted before, if that was recorded.
    """

    index: int
    video: Video
    backbones: tuple[str, ...]
    extended: tuple[str, ...] = ()
    content: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """What the coordinator learns about a finished task.

    Args:
        error: why the video failed, or None.
        clip_start: (R, N) float64 seconds; None if the video failed.
        left_out: what of a damaged video was not used, in words; "" if all could be.
        content: sha256 of the file, if it is to be recorded.
        num_clips: clips that went through the backbones, each counted once per backbone.
        decode_seconds: time spent on reading, resizing and cropping.
        compute_seconds: time spent in each backbone, by name.
    """

    task: ExtractTask
    error: str | None
    clip_start: np.ndarray | None = None
    left_out: str = ""
    content: str | None = None
    num_clips: int = 0
    decode_seconds: float
    compute_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedVideo:
    """The decoded clips of one video.

    Args:
        clip_start: (R, N) float64 seconds.
        clips: by preprocessing, uint8 (R, N, L, S, S, 3); zero for clips that no backbone with that preprocessing
            needs.
        left_out: as in `TaskResult`.
        kept: backbone -> the maps and scores that the store has already.
        due: backbone -> (N,) bool, the clips still to be computed.
        content: sha256 of the file, if it is to be recorded.
        error: why the video cannot be read, or None.
    """

    task: ExtractTask
    seconds: float
    clip_start: np.ndarray | None = None
    left_out: str = ""
    clips: dict[Preprocessing, torch.Tensor] | None = None
    kept: dict[str, Stored] = field(default_factory=dict)
    due: dict[str, np.ndarray] = field(default_factory=dict)
    content: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedBackbone:
    """A backbone that is ready to run, its preprocessing, and which clips it sees: (N,) bool."""

    engine: Engine
    preprocessing: Preprocessing
    clips: np.ndarray


def weights_of(job: BackboneJob) -> Weights:
    """Return the weights of ``job``, with its crop and its average in time.

    Raises:
        WeightsError: if the file is not a weights file of vidpipe's, or holds other weights than the job was made for.
    """
    weights = load_weights(job.weights)
    if weights.digest != job.digest:
        raise WeightsError(
            f"{job.weights} has other weights here ({weights.digest[:12]}…) than the run began with "
            f"({job.digest[:12]}…). Leave the file as it is while a run goes on, and give all workers the same."
        )
    return averaged(cropped(weights, job.crop), job.pool_time)


def cropped(weights: Weights, crop: int | None) -> Weights:
    """Return ``weights`` with another crop in pixels, and the shorter side in proportion; None keeps the trained one.

    Raises:
        SettingsError: if the crop is less than one pixel.
    """
    preprocessing = weights.preprocessing
    if crop is None or crop == preprocessing.crop:
        return weights
    return replace(weights, preprocessing=preprocessing.at_crop(crop))


# A single entry: networks are large, and a worker that gets another job has no more use for the last one's.
@functools.lru_cache(maxsize=1)
def prepare(job: ExtractJob) -> dict[str, LoadedBackbone]:
    """Load the backbones of ``job``, by name; only once in each worker.

    Raises:
        WeightsError: if a file is not a weights file of vidpipe's, or holds other weights than the job was made for.
    """
    loaded = {}
    for backbone in job.backbones:
        weights = weights_of(backbone)
        engine = build_engine(weights, job.engine)
        loaded[weights.backbone] = LoadedBackbone(
            engine=engine, preprocessing=weights.preprocessing, clips=np.array(backbone.clips)
        )
    return loaded


def open_store(path: Path, *, backbones: tuple[str, ...]) -> FeatureStore:
    """Open the store at ``path`` for writing; once in each worker, and again if it or ``backbones`` were made anew.

    Raises:
        StoreError: if there is none, or it has another format.
    """
    files = [path / part / "zarr.json" for part in ("", *backbones)]
    made = [file.stat() for file in files if file.exists()]
    # The time too: file systems reuse inodes.
    return _open_store(path, tuple((own.st_ino, own.st_mtime_ns) for own in made))


@functools.lru_cache(maxsize=1)
def _open_store(path: Path, made: tuple[tuple[int, int], ...]) -> FeatureStore:  # noqa: ARG001 (part of the key)
    return FeatureStore.open(path, mode="r+")


def load(job: ExtractJob, task: ExtractTask) -> LoadedVideo:
    """Decode the clips that the backbones need, once for all of them; an unreadable video is a result, not an error."""
    began = time.perf_counter()
    backbones = {name: prepare(job)[name] for name in task.backbones}
    kept = _kept(job, task)
    due = {name: own.clips & ~_clips_of(kept.get(name), own.clips) for name, own in backbones.items()}
    wanted = due_clips((own.preprocessing, due[name]) for name, own in backbones.items() if due[name].any())
    try:
        content = file_digest(task.video.path, expected=task.content) if job.record_content else None
        # Even if no clip is due, as after a kill: nothing is done that was not compared with its file.
        decoded = decode_video(task.video, sampling=job.sampling, due=wanted)
    except VideoError as error:
        return LoadedVideo(task=task, seconds=time.perf_counter() - began, error=str(error))
    return LoadedVideo(
        task=task,
        seconds=time.perf_counter() - began,
        clip_start=decoded.starts,
        clips=decoded.clips,
        left_out=str(decoded.left_out or ""),
        kept=kept,
        due=due,
        content=content,
    )


def _refuse_other_starts(store: FeatureStore, loaded: LoadedVideo) -> None:
    """Refuse a video whose clips lie elsewhere than those that the store has, before anything of it is written.

    Raises:
        VideoError: saying that the file has changed.
    """
    task, stored = loaded.task, store.clip_starts(loaded.task.index)  # (R, N)
    if not np.isnan(stored).all() and (stored != loaded.clip_start).any():
        raise VideoError(
            f"{task.video.path} has changed since it was extracted: its clips do not start where they did. Bring the "
            f"file back; or give the new one an id of its own, or another {named('store')}"
        )


def _kept(job: ExtractJob, task: ExtractTask) -> dict[str, Stored]:
    """Return what the store has of a video for the backbones that are extended; nothing of what is damaged there."""
    if not task.extended:
        return {}
    store = open_store(job.store, backbones=task.backbones)
    stored = {name: store.backbone(name).stored_clips(task.index) for name in task.extended}
    return {name: own for name, own in stored.items() if own is not None}


def _clips_of(stored: Stored | None, due: np.ndarray) -> np.ndarray:
    """Return (N,) bool: which clips are there, of all views."""
    if stored is None:
        return np.zeros_like(due)
    maps, scores = (np.isfinite(own).all(axis=tuple(range(2, own.ndim))) for own in stored)  # (R, N)
    return np.asarray((maps & scores).all(axis=0))


def compute(job: ExtractJob, loaded: LoadedVideo) -> TaskResult:
    """Run the backbones over a decoded video and write its shards; maps that cannot be stored fail only this video.

    Raises:
        OutOfSpaceError: if the disk is full; the store stays whole.
        StoreError: if the store is gone or damaged.
        WeightsError: if the weights' file has changed since the run began.
    """
    task = loaded.task
    if loaded.clips is None:
        return TaskResult(task=task, error=loaded.error, decode_seconds=loaded.seconds)
    backbones = {name: prepare(job)[name] for name in task.backbones}
    # Opened only now, in the worker: handles of files do not travel between processes.
    store = open_store(job.store, backbones=task.backbones)
    try:
        _refuse_other_starts(store, loaded)
        with memory_errors_told("running the backbones"):
            computed, seconds = _run_backbones(backbones, loaded)
    except VideoError as error:
        return TaskResult(task=task, error=str(error), decode_seconds=loaded.seconds)
    for name, (features, scores) in computed.items():
        began = time.perf_counter()
        store.backbone(name).write(task.index, features, scores)
        seconds[name] += time.perf_counter() - began
    return TaskResult(
        task=task,
        error=None,
        clip_start=loaded.clip_start,
        left_out=loaded.left_out,
        content=loaded.content,
        num_clips=sum(int(own.sum()) for own in loaded.due.values()) * job.sampling.num_views,
        decode_seconds=loaded.seconds,
        compute_seconds=seconds,
    )


def _run_backbones(
    backbones: dict[str, LoadedBackbone], loaded: LoadedVideo
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, float]]:
    """Return maps and scores by backbone, and the seconds of each; nothing is written yet, so a failure leaves nothing.

    Raises:
        VideoError: if a map or a score is not finite or beyond float16's range.
    """
    computed, seconds = {}, {}
    for name, backbone in backbones.items():
        began = time.perf_counter()
        due, kept = loaded.due[name], loaded.kept.get(name)
        assert loaded.clips is not None
        computed[name] = run_backbone(backbone, loaded.clips, due=due, kept=kept) if due.any() else kept
        seconds[name] = time.perf_counter() - began
    return computed, seconds


def run_backbone(
    backbone: LoadedBackbone, clips: dict[Preprocessing, torch.Tensor], *, due: np.ndarray, kept: Stored | None = None
) -> Stored:
    """Return maps and scores of the clips that are ``due``, (N,) bool, among those ``kept``, or NaN.

    Raises:
        VideoError: if a map or a score is not finite or beyond float16's range.
    """
    own = clips[backbone.preprocessing]
    views, num_clips = own.shape[:2]
    # The clips of all views in one run, so that batches are filled up with blanks only once.
    computed = backbone.engine.run(own[:, due].flatten(0, 1))
    if kept is None:
        maps, scores = (np.full((views, num_clips, *one.shape[1:]), np.nan, one.dtype) for one in computed)
    else:
        maps, scores = kept
    for array, one in zip((maps, scores), computed, strict=True):
        array[:, due] = one.reshape(views, -1, *one.shape[1:])
    return maps, scores


def lost_task(task: ExtractTask, error: WorkerLostError) -> TaskResult:
    """Return the result of a task whose workers kept dying."""
    reason = f"its workers died, {error.deaths} one after the other: out of memory? Fewer workers leave more to each"
    return TaskResult(task=task, error=reason, decode_seconds=0.0)


def run_task(job: ExtractJob, task: ExtractTask) -> TaskResult:
    """Do one task from file to shard. It is idempotent: done twice, it writes the same bytes twice."""
    return compute(job, load(job, task))
