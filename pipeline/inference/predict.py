"""Run an aggregator over videos, and compute what that costs."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ..aggregators.video_model import VideoModel
from ..costs.gmacs import aggregator_gmacs
from ..errors import VideoError
from ..training.tasks import SINGLE_LABEL, TASKS
from .inputs import Crops, Inputs, batch_of

TASK = TASKS[SINGLE_LABEL]  # its probabilities are what is averaged over crops
Advance = Callable[[], None]


@torch.inference_mode()
def predict(
    model: VideoModel,
    inputs: Inputs,
    videos: Sequence[int],
    *,
    batch_size: int,
    failed: dict[int, VideoError] | None = None,
    advance: Advance = lambda: None,
) -> Tensor:
    """Return (V, K) float32 scores, on the CPU, of the aggregator over the clips of ``videos``.

    Of several crops the probabilities are averaged.

    Args:
        model: in evaluation mode, on its device.
        inputs: the source of the clips.
        videos: indices of V videos.
        batch_size: videos per step.
        failed: filled with index -> reason of videos that have no clips and so no row; None: they are errors.
        advance: called after each video.

    Returns:
        The scores in the order of the videos; (0, 0) if none has clips.

    Raises:
        VideoError: if a video has no clips, and ``failed`` is None.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    found = zip(videos, inputs.read(videos, batch_size=batch_size), strict=True)
    scores = []
    for batch in _batched(_readable(found, failed=failed, advance=advance), batch_size):
        maps, clip_scores = batch_of([own for crops in batch for own in crops], device=device)
        each = model(maps, clip_scores, inputs.roles).float().cpu()  # (B × crops, K)
        scores.append(_over_crops(each, inputs.num_crops))
    return torch.cat(scores) if scores else torch.empty(0, 0)


def _over_crops(scores: Tensor, num_crops: int) -> Tensor:
    """Return (B, K) scores whose probabilities are the mean over crops of those of ``scores``, (B × crops, K)."""
    if num_crops == 1:
        return scores
    return TASK.scores(TASK.probabilities(scores).unflatten(0, (-1, num_crops)).mean(1))


def _readable(
    found: Iterable[tuple[int, Crops | VideoError]], *, failed: dict[int, VideoError] | None, advance: Advance
) -> Iterator[Crops]:
    """Yield the clips of the videos that have some, and note in ``failed`` why the others have none."""
    for index, clips in found:
        if not isinstance(clips, VideoError):
            yield clips
        elif failed is None:
            raise clips
        else:
            failed[index] = clips
        advance()


def _batched(clips: Iterator[Crops], size: int) -> Iterator[list[Crops]]:
    while batch := list(itertools.islice(clips, size)):
        yield batch


def video_gmacs(model: VideoModel, inputs: Inputs) -> float:
    """Return the cost of one video in GMACs: the backbones over their clips, and the aggregator over their maps."""
    own = aggregator_gmacs(model, roles=inputs.roles, shapes=inputs.shapes, num_scores=inputs.num_scores)
    return inputs.backbone_gmacs + inputs.num_crops * own
