"""Not a stage: what users give for weights becomes files of vidpipe's, before a stage reads them."""

from collections.abc import Callable
from pathlib import Path

from ..pipeline.backbones.places import is_word, near_by
from ..pipeline.checkpoints.names import is_known_name

Say = Callable[[str], None]


def check_place(name: str, place: Path) -> None:
    """Refuse a word that is neither a file or run, nor the name of published weights.

    Raises:
        ValueError: saying what may be given.
    """
    if not name and is_word(place) and not place.exists() and not is_known_name(str(place)):
        raise ValueError(
            "must be a weights file, a run of vidpipe train-backbone, the name of published weights, or NAME= before "
            f"one of them; there is no file, run or published name {str(place)!r}{near_by(place)}"
        )


def ready_place(place: Path, *, backbone: str, role: str, say: Say | None = None) -> Path:
    """Return a weights file of vidpipe's; one of another program is converted once, and a published one fetched.

    Args:
        place: a file, the folder of a run, or the name of published weights.
        backbone: the network that they must be of; empty: whichever it is.
        role: that it is to play.
        say: called with what a foreign file was taken for.

    Raises:
        WeightsError: if there is no such file, or it does not hold the network.
        SettingsError: if it fits several networks.
    """
    from ..pipeline.checkpoints.ready import Given, ready_file  # not before there are weights to read: it loads torch

    given = Given(backbone=backbone, place=place)
    return ready_file(given, role=role) if say is None else ready_file(given, role=role, say=say)
