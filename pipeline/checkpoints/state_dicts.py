"""The state dict in what a weights file holds: where programs put it, and which tensors vidpipe takes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import WeightsError
from .array_pickles import ArrayOfNumbers

# Where programs put the state dict in what they save, the likeliest first: mmaction2 and TSM, PySlowFast and
# pytorchvideo, X-Temporal, V-JEPA 2.1 and 2 (the averaged encoder is the one to use), Caffe2.
_STATES = ("state_dict", "model_state", "model", "ema_encoder", "target_encoder", "encoder", "blobs")
_PARALLEL = "module."  # what torch's DataParallel puts before every key
_DEPTH = 32  # of mappings in mappings; networks' states have one
_WRAPPERS = 3  # of a state dict, at most
_NUMBERS = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool}
    | {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
)


def state_of(content: Any, *, num_bytes: int) -> dict[str, Tensor]:
    """Return the tensors by name that a file's content holds; empty if there are none.

    A mapping in a mapping is a state dict if it has the name that programs give theirs and no tensors stand beside it.
    Else all tensors count, however deep, by their keys joined by dots.

    Args:
        content: what a reader has made of the file.
        num_bytes: of the file, which no tensor can exceed.

    Returns:
        The tensors, on the CPU, without the prefix that wrapping for several GPUs adds to each key.

    Raises:
        WeightsError: if a tensor is not one of plain numbers, or has no key of its own.
    """
    arrays = _chosen(content)
    return _bare({key: _tensor(key, own, num_bytes) for key, own in arrays.items()})


def _chosen(content: Any, depth: int = 0) -> dict[str, Any]:
    """Return key -> tensor or array, of the state dict that the content has by a known name, or else of all of it."""
    if not isinstance(content, dict):
        return {}
    has_tensors = any(_is_array(content[key]) and _num_axes(content[key]) for key in content)  # others are counters
    if not has_tensors and depth < _WRAPPERS:
        for name in _STATES:
            found = _chosen(content[name], depth + 1) if name in content else {}
            if found:
                return found
    return _all_of(content)


def _all_of(content: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, own in _arrays(content, "", {}, 0):
        if key in found:
            raise WeightsError(f"two tensors are called {key}")
        found[key] = own
    return found


def _arrays(content: Any, prefix: str, seen: dict[int, bool], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield (keys joined by dots, array) of all that a mapping, list or tuple holds.

    Args:
        content: the mapping, list or tuple.
        prefix: of its keys.
        seen: identity of each that was met -> whether it holds arrays. One that holds none, as a tuple of settings, may
            stand in many places.
        depth: in how many others it lies.
    """
    if not seen.get(id(content), True):
        return
    if id(content) in seen:
        raise WeightsError(f"{prefix.removesuffix('.')} stands in several places, or within itself")
    if depth > _DEPTH:
        raise WeightsError(f"{prefix[:200]}… lies more than {_DEPTH} mappings deep")
    seen[id(content)] = True  # so that it is refused within itself
    num_found = 0
    for key, own in _entries(content):
        found = [(key, own)] if _is_array(own) else []
        if isinstance(own, dict | list | tuple):
            found = [(f"{key}.{inner}", array) for inner, array in _arrays(own, f"{prefix}{key}.", seen, depth + 1)]
        num_found += len(found)
        yield from found
    seen[id(content)] = num_found > 0


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield (key, value); never by the mapping's own methods, which a pickle may overwrite."""
    if isinstance(content, dict):
        for key in content:
            yield (key if isinstance(key, str) else key_text(key)), content[key]
    else:
        for number, own in enumerate(content):
            yield str(number), own


def key_text(key: object) -> str:
    """Return a mapping's key for messages, or in a name: short, whatever it is."""
    if isinstance(key, str):
        return key[:200]
    return str(key) if isinstance(key, int) and abs(key) < 2**63 else f"<{type(key).__name__}>"


def _is_array(own: Any) -> bool:
    return isinstance(own, Tensor | ArrayOfNumbers)


def _num_axes(own: Any) -> int:
    return own.array.ndim if isinstance(own, ArrayOfNumbers) else own.ndim


def _tensor(key: str, own: Any, num_bytes: int) -> Tensor:
    """Return a tensor of plain numbers.

    Raises:
        WeightsError: if it is of another kind, or larger than the file.
    """
    if isinstance(own, ArrayOfNumbers):
        own = _from_array(key, own.array)
    told = _strange(own)
    if told:
        raise WeightsError(f"{key} is {told}, where vidpipe takes tensors of plain numbers")
    if own.numel() * own.element_size() > num_bytes:
        raise WeightsError(f"{key} has the shape {tuple(own.shape)}, which is more than the whole file")
    return own.detach()


def _from_array(key: str, array: np.ndarray[Any, Any]) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except TypeError as error:  # kinds that only NumPy has, where torch has none
        raise WeightsError(
            f"{key} is an array of {array.dtype}, where vidpipe takes tensors of plain numbers"
        ) from error


def _strange(own: Tensor) -> str:
    """Return what a tensor is that holds no plain numbers; empty if it does."""
    if own.is_meta:
        return "a tensor without values (meta)"
    if own.is_quantized:
        return f"a quantised tensor ({str(own.dtype).removeprefix('torch.')})"
    if own.layout != torch.strided:
        return f"a sparse tensor ({str(own.layout).removeprefix('torch.')})"
    return "" if own.dtype in _NUMBERS else f"a tensor of {str(own.dtype).removeprefix('torch.')}"


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` without the prefix that every key has where a network was wrapped for several GPUs."""
    while state and all(key.startswith(_PARALLEL) for key in state):
        state = {key.removeprefix(_PARALLEL): own for key, own in state.items()}
    return state
