"""Train many aggregators on one store, score each, and compare the results.

The plan is pure, a task is one run in a directory of its own, and every run goes on where it was stopped. So a sweep
may be stopped at any moment, continued and extended, in this process or on a cluster, with equal results.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...pipeline.errors import RunError, StoreError, named, spelled
from ...pipeline.evaluation.comparison import Comparison
from ...pipeline.execution import SILENT, Progress, run_tasks, under_way
from ...pipeline.features.local_copies import check_space
from ...pipeline.features.patterns import Pattern
from ...pipeline.features.store import FeatureStore
from ...pipeline.files import held_folder, write_csv, write_json
from ...pipeline.settings import describe_differences, recorded_names
from ...pipeline.training.learning_split import unlabelled_words
from ..train_aggregator.settings import TrainAggregatorSettings
from .plan import SweepPlan, SweepTask, plan, resolve, shared_outcome
from .settings import SweepSettings
from .tables import report
from .task import TaskResult, read_score, run_task

_SETTINGS_FILE, _FAILURES_FILE = "sweep.json", "failures.csv"

_OPTIONS = recorded_names(TrainAggregatorSettings) | recorded_names(SweepSettings)  # what runs share stands flat


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSummary:
    """The result of a sweep.

    Attributes:
        num_done: runs finished by this call.
        num_already_done: requested runs that had been finished before it.
        failed: run -> reason, with settings as `errors.named` marks them.
        left_out: a sentence for each combination of pattern and clips that is not run.
        tables: file name -> its text, as Markdown.
        files: all that were written about the runs together.
        best: name of the setting with the highest mean accuracy, the cheapest of equals; empty without a result.
        accuracies: name of each setting -> its mean accuracy, best first.
        comparisons: of its first run with the first runs of the others, on the same videos.
        failed_pictures: path -> reason of those that could not be drawn.
    """

    out: Path
    num_done: int
    num_already_done: int
    failed: dict[str, str]
    left_out: tuple[str, ...]
    tables: dict[str, str]
    files: tuple[Path, ...]
    best: str
    accuracies: dict[str, float]
    comparisons: tuple[Comparison, ...]
    failed_pictures: dict[str, str]


def run(
    settings: SweepSettings,
    *,
    planned: Callable[[SweepPlan, int], object] = lambda _plan, _todo: None,
    progress: Progress = SILENT,
) -> SweepSummary:
    """Train and score what is still missing, then write tables and figures on all runs in the directory.

    Args:
        settings: what to train, and how.
        planned: called with the plan and the number of runs to do, before the first.
        progress: advanced by each run, with the reason if it failed.

    Raises:
        SettingsError, ManifestError, StoreError: if the store lacks something, or does not allow it; nothing is
            written.
        RunError: if the directory belongs to a sweep with other settings, or to anything else; the difference is named.
        OutOfSpaceError: if copies of the maps do not fit on the disk.
        ExecutionError: if the cluster cannot be reached, or goes away.
    """
    settings = resolve(settings)
    settings = absolute(settings)
    shared = shared_outcome(settings)
    # Patterns of earlier calls come first, so that a run keeps its name when others with the same clips are added.
    known = known_patterns(settings.out, shared)
    whole = plan(settings, known=known)
    if whole.unlabelled:
        progress.milestone(unlabelled_words(whole.unlabelled))
    if whole.shared_groups:
        progress.milestone(whole.shared_groups)
    todo = unfinished(settings, whole)
    failed: dict[str, str] = {}
    patterns = list(dict.fromkeys([*known, *settings.patterns]))
    sweep = {"patterns": [str(pattern) for pattern in patterns], "shared": shared}
    with _directory(settings.out, sweep), _copies(settings, whole) as copies:
        planned(whole, len(todo))
        with (
            under_way(progress, "sweep", total=len(todo), unit="run"),
            contextlib.closing(_results(settings, copies, todo)) as results,
        ):
            for result in results:
                if result.error:
                    failed[result.task.name] = result.error
                progress.advance(note=f"failed: {result.task.name}: {result.error}" if result.error else "")
        write_csv(
            settings.out / _FAILURES_FILE,
            [("run", "reason"), *((name, spelled(reason)) for name, reason in sorted(failed.items()))],
        )
        reported = report(settings.out, patterns=patterns, store=settings.training.store, split=settings.test_split)
    return SweepSummary(
        out=settings.out,
        num_done=len(todo) - len(failed),
        num_already_done=len(whole.tasks) - len(todo),
        failed=dict(sorted(failed.items())),
        left_out=whole.left_out,
        tables=reported.tables,
        files=reported.files,
        best=next(iter(reported.accuracies), ""),
        accuracies=reported.accuracies,
        comparisons=reported.comparisons,
        failed_pictures=reported.failed_pictures,
    )


def absolute(settings: SweepSettings) -> SweepSettings:
    """Return the settings with absolute paths: workers may have other working directories."""
    own = settings.training
    paths = {"store": own.store.absolute(), "out": own.out.absolute(), "splits": own.splits and own.splits.absolute()}
    training = replace(own, **paths)
    return replace(settings, training=training, cache_dir=settings.cache_dir and settings.cache_dir.absolute())


def known_patterns(out: Path, asked: Mapping[str, Any]) -> list[Pattern]:
    """Return the patterns that the sweep in the directory has had so far; none if there is no sweep yet.

    Args:
        out: the directory.
        asked: what `shared_outcome` returns now.

    Raises:
        RunError: if the directory has files but no sweep, or a sweep with other settings, naming each difference.
    """
    path = out / _SETTINGS_FILE
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            if (out / "settings.json").is_file():
                raise RunError(f"{out} holds a single run, not a sweep; choose a new directory")
            raise RunError(f"{out} has files in it but no sweep ({_SETTINGS_FILE}); choose a new directory")
        return []
    try:
        have = json.loads(path.read_text(encoding="utf-8"))
        shared, patterns = have["shared"], [Pattern.parse(text) for text in have["patterns"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error!r}. Choose another {named('out')}") from error
    differences = describe_differences(shared, asked, options=_OPTIONS)
    if differences:
        raise RunError(
            f"{out} holds a sweep with other settings: {'; '.join(differences)}. Choose another {named('out')}, or ask "
            "for the sweep's own settings to add to it"
        )
    return patterns


def unfinished(settings: SweepSettings, whole: SweepPlan) -> list[SweepTask]:
    """Return the tasks without a score yet.

    Raises:
        RunError: if a finished run was made from other features, or training videos, than the store's.
    """
    store = FeatureStore.open(settings.training.store)

    def is_missing(task: SweepTask) -> bool:
        num_test = len(whole.test[task.pattern, task.num_clips])
        path, num_training = settings.out / "runs" / task.name, whole.num_training[task.name]
        return read_score(path, store=store, num_training=num_training, num_test=num_test) is None

    return [task for task in whole.tasks if is_missing(task)]


@contextlib.contextmanager
def _directory(out: Path, sweep: Mapping[str, Any]) -> Iterator[None]:
    """Lock the sweep's directory for this process, and write what all its runs share into it.

    Raises:
        StoreError: if another process holds the lock.
    """
    out.mkdir(parents=True, exist_ok=True)
    with held_folder(out, error=StoreError):
        write_json(out / _SETTINGS_FILE, sweep)
        yield


@contextlib.contextmanager
def _copies(settings: SweepSettings, whole: SweepPlan) -> Iterator[Path | None]:
    """Yield the folder for copies of maps, and remove it at the end unless the user named it.

    Raises:
        OutOfSpaceError: if they do not fit on this machine's disk.
    """
    if not settings.copies:
        yield None
        return
    folder = copies_folder(settings)
    if not settings.scheduler.startswith(("tcp", "tls")):  # whose workers check for themselves
        store = FeatureStore.open(settings.training.store)
        check_space([store.backbone(name) for name in whole.backbones], folder)
    try:
        yield folder
    finally:
        if settings.cache_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def copies_folder(settings: SweepSettings) -> Path:
    """Return where each machine keeps its copies of maps: the same folder for each call of a sweep."""
    if settings.cache_dir is not None:
        return settings.cache_dir
    # The user's id, because the folder for temporary files belongs to all users of a machine.
    digest = hashlib.sha256(str(settings.out.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"vidpipe-{os.getuid()}-{digest}"


def _results(
    settings: SweepSettings, copies: Path | None, tasks: Sequence[SweepTask]
) -> Generator[TaskResult, None, None]:
    yield from run_tasks(
        partial(run_task, settings, copies),
        tasks,
        scheduler=settings.scheduler,
        workers=settings.workers,
        threads_per_worker=settings.threads,
        # A run that kills its workers, for want of memory, must not end the sweep.
        lost=lambda task, error: TaskResult(task=task, error=error.marked),
    )
