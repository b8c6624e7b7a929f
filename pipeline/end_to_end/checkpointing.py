"""Gradient checkpointing: keep the inputs of a backbone's parts, and compute the parts again in the backward pass."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..backbones.layers import BATCH_NORMS
from ..errors import SettingsError, named
from .strategies import GRANULARITIES

STEMS, STAGES = ("stem", "conv1"), ("res2", "res3", "res4", "res5")  # last names of modules, in any pathway
CONTAINERS = (nn.ModuleList, nn.ModuleDict)  # hold modules, but are never called themselves


@contextmanager
def checkpointed(backbone: nn.Module, *, granularity: str) -> Iterator[None]:
    """Make the backbone's forward keep no more than the inputs of its parts, for the time of the block.

    The backward pass, in the block or after it, computes each part again when its turn comes, one at a time: a second
    forward in exchange for the memory. Gradients are those of the plain network, random draws (dropout) are
    the same in both computations, and running statistics of batch norms are updated by the first alone. State-dict
    keys do not change. Where gradients are off, nothing does.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016), by `torch.utils.checkpoint`.

    Args:
        backbone: the network; see `checkpointed_parts` for what its modules must be called.
        granularity: "backbone" (its ``features`` as one part), "stage" (stem and res2 to res5, of every pathway) or
            "block" (stem and each block of the stages). Modules between the parts run as ever.

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


def checkpointed_parts(backbone: nn.Module, *, granularity: str) -> dict[str, nn.Module]:
    """Return the parts, by their names in the backbone, that "stage" or "block" checkpoints.

    Stages are the modules whose last name is one of ``STEMS`` or ``STAGES``, wherever they stand; blocks are what a
    stage that is a sequence consists of. A part never lies in another.

    Raises:
        SettingsError: if there is no such granularity, or the network has no such parts.
    """
    if granularity not in GRANULARITIES or granularity == "backbone":
        raise SettingsError(f"{named('granularity')} must be one of {', '.join(GRANULARITIES)}; got {granularity!r}")
    parts: dict[str, nn.Module] = {}
    _collect(backbone, "", parts, by_block=granularity == "block")
    if not parts:
        raise SettingsError(
            f"{named('granularity')} {granularity} needs modules called {', '.join(STEMS + STAGES)}, and this "
            "network has none; "
            f"use {named('granularity')} backbone"
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


def _collect(module: nn.Module, name: str, parts: dict[str, nn.Module], *, by_block: bool) -> None:
    """Add the parts in ``module``, which is called ``name``, to ``parts``."""
    last = name.rpartition(".")[2]
    if last in STEMS or last in STAGES:
        parts |= _split(module, name, by_block=by_block and last in STAGES)
        return
    for own, child in module.named_children():
        _collect(child, f"{name}.{own}" if name else own, parts, by_block=by_block)


def _split(stage: nn.Module, name: str, *, by_block: bool) -> dict[str, nn.Module]:
    """Return a stage as one part, or the parts that it consists of."""
    if isinstance(stage, CONTAINERS):
        split = [_split(child, f"{name}.{own}", by_block=by_block) for own, child in stage.named_children()]
        return {key: part for parts in split for key, part in parts.items()}
    if by_block and isinstance(stage, nn.Sequential):
        return {f"{name}.{own}": block for own, block in stage.named_children()}
    return {name: stage}


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
