"""What kinds of runs hold a model of whole videos, and the names of the files that they leave."""

from typing import Any

from ..errors import RunError
from .run_directory import RunDirectory

AGGREGATOR, END_TO_END = "aggregator", "end-to-end"
COMMANDS = {AGGREGATOR: "vidpipe train-aggregator", END_TO_END: "vidpipe finetune"}  # which makes a run of each kind
WEIGHTS_FILE = "weights.safetensors"  # of the aggregator
ENGINES_FIELD = "engines"  # of the settings of runs on stored features: role -> `describe_engine`; earlier ones lack it
SPLITS_FILE = "splits.json"  # id -> split, where a run has others than its store


def backbone_file(role: str) -> str:
    """Return the name of the file in which an end-to-end run leaves the backbone of a role, as trained."""
    return f"{role}.safetensors"


def backbones_of(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """Return role -> what the run's aggregator has to be fed from, as `describe_backbone` puts it.

    Those of an aggregator run are the ones that it was trained on; those of an end-to-end run are its own, as trained.

    Raises:
        RunError: if an end-to-end run is not finished, or does not say.
    """
    found = run.result.get("backbones") if run.settings.get("kind") == END_TO_END else run.settings.get("backbones")
    if not isinstance(found, dict):
        raise RunError(f"{run.path} does not say which backbones it was trained with; train it again")
    return found
