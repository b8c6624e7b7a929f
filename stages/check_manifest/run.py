"""Probe every file of a manifest, in parallel, and gather what is in them and what is wrong."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...pipeline.errors import VideoError
from ...pipeline.manifests.manifest import DUPLICATE_ID, EMPTY_LABEL, Draft, Video, read_draft
from ...pipeline.videos.reader import VideoInfo, probe
from .settings import CheckSettings

MISSING, UNREADABLE = "missing", "unreadable"
NO_VIDEO_STREAM, NO_FRAMES, ENCRYPTED = "no video stream", "no frames", "encrypted"
BEYOND_DURATION = "beyond the duration"
PROBLEM_KINDS = (
    *(MISSING, UNREADABLE, NO_VIDEO_STREAM, NO_FRAMES, ENCRYPTED),
    *(DUPLICATE_ID, EMPTY_LABEL, BEYOND_DURATION),
)


class Progress(Protocol):
    """What `tqdm` is to a stage: passes on what it is given, and shows how far it came."""

    def __call__(self, iterable: Iterable[Future], /, *, total: int) -> Iterable[Future]:
        """Return the same items, of which there will be ``total``."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: ``kind`` is one of `PROBLEM_KINDS`, ``message`` says it in full."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What was found about one row of the manifest; ``info`` is None if the file could not be probed."""

    line: int
    video: Video
    info: VideoInfo | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The rows of a manifest in its order, with what was found about each."""

    settings: CheckSettings
    videos: tuple[VideoReport, ...]

    @property
    def faulty(self) -> tuple[VideoReport, ...]:
        """The rows with a problem."""
        return tuple(report for report in self.videos if report.problems)

    @property
    def problem_counts(self) -> dict[str, int]:
        """How many rows have each kind of problem, in the order of `PROBLEM_KINDS`."""
        counts = Counter(kind for report in self.videos for kind in {problem.kind for problem in report.problems})
        return {kind: counts[kind] for kind in PROBLEM_KINDS if counts[kind]}

    @property
    def files(self) -> dict[Path, VideoInfo | None]:
        """Every distinct file with what is in it: several rows may be stretches of one."""
        return {report.video.path: report.info for report in self.videos}


def run(settings: CheckSettings, *, progress: Progress = lambda iterable, /, **_: iterable) -> CheckReport:
    """Return what is in the files of a manifest, and every problem; files that several rows share are probed once.

    Raises:
        ManifestError: if the manifest itself cannot be read (its flaws, as duplicate ids, are problems of the report).
    """
    draft = read_draft(settings.manifest)
    found: dict[Path, VideoInfo | Problem] = {}
    with ThreadPoolExecutor(settings.workers or num_cores()) as pool:
        futures = {pool.submit(probe_file, path, decode=settings.decode): path for path in plan(draft)}
        try:
            for future in progress(as_completed(futures), total=len(futures)):
                found[futures[future]] = future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return CheckReport(settings, tuple(_reports(draft, found)))


def plan(draft: Draft) -> list[Path]:
    """Return the files to probe, each once, in the manifest's order."""
    return list(dict.fromkeys(video.path for video in draft.videos))


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


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reports(draft: Draft, found: dict[Path, VideoInfo | Problem]) -> Iterator[VideoReport]:
    flaws = defaultdict(list)
    for flaw in draft.flaws:
        flaws[flaw.line].append(Problem(flaw.kind, f"{flaw.kind}: {flaw.message}"))
    for line, video in zip(draft.lines, draft.videos, strict=True):
        result = found[video.path]
        info, problem = (None, result) if isinstance(result, Problem) else (result, interval_problem(video, result))
        yield VideoReport(line, video, info, (*([problem] if problem else []), *flaws[line]))
