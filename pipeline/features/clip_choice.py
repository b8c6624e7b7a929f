"""Which of a video's stored clips an aggregator sees: pure arithmetic on clip numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ClipChoice:
    """For each of the N places in the aggregator's input, the stored clips that may stand there.

    Place i takes its clip from the i-th of N equal stretches of the stored clips, so that clips stay in order and cover
    the whole video, as when N clips are drawn from the video itself.

    Attributes:
        candidates: N arrays of clip numbers, ascending; none is empty.
        stretches: (N + 1,) the edges of the stretches, in clips.
    """

    candidates: tuple[npt.NDArray[np.int64], ...]
    stretches: npt.NDArray[np.float64]

    def draw(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return (N,) int64 clip numbers, each drawn uniformly from its place's candidates."""
        return np.array([found[rng.integers(len(found))] for found in self.candidates])

    def spread(self) -> npt.NDArray[np.int64]:
        """Return (N,) int64 clip numbers, each the candidate nearest to the middle of its stretch."""
        middles = (self.stretches[:-1] + self.stretches[1:]) / 2 - 0.5  # clip j covers [j, j + 1)
        pairs = zip(self.candidates, middles, strict=True)
        return np.array([found[np.abs(found - middle).argmin()] for found, middle in pairs])


def stretch_edges(num_clips: int, *, num_stored: int) -> npt.NDArray[np.float64]:
    """Return (N + 1,) float64 edges of N equal stretches of ``num_stored`` clips."""
    return np.arange(num_clips + 1) * num_stored / num_clips


def candidate_clips(available: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], ...]:
    """Return, for each place, the available clips of its stretch; empty where there is none.

    Args:
        available: (N, S) bool, whether stored clip j can stand at place i; N <= S.
    """
    edges = np.floor(stretch_edges(len(available), num_stored=available.shape[1])).astype(np.int64)
    return tuple(
        start + np.flatnonzero(row[start:stop])
        for row, start, stop in zip(available, edges[:-1], edges[1:], strict=True)
    )
