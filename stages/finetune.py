"""Train backbones and aggregator together, on N clips of each video: the third stage, which needs no feature store.

Source: Yang et al., Beyond Short Clips: End-to-End Video-level Learning with Collaborative Memories (CVPR 2021).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..pipeline.aggregators.video_model import build_video_model
from ..pipeline.aggregators.weights import save_aggregator
from ..pipeline.available_memory import is_out_of_memory
from ..pipeline.backbones import Backbone, build_backbone
from ..pipeline.batches import prefetched, shuffled_batches
from ..pipeline.distributed import is_first, joined_processes, rank, sum_over_processes, wait_for_all, world_size
from ..pipeline.end_to_end import EndToEnd
from ..pipeline.engine import resolve_device
from ..pipeline.errors import OutOfMemoryError
from ..pipeline.flops import aggregator_macs, backbone_macs
from ..pipeline.optimisation import mixed_precision
from ..pipeline.plotting import save_curves
from ..pipeline.run_directory import RunDirectory, write_json
from ..pipeline.strategy_steps import ClipBatch, Objective, strategy_gradients
from ..pipeline.training import FitResult, Schedule, fit
from ..pipeline.training_clips import VideoSource, foreseen_bytes
from ..pipeline.training_videos import TrainingVideos, batch_of
from ..pipeline.transforms import jitter_range
from ..pipeline.weights import Weights, collect_weights, load_backbone, save_weights
from .finetune_memory import check_memory, memory_limit, out_of_memory
from .finetune_plan import Prepared, outcome, prepare
from .finetune_settings import FinetuneSettings
from .run_kinds import WEIGHTS_FILE, backbone_file

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSummary:
    """What a run came to.

    Attributes:
        already_done: whether the run had been finished before.
        fresh: roles whose classifier began anew, since the weights' classes are others than the manifest's.
        metrics: the best epoch's figures.
        epochs: epochs that were trained.
        gmacs: 10^9 multiply-accumulates a video, at test.
        failures: id -> reason of the videos that could not be read.
        seconds: of all training, over interruptions.
    """

    out: Path
    aggregator: str
    pattern: str
    num_clips: int
    strategy: str
    num_training: int
    num_validation: int
    already_done: bool
    fresh: tuple[str, ...]
    metrics: dict[str, Any]
    epochs: int
    num_weights: int
    gmacs: float
    failures: dict[str, str]
    seconds: float


def run(settings: FinetuneSettings) -> FinetuneSummary:
    """Train end to end, or go on training, and leave the weights of all parts in the run directory.

    Under torchrun, the processes train one model together, each on its share of every batch.

    Raises:
        SettingsError, ManifestError, WeightsError: for what does not go together.
        RunError: if the run directory belongs to other settings.
        OutOfMemoryError: if the memory does not suffice; the checkpoint is kept, and the message names what would fit.
    """
    prepared = prepare(settings)
    with joined_processes(resolve_device(settings.device)) as device:
        if is_first():
            RunDirectory.open_or_create(settings.out, settings=outcome(settings, prepared))
        wait_for_all()
        directory = RunDirectory.open_or_create(settings.out, settings=outcome(settings, prepared))
        already_done = directory.is_done
        if not already_done:
            limit = memory_limit(settings, device)
            check_memory(settings, prepared, limit=limit)
            try:
                train(settings, prepared, directory, device)
            except (RuntimeError, MemoryError) as error:
                if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
                    raise
                raise out_of_memory(settings, prepared, limit=limit) from error
        wait_for_all()
    result = directory.result
    return FinetuneSummary(
        out=settings.out,
        aggregator=prepared.spec.name,
        pattern=str(prepared.pattern),
        num_clips=prepared.sampling.num_clips,
        strategy=settings.strategy.name,
        num_training=len(prepared.training),
        num_validation=len(prepared.validation),
        already_done=already_done,
        fresh=tuple(role for role, own in prepared.weights.items() if own and own.classes != prepared.classes),
        **{name: result[name] for name in ("metrics", "epochs", "num_weights", "gmacs", "failures", "seconds")},
    )


def build_model(settings: FinetuneSettings, prepared: Prepared) -> EndToEnd:
    """Return the network as training begins with it, on the CPU; what is fresh in it follows from the seed."""
    torch.manual_seed(settings.optimisation.seed)
    video_model = build_video_model(prepared.spec, shapes=prepared.shapes)
    if prepared.start is not None:
        video_model.load_state_dict(prepared.start.weights.state)
    backbones = {
        role: _fresh(settings.backbones[role].backbone, prepared) if own is None else _begun(own, prepared)
        for role, own in prepared.weights.items()
    }
    return EndToEnd(
        backbones,
        video_model,
        preprocessing=prepared.preprocessing,
        roles=prepared.roles,
        statistics=prepared.statistics,
        trained=prepared.trained,
    )


def _fresh(name: str, prepared: Prepared) -> Backbone:
    return build_backbone(name, num_classes=len(prepared.classes), zero_init_residual=True)


def _begun(weights: Weights, prepared: Prepared) -> Backbone:
    """Return a backbone with its weights, and a fresh classifier if it told other classes apart."""
    backbone = load_backbone(weights)
    if weights.classes != prepared.classes:
        backbone.num_classes = len(prepared.classes)
        backbone.fc = nn.Linear(backbone.channels, backbone.num_classes)
        nn.init.normal_(backbone.fc.weight, 0.0, 0.01)
        nn.init.zeros_(backbone.fc.bias)
    return backbone


def train(settings: FinetuneSettings, prepared: Prepared, directory: RunDirectory, device: torch.device) -> None:
    """Fit the network, and leave weights, curves and result in the run directory."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = build_model(settings, prepared).to(device)
    if device.type == "cuda" and world_size() > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place, since the network itself is no norm
    training = training_videos(settings, prepared, prepared.training)
    validation = training_videos(settings, prepared, prepared.validation) if prepared.validation else None
    fitted = _fit(settings, prepared, directory, model, training, validation)
    everything = [videos for videos in (training, validation) if videos is not None]
    if is_first():
        workers = num_workers(settings)
        failures = [own.source.all_failures(own.spread_clips, workers=workers) for own in everything]
        failed = {video_id: reason for found in failures for video_id, reason in found.items()}
        _write(settings, prepared, directory, model, fitted, failures=failed)


def num_workers(settings: FinetuneSettings) -> int:
    """Return how many threads read clips."""
    return settings.workers if settings.workers is not None else os.cpu_count() or 1


def training_videos(settings: FinetuneSettings, prepared: Prepared, places: Sequence[int]) -> TrainingVideos:
    """Return the clips of the videos at ``places`` in the manifest, as training sees them."""
    videos = [prepared.manifest.videos[place] for place in places]
    crop = max(own.crop for own in prepared.preprocessing.values())
    foreseen = foreseen_bytes(videos, short_side=jitter_range(crop)[1])
    return TrainingVideos(
        VideoSource(videos, crop=crop, cache=foreseen <= settings.cache_gib * GIB),
        labels=prepared.targets[list(places)].tolist(),
        sampling=prepared.sampling,
        preprocessing=prepared.preprocessing,
        roles=prepared.roles,
        seed=settings.optimisation.seed,
        flip=settings.flip,
    )


def _fit(
    settings: FinetuneSettings,
    prepared: Prepared,
    directory: RunDirectory,
    model: EndToEnd,
    training: TrainingVideos,
    validation: TrainingVideos | None,
) -> FitResult:
    return fit(
        model,
        settings=settings.optimisation,
        schedule=Schedule(
            steps_per_epoch=len(order_of(settings, prepared, epoch=0)),
            checkpoint_every_seconds=settings.checkpoint_seconds,
            rates={f"backbones.{role}": rate for role, rate in prepared.rates.items()},
        ),
        run=directory,
        train_batches=partial(train_batches, settings, prepared, training),
        gradients=strategy_gradients(
            model, strategy=settings.strategy, objective=objective_of(settings), accumulate=settings.accumulate
        ),
        validate=partial(_validate, model, settings, prepared, validation) if validation else None,
    )


def objective_of(settings: FinetuneSettings) -> Objective:
    """Return the loss to minimise."""
    own = settings.optimisation
    return Objective(clip_weight=settings.clip_weight, label_smoothing=own.label_smoothing, precision=own.precision)


def order_of(settings: FinetuneSettings, prepared: Prepared, *, epoch: int) -> list[list[int]]:
    """Return an epoch's batches: places among the training videos, over all processes."""
    return shuffled_batches(
        len(prepared.training),
        batch_size=prepared.videos_per_step,
        seed=settings.optimisation.seed,
        epoch=epoch,
    )


def train_batches(
    settings: FinetuneSettings, prepared: Prepared, videos: TrainingVideos, epoch: int, done: int
) -> Iterator[ClipBatch]:
    """Yield an epoch's batches but the first ``done``, of each the share of this process."""
    order = order_of(settings, prepared, epoch=epoch)[done:]
    own = [batch[rank() :: world_size()] for batch in order]
    made = prefetched(partial(videos.random_clips, epoch=epoch), own, workers=num_workers(settings), ahead=1)
    return map(batch_of, made)


def _validate(
    model: EndToEnd, settings: FinetuneSettings, prepared: Prepared, videos: TrainingVideos
) -> dict[str, float]:
    """Return losses and accuracies over the spread clips; a video that cannot be read counts as wrong."""
    count, size = len(videos.labels), prepared.videos_per_step
    own = list(range(rank(), count, world_size()))
    order = [own[i : i + size] for i in range(0, len(own), size)]
    device, objective = next(model.parameters()).device, objective_of(settings)
    names = ("val_loss", "val_accuracy", "val_clip_loss", "val_clip_accuracy")
    sums = torch.zeros(len(names), dtype=torch.float64)
    for made in prefetched(videos.spread_clips, order, workers=num_workers(settings), ahead=1):
        batch = batch_of(made)
        for place in range(len(batch)):
            one = batch.on(device, part=slice(place, place + 1))
            with mixed_precision(device, precision=objective.precision):
                video, clips = model(one.clips)
            figures = objective.loss(video, clips, targets=one.targets, total=count)[1]
            sums += torch.stack([value.double().cpu() for value in figures.values()])
    return dict(zip(names, sum_over_processes(sums.to(device)).tolist(), strict=True))


def _write(
    settings: FinetuneSettings,
    prepared: Prepared,
    directory: RunDirectory,
    model: EndToEnd,
    fitted: FitResult,
    *,
    failures: dict[str, str],
) -> None:
    """Leave weights, curves, failures and result in the run directory."""
    save_aggregator(
        settings.out / WEIGHTS_FILE,
        spec=prepared.spec,
        shapes=prepared.shapes if model.video_model.aggregator.needs_features else {},
        classes=prepared.classes,
        state=model.video_model.state_dict(),
    )
    trained = {role: _collect(backbone, prepared, role) for role, backbone in model.backbones.items()}
    for role, weights in trained.items():
        save_weights(settings.out / backbone_file(role), weights)
    title = f"{prepared.spec.name}, {prepared.pattern}, end to end"
    save_curves(fitted.history, settings.out / "curves.png", title=title)
    write_json(settings.out / "failures.json", failures)
    directory.finish(
        {
            "metrics": fitted.best,
            "epochs": len(fitted.history),
            "num_weights": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
            "gmacs": video_gmacs(settings, prepared),
            "seconds": sum(record["seconds"] for record in fitted.history),
            "failures": failures,
            "backbones": {
                role: {
                    "name": own.backbone,
                    "weights_sha256": own.digest,
                    "preprocessing": asdict(own.preprocessing),
                }
                for role, own in trained.items()
            },
        }
    )


def _collect(backbone: nn.Module, prepared: Prepared, role: str) -> Weights:
    assert isinstance(backbone, Backbone)
    sampling = prepared.sampling
    return collect_weights(
        backbone,
        classes=prepared.classes,
        preprocessing=prepared.preprocessing[role],
        num_frames=sampling.num_frames,
        sampling_rate=sampling.sampling_rate,
        fps=sampling.fps,
    )


def video_gmacs(settings: FinetuneSettings, prepared: Prepared) -> float:
    """Return the cost of one video at test, in GMACs: the backbones over their clips, and the aggregator."""
    clips = sum(
        prepared.roles.count(role)
        * backbone_macs(
            settings.backbones[role].backbone,
            num_frames=prepared.sampling.num_frames,
            size=own.crop,
            num_classes=len(prepared.classes),
        )
        for role, own in prepared.preprocessing.items()
    )
    return (clips + aggregator_macs(prepared.spec, shapes=prepared.shapes, roles=prepared.roles)) / 1e9
