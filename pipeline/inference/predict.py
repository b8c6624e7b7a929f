"""Run an aggregator over videos, and count what that costs."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..aggregators.video_model import Shape, VideoModel
from ..costs.flops import count_macs
from ..training.batches import prefetched
from .stored_inputs import AggregatorInputs, Clips, batch_of

READERS = 4  # threads that read maps which do not fit into memory


def num_readers(inputs: AggregatorInputs) -> int:
    """Return how many threads should read ``inputs`` ahead: none where maps come from memory."""
    return 0 if inputs.keeps_maps else READERS


def predict(model: VideoModel, inputs: AggregatorInputs, videos: Sequence[int], *, batch_size: int) -> Tensor:
    """Return (V, K) float32 scores, on the CPU, of the aggregator over the evenly spread clips of ``videos``.

    Args:
        model: in evaluation mode, on its device.
        inputs: read from.
        videos: indices into the store.
        batch_size: videos a step.
    """
    order = [videos[i : i + batch_size] for i in range(0, len(videos), batch_size)]
    batches = prefetched(inputs.spread_clips, order, workers=num_readers(inputs))
    return _predict(model, batches, inputs.selection.roles)


def predict_clips(model: VideoModel, clips: Iterable[Clips], *, roles: Sequence[str], batch_size: int) -> Tensor:
    """Return (V, K) float32 scores, on the CPU, of the aggregator over the clips of V videos, as `predict` does.

    Args:
        model: in evaluation mode, on its device.
        clips: each video's; they are asked for as they are needed.
        roles: the role of each of a video's N clips.
        batch_size: videos a step.
    """
    return _predict(model, _batched(iter(clips), batch_size), roles)


@torch.inference_mode()
def _predict(model: VideoModel, batches: Iterable[Sequence[Clips]], roles: Sequence[str]) -> Tensor:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    on_device = (batch_of(batch, device=device) for batch in batches)
    return torch.cat([model(maps, scores, roles).float().cpu() for maps, scores in on_device])


def _batched(clips: Iterator[Clips], size: int) -> Iterator[list[Clips]]:
    while batch := list(itertools.islice(clips, size)):
        yield batch


def video_gmacs(model: VideoModel, inputs: AggregatorInputs) -> float:
    """Return the cost of one video in GMACs: the backbones over their clips, and the aggregator over their maps."""
    own = aggregator_gmacs(model, roles=inputs.selection.roles, shapes=inputs.shapes, num_scores=inputs.num_scores)
    return inputs.selection.backbone_gmacs(inputs.store) + own


def aggregator_gmacs(model: VideoModel, *, roles: Sequence[str], shapes: Mapping[str, Shape], num_scores: int) -> float:
    """Return the cost of one video in GMACs without the backbones.

    Args:
        model: over what the other arguments describe.
        roles: the role of each of the N clips.
        shapes: role -> (T', H', W', C) of the maps; empty where none are read.
        num_scores: K; 0 where the clips' own scores are not read.
    """
    maps = {role: torch.empty(1, roles.count(role), *shape, device="meta") for role, shape in shapes.items()}
    scores = torch.empty(1, len(roles), num_scores, device="meta")
    return count_macs(model, maps, scores, roles) / 1e9
