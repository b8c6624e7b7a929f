"""Gradient checkpointing: keep the inputs of a backbone's parts, and compute the parts again in the backward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..backbones.interface import Backbone
from ..backbones.layers import BATCH_NORMS
from ..errors import SettingsError, named
from .strategies import GRANULARITIES


@contextmanager
def checkpointed(backbone: Backbone, *, granularity: str) -> Iterator[None]:
    """Make the backbone's forward keep no more than the inputs of its parts, for the time of the block.

    The backward pass, in the block or after it, computes each part again when its turn comes, one at a time: a second
    forward in exchange for the memory. Gradients are those of the plain network, random draws (dropout) are
    the same in both computations, and running statistics of batch norms are updated by the first alone. State-dict
    keys do not change. Where gradients are off, nothing does.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016), by `torch.utils.checkpoint`.

    Args:
        backbone: the network.
        granularity: "backbone" (its ``features`` as one part), or "stage" or "block": what the network's methods of
            these names give. Modules between the parts run as ever.

    Raises:
        SettingsError: if there is no such granularity, or the network has no such parts.
    """
    with ExitStack() as stack:
        if granularity == "backbone":
            stack.enter_context(_recomputed(backbone, "features"))
        else:
            for part in checkpointed_parts(backbone, granularity=granularity).values():
                stack.enter_context(_recomputed(part, "forward"))
        yield


def checkpointed_parts(backbone: Backbone, *, granularity: str) -> dict[str, nn.Module]:
    """Return the parts, by their names in the backbone, that "stage" or "block" checkpoints; none lies in another.

    Raises:
        SettingsError: if there is no such granularity, or the network has no such parts.
    """
    if granularity not in GRANULARITIES or granularity == "backbone":
        raise SettingsError(f"{named('granularity')} must be one of {', '.join(GRANULARITIES)}; got {granularity!r}")
    parts = backbone.stages() if granularity == "stage" else backbone.blocks()
    if not parts:
        raise SettingsError(
            f"{named('granularity')} {granularity} needs a network that names its {granularity}s, and this network has "
            f"none; use {named('granularity')} backbone"
        )
    return parts


@contextmanager
def untracked_statistics(module: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norms alone, for the time of the block.

    Norms in training mode normalise by the batch's own statistics as ever, and track them in copies that are thrown
    away: what autograd saves is then the same, tensor by tensor, as in a tracked pass, which checkpointing relies on.
    Norms in evaluation mode do as ever.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, BATCH_NORMS) and norm.training]
    kept = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers(recurse=False)]
    try:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer.clone())
        yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)


@contextmanager
def _recomputed(part: nn.Module, method: str) -> Iterator[None]:
    """Make a method of ``part`` keep its inputs alone; where gradients are off, it is called as it is."""
    before, plain = vars(part).get(method), getattr(part, method)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), untracked_statistics(part)  # of the first computation and the second

    def call(*inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return plain(*inputs)
        return checkpoint(plain, *inputs, use_reentrant=False, context_fn=contexts)

    setattr(part, method, call)
    try:
        yield
    finally:
        delattr(part, method)
        if before is not None:
            setattr(part, method, before)
