"""One run of a sweep, on its worker: train an aggregator, score it on the test split, and write the figures."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from threading import Lock

import torch

from ...pipeline.available_memory import is_out_of_memory
from ...pipeline.costs.gmacs import stored_gmacs
from ...pipeline.errors import RunError, VidpipeError, named
from ...pipeline.evaluation.metrics import CHANCE, MAJORITY
from ...pipeline.features.store import FeatureStore
from ...pipeline.files import write_json
from ...pipeline.training.run_directory import RunDirectory
from ..evaluate.plan import check_fits
from ..evaluate.run import answers, baseline_records
from ..evaluate.scores import RunScores, evaluate
from ..evaluate.settings import EvaluateSettings
from ..train_aggregator.run import TrainAggregatorSummary, run
from .plan import SweepTask, run_settings, selection_of
from .settings import SweepSettings

SCORE_FILE = "score.json"
ANSWERS_FILE = "answers.json"  # id of each scored video -> whether it is got right
_DIGITS = 9  # of GMACs: to the last MAC
# A Dask worker may run several tasks in one process, where torch has a single stream of random numbers for all.
ALONE = Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The result of a run; the fields are the columns of results.csv, and the last two those of timings.csv.

    Attributes:
        pattern: as text.
        seed: of the training.
        gmacs: 10^9 multiply-accumulates per video; the next two fields are its parts.
        top1: accuracies are shares in [0, 1] of the scored videos.
        num_expected: videos of the test split, extracted or not.
        best_epoch: the epoch whose weights were kept, counted from 1; None if nothing is trained.
        run: the name of the run directory.
        chance: top-1 accuracy of answering any class, each as often; None in scores of earlier versions.
        majority: of always answering the most frequent class of the scored videos; likewise.
        training_seconds: across interruptions.
    """

    aggregator: str
    pattern: str
    clips: int
    seed: int
    gmacs: float
    backbone_gmacs: float
    aggregator_gmacs: float
    top1: float
    top5: float
    mean_class_accuracy: float
    num_scored: int
    num_expected: int
    num_weights: int
    epochs: int
    best_epoch: int | None
    run: str
    chance: float | None = None
    majority: float | None = None
    training_seconds: float
    scoring_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """What became of a task: its score, or the reason why there is none."""

    task: SweepTask
    score: Score | None = None
    error: str = ""


def run_task(settings: SweepSettings, copies: Path | None, task: SweepTask) -> TaskResult:
    """Train and score one run, from where an earlier attempt stopped.

    What can go wrong in a single run is returned, not raised: settings that do not suit it, a training that diverges,
    memory, disk.

    Args:
        settings: of the sweep; its paths are absolute.
        copies: folder for this machine's copies of maps; None: read the store.
        task: the run.
    """
    try:
        with ALONE, one_of_many(settings.threads):
            return TaskResult(task=task, score=_train_and_score(settings, copies, task))
    except VidpipeError as error:
        return TaskResult(task=task, error=error.marked)
    except (RuntimeError, MemoryError, OSError) as error:
        if not isinstance(error, OSError) and not is_out_of_memory(error):
            raise  # a bug of ours, which every run would meet
        return TaskResult(task=task, error=f"{type(error).__name__}: {error}")


def _train_and_score(settings: SweepSettings, copies: Path | None, task: SweepTask) -> Score:
    training = replace(run_settings(settings, task), local_copies=copies)
    # This returns at once if the run was finished before; its score may be missing, or over fewer videos.
    summary = run(training)
    began = time.monotonic()
    evaluation = evaluate(
        EvaluateSettings(
            store=training.store,
            runs=(training.out,),
            out=training.out,
            split=settings.test_split,
            videos_at_once=training.optimisation.batch_size,
            device=training.device,
            local_copies=copies,
        )
    )
    store = FeatureStore.open(training.store)
    selection = selection_of(store, settings, (task.pattern, task.num_clips))
    (scored,) = evaluation.runs
    score = _score(
        task,
        summary,
        scored=scored,
        backbone_gmacs=stored_gmacs(store, selection),
        scoring_seconds=time.monotonic() - began,
    )
    # The score last: it says that the run is done.
    write_json(training.out / ANSWERS_FILE, answers(store.manifest, scored))
    write_json(training.out / SCORE_FILE, asdict(score))
    return score


def _score(
    task: SweepTask,
    summary: TrainAggregatorSummary,
    *,
    scored: RunScores,
    backbone_gmacs: float,
    scoring_seconds: float,
) -> Score:
    metrics = scored.metrics
    blind = {own["name"]: own["top1"] for own in baseline_records({task.name: scored})}
    return Score(
        aggregator=task.aggregator,
        pattern=str(task.pattern),
        clips=task.num_clips,
        seed=task.seed,
        gmacs=round(summary.gmacs, _DIGITS),
        backbone_gmacs=round(backbone_gmacs, _DIGITS),
        aggregator_gmacs=round(summary.gmacs - backbone_gmacs, _DIGITS),
        top1=metrics.top1,
        top5=metrics.top5,
        mean_class_accuracy=metrics.mean_class_accuracy,
        num_scored=metrics.num_scored,
        num_expected=metrics.num_expected,
        num_weights=summary.num_weights,
        epochs=summary.epochs,
        best_epoch=summary.metrics["epoch"] + 1 if summary.metrics else None,
        run=task.name,
        chance=blind[CHANCE],
        majority=blind[MAJORITY],
        training_seconds=round(summary.seconds, 3),
        scoring_seconds=round(scoring_seconds, 3),
    )


def read_score(run: Path, *, store: FeatureStore, num_training: int, num_test: int) -> Score | None:
    """Return the score of a finished run, or None if the run, or its score, is still to be made.

    Args:
        run: the run directory.
        store: the sweep's store.
        num_training: videos that it would train on now, held-out ones included.
        num_test: videos that can be scored now; a score over another number is made again.

    Raises:
        RunError: if the run was made from other features or training videos than the store's, or a file is damaged.
    """
    if not (run / SCORE_FILE).is_file() or not (run / "result.json").is_file():
        return None
    done = RunDirectory.open(run)
    check_fits(done, store)
    trained = done.settings["num_training"] + done.settings["num_validation"]
    if trained != num_training:
        raise RunError(
            f"{run} was trained on {trained} videos, and {num_training} are extracted by now; results of both do not "
            f"belong into one table. Choose another {named('out')}"
        )
    score = load_score(run)
    return score if score.num_scored == num_test else None


def load_answers(run: Path) -> dict[str, bool] | None:
    """Return the id of each scored video -> whether the run gets it right; None in runs of earlier versions.

    Raises:
        RunError: if it cannot be read.
    """
    path = run / ANSWERS_FILE
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read: {error!r}. Remove it and {SCORE_FILE}, and the same command scores the run again"
        ) from error


def load_score(run: Path) -> Score:
    """Return the score in a run directory.

    Raises:
        RunError: if it cannot be read.
    """
    path = run / SCORE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Score) if field.default is MISSING or field.name in content}
        return Score(**{name: content[name] for name in known})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read: {error!r}. Remove it, and the same command scores the run again"
        ) from error


@contextlib.contextmanager
def one_of_many(threads: int) -> Iterator[None]:
    """Within the block, let torch compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
