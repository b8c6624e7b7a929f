"""Where clips lie in a video and which frames they hold: pure arithmetic, no decoding.

A video is a `Timeline`: when each of its frames is shown. The frame shown at time t is the last one whose timestamp is
at most t. Clips lie over what is shown, in tests and in training alike: none reaches across a gap, and all begin at
different frames where there are enough. Modelled on torchcodec's samplers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field, fields
from typing import Any, Self

import numpy as np

from ..errors import SettingsError, VideoError, named
from ..seeds import derived_seed
from ..settings import check_fields, setting, settings
from .clip_rules import CLIP_RULES, RULE_HELP, SEGMENTS, STRIDE, Segments, frame_steps
from .frame_times import Timeline, are_even
from .parts import Part, usable_parts
from .reading import Reading

CROPS = (1, 3)  # of a clip, at test
_PLACEMENTS = ("uniform", "open", "dense")
_READING = frozenset(own.name for own in fields(Reading))  # stand beside the sampling's own fields in records


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
    crops: int = setting(
        default=1,
        help="Squares cut from each clip at test: the middle one, or 3 along the longer side, averaged.",
        at_least=1,
        at_most=3,
    )
    short: str = setting(
        default="repeat_last", help="What to do with videos shorter than a clip.", choices=tuple(SHORT_POLICIES)
    )
    placement: str = setting(
        default="uniform",
        help="Clips spread over the whole video, also without touching its end (open), or one after the other (dense).",
        choices=_PLACEMENTS,
    )
    seed: int = setting(default=0, help="Of the random views.")
    clip_rule: str = setting(default=STRIDE, help=RULE_HELP, choices=CLIP_RULES)
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.crops not in CROPS:
            raise SettingsError(f"{named('crops')} must be {' or '.join(map(str, CROPS))}; got {self.crops}")
        if self.clip_rule == SEGMENTS and self.fps is not None:
            raise SettingsError(
                f"{named('clip_rule')} {SEGMENTS} takes frames of the whole video, at any rate; leave {named('fps')} "
                "out"
            )

    @property
    def num_views(self) -> int:
        """R, what is kept of each clip's place: the crops of a test, then the random views."""
        return self.crops + self.views - 1

    def record(self) -> dict[str, Any]:
        """Return the fields as stores and runs keep them, flat: all that clips depend on.

        Rule and crops stand there only if they are not those of before there were several.
        """
        fields = asdict(self)
        del fields["reading"]
        if self.clip_rule == STRIDE:
            del fields["clip_rule"]
        if self.crops == 1:
            del fields["crops"]
        return fields | self.reading.record()

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Self:
        """Return the sampling that `record` made ``fields`` of, or that an earlier version did."""
        own = {name: value for name, value in fields.items() if name not in _READING}
        return cls(**own, reading=Reading.of_record(fields))


def clip_span_frames(sampling: ClipSampling) -> int:
    """Return how many (resampled) frames a clip spans, from its first to its last, both included."""
    return int(_steps(sampling)[-1]) + 1


def _steps(sampling: ClipSampling) -> np.ndarray:
    """Return (L,) int64, how many frames each of a clip lies behind its first."""
    return frame_steps(sampling.clip_rule, num_frames=sampling.num_frames, sampling_rate=sampling.sampling_rate)


def _segments(sampling: ClipSampling, parts: Sequence[Part]) -> Segments:
    return Segments(parts, num_frames=sampling.num_frames, num_clips=sampling.num_clips)


def _whole_clip_starts(sampling: ClipSampling, timeline: Timeline, part: Part) -> np.ndarray:
    """Return (S,) int64, the frames of ``part`` from which a whole clip fits into it; there may be none."""
    if sampling.fps is None:
        return np.arange(part.first, part.stop - clip_span_frames(sampling) + 1)
    latest = part.end - clip_span_frames(sampling) / sampling.fps
    # The first frame may have begun before the part does.
    begins = np.maximum(timeline.pts[part.first : part.stop], part.start)
    return part.first + np.flatnonzero(begins <= latest + timeline.rounding_at(part.stop - 1))


def _start_frames(sampling: ClipSampling, timeline: Timeline, parts: Sequence[Part]) -> np.ndarray:
    """Return (S,) int64 sorted, S >= 1: the frames from which a whole clip fits into one of ``parts``.

    If there are fewer than N, each part that is too short for a clip adds its first frame, unless such are refused.
    """
    starts = [_whole_clip_starts(sampling, timeline, part) for part in parts]
    num_whole, refused = sum(map(len, starts)), sampling.short == "refuse"
    if num_whole == 0 and refused:
        return np.array([max(parts, key=lambda part: part.stop - part.first).first])
    if num_whole < sampling.num_clips and not refused:
        starts = [own if len(own) else np.array([part.first]) for own, part in zip(starts, parts, strict=True)]
    return np.concatenate(starts)


def _is_even(timeline: Timeline, parts: Sequence[Part]) -> bool:
    """Return whether what is shown is one part with frames that follow each other evenly."""
    return len(parts) == 1 and are_even(timeline.pts[parts[0].first : parts[0].stop])


def _feasible_starts(sampling: ClipSampling, timeline: Timeline, part: Part) -> tuple[float, float]:
    """Return the earliest and the latest start, in seconds, from which a whole clip fits; equal if none does."""
    if sampling.fps is not None:
        latest = part.end - clip_span_frames(sampling) / sampling.fps
        return part.start, max(part.start, latest)
    latest = max(part.first, part.stop - clip_span_frames(sampling))
    return float(timeline.pts[part.first]), float(timeline.pts[latest])


def _times(sampling: ClipSampling, timeline: Timeline, frames: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """Return when clips that begin at ``frames`` do; resampled ones not before the usable part."""
    times = timeline.pts[frames]
    return times if sampling.fps is None else np.maximum(times, parts[0].start)


def uniform_starts(
    sampling: ClipSampling, timeline: Timeline, *, start: float | None = None, end: float | None = None
) -> np.ndarray:
    """Return (N,) float64 seconds, sorted: clips spread evenly, the first at the beginning, the last touching the end.

    With the placement ``open`` the last clip stops short of the end by the distance of two clips, and a lone one lies
    at the beginning, as in PySlowFast. Otherwise a lone clip lies in the middle. At a constant rate they are spread
    over the seconds from which a whole clip fits, otherwise over the frames, which is the same but for frames shown
    longer and for gaps. ``start`` and ``end`` (seconds) restrict the usable part of the video.

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    parts = usable_parts(timeline, start, end)
    if sampling.clip_rule == SEGMENTS:
        return timeline.pts[_segments(sampling, parts).starts()]
    frames = _start_frames(sampling, timeline, parts)
    if sampling.placement == "open":
        return _times(sampling, timeline, frames[_evenly(sampling.num_clips, len(frames))], parts)
    if _is_even(timeline, parts):
        starts = _evenly_in_time(sampling, timeline, parts[0])
        if len(frames) < sampling.num_clips or np.all(np.diff(timeline.shown_at(starts)) > 0):
            return starts
    return _times(sampling, timeline, frames[_spread(sampling.num_clips, len(frames))], parts)


def _evenly_in_time(sampling: ClipSampling, timeline: Timeline, part: Part) -> np.ndarray:
    earliest, latest = _feasible_starts(sampling, timeline, part)
    starts = np.linspace(earliest, latest, sampling.num_clips)
    if sampling.num_clips == 1:
        starts = np.array([(earliest + latest) / 2])
    # A clip of the video's own frames begins with one of them.
    return starts if sampling.fps is not None else timeline.pts[timeline.shown_at(starts)]


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
    Wang et al., Temporal Segment Networks (2016). In a video with gaps or a variable rate no two are the same where
    there are enough.

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    parts = usable_parts(timeline, start, end)
    # The same uniform numbers serve all branches: a generator's state gives the same places, relative to the video.
    places = rng.random(sampling.num_clips)
    if stratified:
        places = (np.arange(sampling.num_clips) + places) / sampling.num_clips
    places = np.sort(places)
    if sampling.clip_rule == SEGMENTS:
        return timeline.pts[_segments(sampling, parts).starts(places)]
    even = _is_even(timeline, parts)
    if even and sampling.fps is not None:
        earliest, latest = _feasible_starts(sampling, timeline, parts[0])
        return earliest + places * (latest - earliest)
    frames = _start_frames(sampling, timeline, parts)
    drawn = (places * len(frames)).astype(np.int64)
    if not even and len(drawn) <= len(frames):
        drawn = _apart(drawn, len(frames))
    return _times(sampling, timeline, frames[drawn], parts)


def _apart(places: np.ndarray, num_available: int) -> np.ndarray:
    """Return sorted ``places`` below ``num_available``, those that are the same moved apart as little as may be."""
    order = np.arange(len(places))
    forwards = np.maximum.accumulate(places - order) + order
    return np.minimum(forwards, num_available - len(places) + order)


def dense_starts(
    sampling: ClipSampling, timeline: Timeline, *, start: float | None = None, end: float | None = None
) -> np.ndarray:
    """Return (M,) float64 seconds, sorted, 1 <= M <= N: clips from the grid of back-to-back clips.

    The grid begins where the usable part of the video does, and anew after each gap; its step is L * tau (resampled)
    frames, and all its clips fit whole. If it has more than N clips, N of them are taken, evenly.

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    parts = usable_parts(timeline, start, end)
    if sampling.clip_rule == SEGMENTS:
        return uniform_starts(sampling, timeline, start=start, end=end)
    firsts = _start_frames(sampling, timeline, parts)
    # A part without a start is too short for a clip, and not needed.
    used = [part for part in parts if np.any((firsts >= part.first) & (firsts < part.stop))]
    grid = np.concatenate([_grid(sampling, timeline, part) for part in used])
    if sampling.fps is not None and not _is_even(timeline, parts):
        grid = _without_repeats(grid, sampling, timeline)
    return grid[_evenly(min(len(grid), sampling.num_clips), len(grid))]


def _grid(sampling: ClipSampling, timeline: Timeline, part: Part) -> np.ndarray:
    """Return the seconds at which the clips that fill ``part`` begin, at least one."""
    # From a clip's first frame to the next one's: one stride beyond its last frame.
    step = sampling.num_frames * sampling.sampling_rate
    if sampling.fps is not None:
        available = int((part.end - part.start + timeline.rounding_at(part.stop - 1)) * sampling.fps)
    else:
        available = part.stop - part.first
    grid = np.arange(1 + max(0, available - clip_span_frames(sampling)) // step) * step
    if sampling.fps is not None:
        return part.start + grid / sampling.fps
    return timeline.pts[part.first + grid]


def _without_repeats(starts: np.ndarray, sampling: ClipSampling, timeline: Timeline) -> np.ndarray:
    """Return ``starts`` without those that show what an earlier one shows: a frame may last for several clips."""
    assert sampling.fps is not None
    steps = _steps(sampling) / sampling.fps
    shown = timeline.shown_at(starts[:, None] + steps)  # (M, L)
    return starts[np.sort(np.unique(shown, axis=0, return_index=True)[1])]


def _spread(num_wanted: int, num_available: int) -> np.ndarray:
    """Return (num_wanted,) sorted positions from the first of ``num_available`` to the last; a lone one is central."""
    if num_wanted == 1:
        return np.array([(num_available - 1) // 2])
    return np.arange(num_wanted) * (num_available - 1) // (num_wanted - 1)


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
    often. The test's other crops are views of the same clips. Every view after them is a stratified draw of
    `random_starts`, seeded by (seed, video_id, view, "places").

    Raises:
        VideoError: if nothing of the video lies between ``start`` and ``end``.
    """
    if sampling.placement == "dense":
        grid = dense_starts(sampling, timeline, start=start, end=end)
        first = grid[_evenly(sampling.num_clips, len(grid))]
    else:
        first = uniform_starts(sampling, timeline, start=start, end=end)
    others = []
    for view in range(sampling.crops, sampling.num_views):
        rng = np.random.default_rng(derived_seed(sampling.seed, video_id, view, "places"))
        others.append(random_starts(sampling, timeline, rng=rng, stratified=True, start=start, end=end))
    return np.stack([first] * sampling.crops + others)  # (R, N)


def frame_indices(
    timeline: Timeline,
    clip_start: float,
    sampling: ClipSampling,
    *,
    start: float | None = None,
    end: float | None = None,
) -> np.ndarray:
    """Return which frames a clip holds: (L,) int64 indices into the timeline, in the order of the clip.

    Where the usable part of the video ends too early, or a gap comes, the policy ``sampling.short`` supplies what is
    missing.

    Raises:
        VideoError: if the video is shorter than the clip and the policy refuses it, or nothing of the video lies
            between ``start`` and ``end``.
    """
    parts = usable_parts(timeline, start, end)
    shown = int(np.clip(timeline.shown_at(clip_start), parts[0].first, parts[-1].stop - 1))
    part = next(part for part in parts if shown < part.stop)
    if sampling.clip_rule == SEGMENTS:
        return _segments(sampling, parts).frames(shown)
    steps = _steps(sampling)
    if sampling.fps is not None:
        seconds = clip_start + steps / sampling.fps
        wanted = np.clip(timeline.shown_at(seconds), part.first, part.stop - 1)
        num_available = int(np.count_nonzero(seconds < part.end - timeline.rounding_at(part.stop - 1)))
    else:
        wanted = max(shown, part.first) + steps
        num_available = int(np.count_nonzero(wanted < part.stop))
    # A policy needs a frame to repeat, even where rounding puts the start a hair beyond the end.
    num_available = max(num_available, 1)
    if num_available < sampling.num_frames:
        wanted = wanted[SHORT_POLICIES[sampling.short](sampling.num_frames, num_available)]
    return wanted
