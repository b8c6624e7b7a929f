"""Which frames a clip takes, once it is known where it begins: sources of published networks differ in it.

Source: "stride" is the rule of FASTER, VMZ and mmaction2; "linspace" that of PySlowFast and pytorchvideo, whose T×τ is
a window of T·τ frames; "segments" that of TSN, TSM and TIN.
"""

from collections.abc import Sequence

import numpy as np

from .parts import Part

STRIDE, LINSPACE, SEGMENTS = "stride", "linspace", "segments"
CLIP_RULES = (STRIDE, LINSPACE, SEGMENTS)
RULE_HELP = (
    "Frames of a clip: every so many (stride); evenly from a window of frames × stride (linspace); or the middles of "
    "as many segments of the whole video (segments)."
)


def frame_steps(rule: str, *, num_frames: int, sampling_rate: int) -> np.ndarray:
    """Return (L,) int64, how many (resampled) frames each frame of a clip lies behind the first.

    With ``linspace`` that is the whole part of L numbers from 0 to L·τ - 1, evenly spaced: 0 9 18 … 63 for 8×8.

    Args:
        rule: ``stride`` or ``linspace``.
        num_frames: L.
        sampling_rate: τ.
    """
    steps = np.arange(num_frames)
    if rule == LINSPACE and num_frames > 1:
        return steps * (num_frames * sampling_rate - 1) // (num_frames - 1)
    return steps * sampling_rate


class Segments:
    """The clips that have a frame of each of L equal segments of a video.

    The first of N clips takes each segment's frame at 1/2N of it, the next at 3/2N, and so on: the middles if there is
    one clip.

    Args:
        parts: what of the video is shown.
        num_frames: L.
        num_clips: N.
    """

    def __init__(self, parts: Sequence[Part], *, num_frames: int, num_clips: int) -> None:
        self._frames = np.concatenate([np.arange(part.first, part.stop) for part in parts])
        self._length = len(self._frames) / num_frames  # of a segment, in frames
        self._num_frames = num_frames
        self._offsets = (np.arange(num_clips) + 0.5) / num_clips * self._length

    def starts(self, places: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64, each clip's first frame.

        Args:
            places: (N,) in [0, 1), where in each segment a clip takes its frame; None for evenly spread ones.
        """
        offsets = self._offsets if places is None else places * self._length
        return self._frames[offsets.astype(np.int64)]

    def frames(self, first: int) -> np.ndarray:
        """Return (L,) int64, the frames of the clip that begins at ``first``."""
        at = int(np.searchsorted(self._frames, first))
        known = self._offsets[self._offsets.astype(np.int64) == at]
        offset = float(known[0]) if len(known) else float(at)
        places = (offset + np.arange(self._num_frames) * self._length).astype(np.int64)
        return self._frames[np.minimum(places, len(self._frames) - 1)]
