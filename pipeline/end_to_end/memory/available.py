"""How much memory is available on a device."""

import torch

from ...available_memory import host_bytes


def available_bytes(device: torch.device, *, processes: int = 1) -> int:
    """Return how many bytes this process can take on ``device``.

    On CUDA: what is free, and what torch's allocator already holds for this process. On a CPU: `host_bytes`. Ask before
    networks are built.

    Args:
        device: of the tensors.
        processes: how many share a CPU's memory evenly.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return host_bytes(processes=processes)
