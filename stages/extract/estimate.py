"""What an extraction will cost, by estimate: a few of the real videos are timed, and nothing is written."""

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...pipeline.errors import VideoError
from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.files import nearest_folder
from .plan import ExtractPlan, PreparedExtraction, prepare_run
from .run import planned_run
from .settings import ExtractSettings
from .task import ExtractTask, LoadedBackbone, LoadedVideo, load, prepare, run_backbone

_TIMED_VIDEOS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What is left to do, and what it will probably cost.

    Args:
        plan: the tasks, clips, GMACs and bytes.
        free_bytes: on the store's disk.
        timed_videos: how many videos were timed.
        decode_seconds: for one video, the median.
        compute_seconds: for one video and backbone, the median.
        total_seconds: for all that is left, on this machine in this process; decoding runs in parallel with the
            backbones, so the slower of the two counts.
    """

    plan: ExtractPlan
    free_bytes: int
    timed_videos: int
    decode_seconds: float
    compute_seconds: dict[str, float]
    total_seconds: float


def estimate(settings: ExtractSettings, *, progress: Progress = SILENT) -> Estimate:
    """Time a few videos, spread over those still to be done, through both backbones.

    Args:
        settings: of the extraction.
        progress: advanced by each of these videos.

    Raises:
        VideoError: if none of these videos can be read and run through the backbones.
        SettingsError, ManifestError, WeightsError, StoreError: as the run itself would.
    """
    prepared, todo = planned_run(prepare_run(settings))
    decode, compute = _timings(prepared, todo.tasks, progress)
    counts = {own.name: own.num_videos for own in todo.backbones}
    busy = sum(seconds * counts[name] for name, seconds in compute.items())
    return Estimate(
        plan=todo,
        free_bytes=shutil.disk_usage(nearest_folder(settings.store)).free,
        timed_videos=min(_TIMED_VIDEOS, len(todo.tasks)),
        decode_seconds=decode,
        compute_seconds=compute,
        total_seconds=max(busy, decode * len(todo.tasks)),
    )


def _timings(
    prepared: PreparedExtraction, tasks: Sequence[ExtractTask], progress: Progress
) -> tuple[float, dict[str, float]]:
    """Return the median seconds per video for decoding, and for each backbone."""
    if not tasks:
        return 0.0, {}
    job, decode, compute, reasons = prepared.job, [], {}, []
    backbones = prepare(job)
    some = _spread(tasks)
    with under_way(progress, "timing", total=len(some), unit="video"):
        for task in some:
            loaded = load(job, task)
            try:
                if loaded.clips is None:
                    raise VideoError(str(loaded.error))
                seconds = {name: _timed(backbones[name], loaded, name, warm=name in compute) for name in task.backbones}
                decode.append(loaded.seconds)
                for name, own in seconds.items():
                    compute.setdefault(name, []).append(own)
            except VideoError as error:
                reasons.append(f"{task.video.video_id}: {error}")
            progress.advance()
    if not decode:
        raise VideoError(f"none of the videos tried can be read and run: {'; '.join(reasons)}")
    return statistics.median(decode), {name: statistics.median(seconds) for name, seconds in compute.items()}


def _timed(backbone: LoadedBackbone, loaded: LoadedVideo, name: str, *, warm: bool) -> float:
    """Return the seconds that a backbone takes for a video's clips; unless ``warm``, it runs a blank clip first."""
    assert loaded.clips is not None
    due = loaded.due[name]
    if not due.any():
        return 0.0
    if not warm:
        own = loaded.clips[backbone.preprocessing]
        backbone.engine.run(torch.zeros_like(own[0, :1]))  # the first call prepares kernels
    began = time.perf_counter()
    run_backbone(backbone, loaded.clips, due=due, kept=loaded.kept.get(name))
    return time.perf_counter() - began


def _spread(tasks: Sequence[ExtractTask]) -> Sequence[ExtractTask]:
    """Return up to three tasks, spread over all tasks."""
    return tasks[:: max(1, len(tasks) // _TIMED_VIDEOS)][:_TIMED_VIDEOS]
