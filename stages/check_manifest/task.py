"""Probe one file: what is in it, or what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.errors import VideoError
from ...pipeline.manifests.manifest import DUPLICATE_ID, EMPTY_LABEL, Video
from ...pipeline.videos.damage import REPORT
from ...pipeline.videos.reader import VideoInfo, probe

MISSING, _UNREADABLE = "missing", "unreadable"
_NO_VIDEO_STREAM, _NO_FRAMES, _ENCRYPTED = "no video stream", "no frames", "encrypted"
_TRUNCATED, _DAMAGED, _PICTURE, _EMPTY = "truncated", "damaged", "picture", "empty"
_BEYOND_DURATION = "beyond the duration"
PROBLEM_KINDS = (
    *(MISSING, _EMPTY, _UNREADABLE, _NO_VIDEO_STREAM, _PICTURE, _NO_FRAMES, _ENCRYPTED, _TRUNCATED, _DAMAGED),
    *(DUPLICATE_ID, EMPTY_LABEL, _BEYOND_DURATION),
)

# How the reasons begin that have a kind of their own.
_WORDS = {
    MISSING: "is a link",
    _EMPTY: "is empty",
    _PICTURE: "is a picture",
    _TRUNCATED: "truncated",
    _DAMAGED: "damaged",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: ``kind`` is one of `PROBLEM_KINDS`, ``message`` says it in full."""

    kind: str
    message: str


def probe_file(path: Path, *, decode: bool = True) -> VideoInfo | Problem:
    """Return what is in a file, or why it cannot be read."""
    try:
        if not path.exists() and not path.is_symlink():
            return Problem(MISSING, "missing: there is no such file")
        return probe(path, decode=decode, damaged=REPORT)
    except VideoError as error:
        return classify(str(error))
    except OSError as error:
        return Problem(_UNREADABLE, f"unreadable: {error.strerror or error}")


def classify(reason: str) -> Problem:
    """Return the problem that a `VideoError`'s reason describes."""
    # By its words: the library has one error for all that is wrong with a video, since it treats all alike.
    for kind, words in _WORDS.items():
        if reason.startswith(words):
            return Problem(kind, reason)
    for kind in (_NO_VIDEO_STREAM, _NO_FRAMES, _ENCRYPTED):
        if kind in reason:
            return Problem(kind, reason)
    return Problem(_UNREADABLE, f"unreadable: {reason}")


def damage_problems(info: VideoInfo) -> tuple[Problem, ...]:
    """Return what is wrong with the frames of a file: missing ones, and wrong ones."""
    found = ((_TRUNCATED, info.truncated), (_DAMAGED, info.damage))
    return tuple(Problem(kind, words) for kind, words in found if words)


def interval_problem(video: Video, info: VideoInfo) -> Problem | None:
    """Return what is wrong with ``start`` and ``end`` of a row, given its file.

    An ``end`` may be beyond the video's end by one frame: annotators round, and count frames at nominal rates.
    """
    duration = info.duration_seconds
    tolerance = 1 / info.average_fps if info.average_fps else 0.0
    if video.start is not None and video.start >= duration:
        return Problem(_BEYOND_DURATION, f"start ({video.start:g} s) is beyond the duration ({duration:.3f} s)")
    if video.end is not None and video.end > duration + tolerance:
        return Problem(_BEYOND_DURATION, f"end ({video.end:g} s) is beyond the duration ({duration:.3f} s)")
    return None
