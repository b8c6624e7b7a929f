"""Pictures for tests of what lies beside them: files alone, since to lay out and render takes most of a short run."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

_RENDER = Figure.savefig
_DOT = base64.b64decode(  # one grey pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


def _sketch(_: Figure, path: Path, **__: Any) -> None:
    path.write_bytes(_DOT)


@contextmanager
def sketched() -> Iterator[None]:
    """Let figures be built in this process as ever, but saved as one pixel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _sketch)
        yield


@contextmanager
def rendered() -> Iterator[None]:
    """Let figures be rendered within `sketched`, for a test that looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _RENDER)
        yield
