"""Train an aggregator on a feature store: the second stage of FASTER, in which the backbones stay as they are.

Source: Zhu et al. (AAAI 2020), setups for learning to aggregate: N clips of a video are drawn at random in training and
spread evenly at test.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...pipeline.aggregators.video_model import VideoModel, build_video_model
from ...pipeline.aggregators.weights import save_aggregator
from ...pipeline.backbones.devices import resolve_device
from ...pipeline.evaluation.curves import draw_curves
from ...pipeline.execution import SILENT, Progress
from ...pipeline.files import write_json
from ...pipeline.inference.inputs import batch_of
from ...pipeline.inference.predict import predict, video_gmacs
from ...pipeline.settings import recorded_names
from ...pipeline.training.batches import prefetched, shuffled_batches
from ...pipeline.training.learning_split import unlabelled_words
from ...pipeline.training.loop import FitResult, Schedule, fit, one_step
from ...pipeline.training.optimisation import resolved
from ...pipeline.training.position import VIDEOS
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import (
    AGGREGATOR_FIELDS,
    CLIPS_FIELD,
    ENGINES_FIELD,
    LABELS_FIELD,
    SPLITS_FILE,
    WEIGHTS_FILE,
)
from ...pipeline.training.settings import OptimisationSettings
from ...pipeline.training.symptoms import SAMENESS, Blind, symptoms
from .plan import PreparedAggregatorTraining, outcome, prepare
from .settings import TrainAggregatorSettings

Batch = tuple[dict[str, Tensor], Tensor, Tensor]  # maps by role, scores, targets

_OPTIONS = recorded_names(TrainAggregatorSettings) | AGGREGATOR_FIELDS


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainAggregatorSummary:
    """The result of a run.

    Attributes:
        already_done: whether the run had been finished before.
        num_weights: how many numbers were trained.
        metrics: the best epoch's figures; empty if nothing is trained.
        epochs: epochs that were trained.
        gmacs: 10^9 multiply-accumulates per video, backbones included.
        seconds: of all training, across interruptions.
        missing: id -> reason, of the videos of the training split without features, which were not used.
        warnings: what looks as if nothing, or the wrong thing, was learnt.
    """

    out: Path
    aggregator: str
    pattern: str
    num_clips: int
    num_training: int
    num_validation: int
    already_done: bool
    num_weights: int
    metrics: dict[str, Any]
    epochs: int
    gmacs: float
    seconds: float
    missing: dict[str, str]
    warnings: tuple[str, ...]


def run(settings: TrainAggregatorSettings, *, progress: Progress = SILENT) -> TrainAggregatorSummary:
    """Train an aggregator, or go on training it, and write its weights to the run directory.

    Args:
        settings: what to train, on what, and how.
        progress: advanced by each batch and epoch.

    Raises:
        SettingsError, ManifestError, StoreError: if the store lacks something, or does not allow it.
        RunError: if the run directory belongs to other settings.
    """
    settings = replace(settings, optimisation=resolved(settings.optimisation, device=settings.device))
    prepared = prepare(settings)
    if prepared.unlabelled:
        progress.milestone(unlabelled_words(prepared.unlabelled))
    if prepared.shared_groups:
        progress.milestone(prepared.shared_groups)
    asked = outcome(settings, prepared)
    directory = RunDirectory.open_or_create(
        settings.out,
        settings=asked,
        added=(ENGINES_FIELD, LABELS_FIELD, CLIPS_FIELD),
        superseded={"manifest_digest": LABELS_FIELD},
        following=(CLIPS_FIELD,),
        options=_OPTIONS,
    )
    with directory:
        # Weights are written before the result, so if they are gone, somebody has removed them.
        directory.reopen_without(WEIGHTS_FILE)
        if prepared.splits is not None:
            write_json(settings.out / SPLITS_FILE, dict(prepared.splits))
        already_done = directory.is_done
        if not already_done:
            train(settings, prepared, directory, progress=progress)
    result = directory.result
    return TrainAggregatorSummary(
        out=settings.out,
        aggregator=settings.aggregator,
        pattern=str(prepared.selection.pattern),
        num_clips=prepared.selection.num_clips,
        num_training=len(prepared.training),
        num_validation=len(prepared.validation),
        already_done=already_done,
        missing=prepared.missing,
        warnings=tuple(result.get("warnings", ())),  # runs of earlier versions have none
        **{name: result[name] for name in ("num_weights", "metrics", "epochs", "gmacs", "seconds")},
    )


def train(
    settings: TrainAggregatorSettings,
    prepared: PreparedAggregatorTraining,
    directory: RunDirectory,
    *,
    progress: Progress = SILENT,
) -> None:
    """Fit the aggregator, if it has weights, and write weights, curves and result to the run directory."""
    began = time.monotonic()
    # Before the model is built: its fresh weights are drawn from this seed.
    torch.manual_seed(settings.optimisation.seed)
    model = build_video_model(prepared.spec, shapes=prepared.shapes).to(resolve_device(settings.device))
    fitted = _fit(settings, prepared, directory, model, progress) if model.is_trained else None
    state = fitted.state if fitted else {}
    path = settings.out / WEIGHTS_FILE
    save_aggregator(path, spec=prepared.spec, shapes=prepared.shapes, classes=prepared.classes, state=state)
    history = fitted.history if fitted else []
    if fitted:
        title = f"{settings.aggregator}, {prepared.selection.pattern}"
        draw_curves(settings.out, history, title=title, figure=prepared.task.figure)
    directory.finish(
        {
            "metrics": fitted.best if fitted else {},
            "epochs": len(history),
            "num_weights": sum(weight.numel() for weight in model.parameters()),
            "gmacs": video_gmacs(model, prepared.inputs),
            "seconds": sum((record["seconds"] for record in history), 0.0) or time.monotonic() - began,
            "warnings": _symptoms(settings, prepared, fitted) if fitted else (),
        }
    )


def _symptoms(
    settings: TrainAggregatorSettings, prepared: PreparedAggregatorTraining, fitted: FitResult
) -> tuple[str, ...]:
    task, own = prepared.task, prepared.targets[list(prepared.training)]
    blind = task.blind_loss(
        own, num_classes=len(prepared.classes), label_smoothing=settings.optimisation.label_smoothing
    )
    return symptoms(
        fitted.history,
        best_epoch=fitted.best_epoch,
        blind=Blind(loss=blind, goodness=task.blind_goodness(own), num_videos=len(own)),
        figure=task.figure,
        validated=bool(prepared.validation),
    )


def _fit(
    settings: TrainAggregatorSettings,
    prepared: PreparedAggregatorTraining,
    directory: RunDirectory,
    model: VideoModel,
    progress: Progress,
) -> FitResult:
    own = settings.optimisation
    batches = partial(_batches, prepared, own, resolve_device(settings.device))
    loss = partial(_loss, model, prepared, own.label_smoothing)
    return fit(
        model,
        settings=own,
        schedule=Schedule(steps_per_epoch=len(_order(prepared, own, 0)), monitor=prepared.task.monitor),
        run=directory,
        train_batches=batches,
        gradients=one_step(model, loss=loss, precision=own.precision),
        validate=partial(_validate, model, prepared, own.batch_size) if prepared.validation else None,
        progress=progress,
    )


def _order(prepared: PreparedAggregatorTraining, own: OptimisationSettings, epoch: int) -> list[list[int]]:
    places = shuffled_batches(len(prepared.training), batch_size=own.batch_size, seed=own.seed, epoch=epoch)
    return [[prepared.training[place] for place in batch] for batch in places]


def _batches(
    prepared: PreparedAggregatorTraining, own: OptimisationSettings, device: torch.device, epoch: int, done: int
) -> Iterator[Batch]:
    order = _order(prepared, own, epoch)[done:]
    read = partial(prepared.inputs.drawn_clips, seed=own.seed, epoch=epoch)
    clips_of_batches = prefetched(read, order, workers=prepared.inputs.num_readers)
    for videos, clips in zip(order, clips_of_batches, strict=True):
        yield *batch_of(clips, device=device), torch.from_numpy(prepared.targets[videos]).to(device)


def _loss(
    model: VideoModel, prepared: PreparedAggregatorTraining, label_smoothing: float, batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    (maps, scores, targets), task = batch, prepared.task
    predicted = model(maps, scores, prepared.selection.roles)
    loss = task.loss(predicted, targets=targets, label_smoothing=label_smoothing)
    return loss, {
        task.figure: task.goodness(predicted, targets=targets).mean(),
        SAMENESS: task.sameness(predicted),
        VIDEOS: torch.full((), float(len(predicted)), device=predicted.device),
    }


def _validate(model: VideoModel, prepared: PreparedAggregatorTraining, batch_size: int) -> dict[str, float]:
    task, targets = prepared.task, torch.from_numpy(prepared.targets[list(prepared.validation)])
    predicted = predict(model, prepared.inputs, prepared.validation, batch_size=batch_size)
    return {
        "val_loss": float(task.loss(predicted, targets=targets)),
        f"val_{task.figure}": float(task.goodness(predicted, targets=targets).mean()),
        f"val_{SAMENESS}": float(task.sameness(predicted)),
    }
