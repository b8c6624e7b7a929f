"""How much memory the parts of a network hold, counted by running their shapes: nothing is computed or allocated."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ...aggregators.base import AggregatorSpec
from ...aggregators.video_model import Shape, build_video_model
from ...backbones.interface import Backbone
from ...backbones.registry import build_backbone
from ...training.optimisation import mixed_precision
from ..checkpointing import checkpointed
from .tracking import storage_bytes, tracked_memory

_DEVICE = torch.device("cpu")  # of the fake tensors; a GPU keeps the same for the backward pass
# Numbers of clips in two runs; bytes are taken to grow linearly between and beyond them. One clip would not do: batch
# norms cannot normalise a single clip whose map has one position.
FEW, _MANY = 2, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkMemory:
    """Bytes of a network's own tensors.

    Attributes:
        parameters: of the weights that can be trained; their gradients take the same.
        buffers: of the rest (running statistics).
    """

    parameters: int
    buffers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CallMemory:
    """Bytes that a pass holds beside weights and their gradients, which are assumed to exist already.

    Attributes:
        kept: from the end of the forward pass to the backward pass: activations, inputs and outputs.
        peak: the most at any time of the two passes.
    """

    kept: int
    peak: int


def backbone_call(
    name: str,
    *,
    clips: int,
    num_frames: int,
    crop: int,
    precision: str,
    gradients: bool,
    granularity: str | None = None,
) -> CallMemory:
    """Return the memory of one call of a backbone, with its backward pass if ``gradients``.

    Bytes grow linearly with the number of clips, so two runs of the shapes, kept for later calls, give all others.

    Args:
        name: a name of ``BACKBONES``.
        clips: in the call.
        num_frames: L.
        crop: S, pixels.
        precision: a name of ``optimisation.DTYPES``.
        gradients: whether there is a backward pass.
        granularity: of `checkpointed`; None = everything is kept.

    Raises:
        SettingsError: if there is no such backbone, or it cannot take such clips.
    """
    few, many = (
        _backbone_call(name, number, num_frames, crop, precision, gradients, granularity) for number in (FEW, _MANY)
    )
    share = (clips - FEW) / (_MANY - FEW)
    return CallMemory(
        kept=round(few.kept + share * (many.kept - few.kept)), peak=round(few.peak + share * (many.peak - few.peak))
    )


@lru_cache(maxsize=64)
def backbone_memory(name: str, num_classes: int) -> NetworkMemory:
    """Return the bytes of a registered backbone.

    Raises:
        SettingsError: if there is no such backbone.
    """
    with torch.device("meta"):
        return _network_memory(build_backbone(name, num_classes=num_classes))


@lru_cache(maxsize=64)
def video_call(
    spec: AggregatorSpec, shapes: tuple[tuple[str, Shape], ...], roles: tuple[str, ...], batch: int, precision: str
) -> CallMemory:
    """Return the memory of mixing and aggregator over ``batch`` videos, without the maps, with the backward pass.

    Args:
        spec: of the aggregator.
        shapes: pairs of role and (T', H', W', C).
        roles: of the N clips.
        batch: B.
        precision: a name of ``optimisation.DTYPES``.

    Raises:
        SettingsError: if there is no such aggregator, or the width does not suit it.
    """
    with FakeTensorMode():
        model = build_video_model(spec, shapes=dict(shapes)).train()
        maps = {role: torch.empty(batch, roles.count(role), *shape, requires_grad=True) for role, shape in shapes}
        scores = torch.empty(batch, len(roles), spec.num_classes, requires_grad=True)
        needed: Mapping[str, Tensor] = maps if model.aggregator.needs_features else {}
        _give_gradients(model)
        return _passes(lambda: model(needed, scores, roles), precision=precision, gradients=True)


@lru_cache(maxsize=64)
def video_memory(spec: AggregatorSpec, shapes: tuple[tuple[str, Shape], ...]) -> NetworkMemory:
    """Return the bytes of mixing and aggregator; arguments as in `video_call`."""
    with torch.device("meta"):
        return _network_memory(build_video_model(spec, shapes=dict(shapes)))


@lru_cache(maxsize=256)
def _backbone_call(
    name: str, clips: int, num_frames: int, crop: int, precision: str, gradients: bool, granularity: str | None
) -> CallMemory:
    with FakeTensorMode():
        backbone: Backbone = build_backbone(name, num_classes=1).train()
        backbone.feature_shape(num_frames, crop)  # refuses what the network cannot take
        _give_gradients(backbone)
        with checkpointed(backbone, granularity=granularity) if granularity else nullcontext():
            return _passes(
                lambda: backbone(torch.empty(clips, num_frames, crop, crop, 3).permute(0, 4, 1, 2, 3)),
                precision=precision,
                gradients=gradients,
            )


def _passes(forward: Callable[[], Tensor | tuple[Tensor, ...]], *, precision: str, gradients: bool) -> CallMemory:
    """Return the memory of a forward pass and, with ``gradients``, the backward pass of all its outputs."""
    with tracked_memory(_DEVICE) as memory, torch.set_grad_enabled(gradients):
        with mixed_precision(_DEVICE, precision=precision):
            outputs = forward()
        kept = memory.live_bytes
        if gradients:
            given = (outputs,) if isinstance(outputs, Tensor) else outputs
            torch.autograd.backward(given, [torch.empty_like(output) for output in given])
    return CallMemory(kept=kept, peak=memory.peak_bytes)


def _give_gradients(network: nn.Module) -> None:
    """Give every parameter a gradient from the start, as it has one when gradients are accumulated."""
    for parameter in network.parameters():
        parameter.grad = torch.empty_like(parameter)


def _network_memory(network: nn.Module) -> NetworkMemory:
    return NetworkMemory(parameters=storage_bytes(network.parameters()), buffers=storage_bytes(network.buffers()))
