"""When the frames of a video are shown, and where it has gaps: pure arithmetic, no decoding."""

from dataclasses import dataclass, field

import numpy as np

from ..errors import VideoError

# Matroska and FLV round timestamps to whole milliseconds: a frame's time may be up to half a millisecond late. Frames
# that are closer than that are told apart all the same: see `Timeline`.
ROUNDING_SECONDS = 0.0005 + 1e-6

# Nothing new for more than this, and for so many times the usual distance of frames, is a gap. Slow videos (a picture a
# second) and short pauses in which a screen recording has nothing to record stay below.
_GAP_SECONDS = 1 + ROUNDING_SECONDS
_GAP_TIMES_USUAL = 20

# What is usual is asked of the frames around: of so many distances before and after, most must be that much shorter. In
# a slide show, and in a camera that records a picture a second while nothing moves, they are not.
_NUM_NEIGHBOURS = 8
_MOST = 0.75

# A video in which the frame that is shown after any share of the seconds is the one after that share of the frames, but
# for this much of the video, is as good as one of a constant rate: a few frames are missing, or times are rounded.
_EVEN_WITHIN = 0.05


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a video has no frames, though frames around it follow each other quickly.

    Args:
        start: seconds, when the frame before it has been shown for as long as frames are there.
        seconds: until the next frame, or until the video's end.
    """

    start: float
    seconds: float


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """When the frames of a video are shown.

    A frame belongs to a time if it begins by then, give or take the rounding of containers; between frames that are
    closer than that, half their distance counts instead, so that every frame can be addressed by its own time.

    Args:
        pts: (F,) float64 seconds, strictly increasing, in presentation order; the first shown frame is at 0.
        duration: seconds, the end of the last frame.
        joins: the frames with which the file's own timestamps begin again: parts of it are shown one after the other.
        damaged: (F,) bool, the frames that no clip may use; None if all can be used.

    Attributes:
        distances: (F,) float64 seconds from each frame to the next, the last one's to the end.
        firsts: (S,) int64, the first frame of each stretch of video without a gap.
        ends: (S,) float64 seconds, when each stretch ends.

    Raises:
        VideoError: if there is no frame, or the times do not increase from 0.
    """

    pts: np.ndarray
    duration: float
    joins: tuple[int, ...] = ()
    damaged: np.ndarray | None = None
    distances: np.ndarray = field(init=False)
    firsts: np.ndarray = field(init=False)
    ends: np.ndarray = field(init=False)
    _lateness: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        if len(self.pts) == 0:
            raise VideoError("no frames")
        if self.pts[0] != 0 or np.any(np.diff(self.pts) <= 0) or self.duration < self.pts[-1]:
            raise VideoError("timestamps that do not increase from zero")
        distances = np.diff(self.pts, append=self.duration)
        gaps = _frames_before_gaps(distances)
        shown = self.pts[gaps] + np.array([_usual(distances, frame) for frame in gaps])
        within = gaps[gaps < len(self.pts) - 1]
        ends = shown if len(within) < len(gaps) else np.append(shown, self.duration)
        lateness = np.minimum(ROUNDING_SECONDS, np.append(np.inf, distances) / 2)  # (F + 1,)
        for name, value in (
            ("distances", distances),
            ("firsts", np.append(0, within + 1)),
            ("ends", ends),
            ("_lateness", lateness),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.pts)

    def without(self, damaged: np.ndarray) -> "Timeline":
        """Return the same timeline, in which the frames that ``damaged`` (F,) bool marks are used by no clip."""
        return Timeline(pts=self.pts, duration=self.duration, joins=self.joins, damaged=damaged)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Where nothing is shown, in order."""
        nexts = np.append(self.pts[self.firsts[1:]], self.duration)
        pairs = zip(self.ends.tolist(), nexts.tolist(), strict=True)
        return tuple(Gap(start=end, seconds=begins - end) for end, begins in pairs if begins > end)

    def shown_at(self, seconds: np.ndarray | float) -> np.ndarray:
        """Return the frame on screen at each of ``seconds``, any shape, as int64 indices of the same shape.

        Before the video begins that is its first frame.
        """
        begins = self.pts + (ROUNDING_SECONDS - self._lateness[:-1])
        found = np.searchsorted(begins, np.asarray(seconds) + ROUNDING_SECONDS, side="right") - 1
        return np.maximum(found, 0)

    def num_begun_before(self, seconds: float) -> int:
        """Return how many frames begin before ``seconds``; one that begins just there, but for rounding, does not."""
        if seconds >= self.duration:
            return len(self)
        begins = self.pts - (ROUNDING_SECONDS - self._lateness[1:])
        return int(np.searchsorted(begins, seconds - ROUNDING_SECONDS, side="left"))

    def rounding_at(self, frame: int) -> float:
        """Return by how many seconds a time at the end of ``frame`` may be late, or early."""
        return float(self._lateness[frame + 1])


def are_even(pts: np.ndarray) -> bool:
    """Return whether frames at ``pts`` (F,) seconds follow each other evenly, but for rounding and a few lost ones."""
    if len(pts) < 3:
        return True
    seconds = (pts - pts[0]) / (pts[-1] - pts[0])
    return bool(np.max(np.abs(seconds - np.linspace(0, 1, len(pts)))) <= _EVEN_WITHIN)


def _frames_before_gaps(distances: np.ndarray) -> np.ndarray:
    """Return (G,) int64, the frames that a gap follows, given (F,) seconds from each frame to the next."""
    long = np.flatnonzero(distances > _GAP_SECONDS)
    if len(long) == 0 or len(distances) == 1:
        return np.zeros(0, np.int64)
    padded = np.pad(distances, _NUM_NEIGHBOURS, constant_values=np.nan)
    before = long[:, None] + np.arange(_NUM_NEIGHBOURS)  # (G, 8), in the padded distances
    sides = [padded[before], padded[before + _NUM_NEIGHBOURS + 1]]
    limit = distances[long, None] / _GAP_TIMES_USUAL
    quick = [(side < limit).sum(1) >= _MOST * np.count_nonzero(~np.isnan(side), axis=1) for side in sides]
    return long[np.all(quick, axis=0)]


def _usual(distances: np.ndarray, frame: int) -> float:
    """Return for how many seconds ``frame``, which a gap follows, would usually be shown."""
    around = distances[max(0, frame - _NUM_NEIGHBOURS) : frame]
    quick = around[around < distances[frame] / _GAP_TIMES_USUAL]
    if len(quick) == 0:
        quick = distances[frame + 1 : frame + 1 + _NUM_NEIGHBOURS]
    return float(np.median(quick))
