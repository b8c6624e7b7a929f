"""What training a backbone will cost, before it begins; nothing is written."""

from dataclasses import dataclass
from functools import partial

from ...pipeline.backbones.devices import resolve_device
from ...pipeline.costs.flops import backbone_macs
from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.files import free_bytes
from ...pipeline.training.batches import shuffled_batches
from ...pipeline.training.forecast import (
    ReadingTimes,
    epochs_behind,
    reading_seconds,
    side_by_side,
    time_reading,
    total_seconds,
)
from ...pipeline.training.keeping import Outlook, fits_in_memory, look_ahead, memory_share
from .plan import PreparedBackboneTraining, outcome, prepare
from .run import OPTIONS
from .settings import TrainBackboneSettings
from .timing import NetworkTimes, clips_of, time_network

_FORWARD_AND_BACKWARD = 3  # a training step costs about as much as three forward passes
# Copies of the weights: two checkpoints (model, optimizer twice, average, best), as the new one is written before the
# old one goes, and the result.
_FLOAT_BYTES, _COPIES_ON_DISK = 4, 11


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneEstimate:
    """What a training will probably cost.

    Attributes:
        num_training: videos to train on, one clip of each an epoch.
        num_validation: videos whose central clips are scored after each epoch.
        epochs: at most.
        epochs_done: of an unfinished run.
        already_done: whether the run is finished.
        clip_gmacs: 10^9 multiply-accumulates of a clip, forward.
        total_gmacs: of all epochs, backward passes included, validation too.
        step_seconds: of a training step on clips that are ready.
        decode_seconds: to decode and reduce a whole video, on one thread.
        kept_clip_seconds: to make a clip of a video that is kept, on one thread.
        read_clip_seconds: to make a clip of a video that is not kept, on one thread.
        first_epoch_seconds: the epoch that decodes what is not kept yet.
        epoch_seconds: any other.
        total_seconds: all epochs that are left.
        memory_bytes: of this process at its greatest.
        gpu_bytes: of the GPU at its greatest; None on a CPU.
        run_bytes: of the run on disk, at most, its checkpoint included.
        free_bytes: on its disk.
        kept: the decoded videos on disk.
        in_memory: whether decoded videos are kept in memory instead.
    """

    num_training: int
    num_validation: int
    num_frames: int
    sampling_rate: int
    epochs: int
    epochs_done: int
    already_done: bool
    batch_size: int
    steps_per_epoch: int
    clip_gmacs: float
    total_gmacs: float
    step_seconds: float
    decode_seconds: float
    kept_clip_seconds: float
    read_clip_seconds: float
    first_epoch_seconds: float
    epoch_seconds: float
    total_seconds: float
    memory_bytes: int
    gpu_bytes: int | None
    run_bytes: int
    free_bytes: int
    kept: Outlook
    in_memory: bool


def estimate(settings: TrainBackboneSettings, *, progress: Progress = SILENT) -> BackboneEstimate:
    """Time a few steps and videos, and estimate the rest; writes nothing.

    Args:
        settings: of the training.
        progress: advanced by each part of the estimate.

    Raises:
        SettingsError, ManifestError, RunError: as the training itself.
        VideoError: if none of the first videos can be read.
    """
    prepared = prepare(settings)
    settings = prepared.settings
    epochs_done, already_done = epochs_behind(settings.out, made=outcome(prepared), options=OPTIONS)
    sources = [clips.source for clips in prepared.clips]
    # Each part takes another time than the others, so that none foretells them.
    with under_way(progress, "estimating", total=3, unit="part", untypical=3):
        kept = look_ahead(sources, settings=settings.keeping)
        progress.advance()
        reading = time_reading(sources[0], crop=settings.crop, look_at=partial(clips_of, prepared))
        progress.advance()
        network = time_network(prepared)
        progress.advance()
    in_memory = fits_in_memory(kept, memory_bytes=memory_share(settings.cache_gib))
    own, num_training = settings.optimisation, len(prepared.training.source.videos)
    num_validation = kept.num_videos - num_training
    steps = len(shuffled_batches(num_training, batch_size=own.batch_size, seed=own.seed, epoch=0))
    first, later = epoch_seconds(prepared, network, reading, kept, steps=steps, in_memory=in_memory)
    left = 0 if already_done else own.epochs - epochs_done
    gmacs = _clip_gmacs(prepared)
    return BackboneEstimate(
        num_training=num_training,
        num_validation=num_validation,
        num_frames=prepared.training.sampling.num_frames,
        sampling_rate=prepared.training.sampling.sampling_rate,
        epochs=own.epochs,
        epochs_done=epochs_done,
        already_done=already_done,
        batch_size=own.batch_size,
        steps_per_epoch=steps,
        clip_gmacs=gmacs,
        total_gmacs=own.epochs * gmacs * (_FORWARD_AND_BACKWARD * num_training + num_validation),
        step_seconds=network.step_seconds,
        decode_seconds=reading.decode_seconds,
        kept_clip_seconds=reading.kept_clip_seconds,
        read_clip_seconds=reading.read_clip_seconds,
        first_epoch_seconds=first,
        epoch_seconds=later,
        total_seconds=total_seconds(first, later, epochs=left),
        memory_bytes=network.memory_bytes + (kept.num_bytes if in_memory else 0),
        gpu_bytes=network.gpu_bytes,
        run_bytes=network.num_weights * _FLOAT_BYTES * _COPIES_ON_DISK,
        free_bytes=free_bytes(settings.out),
        kept=kept,
        in_memory=in_memory,
    )


def _clip_gmacs(prepared: PreparedBackboneTraining) -> float:
    own, num_classes = prepared.settings, len(prepared.classes)
    frames = prepared.training.sampling.num_frames
    return backbone_macs(own.backbone, num_frames=frames, size=own.crop, num_classes=num_classes) / 1e9


def epoch_seconds(
    prepared: PreparedBackboneTraining,
    network: NetworkTimes,
    reading: ReadingTimes,
    kept: Outlook,
    *,
    steps: int,
    in_memory: bool,
) -> tuple[float, float]:
    """Return the seconds of the first epoch of this process, and of any other."""
    settings = prepared.settings
    num_validation = len(prepared.validation.source.videos) if prepared.validation else 0
    busy = steps * network.step_seconds + num_validation / settings.optimisation.batch_size * network.validation_seconds
    first, later = (
        side_by_side(busy, seconds, workers=settings.workers, device=resolve_device(settings.device))
        for seconds in reading_seconds(reading, kept=kept, in_memory=in_memory)
    )
    return first, later
