"""When the frames of a file are shown: from its packets if they can be trusted, otherwise by decoding all of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from ..errors import VideoError
from .container import decode
from .damage import Damage, damaged_frames, own_packets
from .decoder import MARKED, Notes
from .decoding import FrameIndex
from .frame_times import Timeline
from .joined import begin_again, joins, one_after_the_other
from .packets import Contents

# Containers that carry presentation times, and codecs whose every packet becomes one frame. Not so: AVI (decoding order
# only), MPEG-4 part 2 (frames not coded), VP8 (invisible frames).
_TRUSTED_FORMATS = ("mov", "matroska", "mpegts", "gif", "flv")
_TRUSTED_CODECS = ("h264", "hevc", "vp9", "av1", "gif", "mjpeg", "prores")


Look = Callable[[av.VideoFrame], None]


def packets_tell_time(contents: Contents) -> bool:
    """Return whether the packets alone say which frames will be decoded, and when each is shown."""
    packets, head = contents.packets, contents.head
    if contents.codec not in _TRUSTED_CODECS or not contents.container.startswith(_TRUSTED_FORMATS):
        return False
    if contents.container == "mpegts" and any(frame.interlaced for frame in head):
        return False  # a packet may be one field of two
    shown = np.sort(packets.pts[packets.shown])
    if not packets.has_pts.all() or np.any(np.diff(shown) == 0) or _begins_again(contents):
        return False
    return [frame.pts for frame in head] == shown[: len(head)].tolist()


def _begins_again(contents: Contents) -> bool:
    packets = contents.packets
    return begin_again(
        pts=packets.pts,
        dts=packets.dts,
        has_dts=packets.has_dts,
        keyframe=packets.keyframe,
        container=contents.container,
    )


def timeline_of_packets(contents: Contents) -> tuple[Timeline, FrameIndex]:
    """Return the timeline that the packets give, and how to find its frames."""
    packets = contents.packets
    order = np.flatnonzero(packets.shown)
    order = order[np.argsort(packets.pts[order])]  # from places in the timeline to packets
    pts, keyframes = packets.pts[order], np.flatnonzero(packets.keyframe[order])
    index = FrameIndex(
        size=len(order),
        pts=pts,
        keyframes=keyframes,
        keyframe_dts=packets.dts[order[keyframes]],
        encrypted=contents.encrypted,
        packets=order,
    )
    return _timeline(pts, int(packets.duration[order[-1]]), contents), index


def timeline_of_frames(
    path: Path, contents: Contents, *, threads: int, max_pixels: int | None
) -> tuple[Timeline, FrameIndex, Damage]:
    """Return the timeline found by decoding the whole file, how to find its frames, and what is wrong with them.

    No picture is kept.

    Raises:
        VideoError: if decoding gives no frame, or the file is encrypted.
    """
    frames, notes = _decode_all(path, contents, threads=threads, max_pixels=max_pixels)
    if not frames:
        raise VideoError("no frames decode")
    none, packets = np.zeros(0, np.int64), contents.packets
    own = own_packets([(frame.pts, frame.dts) for frame in frames], packets.pts, packets.dts)
    index = FrameIndex(
        size=len(frames), pts=None, keyframes=none, keyframe_dts=none, encrypted=contents.encrypted, packets=none
    )
    shown, restarts = _display_times([frame.pts for frame in frames], contents)
    timeline = _timeline(shown, frames[-1].duration, contents, joins=restarts.tolist())
    return timeline, index, _damage(frames, notes, contents, own=own, places=range(len(frames)))


def find_damage(
    path: Path,
    contents: Contents,
    index: FrameIndex,
    look: Look | None = None,
    *,
    threads: int,
    max_pixels: int | None,
) -> Damage:
    """Return what is wrong with a file whose packets tell its timeline, by decoding all of it; no picture is kept.

    Args:
        path: the file.
        contents: what is known of it.
        index: how to find its frames.
        look: is called with each frame that decodes, in order.
        threads: of the decoder.
        max_pixels: of a picture; it becomes an error of the video if there are more.

    Raises:
        VideoError: if the file is encrypted, or its pictures become too large.
    """
    frames, notes = _decode_all(path, contents, threads=threads, max_pixels=max_pixels, look=look)
    places = [index.place(frame.pts) for frame in frames]
    for place in sorted(set(range(index.size)).difference(places)):
        notes.lost.add(int(index.packets[place]))
    return _damage(frames, notes, contents, own=index.packets, places=places)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What is kept of a decoded frame."""

    pts: int | None
    dts: int | None
    duration: int
    corrupt: bool
    intra: bool


def _decode_all(
    path: Path, contents: Contents, *, threads: int, max_pixels: int | None, look: Look | None = None
) -> tuple[list[_Decoded], Notes]:
    notes, frames = Notes(), []
    for frame in decode(path, threads=threads, notes=notes, max_pixels=max_pixels):
        intra = frame.pict_type == PictureType.I
        frames.append(_Decoded(frame.pts, frame.dts, frame.duration or 0, frame.is_corrupt, intra))
        if look:
            look(frame)
    if contents.encrypted and not notes.sound:
        raise VideoError("encrypted")
    return frames, notes


def _damage(
    frames: Sequence[_Decoded], notes: Notes, contents: Contents, *, own: np.ndarray, places: Sequence[int | None]
) -> Damage:
    """Return what is wrong with a video.

    Args:
        frames: all that decode.
        notes: what went wrong with that.
        contents: of the file.
        own: (F,) int64, the number of the packet of each frame of the timeline.
        places: in the timeline, of each of ``frames``; None if it has none.
    """
    restarts = contents.packets.keyframe[own].copy()  # (F,)
    corrupt = []
    for frame, place in zip(frames, places, strict=True):
        if place is not None and frame.corrupt:
            corrupt.append(int(own[place]))
        # H.264 may begin anew by and by, over many frames, instead of with a whole picture.
        if place is not None and contents.codec == "h264" and not frame.intra:
            restarts[place] = False
    faults = sorted((*notes.faults, *contents.faults), key=lambda fault: fault.packet)
    numbers = [*(fault.packet for fault in faults), *notes.lost, *corrupt]
    if not numbers:
        return Damage(np.zeros(len(own), bool))
    first = faults[0].reason if faults and faults[0].packet == min(numbers) else ""
    why = first or (MARKED if min(numbers) in corrupt else "does not decode")
    return Damage(damaged_frames(numbers, own, np.flatnonzero(restarts)), num_lost=len(notes.lost), reason=why)


def _display_times(pts: Sequence[int | None], contents: Contents) -> tuple[np.ndarray, np.ndarray]:
    """Return (F,) strictly increasing int64 times for frames that came, in order of display, with ``pts``.

    A file that stores only decoding times (AVI) also shows its frames at these times, in order of display; the decoder
    then gives each frame the time of another. Where timestamps begin again, parts are shown one after the other. If
    nothing fits, frames follow evenly, at the rate that the file claims.

    Returns:
        The times, and (J,) int64, the frames with which timestamps begin again.
    """
    known = np.array([time for time in pts if time is not None], dtype=np.int64)
    restarts, none = joins(known, container=contents.container), np.zeros(0, np.int64)
    candidates = [(known, none), (contents.packets.dts, none)]
    following = one_after_the_other(known, restarts)
    if following is not None:
        candidates.append((following, restarts))
    for times, begun in (*candidates, (np.sort(known), none)):
        if len(times) == len(pts) and len(joins(times, container=contents.container)) == 0:
            return times, begun
    step = 1 / (contents.rate * contents.time_base)
    return np.round(np.arange(len(pts)) * float(step)).astype(np.int64), none


def _timeline(pts: np.ndarray, last_duration: float, contents: Contents, *, joins: Sequence[int] = ()) -> Timeline:
    """Return the timeline of frames at ``pts`` (F,) int64; its end follows from the last frame's duration."""
    if last_duration <= 0:
        steps = np.diff(pts)
        # Many containers leave the last duration out; the median is safe against single long gaps.
        last_duration = float(np.median(steps)) if len(steps) else float(1 / (contents.rate * contents.time_base))
    unit = float(contents.time_base)
    # Subtracted as integers, which is exact however late the file's own clock begins.
    seconds = (pts - pts[0]).astype(np.float64) * unit
    return Timeline(pts=seconds, duration=float(seconds[-1] + last_duration * unit), joins=tuple(joins))
