"""How far apart a clip's frames should lie, and how much of a video clips see: from the lengths of a few videos."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import VideoError
from ..manifests.manifest import Video
from ..seeds import derived_seed
from .clips import ClipSampling, Timeline, clip_span_frames
from .reader import read_timeline

NUM_LOOKED_AT = 32  # opening a file means reading it; the middle of so many is steady enough for a whole number
# A clip may span half of a video, so that random clips of it still differ, and no more than 64 frames at 30 a second:
# what Slow-only 8×8, I3D 32×2 and SlowFast see of Kinetics' ten seconds.
_SHARE_OF_VIDEO = 0.5
_LONGEST_SECONDS = 64 / 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """The part of a video that a manifest gives.

    Attributes:
        num_frames: its own frames.
        rate: frames per second, from the usual gap between two of them: a long pause in the file does not count.
    """

    num_frames: int
    rate: float

    @property
    def seconds(self) -> float:
        """How long its frames are shown at that rate."""
        return self.num_frames / self.rate

    def frames_at(self, fps: float | None) -> float:
        """Return how many frames it has, resampled to ``fps`` if that is given."""
        return self.num_frames if fps is None else self.seconds * fps


def stretch_of(timeline: Timeline, *, start: float | None, end: float | None) -> Stretch:
    """Return what ``timeline`` shows from ``start`` to ``end`` (seconds; None: all); at least one frame."""
    inside = (timeline.pts >= (start or 0.0)) & (timeline.pts < (math.inf if end is None else end))
    gaps = np.diff(timeline.pts)
    gap = float(np.median(gaps)) if len(gaps) else timeline.duration
    return Stretch(num_frames=max(1, int(inside.sum())), rate=1 / gap if gap > 0 else 1.0)


def look_at_some(videos: Sequence[Video]) -> tuple[Stretch, ...]:
    """Return the stretches of up to `NUM_LOOKED_AT` of the videos, always the same ones, as far as they can be read."""
    chosen = range(len(videos))
    if len(videos) > NUM_LOOKED_AT:
        rng = np.random.default_rng(derived_seed("strides", len(videos)))
        chosen = sorted(rng.choice(len(videos), NUM_LOOKED_AT, replace=False).tolist())
    found: list[Stretch] = []
    timelines: dict[str, Timeline] = {}  # many rows may be parts of one long file
    for video in (videos[index] for index in chosen):
        try:
            path = str(video.path)
            timelines[path] = timelines.get(path) or read_timeline(video.path)
        except VideoError:
            continue  # training and extraction say what is wrong with it
        found.append(stretch_of(timelines[path], start=video.start, end=video.end))
    return tuple(found)


def fitting_stride(stretches: Sequence[Stretch], *, num_frames: int, fps: float | None) -> int:
    """Return the stride with which a clip sees about half of a typical video, but hardly more than two seconds.

    Args:
        stretches: of some of the videos, one or more.
        num_frames: L, of a clip.
        fps: the rate to which videos are resampled; None: their own.
    """
    # The middle of the videos' own strides, not the stride of a middle video: their rates may differ.
    middle = statistics.median(_span(own, fps) / num_frames for own in stretches)
    return max(1, math.floor(middle + 0.5))


def _span(stretch: Stretch, fps: float | None) -> float:
    """Return how many frames (resampled, if ``fps`` is given) a clip of a video should span."""
    return min(_SHARE_OF_VIDEO * stretch.frames_at(fps), _LONGEST_SECONDS * (fps or stretch.rate))


def share_seen(stretches: Sequence[Stretch], sampling: ClipSampling) -> float:
    """Return the share of a typical video, in (0, 1], that its clips of one view span together, gaps included.

    Args:
        stretches: of some of the videos, one or more.
        sampling: how clips are cut, and how many of a video.
    """
    return statistics.median(_share(own.frames_at(sampling.fps), sampling) for own in stretches)


def _share(available: float, sampling: ClipSampling) -> float:
    span = min(float(clip_span_frames(sampling)), available)
    others = sampling.num_clips - 1
    # Clips that touch or overlap count once: each adds its span, or the distance from the one before if that is less.
    step = span if sampling.placement == "dense" else (available - span) / max(1, others)
    return min(1.0, (span + others * min(span, step)) / available)
