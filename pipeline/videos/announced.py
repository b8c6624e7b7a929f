"""Whether a file holds all that its header announces: files that are cut short often play without a word.

What is announced differs by container, and FFmpeg's figure is not always the header's: where there is none, it is
estimated from the last timestamps or from the bit rate. So each container is asked for what its header surely says.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from .ratios import fraction

# How much may be missing: encoders that stop a little early, last frames without a duration, sound that is longer.
_TOLERATED_FRAMES = 3
_TOLERATED_SECONDS = 0.25
_TOLERATED_SECONDS_OF_ALL = 0.5
_TOLERATED_SHARE = 0.01

_MOST_FRAMES = 2**31 - 2  # what recorders write that do not know yet is larger

_HEAD_BYTES = 65536
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a file holds of its video.

    Args:
        num_frames: packets with a frame in them.
        first: time of the first frame, in seconds.
        end: time at which the last frame ends, in seconds.
        end_of_all: the same of whichever stream is the longest.
        step: seconds from one frame to the next, on average.
    """

    num_frames: int
    first: float
    end: float
    end_of_all: float
    step: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """What a header announces; each of the fields is None if it does not.

    Args:
        frames: how many the video has.
        seconds: the length of the video.
        end: when the video ends, in seconds.
        end_of_all: when the longest stream ends, in seconds.
    """

    frames: int | None = None
    seconds: float | None = None
    end: float | None = None
    end_of_all: float | None = None


def announced(path: Path, container: InputContainer, stream: VideoStream) -> Announced:
    """Return what the header of an open file announces of ``stream``.

    MPEG-TS, MPEG-PS, Ogg, NUT and raw streams announce nothing, nor do live recordings in Matroska and FLV.
    """
    kind = container.format.name
    unit = float(fraction(stream.time_base) or 0)
    length = stream.duration * unit if stream.duration and unit else None
    everything = container.duration / av.time_base if container.duration else None
    if kind == "avi":
        counted = 0 < stream.frames < _MOST_FRAMES
        return Announced(seconds=stream.frames * unit if counted else None)
    if kind == "ivf":  # a count by some writers, a duration by others
        return Announced(frames=stream.frames or None, seconds=stream.frames * unit)
    if kind == "apng":
        return Announced(frames=_apng_frames(_head(path)))
    if kind == "mxf" or (kind.startswith("mov") and not stream.frames):  # fragments: others have an index of all frames
        return Announced(seconds=length)
    if kind.startswith("matroska"):
        tagged = _seconds(stream.metadata.get("DURATION", ""))
        # Some programs copy the tag of a longer file.
        return Announced(end=min(tagged, everything)) if tagged and everything else Announced(end_of_all=everything)
    if kind.startswith("asf"):
        return Announced(end_of_all=_asf_seconds(_head(path)))
    return Announced(end_of_all=everything) if kind in ("flv", "rm") else Announced()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _seconds(text: str) -> float | None:
    """Return the seconds of a Matroska tag, as 00:01:02.500000000."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text.strip())
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else None


def _apng_frames(head: bytes) -> int | None:
    at = head.find(b"acTL")
    return int.from_bytes(head[at + 4 : at + 8], "big") if at > 0 else None


def _asf_seconds(head: bytes) -> float | None:
    """Return when an ASF file ends, by its header; FFmpeg keeps silent about it if the file is shorter than it says."""
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or len(head) < at + 96:
        return None
    playing, _, preroll, flags = struct.unpack_from("<QQQI", head, at + 64)  # 100 ns, 100 ns, ms
    live = flags & 1
    return None if live or not playing else playing / 1e7 - preroll / 1e3


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """What a file that is cut short lacks.

    Args:
        found: frames that are there.
        announced: frames that the header announces.
        exact: whether that number was counted, not worked out from a duration.
    """

    found: int
    announced: int
    exact: bool = True

    @property
    def num_frames(self) -> int:
        """How many frames are missing."""
        return self.announced - self.found

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        return f"truncated: {self.found} of {about}{self.announced} frames, as the header announces them"


def missing_frames(promised: Announced, found: Found) -> Missing | None:
    """Return what is missing of a video; None if, but for tolerances, all that is announced is there."""
    seconds = _missing_seconds(promised, found)
    if not seconds:
        return None
    frames = seconds / found.step
    exact = promised.frames is not None or (promised.seconds is not None and abs(frames - round(frames)) < 0.01)
    return Missing(found=found.num_frames, announced=found.num_frames + max(1, round(frames)), exact=exact)


def _missing_seconds(promised: Announced, found: Found) -> float | None:
    """Return how many seconds are missing; 0 if that can be tolerated, None if nothing is announced."""
    if promised.frames is not None:
        as_duration = promised.seconds is not None and abs(promised.seconds - found.end) <= 2 * found.step
        return 0.0 if as_duration else max(0, promised.frames - found.num_frames) * found.step
    if promised.seconds is not None:
        missing, total, tolerated = promised.seconds - (found.end - found.first), promised.seconds, _TOLERATED_SECONDS
    elif promised.end is not None:
        missing, total, tolerated = promised.end - found.end, promised.end, _TOLERATED_SECONDS
    elif promised.end_of_all is not None:
        missing, total = promised.end_of_all - found.end_of_all, promised.end_of_all
        tolerated = _TOLERATED_SECONDS_OF_ALL
    else:
        return None
    limit = max(_TOLERATED_FRAMES * found.step, tolerated, _TOLERATED_SHARE * total)
    return missing if missing > limit else 0.0
