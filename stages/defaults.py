"""Not a stage: defaults that follow from what a stage is given, such as its videos or its weights.

They go in beneath what was typed, before settings are made. Settings themselves hold numbers only: what they say is
what is done, and what a run records. The commands and the functions of `calls` alike begin here.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Values = Mapping[str, Any]  # name of a field of settings -> its value, nested settings' fields beside the others
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


def choose(stage: str, typed: Values) -> Chosen:
    """Return what follows from ``typed`` for a stage, by the name of its package.

    What is wrong with the given files is left for the stage to say.

    Raises:
        SettingsError: if the weights that are given contradict each other.
    """
    if stage not in WITH_DEFAULTS:
        return Chosen()
    return importlib.import_module(f".{stage}.defaults", __package__).choose(typed)
