"""The picture of a training; what draws it is loaded only then, not for a finished run that is asked for again."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

CURVES_FILE = "curves.png"


def draw_curves(folder: Path, history: Sequence[Mapping[str, Any]], *, title: str, figure: str) -> None:
    """Draw loss and figure by epoch into ``curves.png``; if that cannot be, a warning says so.

    Args:
        folder: of the run.
        history: as `save_curves` takes it.
        title: what was trained.
        figure: name of what is drawn beside the loss.

    Raises:
        OutOfSpaceError: if the disk is full.
    """
    from .figures import draw_or_warn
    from .plots import save_curves

    draw_or_warn(folder / CURVES_FILE, partial(save_curves, history, title=title, figure=figure))
