"""The videos of an end-to-end training, and the order in which they are used."""

from collections.abc import Iterator, Sequence
from functools import partial

from ...pipeline.end_to_end.steps import ClipBatch
from ...pipeline.end_to_end.videos import TrainingVideos, batch_of
from ...pipeline.training.batches import decoding_threads, prefetched, shuffled_batches
from ...pipeline.training.clips import VideoSource
from ...pipeline.training.distributed import rank, world_size
from .plan import PreparedFinetuning
from .settings import FinetuneSettings


def training_videos(settings: FinetuneSettings, prepared: PreparedFinetuning, places: Sequence[int]) -> TrainingVideos:
    """Return the clips of the videos at ``places`` in the manifest, for training."""
    videos = [prepared.manifest.videos[place] for place in places]
    source = VideoSource(videos, crop=crop_of(prepared), reading=prepared.sampling.reading)
    return videos_of(settings, prepared, source, labels=prepared.targets[list(places)].tolist())


def crop_of(prepared: PreparedFinetuning) -> int:
    """Return the side in pixels of the largest square that is cut from the videos."""
    return max(preprocessing.crop for preprocessing in prepared.preprocessing.values())


def videos_of(
    settings: FinetuneSettings, prepared: PreparedFinetuning, source: VideoSource, *, labels: Sequence[int]
) -> TrainingVideos:
    """Return the clips of the videos of ``source``, for training."""
    return TrainingVideos(
        source,
        labels=labels,
        sampling=prepared.sampling,
        preprocessing=prepared.preprocessing,
        roles=prepared.roles,
        seed=settings.optimisation.seed,
        flip=settings.flip,
    )


def order_of(settings: FinetuneSettings, prepared: PreparedFinetuning, *, epoch: int) -> list[list[int]]:
    """Return an epoch's batches: places among the training videos, over all processes."""
    return shuffled_batches(
        len(prepared.training),
        batch_size=prepared.videos_per_step,
        seed=settings.optimisation.seed,
        epoch=epoch,
    )


def train_batches(
    settings: FinetuneSettings, prepared: PreparedFinetuning, videos: TrainingVideos, epoch: int, done: int
) -> Iterator[ClipBatch]:
    """Yield an epoch's batches without the first ``done``, and of each only this process's share."""
    order = order_of(settings, prepared, epoch=epoch)[done:]
    # Every process knows the order of all, so that none has to send the others anything.
    own = [batch[rank() :: world_size()] for batch in order]
    # Only one batch ahead: the clips of whole videos are large.
    made = prefetched(
        partial(videos.random_clips, epoch=epoch), own, workers=decoding_threads(settings.workers), ahead=1
    )
    return map(batch_of, made)
