"""Training in several processes, as torchrun starts them; in a single process every function here is a no-op.

Gradients are summed after a step's backward passes, not by the hooks of torch's DistributedDataParallel: those expect
one backward pass a step, and the strategies of end-to-end training take several.
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

LOST_PEER = ("closed by peer", "reset by peer", "NCCL")  # in what gloo and NCCL say when another process has gone
BUCKET_NUMBERS = 2**24  # summed at once: large enough to be fast, and 64 MiB more memory at most


def rank() -> int:
    """Return this process's number among those of the run, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_processes() -> int:
    """Return how many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def launched() -> bool:
    """Whether torchrun started this process."""
    return "WORLD_SIZE" in os.environ


def first_of_launched() -> bool:
    """Whether this process is the first that torchrun started, or the only one; known without joining the others."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined_processes(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    NCCL joins them on GPUs, gloo on CPUs.

    Args:
        device: what the user asked for.

    Yields:
        The device of this process: of several GPUs each process takes one.

    Raises:
        SettingsError: if a machine has fewer GPUs than processes.
        RunError: within, if another process has gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        place = int(os.environ["LOCAL_RANK"])
        if place >= torch.cuda.device_count():
            raise SettingsError(
                f"{named('nproc_per_node')} must be at most the GPUs of the machine, {torch.cuda.device_count()}; "
                "process "
                f"{place} has none"
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    except RuntimeError as error:
        if any(sign in str(error) for sign in LOST_PEER):
            raise RunError("another process of this training has ended; its message says why") from error
        raise
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Return when every process has come here."""
    if world_size() > 1:
        dist.barrier()


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the elementwise sum of every process's ``values``, of any one shape."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def gathered(own: Any) -> list[Any]:
    """Return every process's ``own``, of plain Python values, in the order of their ranks."""
    if world_size() == 1:
        return [own]
    everyone: list[Any] = [None] * world_size()
    dist.all_gather_object(everyone, own)
    return everyone


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its sum over the processes; a parameter without one anywhere keeps none."""
    if world_size() == 1:
        return
    own = [parameter for parameter in parameters if parameter.requires_grad]
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
    for buffer in buffers:
        buffer /= world_size()


def _sum_in_buckets(tensors: list[Tensor]) -> None:
    bucket: list[Tensor] = []
    for place, tensor in enumerate(tensors):
        bucket.append(tensor)
        if place + 1 == len(tensors) or sum(part.numel() for part in bucket) >= BUCKET_NUMBERS:
            flat = torch.cat([part.reshape(-1) for part in bucket])
            dist.all_reduce(flat)
            for part, total in zip(bucket, flat.split([part.numel() for part in bucket]), strict=True):
                part.copy_(total.view_as(part))
            bucket = []
