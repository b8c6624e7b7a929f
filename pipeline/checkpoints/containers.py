"""The files in which programs keep weights, read without running anything that stands in them.

PyTorch's files are read by its own reader for tensors alone, Caffe2's pickles by one that knows arrays of numbers and
nothing else, and safetensors hold no code.
"""

import hashlib
import re
import zipfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..backbones.places import DAMAGED_ZIP, HOW, old_protocol, what_it_is
from ..errors import WeightsError
from .array_pickles import DamagedPickleError, NotAllowedError, read_arrays
from .state_dicts import key_text, state_of

SAFETENSORS, TORCH, CAFFE2 = "safetensors", "PyTorch", "Caffe2"
_ZIP, _PICKLE = b"PK", b"\x80"
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # of torch's format before 2020, a few bytes after its beginning
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
    """

    path: Path
    container: str
    state: dict[str, Tensor]
    sha256: str


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
    state = _state(path, content)
    if not state:
        raise WeightsError(f"{path} holds no tensors by name, so it is no state dict{_found(content)}. {_ADVICE}")
    return Checkpoint(path=path, container=container, state=state, sha256=digest)


def begins_as_weights(path: Path) -> bool:
    """Return whether a file's first bytes are those of a container of weights."""
    begins = _beginning(path)
    return begins[8:9] == b"{" or begins.startswith((_PICKLE, _ZIP)) or old_protocol(begins) is not None


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _content(path: Path, begins: bytes) -> tuple[str, Any]:
    """Return the container's name and what it holds."""
    if begins[8:9] == b"{":  # after the length of its head, eight bytes
        return SAFETENSORS, read_safetensors(path)
    if begins.startswith(_ZIP):
        return TORCH, _read_torch(path)
    if _MAGIC in begins:
        return TORCH, _load_tensors(path)
    if begins.startswith(_PICKLE) or old_protocol(begins) is not None:
        return CAFFE2, _read_pickle(path)
    found = what_it_is(path)
    raise WeightsError(f"{path} is no weights file{f': it is {found}' if found else ''}. {_GIVE}")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    Raises:
        WeightsError: if it is damaged, or none, or has tensors that are no plain numbers.
    """
    try:
        content = load_file(str(path))
    except Exception as error:  # whatever a damaged file makes of the reader
        if found := what_it_is(path):
            raise WeightsError(f"{path} is no safetensors file: it is {found}. {_ADVICE}") from error
        raise WeightsError(f"{path} is a damaged safetensors file ({_one_line(error)}). {_ADVICE}") from error
    return _state(path, content)


def _state(path: Path, content: Any) -> dict[str, Tensor]:
    try:
        return state_of(content, num_bytes=path.stat().st_size)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error.marked}") from error


def _read_torch(path: Path) -> Any:
    """Return what torch.save has written, if it is made of tensors and plain values alone."""
    found = what_it_is(path)
    if found == DAMAGED_ZIP:
        raise WeightsError(f"{path} is cut short or damaged: it begins as a PyTorch file and has no end. {_ADVICE}")
    if not found.startswith("a PyTorch checkpoint"):
        raise WeightsError(f"{path} is no weights file: it is {found}. {_GIVE}")
    _check_members(path)
    return _load_tensors(path)


def _check_members(path: Path) -> None:
    """Refuse a zip archive that unpacks to more than itself: torch.save compresses nothing.

    Raises:
        WeightsError: if a member is compressed, or all together claim more bytes than the file has.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    packed = next((own.filename for own in members if own.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise WeightsError(f"{path} is compressed ({packed}), which no file of torch.save is. {_ADVICE}")
    if sum(own.file_size for own in members) > path.stat().st_size:
        raise WeightsError(f"{path} claims to hold more bytes than it has. {_ADVICE}")


def _load_tensors(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of torch's reader
        asked = re.search(r"GLOBAL (\S+)", str(error))  # in the middle of its own advice
        if asked:
            raise WeightsError(_refusal(path, f"it asks for {asked[1]}")) from error
        raise WeightsError(f"{path} is a damaged PyTorch file ({_reason(error)}). {_ADVICE}") from error


def _reason(error: Exception) -> str:
    """Return what torch's reader says, without its advice to read the file unsafely."""
    said = str(error) or type(error).__name__
    return " ".join(re.sub(r"(?s)Weights only load failed\..*WeightsUnpickler error:", "", said).split())[:300]


def _read_pickle(path: Path) -> Any:
    """Return what a bare pickle holds: Caffe2's arrays."""
    try:
        return read_arrays(path)
    except NotAllowedError as error:
        raise WeightsError(_refusal(path, str(error))) from error
    except DamagedPickleError as error:
        raise WeightsError(f"{path} is a damaged pickle ({_one_line(error)}). {_ADVICE}") from error


def _refusal(path: Path, reason: str) -> str:
    return (
        f"{path} holds more than tensors: {reason}. Such a file could run code of its maker's, so it is not "
        "read. If you trust it, load it where it comes from and save its state dict alone, as safetensors."
    )


def _found(content: Any) -> str:
    if isinstance(content, dict):
        keys = ", ".join(key_text(key) for key in islice(content, 5))
        return f" (it has {keys})" if keys else " (it is empty)"
    return f" (it is a {type(content).__name__})"


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300]
