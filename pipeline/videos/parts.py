"""Which parts of a video clips may lie in: what its manifest names, cut at the gaps and without what is damaged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import VideoError
from .frame_times import Timeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A usable part of a timeline, without a gap: times [start, end) in seconds, frames [first, stop)."""

    start: float
    end: float
    first: int
    stop: int


def _interval(timeline: Timeline, start: float | None, end: float | None) -> Part:
    begins = max(start or 0.0, 0.0)
    ends = timeline.duration if end is None else min(end, timeline.duration)
    if begins > 0 and begins >= timeline.duration:
        raise VideoError(f"start {begins:.3f} s lies beyond the video's end at {timeline.duration:.3f} s")
    if end is not None and ends <= begins:
        raise VideoError(f"end {end:.3f} s does not lie after start {begins:.3f} s")
    first = int(timeline.shown_at(begins))
    return Part(start=begins, end=ends, first=first, stop=max(timeline.num_begun_before(ends), first + 1))


def usable_parts(timeline: Timeline, start: float | None, end: float | None) -> list[Part]:
    """Return what is shown between ``start`` and ``end``, in seconds, cut at the gaps and the damage.

    There is at least one part.

    Raises:
        VideoError: if nothing of the video lies between them, or nothing that is undamaged.
    """
    whole = _interval(timeline, start, end)
    stops = [*timeline.firsts[1:].tolist(), len(timeline)]
    parts = []
    for first, stop, ends in zip(timeline.firsts.tolist(), stops, timeline.ends.tolist(), strict=True):
        begins = max(whole.start, float(timeline.pts[first]))
        inside = max(first, whole.first), min(stop, whole.stop)
        if inside[0] < inside[1] and begins < ends:
            parts.append(Part(start=begins, end=min(whole.end, ends), first=inside[0], stop=inside[1]))
    # If all of it lies in a gap: the frame before stays on the screen.
    parts = parts or [whole]
    if timeline.damaged is None:
        return parts
    sound = [piece for part in parts for piece in _undamaged(part, timeline, timeline.damaged)]
    if not sound:
        raise VideoError("damaged: no frame that could be used is left")
    return sound


def _undamaged(part: Part, timeline: Timeline, damaged: np.ndarray) -> Iterator[Part]:
    """Yield the stretches of ``part`` in which no frame is damaged."""
    edges = np.diff(damaged[part.first : part.stop].astype(np.int8), prepend=1, append=1)
    firsts, stops = np.flatnonzero(edges == -1) + part.first, np.flatnonzero(edges == 1) + part.first
    for first, stop in zip(firsts.tolist(), stops.tolist(), strict=True):
        end = part.end if stop == part.stop else float(timeline.pts[stop])
        yield Part(start=max(part.start, float(timeline.pts[first])), end=end, first=first, stop=stop)
