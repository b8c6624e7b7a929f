"""Train backbones and aggregator together, on N clips of each video: the third stage, which needs no feature store.

Source: Yang et al., Beyond Short Clips: End-to-End Video-level Learning with Collaborative Memories (CVPR 2021).
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...pipeline.aggregators.weights import save_aggregator
from ...pipeline.available_memory import is_out_of_memory
from ...pipeline.backbones.devices import resolve_device
from ...pipeline.backbones.interface import Backbone
from ...pipeline.backbones.weights import Weights, collect_weights, save_weights
from ...pipeline.costs.flops import aggregator_macs
from ...pipeline.costs.gmacs import backbones_gmacs
from ...pipeline.end_to_end.network import EndToEnd
from ...pipeline.end_to_end.steps import Objective, predict, strategy_gradients
from ...pipeline.end_to_end.videos import TrainingVideos, batch_of
from ...pipeline.evaluation.curves import draw_curves
from ...pipeline.execution import SILENT, Progress
from ...pipeline.features.patterns import ROLES
from ...pipeline.files import write_json
from ...pipeline.inference.stored_inputs import backbone_record
from ...pipeline.settings import recorded_names
from ...pipeline.training.batches import decoding_threads, prefetched
from ...pipeline.training.distributed import (
    gathered,
    is_first,
    joined_processes,
    rank,
    sum_over_processes,
    wait_for_all,
    world_size,
)
from ...pipeline.training.keeping import keep_decoded, memory_share
from ...pipeline.training.learning_split import unlabelled_words
from ...pipeline.training.loop import FitResult, Schedule, fit
from ...pipeline.training.optimisation import resolved
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import AGGREGATOR_FIELDS, WEIGHTS_FILE, backbone_file
from ...pipeline.training.symptoms import SAMENESS, Blind, symptoms
from .memory import check_memory, memory_limit, out_of_memory
from .model import build_model
from .named import named_backbones
from .plan import PreparedFinetuning, outcome, prepare
from .settings import FinetuneSettings
from .videos import order_of, train_batches, training_videos

# Name in a run's settings -> the field that sets it.
_CLIPS = {f"sampling.{name}": name for name in ("num_clips", "num_frames", "sampling_rate", "fps")}
_STEPS = {"gradients.by": "name", "gradients.clips_at_once": "clips_at_once", "gradients.accumulate": "accumulate"}
_RATES = {f"rates.{role}": f"{role}_learning_rate" for role in ROLES}
OPTIONS = recorded_names(FinetuneSettings) | _CLIPS | AGGREGATOR_FIELDS | _STEPS | _RATES


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSummary:
    """The result of a run.

    Attributes:
        already_done: whether the run had been finished before.
        fresh: roles whose classifier began anew, because the weights' classes are not the manifest's.
        metrics: the best epoch's figures.
        epochs: epochs that were trained.
        gmacs: 10^9 multiply-accumulates per video, at test.
        failures: id -> reason, of the videos that could not be read.
        seconds: of all training steps, across interruptions.
        warnings: what looks as if nothing, or the wrong thing, was learnt.
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
    warnings: tuple[str, ...]


def run(settings: FinetuneSettings, *, progress: Progress = SILENT) -> FinetuneSummary:
    """Train end to end, or go on training, and write the weights of all parts to the run directory.

    Under torchrun, the processes train one model together, each on its share of every batch.

    Args:
        settings: what to train, and how.
        progress: advanced by each batch and epoch, in the first process only.

    Raises:
        SettingsError, ManifestError, WeightsError: if things do not fit each other.
        RunError: if the run directory belongs to other settings.
        OutOfMemoryError: if there is not enough memory; the checkpoint is kept, and the message names what would fit.
    """
    optimisation = resolved(settings.optimisation, device=settings.device)
    settings = replace(named_backbones(settings), optimisation=optimisation)
    prepared = prepare(settings)
    if prepared.unlabelled and is_first():
        progress.milestone(unlabelled_words(prepared.unlabelled))
    if prepared.shared_groups and is_first():
        progress.milestone(prepared.shared_groups)
    # Everything that can be refused is refused above, before processes wait for each other.
    with joined_processes(resolve_device(settings.device)) as device:
        already_done = (settings.out / "result.json").is_file()
        limit = memory_limit(settings, device)
        # A finished run may have been trained on a larger machine: it is only read.
        if not already_done:
            check_memory(settings, prepared, limit=limit)
        training = training_videos(settings, prepared, prepared.training)
        validation = training_videos(settings, prepared, prepared.validation)
        with _open_run(settings, prepared) as directory:
            if not already_done:
                try:
                    train(
                        settings,
                        prepared,
                        directory,
                        device=device,
                        training=training,
                        validation=validation,
                        progress=progress,
                    )
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise out_of_memory(settings, prepared, limit=limit) from error
            # The others read the result that the first process writes.
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
        warnings=tuple(result.get("warnings", ())),  # runs of earlier versions have none
        fresh=tuple(role for role, own in prepared.weights.items() if own and own.classes != prepared.classes),
        **{name: result[name] for name in ("metrics", "epochs", "num_weights", "gmacs", "failures", "seconds")},
    )


def _open_run(settings: FinetuneSettings, prepared: PreparedFinetuning) -> RunDirectory:
    """Return the run directory, which the first process creates."""
    made = outcome(settings, prepared)
    # The first holds the directory from here on; the others may only look once its settings are written.
    opened = partial(RunDirectory.open_or_create, settings.out, settings=made, options=OPTIONS)
    first = opened() if is_first() else None
    wait_for_all()
    return first or opened()


def train(
    settings: FinetuneSettings,
    prepared: PreparedFinetuning,
    directory: RunDirectory,
    *,
    device: torch.device,
    training: TrainingVideos,
    validation: TrainingVideos,
    progress: Progress = SILENT,
) -> None:
    """Fit the network, and write weights, curves and result to the run directory."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    keep_decoded(
        [training.source, validation.source],
        settings=settings.keeping,
        memory_bytes=memory_share(settings.cache_gib),
        say=progress.notice,
    )
    model, objective = build_model(settings, prepared).to(device), objective_of(settings, prepared)
    fitted = fit(
        model,
        settings=settings.optimisation,
        schedule=Schedule(
            steps_per_epoch=len(order_of(settings, prepared, epoch=0)),
            monitor=prepared.task.monitor,
            checkpoint_every_seconds=settings.checkpoint_seconds,
            rates={f"backbones.{role}": rate for role, rate in prepared.rates.items()},
        ),
        run=directory,
        train_batches=partial(train_batches, settings, prepared, training),
        gradients=strategy_gradients(
            model, strategy=settings.strategy, objective=objective, accumulate=settings.accumulate
        ),
        validate=partial(_validate, model, settings, objective, validation) if prepared.validation else None,
        progress=progress,
    )
    failures: dict[str, str] = {}
    for own in (training, validation):
        failures |= own.source.all_failures(own.spread_clips, workers=decoding_threads(settings.workers))
    if is_first():
        _write(settings, prepared, directory, model, fitted, failures=failures)


def objective_of(settings: FinetuneSettings, prepared: PreparedFinetuning) -> Objective:
    """Return the loss to minimise."""
    own = settings.optimisation
    return Objective(
        clip_weight=settings.clip_weight,
        label_smoothing=own.label_smoothing,
        precision=own.precision,
        task=prepared.task,
    )


@torch.no_grad()
def _validate(
    model: EndToEnd, settings: FinetuneSettings, objective: Objective, videos: TrainingVideos
) -> dict[str, float]:
    """Return the losses and figures over the clips as in a test; a video that cannot be read counts as wrong."""
    count = len(videos.labels)
    names, device = objective.figures, next(model.parameters()).device
    # In double precision, so that the sum hardly depends on how the videos are shared among processes.
    sums = torch.zeros(len(names), dtype=torch.float64)
    answers: list[torch.Tensor] = []
    # One video at a time, so that validation never needs more memory than training.
    order = [[place] for place in range(rank(), count, world_size())]
    for made in prefetched(videos.spread_clips, order, workers=decoding_threads(settings.workers)):
        batch = batch_of(made)
        if len(batch):
            batch = batch.on(device, part=slice(1))
            video, clips = predict(model, batch, strategy=settings.strategy, precision=objective.precision)
            figures = objective.loss(video, clips, targets=batch.targets, total=count)[1]
            sums += torch.stack([figures[name].double().cpu() for name in names])
            answers.append(video.float().cpu())
    every = list(chain.from_iterable(gathered(answers)))
    sameness = float(objective.task.sameness(torch.cat(every))) if every else 0.0
    means = dict(zip((f"val_{name}" for name in names), sum_over_processes(sums.to(device)).tolist(), strict=True))
    return means | {f"val_{SAMENESS}": sameness}


def _write(
    settings: FinetuneSettings,
    prepared: PreparedFinetuning,
    directory: RunDirectory,
    model: EndToEnd,
    fitted: FitResult,
    *,
    failures: dict[str, str],
) -> None:
    """Write weights, curves, failures and result to the run directory."""
    save_aggregator(
        settings.out / WEIGHTS_FILE,
        spec=prepared.spec,
        # Without features nothing is mixed, and the file must not ask for maps that no store need have.
        shapes=prepared.shapes if model.video_model.aggregator.needs_features else {},
        classes=prepared.classes,
        state=model.video_model.state_dict(),
    )
    trained = {role: _collect(backbone, prepared, role) for role, backbone in model.backbones.items()}
    for role, weights in trained.items():
        save_weights(settings.out / backbone_file(role), weights)
    title = f"{prepared.spec.name}, {prepared.pattern}, end to end"
    draw_curves(settings.out, fitted.history, title=title, figure=prepared.task.figure)
    write_json(settings.out / "failures.json", failures)
    directory.finish(
        {
            "metrics": fitted.best,
            "epochs": len(fitted.history),
            "num_weights": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
            "gmacs": video_gmacs(settings, prepared),
            "seconds": sum(record["seconds"] for record in fitted.history),
            "failures": failures,
            "warnings": _symptoms(settings, prepared, fitted),
            "backbones": {
                role: backbone_record(own.backbone, digest=own.digest, preprocessing=own.preprocessing.record())
                for role, own in trained.items()
            },
        }
    )


def _symptoms(settings: FinetuneSettings, prepared: PreparedFinetuning, fitted: FitResult) -> tuple[str, ...]:
    task, own = prepared.task, prepared.targets[list(prepared.training)]
    blind = task.blind_loss(
        own, num_classes=len(prepared.classes), label_smoothing=settings.optimisation.label_smoothing
    )
    return symptoms(
        fitted.history,
        best_epoch=fitted.best_epoch,
        # The loss is the video's and the clips'.
        blind=Blind(loss=blind * (1 + settings.clip_weight), goodness=task.blind_goodness(own), num_videos=len(own)),
        figure=task.figure,
        validated=bool(prepared.validation),
    )


def _collect(backbone: nn.Module, prepared: PreparedFinetuning, role: str) -> Weights:
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


def video_gmacs(settings: FinetuneSettings, prepared: PreparedFinetuning) -> float:
    """Return the cost of one video at test, in GMACs: the backbones over their clips, and the aggregator."""
    backbones = backbones_gmacs(
        {role: settings.backbones[role].backbone for role in prepared.preprocessing},
        roles=prepared.roles,
        crops={role: own.crop for role, own in prepared.preprocessing.items()},
        num_frames=prepared.sampling.num_frames,
        num_classes=len(prepared.classes),
    )
    return backbones + aggregator_macs(prepared.spec, shapes=prepared.shapes, roles=prepared.roles) / 1e9
