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
    """Within the block, make the backbone's forward keep only the inputs of its parts.

    The backward pass, in the block or after it, computes each part again when its turn comes, one at a time: a second
    forward pass in exchange for memory. Gradients are those of the plain network, random draws (dropout) are the same
    in both computations, and only the first one updates running statistics of batch norms. State-dict keys do not
    change. Without gradients nothing changes.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016), by `torch.utils.checkpoint`.

    Args:
        backbone: the network.
        granularity: "backbone" (its ``features`` as one part), or "stage" or "block": what the network's methods of
            these names return. Modules between the parts run as usual.

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
    """Return the parts, by their names in the backbone, that "stage" or "block" checkpoints; none contains another.

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
    """Within the block, leave the running statistics of batch norms alone.

    Norms in training mode still normalise by the batch's statistics, and track them in copies that are thrown away. So
    autograd saves the same tensors, one by one, as in a tracked pass, and checkpointing relies on that. Norms in
    evaluation mode work as usual.
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
    """Make a method of ``part`` keep only its inputs; without gradients it is called directly."""
    before, plain = vars(part).get(method), getattr(part, method)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), untracked_statistics(part)  # of the first computation and the second

    def call(*inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return plain(*inputs)
        return checkpoint(plain, *inputs, use_reentrant=False, context_fn=contexts)

    # Set on the instance: neither the class nor any other instance notices, and state-dict keys stay.
    setattr(part, method, call)
    try:
        yield
    finally:
        delattr(part, method)
        if before is not None:
            setattr(part, method, before)
