"""Pickles of NumPy's arrays, read without NumPy's own classes.

NumPy's classes believe what a pickle says of shapes, strides and memory; a file of 51 bytes can make them write where
it likes. So what stands in their places here is ours, knows numbers alone, and checks every length.
"""

import math
import mmap
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

_NUMBERS = re.compile(r"([<>=|]?)([fiub]\d)")  # NumPy's kinds of plain numbers
_OPCODES = {own.code: own for own in pickletools.opcodes}
_AXES = 64  # at most, of NumPy's arrays


class NotAllowedError(pickle.UnpicklingError):
    """A pickle asks for something else than arrays."""


class DamagedPickleError(pickle.UnpicklingError):
    """A pickle is cut short, or claims what it does not hold."""


def read_arrays(path: Path) -> Any:
    """Return what a pickle holds that is made of arrays and plain values: `ArrayOfNumbers` in the places of arrays.

    Python 2's texts are read as Latin 1. The memory that is taken is
    bound by the file's size: nothing is made of a length that a file only claims.

    Raises:
        NotAllowedError: if it asks for anything else; the message says for what.
        DamagedPickleError: if it cannot be read.
        OSError: if the file cannot be.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            _check_claims(content)
            content.seek(0)
            return _ArraysOnly(content, size=len(content)).load()
        except (NotAllowedError, DamagedPickleError):
            raise
        except Exception as error:  # whatever damaged or hostile bytes make of Python's reader
            raise DamagedPickleError(str(error) or type(error).__name__) from error


def _check_claims(content: mmap.mmap) -> None:
    """Walk through a pickle, running nothing, and refuse one that would take more memory than it has bytes.

    Raises:
        DamagedPickleError: if it numbers an object beyond its own size: Python's reader makes room for all before it.
        KeyError, ValueError: if it has no end, or its parts are longer than itself.
    """
    while True:
        opcode = _OPCODES[content.read(1).decode("latin1")]
        if opcode.name == "STRING":  # of Python 2's bytes, which the module's own reader takes for ASCII
            content.readline()
            continue
        argument = opcode.arg.reader(cast(IO[bytes], content)) if opcode.arg else 0
        if opcode.name == "STOP":
            return
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(content):
            raise DamagedPickleError(f"it numbers an object {argument}, and has {len(content)} bytes")


class NumberKind:
    """What stands in the place of numpy.dtype: a kind of plain numbers, and the order of their bytes."""

    __slots__ = ("order", "text")

    def __init__(self, text: str, _align: object = False, _copy: object = True) -> None:
        match = _NUMBERS.fullmatch(text)
        if match is None:
            raise NotAllowedError(f"it asks for an array of {text!r}, which are no plain numbers")
        self.order, self.text = match.groups()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "=", "|") or any(own is not None for own in state[2:5]):
            raise NotAllowedError("it asks for an array of records, which are no plain numbers")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """Return it as NumPy has it."""
        return np.dtype(self.order + self.text)


class ArrayOfNumbers:
    """What stands in the place of numpy.ndarray.

    Attributes:
        array: of numbers, read-only: a view of the file's bytes.
    """

    __slots__ = ("_spend", "array")

    def __init__(self, spend: Callable[[int], None]) -> None:
        self._spend = spend
        self.array = np.zeros(0, dtype=np.float32)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, kind, is_fortran, raw = state
        self.fill(raw, kind, shape, "F" if is_fortran else "C")

    def fill(self, raw: bytes | str, kind: NumberKind, shape: tuple[int, ...], order: str) -> None:
        """Take the numbers that ``raw`` holds."""
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2 has no bytes
        _check_shape(shape)
        dtype = kind.dtype()
        if len(raw) != math.prod(shape) * dtype.itemsize:
            raise DamagedPickleError(f"an array of shape {shape} has {len(raw)} bytes")
        self._spend(len(raw))
        self.array = np.frombuffer(raw, dtype).reshape(shape, order="F" if order == "F" else "C")


def _check_shape(shape: tuple[int, ...]) -> None:
    if type(shape) is not tuple or len(shape) > _AXES or not all(type(own) is int and own >= 0 for own in shape):
        raise DamagedPickleError("an array has a shape that is none")


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes arrays of numbers and plain values, and refuses all else by name."""

    def __init__(self, content: mmap.mmap, *, size: int) -> None:
        super().__init__(content, encoding="latin1")
        self._left = size  # bytes that arrays may yet hold

    def find_class(self, module: str, name: str) -> Any:
        """Return what makes an object of a pickle's: new each time, since a pickle may write into what it gets."""
        module = module.replace("numpy.core", "numpy._core").replace("__builtin__", "builtins")  # as they were once
        makers: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "dtype"): NumberKind,
            ("numpy", "ndarray"): _not_called,
            ("numpy._core.multiarray", "_reconstruct"): self._empty,
            ("numpy._core.multiarray", "scalar"): self._scalar,
            ("numpy._core.numeric", "_frombuffer"): self._from_buffer,
            ("_codecs", "encode"): _encode,
            ("builtins", "bytes"): _no_bytes,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in makers:
            raise NotAllowedError(f"it asks for {module}.{name}")
        return partial(makers[module, name])

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise DamagedPickleError("its arrays have more bytes than the file")

    def _empty(self, _kind: object, _shape: object, _text: object) -> ArrayOfNumbers:
        """Return an array whose content comes next."""
        return ArrayOfNumbers(self._spend)

    def _from_buffer(
        self, raw: bytes, kind: NumberKind, shape: tuple[int, ...], order: str, axes: tuple[int, ...] | None = None
    ) -> ArrayOfNumbers:
        """Return an array of protocol 5, which may have its axes in another order than its bytes."""
        made = ArrayOfNumbers(self._spend)
        made.fill(raw, kind, shape, order)
        if order == "K" and axes is not None:
            made.array = made.array.transpose(axes)
        return made

    def _scalar(self, kind: NumberKind, raw: bytes | str) -> Any:
        made = ArrayOfNumbers(self._spend)
        made.fill(raw, kind, (), "C")
        return made.array.item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Return bytes that Python 3 pickled by protocols 0 to 2; other codecs than its own are refused."""
    if encoding not in ("latin1", "latin-1"):
        raise NotAllowedError(f"it asks for the codec {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Return what Python 3 pickled by protocols 0 to 2 where there were no bytes."""
    return b""


def _not_called(*_: object) -> None:
    """Refuse what NumPy's own pickles name and never call."""
    raise NotAllowedError("it asks for an array over memory of its own")
