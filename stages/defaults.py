"""Not a stage: defaults that follow from what a stage is given, such as its videos or its weights.

They go in beneath what was typed, before settings are made. Settings themselves hold numbers only: what they say is
what is done, and what a run records. The commands and the functions of `calls` alike begin here.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..pipeline.execution import SILENT, Progress

Values = Mapping[str, Any]  # name of a field of settings -> its value, nested settings' fields beside the others
WITH_WEIGHTS = ("extract", "finetune")
WITH_DEFAULTS = ("train_backbone", "extract", "train_aggregator", "sweep", "finetune")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What was chosen in the user's place.

    Attributes:
        values: none of them was typed.
        said: a sentence for each choice, with settings as `errors.named` marks them.
    """

    values: dict[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def __add__(self, other: "Chosen") -> "Chosen":
        return Chosen(values={**self.values, **other.values}, said=(*self.said, *other.said))


def choose(stage: str, typed: Values, *, progress: Progress = SILENT) -> Chosen:
    """Return what follows from ``typed`` for a stage, by the name of its package.

    Weights of other programs are converted, and published ones fetched, so that what follows sees files of vidpipe's.
    What else is wrong with the given files is left for the stage to say.

    Args:
        stage: the name of its package.
        typed: what was given.
        progress: of what has to be fetched.

    Raises:
        SettingsError: if the weights that are given contradict each other, or may be of several networks.
        WeightsError: if weights of another program cannot be had or read.
    """
    if stage not in WITH_DEFAULTS:
        return Chosen()
    ready = _ready(typed, progress) if stage in WITH_WEIGHTS else Chosen()
    return ready + importlib.import_module(f".{stage}.defaults", __package__).choose({**typed, **ready.values})


def _ready(typed: Values, progress: Progress) -> Chosen:
    """Return the weights of roles that had to be fetched or converted."""
    from ..pipeline.features.patterns import ROLES
    from .weights.ready import ready_roles

    return ready_roles({role: typed[role] for role in ROLES if typed.get(role)}, progress=progress)
