"""What all pictures share: their style, how names are written in them, and how they become files."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from ..errors import OutOfSpaceError
from ..files import write_atomically
from .drawn_names import BASE_FONT

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": [BASE_FONT],
    "text.parse_math": False,  # a $ in a name is a dollar
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.dpi": 200,
}
_LOG_SPAN = 5.0  # costs that differ by more than this factor get a logarithmic axis


def style_with(fonts: Sequence[str]) -> dict[Any, Any]:
    """Return the style, with families in which characters are looked for, one after the other."""
    return STYLE | {"font.family": list(dict.fromkeys(fonts))}


def scale_cost(axes: Axes, costs: Sequence[float]) -> None:
    """Make the cost axis logarithmic if the costs have a wide range, with plain numbers on it."""
    if min(costs, default=0) > 0 and max(costs) / min(costs) > _LOG_SPAN:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        formatter = ScalarFormatter()
        formatter.set_scientific(False)
        axes.xaxis.set_major_formatter(formatter)
        axes.xaxis.set_minor_formatter(NullFormatter())


def save_figure(figure: Figure, path: Path) -> None:
    """Write ``figure`` as PNG, cut to what is drawn, whole or not at all."""

    def write(partial: Path) -> None:
        with warnings.catch_warnings():
            # Names are checked against the fonts before (`drawn_names`); a mere box is nothing to tell anybody about.
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            figure.savefig(partial, format="png", bbox_inches="tight", pad_inches=0.06)

    write_atomically(path, write)


def try_to_draw(path: Path, draw: Callable[[Path], object]) -> str:
    """Let ``draw`` write the picture ``path``, and return why it could not; nothing if it could.

    Figures are worth more than their pictures, so whatever goes wrong in a drawing library ends here. A picture of
    earlier figures does not stay.

    Raises:
        OutOfSpaceError: if the disk is full, which the next file will meet too.
    """
    try:
        draw(path)
    except OutOfSpaceError:
        raise
    except Exception as error:  # noqa: BLE001 (a drawing library may raise anything)
        if path.is_file():
            path.unlink()
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


def draw_or_warn(path: Path, draw: Callable[[Path], object]) -> None:
    """Let ``draw`` write the picture ``path``; if it cannot, a warning names the picture and the reason.

    Raises:
        OutOfSpaceError: if the disk is full.
    """
    if reason := try_to_draw(path, draw):
        warnings.warn(f"the picture {path} could not be drawn ({reason}); no figure is lost", stacklevel=2)
