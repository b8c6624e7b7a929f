"""Run an aggregator over the videos of a feature store, and count what that costs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .aggregator_inputs import AggregatorInputs, batch_of
from .aggregators.video_model import VideoModel
from .batches import prefetched
from .flops import count_macs

READERS = 4  # threads that read maps which do not fit into memory


def num_readers(inputs: AggregatorInputs) -> int:
    """Return how many threads should read ``inputs`` ahead: none where maps come from memory."""
    return 0 if inputs.keeps_maps else READERS


@torch.inference_mode()
def predict(model: VideoModel, inputs: AggregatorInputs, videos: Sequence[int], *, batch_size: int) -> Tensor:
    """Return (V, K) float32 scores, on the CPU, of the aggregator over the evenly spread clips of ``videos``.

    Args:
        model: in evaluation mode, on its device.
        inputs: read from.
        videos: indices into the store.
        batch_size: videos a step.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    order = [videos[i : i + batch_size] for i in range(0, len(videos), batch_size)]
    clips = prefetched(inputs.spread_clips, order, workers=num_readers(inputs))
    batches = (batch_of(videos_clips, device=device) for videos_clips in clips)
    roles = inputs.selection.roles
    return torch.cat([model(maps, scores, roles).float().cpu() for maps, scores in batches])


def video_gmacs(model: VideoModel, inputs: AggregatorInputs) -> float:
    """Return the cost of one video in GMACs: the backbones over their clips, and the aggregator over their maps."""
    roles = inputs.selection.roles
    maps = {role: torch.empty(1, roles.count(role), *shape, device="meta") for role, shape in inputs.shapes.items()}
    scores = torch.empty(1, len(roles), inputs.num_scores, device="meta")
    return inputs.selection.backbone_gmacs(inputs.store) + count_macs(model, maps, scores, roles) / 1e9
