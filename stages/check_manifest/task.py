"""Probe one file: what is in it, or what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.errors import VideoError
from ...pipeline.manifests.manifest import DUPLICATE_ID, EMPTY_LABEL, Video
from ...pipeline.videos.reader import VideoInfo, probe

MISSING, UNREADABLE = "missing", "unreadable"
NO_VIDEO_STREAM, NO_FRAMES, ENCRYPTED = "no video stream", "no frames", "encrypted"
BEYOND_DURATION = "beyond the duration"
PROBLEM_KINDS = (
    *(MISSING, UNREADABLE, NO_VIDEO_STREAM, NO_FRAMES, ENCRYPTED),
    *(DUPLICATE_ID, EMPTY_LABEL, BEYOND_DURATION),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: ``kind`` is one of `PROBLEM_KINDS`, ``message`` says it in full."""

    kind: str
    message: str


def probe_file(path: Path, *, decode: bool = True) -> VideoInfo | Problem:
    """Return what is in a file, or why that cannot be said."""
    try:
        if not path.exists():
            return Problem(MISSING, "missing: there is no such file")
        return probe(path, decode=decode)
    except VideoError as error:
        return classify(str(error))
    except OSError as error:
        return Problem(UNREADABLE, f"unreadable: {error.strerror or error}")


def classify(reason: str) -> Problem:
    """Return the problem that the reason of a `VideoError` stands for."""
    for kind in (NO_VIDEO_STREAM, NO_FRAMES, ENCRYPTED):
        if kind in reason:
            return Problem(kind, reason)
    return Problem(UNREADABLE, f"unreadable: {reason}")


def interval_problem(video: Video, info: VideoInfo) -> Problem | None:
    """Return what is wrong with ``start`` and ``end`` of a row, given its file.

    An ``end`` may pass the end of the video by one frame: annotators round, and count frames at nominal rates.
    """
    duration = info.duration_seconds
    tolerance = 1 / info.average_fps if info.average_fps else 0.0
    if video.start is not None and video.start >= duration:
        return Problem(BEYOND_DURATION, f"start ({video.start:g} s) is beyond the duration ({duration:.3f} s)")
    if video.end is not None and video.end > duration + tolerance:
        return Problem(BEYOND_DURATION, f"end ({video.end:g} s) is beyond the duration ({duration:.3f} s)")
    return None
