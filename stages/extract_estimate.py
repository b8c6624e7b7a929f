"""What an extraction will cost, foreseen: a few of the real videos are timed, and nothing is written."""

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..pipeline.errors import VideoError
from .extract import ExtractPlan, ExtractSettings, Prepared, existing_store, plan, prepare_run
from .extract_task import ExtractTask, load, prepare, run_backbone

TIMED_VIDEOS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What is left to do, and what it is foreseen to cost.

    Args:
        plan: the tasks, clips, GMACs and bytes.
        free_bytes: on the store's disk.
        timed_videos: how many videos were timed.
        decode_seconds: for one video, the median.
        compute_seconds: for one video and backbone, the median.
        total_seconds: for all that is left, on this machine in this process: decoding runs beside the backbones, so the
            slower of the two counts.
    """

    plan: ExtractPlan
    free_bytes: int
    timed_videos: int
    decode_seconds: float
    compute_seconds: dict[str, float]
    total_seconds: float


def estimate(settings: ExtractSettings) -> Estimate:
    """Time a few videos, spread over those to be done, through both backbones.

    Raises:
        VideoError: if none of the videos tried can be read.
        SettingsError, ManifestError, WeightsError, StoreError: as the run itself would.
    """
    prepared = prepare_run(settings)
    todo = plan(prepared, existing_store(settings.store))
    home = next(folder for folder in (settings.store.absolute(), *settings.store.absolute().parents) if folder.exists())
    decode, compute = _timings(prepared, todo.tasks)
    counts = {own.name: own.num_videos for own in todo.backbones}
    busy = sum(seconds * counts[name] for name, seconds in compute.items())
    return Estimate(
        plan=todo,
        free_bytes=shutil.disk_usage(home).free,
        timed_videos=min(TIMED_VIDEOS, len(todo.tasks)),
        decode_seconds=decode,
        compute_seconds=compute,
        total_seconds=max(busy, decode * len(todo.tasks)),
    )


def _timings(prepared: Prepared, tasks: Sequence[ExtractTask]) -> tuple[float, dict[str, float]]:
    """Return the median seconds a video for decoding, and for each backbone."""
    if not tasks:
        return 0.0, {}
    job, decode, compute, reasons = prepared.job, [], {}, []
    backbones = prepare(job)
    for task in _spread(tasks):
        loaded = load(job, task)
        if loaded.clips is None:
            reasons.append(f"{task.video.video_id}: {loaded.error}")
            continue
        decode.append(loaded.seconds)
        for name in task.backbones:
            if name not in compute:
                own = loaded.clips[backbones[name].preprocessing]
                backbones[name].engine.run(torch.zeros_like(own[0, :1]))  # the first call prepares kernels
            began = time.perf_counter()
            run_backbone(backbones[name], loaded.clips)
            compute.setdefault(name, []).append(time.perf_counter() - began)
    if not decode:
        raise VideoError(f"none of the videos tried can be read: {'; '.join(reasons)}")
    return statistics.median(decode), {name: statistics.median(seconds) for name, seconds in compute.items()}


def _spread(tasks: Sequence[ExtractTask]) -> Sequence[ExtractTask]:
    """Return up to three tasks, spread over all."""
    return tasks[:: max(1, len(tasks) // TIMED_VIDEOS)][:TIMED_VIDEOS]
