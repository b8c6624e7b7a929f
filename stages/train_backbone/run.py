"""Train a clip backbone from scratch: one random clip of each video and epoch, by the protocol of the FASTER paper.

Source: Zhu et al. (AAAI 2020), setups for clip-level backbones, after Tran et al. (CVPR 2018): shorter side drawn from
[256, 320] for a crop of 224, random crop and flip, L consecutive frames, linear warm-up and a cosine schedule.
"""

import time
from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.backbones.interface import Backbone
from ...pipeline.backbones.registry import build_backbone
from ...pipeline.backbones.weights import collect_weights, load_weights, save_weights
from ...pipeline.evaluation.curves import draw_curves
from ...pipeline.execution import SILENT, Progress
from ...pipeline.files import write_json
from ...pipeline.settings import recorded_names
from ...pipeline.training.batches import decoding_threads, prefetched, shuffled_batches
from ...pipeline.training.clips import TrainingClips, collate
from ...pipeline.training.keeping import keep_decoded, memory_share
from ...pipeline.training.learning_split import unlabelled_words
from ...pipeline.training.loop import FitResult, Loss, Schedule, fit, one_step
from ...pipeline.training.position import VIDEOS
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.settings import OptimisationSettings
from ...pipeline.training.symptoms import SAMENESS, Blind, symptoms
from ...pipeline.training.tasks import Task
from ...pipeline.videos.preprocessing import Preprocessing
from ...pipeline.videos.reading import Reading
from ...pipeline.videos.transforms import normalise
from .plan import PreparedBackboneTraining, outcome, prepare
from .settings import TrainBackboneSettings

WEIGHTS_FILE = "weights.safetensors"
OPTIONS = recorded_names(TrainBackboneSettings) | recorded_names(Reading)  # which stands flat
Batch = tuple[torch.Tensor, torch.Tensor] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainBackboneSummary:
    """The result of training.

    Attributes:
        weights: the file.
        already_done: whether the run had been finished before.
        metrics: the best epoch's figures.
        failures: id -> reason, of the videos that could not be read.
        warnings: what looks as if nothing, or the wrong thing, was learnt.
        chance: the training figure of one answer for every video.
        seconds: of this call.
    """

    weights: Path
    digest: str
    classes: tuple[str, ...]
    num_videos: int
    already_done: bool
    metrics: dict[str, Any]
    failures: dict[str, str]
    warnings: tuple[str, ...]
    chance: float
    seconds: float


def run(settings: TrainBackboneSettings, *, progress: Progress = SILENT) -> TrainBackboneSummary:
    """Train a backbone, or go on training it, and write ``weights.safetensors`` into the run directory.

    Args:
        settings: what to train, and how.
        progress: advanced by each batch and epoch.

    Raises:
        SettingsError: for settings that cannot be run together.
        ManifestError: if the manifest is wrong, lacks a split, or has several labels for a video.
        RunError: if the run directory belongs to other settings.
    """
    began = time.perf_counter()
    prepared = prepare(settings)
    if prepared.unlabelled:
        progress.milestone(unlabelled_words(prepared.unlabelled))
    if prepared.shared_groups:
        progress.milestone(prepared.shared_groups)
    with RunDirectory.open_or_create(settings.out, settings=outcome(prepared), options=OPTIONS) as directory:
        directory.reopen_without(WEIGHTS_FILE)
        already_done = directory.is_done
        if not already_done:
            train(prepared, directory, progress=progress)
    failures = directory.result["failures"]
    return TrainBackboneSummary(
        weights=settings.out / WEIGHTS_FILE,
        digest=load_weights(settings.out / WEIGHTS_FILE).digest,
        classes=prepared.classes,
        num_videos=len(prepared.training.source.videos),
        already_done=already_done,
        metrics=directory.result["metrics"],
        failures=failures,
        warnings=tuple(directory.result.get("warnings", ())),  # runs of earlier versions have none
        chance=prepared.task.blind_goodness(np.array(prepared.training.labels)),
        seconds=time.perf_counter() - began,
    )


def train(prepared: PreparedBackboneTraining, directory: RunDirectory, *, progress: Progress = SILENT) -> None:
    """Fit the network and write weights, curves and result to the run directory."""
    settings, training = prepared.settings, prepared.training
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_decoded(
        [clips.source for clips in prepared.clips],
        settings=settings.keeping,
        memory_bytes=memory_share(settings.cache_gib),
        say=progress.notice,
    )
    model = build_model(prepared)
    fitted = _fit(prepared, directory, model, progress)
    weights = collect_weights(
        model,
        classes=prepared.classes,
        preprocessing=training.preprocessing,
        num_frames=training.sampling.num_frames,
        sampling_rate=training.sampling.sampling_rate,
        fps=training.sampling.fps,
    )
    save_weights(settings.out / WEIGHTS_FILE, weights)
    draw_curves(settings.out, fitted.history, title=settings.backbone, figure=prepared.task.figure)
    workers = decoding_threads(settings.workers)
    # Failures of all epochs, also of those that an earlier process trained.
    found = [clips.source.all_failures(clips.central_clip, workers=workers) for clips in prepared.clips]
    failures = dict(sorted(ChainMap(*found).items()))
    write_json(settings.out / "failures.json", failures)
    warnings = _symptoms(prepared, fitted)
    directory.finish({"metrics": fitted.best, "failures": failures, "warnings": warnings})


def _symptoms(prepared: PreparedBackboneTraining, fitted: FitResult) -> tuple[str, ...]:
    smoothing = prepared.settings.optimisation.label_smoothing
    targets, num_classes = np.array(prepared.training.labels), len(prepared.classes)
    return symptoms(
        fitted.history,
        best_epoch=fitted.best_epoch,
        blind=Blind(
            loss=prepared.task.blind_loss(targets, num_classes=num_classes, label_smoothing=smoothing),
            goodness=prepared.task.blind_goodness(targets),
            num_videos=len(targets),
        ),
        figure=prepared.task.figure,
        validated=prepared.validation is not None,
    )


def build_model(prepared: PreparedBackboneTraining) -> Backbone:
    """Return the network at the beginning of training, on its device; it depends on the seed."""
    settings = prepared.settings
    torch.manual_seed(settings.optimisation.seed)
    model = build_backbone(settings.backbone, num_classes=len(prepared.classes), dropout=settings.dropout)
    if settings.zero_init_residual:
        model.begin_as_identity()
    model.to(resolve_device(settings.device))
    # On a CPU a third to a half faster than the default layout.
    model.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]: torch's stubs lack it
    return model


def _fit(prepared: PreparedBackboneTraining, directory: RunDirectory, model: Backbone, progress: Progress) -> FitResult:
    settings, task, training, validation = prepared.settings, prepared.task, prepared.training, prepared.validation
    own, workers = settings.optimisation, decoding_threads(settings.workers)
    steps = len(shuffled_batches(len(training.source.videos), batch_size=own.batch_size, seed=own.seed, epoch=0))
    return fit(
        model,
        settings=own,
        schedule=Schedule(
            steps_per_epoch=steps, monitor=task.monitor, checkpoint_every_seconds=settings.checkpoint_seconds
        ),
        run=directory,
        train_batches=partial(_batches, training, own, workers),
        gradients=one_step(model, loss=batch_loss(prepared, model), precision=own.precision),
        validate=partial(_validate, model, task, validation, own.batch_size, workers) if validation else None,
        progress=progress,
    )


def batch_loss(prepared: PreparedBackboneTraining, model: Backbone) -> Loss:
    """Return what a training minimises, as a function of a batch of clips."""
    smoothing = prepared.settings.optimisation.label_smoothing
    own = {"task": prepared.task, "preprocessing": prepared.training.preprocessing, "smoothing": smoothing}
    return partial(clip_loss, model, **own)


def _batches(clips: TrainingClips, own: OptimisationSettings, workers: int, epoch: int, done: int) -> Iterator[Batch]:
    order = shuffled_batches(len(clips.source.videos), batch_size=own.batch_size, seed=own.seed, epoch=epoch)[done:]
    batches = prefetched(partial(clips.random_clip, epoch=epoch), order, workers=workers)
    return map(partial(collate, at_least=2), batches)  # batch norm cannot normalise a single clip


def clip_loss(
    model: Backbone,
    batch: tuple[torch.Tensor, torch.Tensor],
    *,
    task: Task,
    preprocessing: Preprocessing,
    smoothing: float,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss of a batch of clips, and what its record takes: see the returned figures.

    Args:
        model: on the device to use.
        batch: clips (B, L, S, S, 3) uint8 and targets (B, …) as the task encodes labels, int64 for single-label; on any
            device.
        task: of the targets.
        preprocessing: says mean and standard deviation.
        smoothing: share of each target that is spread evenly over all classes.

    Returns:
        A float32 scalar, and name -> a float32 scalar: the mean of the task's figure, how alike the answers are, and
        over how many clips (`VIDEOS`).
    """
    device = next(model.parameters()).device
    clips, labels = batch[0].to(device, non_blocking=True), batch[1].to(device, non_blocking=True)
    scores = model(normalise(clips, preprocessing))[1].float()
    loss = task.loss(scores, targets=labels, label_smoothing=smoothing)
    return loss, {
        task.figure: task.goodness(scores, targets=labels).mean(),
        SAMENESS: task.sameness(scores),
        VIDEOS: torch.full((), float(len(scores)), device=device),
    }


def _validate(model: nn.Module, task: Task, clips: TrainingClips, batch_size: int, workers: int) -> dict[str, float]:
    """Return loss and figure over the central clips; a video that cannot be read counts as wrong."""
    count = len(clips.source.videos)
    order = [list(range(i, min(i + batch_size, count))) for i in range(0, count, batch_size)]
    device = next(model.parameters()).device
    loss = good = 0.0
    every: list[torch.Tensor] = []
    for batch in map(collate, prefetched(clips.central_clip, order, workers=workers)):
        if batch is not None:
            scores = model(normalise(batch[0].to(device), clips.preprocessing))[1].float()
            labels = batch[1].to(device)
            loss += float(task.loss(scores, targets=labels, reduction="sum"))
            good += float(task.goodness(scores, targets=labels).sum())
            every.append(scores.cpu())
    sameness = float(task.sameness(torch.cat(every))) if every else 0.0
    return {"val_loss": loss / count, f"val_{task.figure}": good / count, f"val_{SAMENESS}": sameness}
