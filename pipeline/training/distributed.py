"""Training in several processes, as torchrun starts them; in a single process every function here is a no-op.

Gradients are summed after a step's backward passes, not by the hooks of torch's DistributedDataParallel: those expect
one backward pass per step, and some strategies of end-to-end training take several.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..backbones.layers import BATCH_NORMS
from ..errors import RunError, SettingsError, named

_LOST_PEER = ("closed by peer", "reset by peer", "NCCL")  # in the errors of gloo and NCCL when another process has gone
_BUCKET_NUMBERS = 2**24  # summed at once: enough to be fast, for at most 64 MiB of memory


def rank() -> int:
    """Return this process's number within the run, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_processes() -> int:
    """Return how many processes of the training share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def launched() -> bool:
    """Whether torchrun started this process."""
    return "WORLD_SIZE" in os.environ


def first_of_launched() -> bool:
    """Whether this process is the first that torchrun started, or the only one; works before the others are joined."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined_processes(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    NCCL joins them on GPUs, gloo on CPUs.

    Args:
        device: what the user asked for.

    Yields:
        The device of this process: with several GPUs, each process takes one.

    Raises:
        SettingsError: if a machine has fewer GPUs than processes.
        RunError: within the block, if another process has gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        place = int(os.environ["LOCAL_RANK"])
        if place >= torch.cuda.device_count():
            raise SettingsError(
                f"{named('nproc_per_node')} must be at most the GPUs of the machine, {torch.cuda.device_count()}; "
                f"process {place} has none"
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    except RuntimeError as error:
        if any(sign in str(error) for sign in _LOST_PEER):
            raise RunError("another process of this training has ended; its message says why") from error
        raise
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        dist.barrier()


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the elementwise sum of all processes' ``values``, of any shape and dtype, the same in each of them."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def gathered(own: Any) -> list[Any]:
    """Return every process's ``own``, a plain Python value, in the order of their ranks."""
    if world_size() == 1:
        return [own]
    everyone: list[Any] = [None] * world_size()
    dist.all_gather_object(everyone, own)
    return everyone


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient, of any shape, by its sum over processes; a parameter without one anywhere keeps none."""
    if world_size() == 1:
        return
    own = [parameter for parameter in parameters if parameter.requires_grad]
    # All processes must sum the same tensors in the same order, even if a part of the network had no gradient in one.
    present = torch.tensor([float(parameter.grad is not None) for parameter in own], device=own[0].device)
    dist.all_reduce(present)
    met = [parameter for parameter, count in zip(own, present.tolist(), strict=True) if count]
    for parameter in met:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    _sum_in_buckets([parameter.grad for parameter in met if parameter.grad is not None])


def average_statistics(model: nn.Module) -> None:
    """Replace the running statistics of batch norms in training mode by their means over the processes."""
    if world_size() == 1:
        return
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.training]
    buffers = [buffer for norm in norms for buffer in norm.buffers() if buffer.is_floating_point()]
    _sum_in_buckets(buffers)
    # Gradients are sums because each process divides its loss by the whole batch; statistics are means already.
    for buffer in buffers:
        buffer /= world_size()


def _sum_in_buckets(tensors: list[Tensor]) -> None:
    bucket: list[Tensor] = []
    for place, tensor in enumerate(tensors):
        bucket.append(tensor)
        if place + 1 == len(tensors) or sum(part.numel() for part in bucket) >= _BUCKET_NUMBERS:
            flat = torch.cat([part.reshape(-1) for part in bucket])
            dist.all_reduce(flat)
            for part, total in zip(bucket, flat.split([part.numel() for part in bucket]), strict=True):
                part.copy_(total.view_as(part))
            bucket = []
