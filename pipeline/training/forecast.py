"""How long a training's epochs will take: the first decodes videos, later ones read those that are kept."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import VideoError
from .batches import decoding_threads
from .clips import VideoSource
from .keeping import Outlook
from .run_directory import RunDirectory

_TIMED_STEPS = 3  # after a first one, which chooses kernels and allocates memory
_TIMED_VIDEOS, _TIMED_EPOCHS = 3, 4
Look = Callable[[int, int], object]  # takes what an epoch needs of a video: (index, epoch)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingTimes:
    """Seconds of one thread for a video, or for what a training takes of one: a clip, or several."""

    decode_seconds: float
    kept_clip_seconds: float
    read_clip_seconds: float


def time_reading(source: VideoSource, *, crop: int, look_at: Callable[[VideoSource], Look]) -> ReadingTimes:
    """Return what videos cost a thread, as the mean over a few of them.

    Args:
        source: the videos of a training.
        crop: that it was made with.
        look_at: returns how an epoch looks at the videos of a source.

    Raises:
        VideoError: if none of them can be read.
    """
    spread = source.videos[:: max(1, len(source.videos) // _TIMED_VIDEOS)][:_TIMED_VIDEOS]
    fresh, held = (
        VideoSource(spread, crop=crop, cache=cache, reading=source.reduction.reading) for cache in (False, True)
    )
    look, look_again = look_at(fresh), look_at(held)
    look(0, 0)  # the first one ever loads libraries
    read = _seconds_each(look, epoch=0, count=len(spread))
    decode = _seconds_each(look_again, epoch=0, count=len(spread))
    kept = [_seconds_each(look_again, epoch=epoch, count=len(spread)) for epoch in range(_TIMED_EPOCHS)]
    if len(held.failures) == len(spread):
        raise VideoError(f"none of {len(spread)} videos can be read; the first: {next(iter(held.failures.values()))}")
    return ReadingTimes(decode_seconds=decode, kept_clip_seconds=sum(kept) / len(kept), read_clip_seconds=read)


def _seconds_each(look: Look, *, epoch: int, count: int) -> float:
    began = time.perf_counter()
    for place in range(count):
        look(place, epoch)
    return (time.perf_counter() - began) / count


def seconds_after_the_first(do: Callable[[], None], device: torch.device) -> float:
    """Return the seconds that ``do`` takes, as the mean of a few times after a first one."""
    do()
    _wait_for(device)
    began = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        do()
    _wait_for(device)
    return (time.perf_counter() - began) / _TIMED_STEPS


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # calls return before the GPU has done the work


def reading_seconds(reading: ReadingTimes, *, kept: Outlook, in_memory: bool) -> tuple[float, float]:
    """Return the seconds of one thread for all videos in the first epoch of this process, and in any other.

    Args:
        reading: of one video.
        kept: what is on disk, and will be.
        in_memory: whether decoded videos are kept there instead.
    """
    share = 1.0 if kept.fits or in_memory else min(1.0, kept.most_bytes / max(1, kept.num_bytes))
    to_decode = kept.num_videos if in_memory else max(0.0, share * kept.num_videos - kept.num_kept)
    later = kept.num_videos * (share * reading.kept_clip_seconds + (1 - share) * reading.read_clip_seconds)
    # What is taken of a video that is just decoded costs no more than that: the measured seconds include it.
    return later + to_decode * (reading.decode_seconds - reading.kept_clip_seconds), later


def side_by_side(network_seconds: float, reading_seconds: float, *, workers: int | None, device: torch.device) -> float:
    """Return how long both take together: a network, and threads that read videos."""
    threads = decoding_threads(workers)
    if threads < 1:
        return network_seconds + reading_seconds
    cores = os.cpu_count() or 1
    longest = max(network_seconds, reading_seconds / min(threads, cores))
    if device.type != "cpu":
        return longest
    # On a CPU both share the cores.
    return max(longest, (network_seconds * min(torch.get_num_threads(), cores) + reading_seconds) / cores)


def total_seconds(first: float, later: float, *, epochs: int) -> float:
    """Return how long ``epochs`` take that are left, if the first of them takes another time than the others."""
    return first + (epochs - 1) * later if epochs > 0 else 0.0


def epochs_behind(out: Path, *, made: Mapping[str, Any], options: Mapping[str, str]) -> tuple[int, bool]:
    """Return how many epochs of the run in ``out`` are done, and whether all of it is.

    Args:
        out: the run directory; none need be there.
        made: what the weights depend on, as the run's settings have it.
        options: name in them -> the field that sets it.

    Raises:
        RunError: if the run directory belongs to other settings.
    """
    if not (out / "settings.json").is_file():
        return 0, False
    directory = RunDirectory.open(out)
    directory.check_settings(made, options=options)
    return len(directory.read_metrics()), directory.is_done
