"""How many multiply-accumulates a network costs, counted by running its shapes."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from .backbones import build_backbone


def count_macs(module: nn.Module | Callable[..., Any], *inputs: Any) -> int:
    """Return the multiply-accumulates of one call of ``module`` on inputs of these shapes.

    Convolutions and matrix products count (what papers call FLOPs); norms, activations, pooling, gates and additions do
    not. Nothing is computed: a copy of the module runs on the meta device, so that size costs nothing. The module is
    run in evaluation mode and left as it was.

    Args:
        module: a module, or a function of tensors; if it holds parameters it must be a module.
        inputs: positional arguments; tensors of any device, or nested lists, tuples and dicts of them.

    Returns:
        The number of multiply-accumulates for the whole batch that the inputs form.
    """
    if isinstance(module, nn.Module):
        module = copy.deepcopy(module).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*tree_map_only(Tensor, lambda tensor: tensor.to("meta"), inputs))
    return counter.get_total_flops() // 2  # the counter gives two for each multiply-accumulate


def backbone_macs(name: str, *, num_frames: int, size: int, num_classes: int = 400) -> int:
    """Return the multiply-accumulates of a registered backbone for one clip.

    Args:
        name: a name of ``BACKBONES``.
        num_frames: L.
        size: side of the square clip in pixels.
        num_classes: the classifier's outputs; its share is next to nothing (0.8 of 30,000 million for 400).

    Raises:
        SettingsError: if there is no such backbone or it cannot take such clips.
    """
    with torch.device("meta"):
        backbone = build_backbone(name, num_classes=num_classes)
        return count_macs(backbone, torch.empty(1, 3, num_frames, size, size))
