"""Probe every file of a manifest, in parallel, and report what is in them and what is wrong."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.manifests.composition import Composition, composition
from ...pipeline.manifests.manifest import Draft, Video, read_draft
from ...pipeline.videos.reader import VideoInfo
from .notes import NOTE_KINDS, Note, interval_notes, notes_of
from .plan import FilesToProbe, plan
from .repeats import Repeats, repeats
from .settings import CheckSettings
from .task import PROBLEM_KINDS, Problem, damage_problems, interval_problem, probe_file

_FILES_PER_WORKER = 4  # submitted at a time, so that no worker waits


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What was found about one row of the manifest; ``info`` is None if the file could not be probed.

    Problems keep a video from being used, or part of it; notes do not.
    """

    line: int
    video: Video
    info: VideoInfo | None
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The rows of a manifest in its order, with what was found about each, and what the manifest is made of.

    ``files`` has every distinct file, since several rows may be parts of the same one, and what is in it.
    """

    settings: CheckSettings
    videos: tuple[VideoReport, ...]
    composition: Composition
    files: Mapping[Path, VideoInfo | None]
    repeats: Repeats

    @property
    def faulty(self) -> tuple[VideoReport, ...]:
        """The rows with a problem."""
        return tuple(report for report in self.videos if report.problems)

    @property
    def remarkable(self) -> tuple[VideoReport, ...]:
        """The rows with a problem or a note."""
        return tuple(report for report in self.videos if report.problems or report.notes)

    @property
    def problem_counts(self) -> dict[str, int]:
        """How many rows have each kind of problem, in the order of `PROBLEM_KINDS`."""
        counts = Counter(kind for report in self.videos for kind in {problem.kind for problem in report.problems})
        return {kind: counts[kind] for kind in PROBLEM_KINDS if counts[kind]}

    @property
    def note_counts(self) -> dict[str, int]:
        """How many rows have each kind of note, in the order of `NOTE_KINDS`."""
        counts = Counter(note.kind for report in self.videos for note in report.notes)
        return {kind: counts[kind] for kind in NOTE_KINDS if counts[kind]}


def run(settings: CheckSettings, *, progress: Progress = SILENT) -> CheckReport:
    """Return what is in the files of a manifest, and every problem; files that several rows share are probed once.

    Raises:
        ManifestError: if the manifest itself cannot be read (flaws such as duplicate ids are problems in the report).
    """
    draft = read_draft(settings.manifest)
    files, made_of = plan(draft), composition(draft.videos)
    found = _probe_all(files, settings, progress)
    in_files = {files.path(i): None if isinstance(own, Problem) else own for i, own in enumerate(found)}
    rows = tuple(_reports(draft, files, found))
    return CheckReport(settings, rows, made_of, in_files, repeats(draft.videos, files))


def _probe_all(files: FilesToProbe, settings: CheckSettings, progress: Progress) -> list[VideoInfo | Problem]:
    """Return what is in each of the files, or what is wrong with it."""
    workers = settings.workers or _num_cores()
    found: dict[int, VideoInfo | Problem] = {}
    todo, waiting = iter(range(len(files))), dict[Future[VideoInfo | Problem], int]()
    # Threads, not processes: FFmpeg decodes outside of the interpreter's lock.
    with ThreadPoolExecutor(workers) as pool:

        def submit() -> None:
            # A few at a time: a million waiting futures would take a gigabyte.
            for number in islice(todo, _FILES_PER_WORKER * workers - len(waiting)):
                waiting[
                    pool.submit(probe_file, files.path(number), decode=settings.decode, max_pixels=settings.max_pixels)
                ] = number

        try:
            submit()
            with under_way(progress, "probing", total=len(files), unit="file"):
                while waiting:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        found[waiting.pop(future)] = future.result()
                        progress.advance()
                    submit()
        finally:
            # On Ctrl-C the pool would otherwise probe all files that are still waiting.
            pool.shutdown(cancel_futures=True)
    return [found[number] for number in range(len(files))]


def _num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reports(draft: Draft, files: FilesToProbe, found: list[VideoInfo | Problem]) -> Iterator[VideoReport]:
    flaws = defaultdict(list)
    for flaw in draft.flaws:
        flaws[flaw.line].append(Problem(flaw.kind, f"{flaw.kind}: {flaw.message}"))
    for line, video, number in zip(draft.lines, draft.videos, files.of_rows, strict=True):
        result = found[number]
        info, problem = (None, result) if isinstance(result, Problem) else (result, interval_problem(video, result))
        damage = () if info is None else damage_problems(info)
        notes = () if info is None else (*notes_of(info), *interval_notes(video, info))
        yield VideoReport(line, video, info, (*([problem] if problem else []), *damage, *flaws[line]), notes)
