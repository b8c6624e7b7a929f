"""How many operations a network costs, counted by running its shapes."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from ..aggregators.base import AggregatorSpec
from ..aggregators.video_model import Shape, build_video_model
from ..backbones.layers import BATCH_NORMS
from ..backbones.registry import build_backbone
from .conventions import find_convention


def count_macs(module: nn.Module | Callable[..., Any], *inputs: Any, convention: str = "mac") -> int:
    """Return what one call of ``module`` costs on inputs of these shapes; by default in multiply-accumulates.

    Convolutions and matrix products count (what papers call FLOPs), and by some conventions batch norms; activations,
    pooling, gates and additions do not. Nothing is computed: a copy of the module runs on the meta device, so size
    does not matter. The copy is in evaluation mode; the module itself stays as it was.

    Args:
        module: a module, or a function of tensors; if it holds parameters it must be a module.
        inputs: positional arguments; tensors of any shape, dtype and device, or nested lists, tuples and dicts of them.
        convention: a name of ``CONVENTIONS``.

    Returns:
        The number of operations for the whole batch that the inputs form.

    Raises:
        SettingsError: if there is no such convention.
    """
    return _operations(
        copy.deepcopy(module).to("meta") if isinstance(module, nn.Module) else module, inputs, convention
    )


def _operations(module: nn.Module | Callable[..., Any], inputs: tuple[Any, ...], convention: str) -> int:
    """Return what `count_macs` does, of a module on the meta device that nobody else uses."""
    weights = find_convention(convention)
    macs, normalised = _count(module, inputs)
    return weights.per_mac * macs + weights.per_normalised * normalised


def _count(module: nn.Module | Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[int, int]:
    """Return the multiply-accumulates of one call, and how many elements pass a batch norm; spoils the module."""
    normalised: list[int] = []

    def pass_on(x: Tensor) -> Tensor:
        normalised.append(x.numel())
        return x

    if isinstance(module, nn.Module):
        for part in module.eval().modules():
            if isinstance(part, BATCH_NORMS):  # it keeps the shape, and on meta takes longer than all the rest
                vars(part)["forward"] = pass_on
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*tree_map_only(Tensor, lambda tensor: tensor.to("meta"), inputs))
    return counter.get_total_flops() // 2, sum(normalised)  # the counter gives two for each multiply-accumulate


def backbone_macs(name: str, *, num_frames: int, size: int, num_classes: int = 400, convention: str = "mac") -> int:
    """Return what a registered backbone costs for one clip, by default in multiply-accumulates.

    Args:
        name: a name of ``BACKBONES``.
        num_frames: L.
        size: side of the square clip in pixels.
        num_classes: the classifier's outputs; its share is negligible (0.8 of 30,000 million for 400).
        convention: a name of ``CONVENTIONS``.

    Raises:
        SettingsError: if there is no such backbone or convention, or it cannot take such clips.
    """
    weights = find_convention(convention)
    macs, normalised = _backbone_counts(name, num_frames, size, num_classes)
    return weights.per_mac * macs + weights.per_normalised * normalised


@lru_cache(maxsize=256)  # a table of settings needs the same few clips many times, by one convention or several
def _backbone_counts(name: str, num_frames: int, size: int, num_classes: int) -> tuple[int, int]:
    with torch.device("meta"):
        backbone = build_backbone(name, num_classes=num_classes)
        backbone.feature_shape(num_frames, size)  # refuses what the network cannot take
        return _count(backbone, (torch.empty(1, 3, num_frames, size, size),))


def aggregator_macs(
    spec: AggregatorSpec, *, shapes: Mapping[str, Shape], roles: Sequence[str], convention: str = "mac"
) -> int:
    """Return what an aggregator costs for one video, with the projections of its maps.

    Args:
        spec: what to build; its channels are the common width of the maps.
        shapes: role -> (T', H', W', C) of its clips' maps.
        roles: the role of each of the N clips.
        convention: a name of ``CONVENTIONS``.

    Raises:
        SettingsError: if there is no such aggregator or convention, or the width does not suit it.
    """
    used = {role: shapes[role] for role in dict.fromkeys(roles)}
    with torch.device("meta"):
        model = build_video_model(spec, shapes=used)
        maps = {role: torch.empty(1, roles.count(role), *shape) for role, shape in used.items()}
        scores = torch.empty(1, len(roles), spec.num_classes)
    return _operations(model, (maps, scores, roles), convention)
