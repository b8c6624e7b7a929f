"""Files whose timestamps begin again: recordings that were joined end to end. Pure arithmetic, no decoding."""

import numpy as np

# Timestamps of MPEG streams have 33 bits. Of two in succession that are more than half of that apart, FFmpeg takes the
# second for one that has run over; a stretch of thirteen hours without a frame is rather a step back.
_HALF_OF_33_BITS = 2**32
_MPEG_CONTAINERS = ("mpegts", "mpeg")

# More frames than this no decoder puts back into order.
_MOST_REORDERED = 16

# Steps back that are as frequent as this come from frames in the wrong order, not from joins.
_MOST_JOINS = 0.1


def begin_again(*, pts: np.ndarray, dts: np.ndarray, has_dts: np.ndarray, keyframe: np.ndarray, container: str) -> bool:
    """Return whether timestamps go back somewhere, by more than reordering explains.

    Args:
        pts: (P,) int64, presentation times of the packets in the file's order.
        dts: (P,) int64, their decoding times.
        has_dts: (P,) bool, where these are known.
        keyframe: (P,) bool, where decoding can begin: everything before it in the file is shown before it.
        container: the demuxer's name.
    """
    latest_before = np.maximum.accumulate(pts)[:-1]
    # Matroska stores none: FFmpeg guesses them, from timestamps that may be in another order.
    told = dts[:0] if container.startswith("matroska") else dts[has_dts]
    if np.any(keyframe[1:] & (pts[1:] <= latest_before)) or np.any(np.diff(told) < 0):
        return True
    lateness = np.argsort(pts, kind="stable") - np.arange(len(pts))  # by how many frames each is decoded too late
    if np.any(lateness > _MOST_REORDERED):
        return True
    return container in _MPEG_CONTAINERS and bool(np.any(np.diff(np.sort(pts)) > _HALF_OF_33_BITS))


def joins(pts: np.ndarray, *, container: str) -> np.ndarray:
    """Return (J,) int64, the frames with which timestamps begin again.

    Args:
        pts: (F,) int64, presentation times of frames in the order in which they are shown.
        container: the demuxer's name.
    """
    steps = np.diff(pts)
    wrapped = steps > _HALF_OF_33_BITS if container in _MPEG_CONTAINERS else np.zeros(len(steps), bool)
    return np.flatnonzero((steps <= 0) | wrapped) + 1


def one_after_the_other(pts: np.ndarray, starts: np.ndarray) -> np.ndarray | None:
    """Return (F,) strictly increasing int64 times for parts that are shown one after the other.

    Within a part the times are its own; each part follows the last frame of the one before at the usual distance.

    Args:
        pts: (F,) int64, presentation times of frames in the order in which they are shown.
        starts: (J,) int64, the frames with which timestamps begin again.

    Returns:
        The times, or None if there are too many such frames to be joins.
    """
    if len(starts) > max(1, _MOST_JOINS * len(pts)):
        return None
    steps = np.diff(pts)
    within = np.delete(steps, starts - 1)
    steps[starts - 1] = max(1, int(np.median(within))) if len(within) else 1
    return np.append(pts[:1], pts[:1] + np.cumsum(steps))
