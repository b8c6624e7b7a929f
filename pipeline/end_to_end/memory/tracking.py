"""The peak of memory held by tensors while a block of code runs, backward passes included."""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(kw_only=True, slots=True)
class TensorMemory:
    """Bytes of tensors, final once the block of `tracked_memory` is left.

    Attributes:
        live_bytes: held now.
        peak_bytes: the most that was held at once.
    """

    live_bytes: int = 0
    peak_bytes: int = 0

    def add(self, num_bytes: int) -> None:
        """Count ``num_bytes`` more as held."""
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


@contextmanager
def tracked_memory(device: torch.device, *, held: Iterable[Tensor] = ()) -> Iterator[TensorMemory]:
    """Measure what tensors take on ``device`` while the block runs.

    On a CPU every storage that a torch operation returns counts until nothing refers to it any more: the same figure on
    every machine and in every run, without the kernels' own memory and without the allocator's waste. Fake tensors
    count like real ones. On CUDA it is what torch's allocator has given out.

    Args:
        device: where the tensors are.
        held: tensors of any shape and dtype that exist already and count from the start, such as weights. On CUDA all
            existing tensors count; on a CPU no others.

    Yields:
        The figures, kept up to date on a CPU; on CUDA they are set when the block is left.
    """
    memory = TensorMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        try:
            yield memory
        finally:
            memory.live_bytes = torch.cuda.memory_allocated(device)
            memory.peak_bytes = torch.cuda.max_memory_allocated(device)
        return
    with _StorageCounter(memory, held):
        yield memory


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the storages of tensors of any shape and dtype, each storage counted once."""
    storages = {id(storage): storage for storage in (tensor.untyped_storage() for tensor in tensors)}
    return sum(storage.nbytes() for storage in storages.values())


class _StorageCounter(TorchDispatchMode):
    """Count the storages that operations return, until they are freed.

    torch keeps one Python object per storage as long as the storage lives. So that object's identity stands for the
    storage, and its finalizer says when the memory is free.
    """

    def __init__(self, memory: TensorMemory, held: Iterable[Tensor]) -> None:
        super().__init__()
        self._memory = memory
        self._known: set[int] = set()
        for tensor in held:
            self._meet(tensor, counts=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Inputs first, uncounted: views share their storage, and an input's memory is not this operation's.
        for tensor in _tensors((args, kwargs)):
            self._meet(tensor, counts=False)
        given = func(*args, **kwargs)
        for tensor in _tensors(given):
            self._meet(tensor, counts=True)
        return given

    def _meet(self, tensor: Tensor, *, counts: bool) -> None:
        storage = tensor.untyped_storage()
        if id(storage) in self._known:
            return
        num_bytes = storage.nbytes() if counts else 0
        self._known.add(id(storage))
        self._memory.add(num_bytes)
        weakref.finalize(storage, self._part, id(storage), num_bytes).atexit = False

    def _part(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self._memory.live_bytes -= num_bytes


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of what an operation takes or returns: they lie in lists, tuples and keyword arguments."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (list, tuple, dict)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(part)
