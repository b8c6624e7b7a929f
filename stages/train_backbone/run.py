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

import torch
from torch import nn
from torch.nn import functional as F

from ...pipeline.backbones.engine import resolve_device
from ...pipeline.backbones.interface import Backbone
from ...pipeline.backbones.registry import build_backbone, feature_shape
from ...pipeline.backbones.weights import collect_weights, load_weights, save_weights
from ...pipeline.evaluation.plots import save_curves
from ...pipeline.files import write_json
from ...pipeline.manifests.manifest import Manifest, read_manifest
from ...pipeline.training.batches import decoding_threads, prefetched, shuffled_batches
from ...pipeline.training.clips import TrainingClips, collate, open_source
from ...pipeline.training.learning_split import check_classes, class_indices
from ...pipeline.training.loop import Schedule, fit, one_step
from ...pipeline.training.optimisation import accuracy, classification_loss
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.settings import OptimisationSettings
from ...pipeline.videos.preprocessing import Preprocessing, preprocessing_for
from ...pipeline.videos.transforms import normalise
from .plan import outcome, resolve, sampling_of
from .settings import TrainBackboneSettings

GIB = 2**30
WEIGHTS_FILE = "weights.safetensors"
Batch = tuple[torch.Tensor, torch.Tensor] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainBackboneSummary:
    """What training came to: the weights, the last epoch's figures, and the videos that could not be read."""

    weights: Path
    digest: str
    classes: tuple[str, ...]
    num_videos: int
    metrics: dict[str, Any]
    failures: dict[str, str]
    seconds: float


def run(settings: TrainBackboneSettings) -> TrainBackboneSummary:
    """Train a backbone, or go on training it, and write ``weights.safetensors`` into the run directory.

    Raises:
        SettingsError: for settings that cannot be run together.
        ManifestError: if the manifest is wrong, lacks a split, or has several labels a video.
        RunError: if the run directory belongs to other settings.
    """
    began = time.perf_counter()
    settings = resolve(settings)
    sampling = sampling_of(settings)
    manifest = read_manifest(settings.manifest)
    classes = manifest.classes
    check_classes(manifest)
    feature_shape(settings.backbone, num_frames=sampling.num_frames, size=settings.crop)  # refuses what cannot be run
    training = _clips(manifest, settings, settings.split)
    validation = _clips(manifest, settings, settings.val_split) if settings.val_split else None
    everything = [clips for clips in (training, validation) if clips is not None]
    made = outcome(settings, manifest, caches=[clips.source.caches_frames for clips in everything])
    with RunDirectory.open_or_create(settings.out, settings=made) as directory:
        directory.reopen_without(WEIGHTS_FILE)
        if not directory.is_done:
            _train(settings, directory, classes, training, validation)
    failures = directory.result["failures"]
    return TrainBackboneSummary(
        weights=settings.out / WEIGHTS_FILE,
        digest=load_weights(settings.out / WEIGHTS_FILE).digest,
        classes=classes,
        num_videos=len(training.source.videos),
        metrics=directory.result["metrics"],
        failures=failures,
        seconds=time.perf_counter() - began,
    )


def _clips(manifest: Manifest, settings: TrainBackboneSettings, split: str) -> TrainingClips:
    videos = manifest.subset(split).videos
    preprocessing = preprocessing_for(settings.crop)
    return TrainingClips(
        open_source(videos, crop=preprocessing.crop, cache_bytes=settings.cache_gib * GIB),
        labels=class_indices(manifest, videos=videos).tolist(),
        sampling=sampling_of(settings),
        preprocessing=preprocessing,
        seed=settings.optimisation.seed,
        flip=settings.flip,
    )


def _train(
    settings: TrainBackboneSettings,
    directory: RunDirectory,
    classes: tuple[str, ...],
    training: TrainingClips,
    validation: TrainingClips | None,
) -> None:
    """Fit the network and leave weights, curves and result in the run directory."""
    own, device = settings.optimisation, resolve_device(settings.device)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(own.seed)
    model = build_backbone(
        settings.backbone,
        num_classes=len(classes),
        dropout=settings.dropout,
        zero_init_residual=settings.zero_init_residual,
    ).to(device)
    model.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]: torch's stubs lack it
    workers = decoding_threads(settings.workers)
    steps = len(shuffled_batches(len(training.source.videos), batch_size=own.batch_size, seed=own.seed, epoch=0))
    loss = partial(clip_loss, model, preprocessing=training.preprocessing, smoothing=own.label_smoothing)
    fitted = fit(
        model,
        settings=own,
        schedule=Schedule(steps_per_epoch=steps, checkpoint_every_seconds=settings.checkpoint_seconds),
        run=directory,
        train_batches=partial(_batches, training, own, workers),
        gradients=one_step(model, loss=loss, precision=own.precision),
        validate=partial(_validate, model, validation, own.batch_size, workers) if validation else None,
    )
    weights = collect_weights(
        model,
        classes=classes,
        preprocessing=training.preprocessing,
        num_frames=training.sampling.num_frames,
        sampling_rate=training.sampling.sampling_rate,
        fps=training.sampling.fps,
    )
    save_weights(settings.out / WEIGHTS_FILE, weights)
    save_curves(fitted.history, settings.out / "curves.png", title=settings.backbone)
    everything = [clips for clips in (training, validation) if clips is not None]
    found = [clips.source.all_failures(clips.central_clip, workers=workers) for clips in everything]
    failures = dict(sorted(ChainMap(*found).items()))
    write_json(settings.out / "failures.json", failures)
    directory.finish({"metrics": fitted.best, "failures": failures})


def _batches(clips: TrainingClips, own: OptimisationSettings, workers: int, epoch: int, done: int) -> Iterator[Batch]:
    order = shuffled_batches(len(clips.source.videos), batch_size=own.batch_size, seed=own.seed, epoch=epoch)[done:]
    batches = prefetched(partial(clips.random_clip, epoch=epoch), order, workers=workers)
    return map(partial(collate, at_least=2), batches)  # batch norm cannot normalise a single clip


def clip_loss(
    model: Backbone, batch: tuple[torch.Tensor, torch.Tensor], *, preprocessing: Preprocessing, smoothing: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the cross-entropy of a batch of clips and its accuracy."""
    device = next(model.parameters()).device
    clips, labels = batch[0].to(device, non_blocking=True), batch[1].to(device, non_blocking=True)
    scores = model(normalise(clips, preprocessing))[1].float()
    loss = classification_loss(scores, targets=labels, label_smoothing=smoothing)
    return loss, {"accuracy": accuracy(scores, targets=labels)}


def _validate(model: nn.Module, clips: TrainingClips, batch_size: int, workers: int) -> dict[str, float]:
    """Return loss and accuracy over the central clips; a video that cannot be read counts as wrong."""
    count = len(clips.source.videos)
    order = [list(range(i, min(i + batch_size, count))) for i in range(0, count, batch_size)]
    device = next(model.parameters()).device
    loss = correct = 0.0
    for batch in map(collate, prefetched(clips.central_clip, order, workers=workers)):
        if batch is not None:
            scores = model(normalise(batch[0].to(device), clips.preprocessing))[1].float()
            labels = batch[1].to(device)
            loss += float(F.cross_entropy(scores, labels, reduction="sum"))
            correct += float((scores.argmax(1) == labels).sum())
    return {"val_loss": loss / count, "val_accuracy": correct / count}
