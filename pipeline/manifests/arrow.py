"""The functions of pyarrow over whole columns, loaded when they are first needed: that takes a fifth of a second."""

from typing import Any


def compute() -> Any:
    """Return `pyarrow.compute`, whose functions are made when it is loaded, so that no type checker knows them."""
    import pyarrow.compute

    return pyarrow.compute
