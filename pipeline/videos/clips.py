"""Where clips lie in a video and which frames they hold: pure arithmetic, no decoding.

A video is a `Timeline`: when each of its frames is shown. The frame shown at time t is the last one whose timestamp is
at most t, so variable rates need no special case. Modelled on torchcodec's samplers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import VideoError
from ..seeds import derived_seed
from ..settings import check_fields, setting, settings

# Matroska and FLV round timestamps to whole milliseconds: a frame's time may be up to half a millisecond late.
_TOLERANCE_SECONDS = 0.0005 + 1e-6

_PLACEMENTS = ("uniform", "dense")


def repeat_last(num_wanted: int, num_available: int) -> np.ndarray:
    """Return (num_wanted,) int64 positions that stay at the last of ``num_available`` frames once it is reached."""
    return np.minimum(np.arange(num_wanted), num_available - 1)


def loop(num_wanted: int, num_available: int) -> np.ndarray:
    """Return (num_wanted,) int64 positions that begin again after the last of ``num_available`` frames."""
    return np.arange(num_wanted) % num_available


def refuse(num_wanted: int, num_available: int) -> np.ndarray:
    """Refuse the video.

    Raises:
        VideoError: always; the message says how many frames there are.
    """
    raise VideoError(f"shorter than a clip: {num_available} of {num_wanted} frames")


SHORT_POLICIES: dict[str, Callable[[int, int], np.ndarray]] = {
    "repeat_last": repeat_last,
    "loop": loop,
    "refuse": refuse,
}


@settings
class ClipSampling:
    """How clips are cut from a video.

    Raises:
        SettingsError: if a value is out of its range.
    """

    num_frames: int = setting(default=8, help="Frames in a clip.", at_least=1)
    sampling_rate: int = setting(default=1, help="Take every so many frames, after resampling.", at_least=1)
    fps: float | None = setting(
        default=None,
        help="Resample to this rate by time.",
        above=0,
        below=math.inf,
        unset="the videos' own frames",
        advice="Leave it out for the videos' own frames",
    )
    num_clips: int = setting(default=32, help="Clips of a video.", at_least=1)
    views: int = setting(default=1, help="Draws of clips; those after the first are random.", at_least=1)
    short: str = setting(
        default="repeat_last", help="What to do with videos shorter than a clip.", choices=tuple(SHORT_POLICIES)
    )
    placement: str = setting(
        default="uniform", help="Clips spread over the whole video, or one after the other.", choices=_PLACEMENTS
    )
    seed: int = setting(default=0, help="Of the random views.")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """When the frames of a video are shown.

    Args:
        pts: (F,) float64 seconds, strictly increasing, in presentation order; the first shown frame is at 0.
        duration: seconds, the end of the last frame.

    Raises:
        VideoError: if there is no frame, or the times do not increase from 0.
    """

    pts: np.ndarray
    duration: float

    def __post_init__(self) -> None:
        if len(self.pts) == 0:
            raise VideoError("no frames")
        if self.pts[0] != 0 or np.any(np.diff(self.pts) <= 0) or self.duration < self.pts[-1]:
            raise VideoError("timestamps that do not increase from zero")

    def __len__(self) -> int:
        return len(self.pts)

    def shown_at(self, seconds: np.ndarray | float) -> np.ndarray:
        """Return the frame on screen at each of ``seconds``, any shape, as int64 indices of the same shape.

        Before the video begins that is its first frame.
        """
        found = np.searchsorted(self.pts, np.asarray(seconds) + _TOLERANCE_SECONDS, side="right") - 1
        return np.maximum(found, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Interval:
    """The usable part of a timeline: times [start, end) in seconds, frames [first, stop)."""

    start: float
    end: float
    first: int
    stop: int


def _interval(timeline: Timeline, start: float | None, end: float | None) -> _Interval:
    begins = max(start or 0.0, 0.0)
    ends = timeline.duration if end is None else min(end, timeline.duration)
    if begins > 0 and begins >= timeline.duration:
        raise VideoError(f"start {begins:.3f} s lies beyond the video's end at {timeline.duration:.3f} s")
    if end is not None and ends <= begins:
        raise VideoError(f"end {end:.3f} s does not lie after start {begins:.3f} s")
    first = int(timeline.shown_at(begins))
    stop = int(np.searchsorted(timeline.pts, ends - _TOLERANCE_SECONDS, side="left"))
    return _Interval(start=begins, end=ends, first=first, stop=max(stop, first + 1))


def clip_span_frames(sampling: ClipSampling) -> int:
    """Return how many (resampled) frames a clip spans, from its first to its last, both included."""
    return (sampling.num_frames - 1) * sampling.sampling_rate + 1


def clip_span_seconds(sampling: ClipSampling, timeline: Timeline) -> float:
    """Return how many seconds a clip spans; at the mean rate if it takes the video's own frames."""
    fps = sampling.fps or len(timeline) / max(timeline.duration, _TOLERANCE_SECONDS)
    return clip_span_frames(sampling) / fps


def _feasible_starts(sampling: ClipSampling, timeline: Timeline, interval: _Interval) -> tuple[float, float]:
    """Return the earliest and the latest start, in seconds, from which a whole clip fits; equal if none does."""
    if sampling.fps is not None:
        latest = interval.end - clip_span_frames(sampling) / sampling.fps
        return interval.start, max(interval.start, latest)
    latest = max(interval.first, interval.stop - clip_span_frames(sampling))
    return float(timeline.pts[interval.first]), float(timeline.pts[latest])


def _snap(starts: np.ndarray, sampling: ClipSampling, timeline: Timeline) -> np.ndarray:
    """Return ``starts`` moved to the times of the frames shown then, if a clip takes the video's own frames."""
    return starts if sampling.fps is not None else timeline.pts[timeline.shown_at(starts)]


def uniform_starts(
    sampling: ClipSampling, timeline: Timeline, *, start: float | None = None, end: float | None = None
) -> np.ndarray:
    """Return (N,) float64 seconds, sorted: clips spread evenly, the first at the beginning, the last touching the end.

    A lone clip lies in the middle. ``start`` and ``end`` (seconds) restrict the usable part of the video.

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    earliest, latest = _feasible_starts(sampling, timeline, _interval(timeline, start, end))
    if sampling.num_clips == 1:
        return _snap(np.array([(earliest + latest) / 2]), sampling, timeline)
    return _snap(np.linspace(earliest, latest, sampling.num_clips), sampling, timeline)


def random_starts(
    sampling: ClipSampling,
    timeline: Timeline,
    *,
    rng: np.random.Generator,
    stratified: bool = False,
    start: float | None = None,
    end: float | None = None,
) -> np.ndarray:
    """Return (N,) float64 seconds, sorted: uniform draws from all the starts (frames) from which a whole clip fits.

    The draws are independent; or, ``stratified``, one from each of N equal stretches of the possible starts, as in
    Wang et al., Temporal Segment Networks (2016).

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    interval = _interval(timeline, start, end)
    # The same uniform numbers serve both branches: a generator's state gives the same places, relative to the video.
    places = rng.random(sampling.num_clips)
    if stratified:
        places = (np.arange(sampling.num_clips) + places) / sampling.num_clips
    places = np.sort(places)
    if sampling.fps is not None:
        earliest, latest = _feasible_starts(sampling, timeline, interval)
        return earliest + places * (latest - earliest)
    num_starts = max(1, interval.stop - interval.first - clip_span_frames(sampling) + 1)
    return timeline.pts[interval.first + (places * num_starts).astype(np.int64)]


def dense_starts(
    sampling: ClipSampling, timeline: Timeline, *, start: float | None = None, end: float | None = None
) -> np.ndarray:
    """Return (M,) float64 seconds, sorted, 1 <= M <= N: clips from the grid of back-to-back clips.

    The grid begins where the usable part of the video does, its step is L * tau (resampled) frames, and all its clips
    fit whole. If it has more than N clips, N of them are taken, evenly.

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    interval = _interval(timeline, start, end)
    # From a clip's first frame to the next one's: one stride beyond its last frame.
    step = sampling.num_frames * sampling.sampling_rate
    if sampling.fps is not None:
        available = int((interval.end - interval.start + _TOLERANCE_SECONDS) * sampling.fps)
    else:
        available = interval.stop - interval.first
    size = 1 + max(0, available - clip_span_frames(sampling)) // step
    grid = np.arange(size)[_evenly(min(size, sampling.num_clips), size)] * step
    if sampling.fps is not None:
        return interval.start + grid / sampling.fps
    return timeline.pts[interval.first + grid]


def _evenly(num_wanted: int, num_available: int) -> np.ndarray:
    """Return (num_wanted,) sorted positions below ``num_available``, all equally often, give or take one."""
    return np.arange(num_wanted) * num_available // num_wanted


def view_starts(
    sampling: ClipSampling,
    timeline: Timeline,
    *,
    video_id: str,
    start: float | None = None,
    end: float | None = None,
) -> np.ndarray:
    """Return the starts of all clips of a video, (R, N) float64 seconds, sorted within a view.

    View 0 is placed by ``sampling.placement``; if a dense grid has fewer than N clips, all are repeated about equally
    often. Every other view is a stratified draw of `random_starts`, seeded by (seed, video_id, view, "places").

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    if sampling.placement == "dense":
        grid = dense_starts(sampling, timeline, start=start, end=end)
        first = grid[_evenly(sampling.num_clips, len(grid))]
    else:
        first = uniform_starts(sampling, timeline, start=start, end=end)
    others = []
    for view in range(1, sampling.views):
        rng = np.random.default_rng(derived_seed(sampling.seed, video_id, view, "places"))
        others.append(random_starts(sampling, timeline, rng=rng, stratified=True, start=start, end=end))
    return np.stack([first, *others])  # (R, N)


def frame_indices(
    timeline: Timeline,
    clip_start: float,
    sampling: ClipSampling,
    *,
    start: float | None = None,
    end: float | None = None,
) -> np.ndarray:
    """Return which frames a clip holds: (L,) int64 indices into the timeline, in the order of the clip.

    Where the usable part of the video ends too early, the policy ``sampling.short`` supplies the missing frames.

    Raises:
        VideoError: if the video is shorter than the clip and the policy refuses it, or nothing of the video lies
            between ``start`` and ``end``.
    """
    interval = _interval(timeline, start, end)
    steps = np.arange(sampling.num_frames) * sampling.sampling_rate
    if sampling.fps is not None:
        seconds = clip_start + steps / sampling.fps
        wanted = np.clip(timeline.shown_at(seconds), interval.first, interval.stop - 1)
        num_available = int(np.count_nonzero(seconds < interval.end - _TOLERANCE_SECONDS))
    else:
        wanted = np.clip(timeline.shown_at(clip_start), interval.first, interval.stop - 1) + steps
        num_available = int(np.count_nonzero(wanted < interval.stop))
    # A policy needs a frame to repeat, even where rounding puts the start a hair beyond the end.
    num_available = max(num_available, 1)
    if num_available < sampling.num_frames:
        wanted = wanted[SHORT_POLICIES[sampling.short](sampling.num_frames, num_available)]
    return wanted
