"""The files in which programs keep weights, read without running anything that stands in them.

PyTorch's files are read by its own reader for tensors alone, Caffe2's pickles by one that knows NumPy's arrays and
nothing else, and safetensors hold no code.
"""

import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..backbones.places import HOW, what_it_is
from ..errors import WeightsError

SAFETENSORS, TORCH, CAFFE2 = "safetensors", "PyTorch", "Caffe2"
# Where programs put the state dict in what they save, the likeliest first: mmaction2 and TSM, PySlowFast and
# pytorchvideo, X-Temporal, V-JEPA 2.1 and 2 (the averaged encoder is the one to use).
_STATES = ("state_dict", "model_state", "model", "ema_encoder", "target_encoder", "encoder")
_PARALLEL = "module."  # what torch's DataParallel puts before every key
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}
_GIVE = f"Give {HOW}, or a file of another program's weights"
_ADVICE = "Download it anew, or check where it comes from."


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What a file of another program holds.

    Attributes:
        path: of the file.
        container: ``safetensors``, ``PyTorch`` or ``Caffe2``.
        state: key -> tensor, on the CPU, without a prefix that wrapping for several GPUs adds.
        sha256: of the whole file, hexadecimal.
        notes: what else the file says of itself: names and texts, as PySlowFast's configuration.
    """

    path: Path
    container: str
    state: dict[str, Tensor]
    sha256: str
    notes: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the tensors of a weights file of any program; no code that stands in it is run.

    Raises:
        WeightsError: if there is no such file, or it is damaged, holds no tensors, or holds what only code could read.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the weights file itself")
    try:
        digest = file_sha256(path)
        begins = _beginning(path)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    if not begins:
        raise WeightsError(f"{path} is empty. {_ADVICE}")
    container, content = _content(path, begins)
    state = _state(content)
    if not state:
        raise WeightsError(f"{path} holds no tensors by name, so it is no state dict{_found(content)}. {_ADVICE}")
    return Checkpoint(path=path, container=container, state=state, sha256=digest, notes=_notes(content))


def begins_as_weights(path: Path) -> bool:
    """Return whether a file's first bytes are those of a container of weights."""
    begins = _beginning(path)
    return begins[8:9] == b"{" or begins.startswith((b"\x80", b"PK"))


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _content(path: Path, begins: bytes) -> tuple[str, Any]:
    """Return the container's name and what it holds."""
    if begins[8:9] == b"{":  # after the length of its head, eight bytes
        return SAFETENSORS, _read_safetensors(path)
    if begins.startswith(b"\x80"):
        return _read_pickle(path)
    if begins.startswith(b"PK"):
        return TORCH, _read_torch(path)
    found = what_it_is(path)
    raise WeightsError(f"{path} is no weights file{f': it is {found}' if found else ''}. {_GIVE}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is a damaged safetensors file ({error}). {_ADVICE}") from error


def _read_torch(path: Path) -> Any:
    """Return what torch.save has written, if it is made of tensors and plain values alone."""
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is cut short: it begins as a PyTorch file and has no end. {_ADVICE}")
    found = what_it_is(path)
    if not found.startswith("a PyTorch checkpoint"):
        raise WeightsError(f"{path} is no weights file: it is {found}. {_GIVE}")
    return _load_tensors(path)


def _load_tensors(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(path, error)) from error
    # Whatever a damaged file makes of torch's reader.
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise WeightsError(f"{path} is a damaged PyTorch file ({_one_line(error)}). {_ADVICE}") from error


def _read_pickle(path: Path) -> tuple[str, Any]:
    """Return what a bare pickle holds: Caffe2's arrays, or what torch.save wrote before 2020."""
    if _is_old_torch(path):
        return TORCH, _load_tensors(path)
    try:
        with path.open("rb") as file:
            return CAFFE2, _ArraysOnly(file, encoding="latin1").load()
    except _NotAllowedError as error:
        raise WeightsError(_refusal(path, error)) from error
    # Whatever damaged or hostile bytes make of the reader.
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError,
            MemoryError, OverflowError, UnicodeDecodeError) as error:  # fmt: skip
        raise WeightsError(f"{path} is a damaged pickle ({_one_line(error)}). {_ADVICE}") from error


def _is_old_torch(path: Path) -> bool:
    """Return whether a pickle begins with the magic number of torch's old format."""
    with path.open("rb") as file:
        begins = file.read(32)
    return b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in begins


class _NotAllowedError(pickle.UnpicklingError):
    """A pickle asks for something else than arrays."""


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes NumPy arrays and plain values, and refuses all else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _NotAllowedError(f"it asks for {module}.{name}")
        if module == "_codecs":
            return _encode
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)  # as NumPy calls it since 2.0


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Return bytes that Python 3 pickled by protocol 2; other codecs than its own are refused."""
    if encoding not in ("latin1", "latin-1"):
        raise _NotAllowedError(f"it asks for the codec {encoding!r}")
    return text.encode("latin1")


def _refusal(path: Path, error: Exception) -> str:
    asked = re.search(r"GLOBAL (\S+)", str(error))  # torch's reader says it in the middle of its own advice
    reason = f"it asks for {asked[1]}" if asked else _one_line(error)
    return (
        f"{path} holds more than tensors: {reason}. Such a file could run code of its maker's, so it is not "
        "read. If you trust it, load it where it comes from and save its state dict alone, as safetensors."
    )


def _state(content: Any) -> dict[str, Tensor]:
    """Return the tensors by name that a file's content holds; empty if there are none."""
    if not isinstance(content, Mapping):
        return {}
    tensors = {str(key): own for key, own in _flat(content) if own is not None}
    if tensors and len(tensors) >= len(content) - _few(content):
        return _bare(tensors)
    for name in (*_STATES, "blobs"):
        found = _state(content[name]) if name in content else {}
        if found:
            return found
    return _bare(tensors)


def _flat(content: Mapping[Any, Any]) -> list[tuple[Any, Tensor | None]]:
    return [(key, _tensor(own)) for key, own in content.items()]


def _few(content: Mapping[Any, Any]) -> int:
    """Return how many entries beside tensors a state dict may have."""
    return 0 if any(name in content for name in _STATES) else len(content)


def _tensor(own: Any) -> Tensor | None:
    """Return a tensor or a numeric array as a tensor; None for anything else."""
    if isinstance(own, Tensor):
        return own.detach()
    if isinstance(own, np.ndarray) and own.dtype.kind in "fiu":
        return torch.from_numpy(np.ascontiguousarray(own.astype(own.dtype.newbyteorder("="))))
    return None


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` without the prefix that every key has where a network was wrapped for several GPUs."""
    while state and all(key.startswith(_PARALLEL) for key in state):
        state = {key.removeprefix(_PARALLEL): own for key, own in state.items()}
    return state


def _notes(content: Any) -> dict[str, str]:
    """Return the texts that stand beside the state dict."""
    if not isinstance(content, Mapping):
        return {}
    return {str(key): own for key, own in content.items() if isinstance(own, str)}


def _found(content: Any) -> str:
    if isinstance(content, Mapping):
        keys = ", ".join(map(str, list(content)[:5]))
        return f" (it has {keys})" if keys else " (it is empty)"
    return f" (it is a {type(content).__name__})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
