"""The kinds of runs that can be scored, and the names of their files."""

from typing import Any

from ..errors import RunError
from .run_directory import RUN_COMMANDS, RunDirectory

AGGREGATOR, END_TO_END = "aggregator", "end-to-end"
LINEAR_PROBE = "linear probe"  # one run may hold several
COMMANDS = {kind: RUN_COMMANDS[kind] for kind in (AGGREGATOR, END_TO_END)}  # that make models of whole videos
WEIGHTS_FILE = "weights.safetensors"  # of the aggregator
ENGINES_FIELD = "engines"  # of the settings of runs on stored features: role -> `describe_engine`; earlier ones lack it
CLIPS_FIELD = "clips_read"  # role -> the stored clips that a run's aggregator may read
LABELS_FIELD = "labels_sha256"  # likewise: of the videos trained on; other videos of the store may change
AGGREGATOR_FIELDS = {  # of both kinds' settings -> the field by which a user sets them
    "aggregator.name": "aggregator",
    "aggregator.dropout": "dropout",
    "aggregator.reduction": "reduction",
}
PROBE_FILE = "probe.npz"  # of each linear probe, in a folder with its name
SPLITS_FILE = "splits.json"  # id -> split, if a run's splits differ from its store's


def backbone_file(role: str) -> str:
    """Return the name of the file in which an end-to-end run leaves the trained backbone of a role."""
    return f"{role}.safetensors"


def backbones_of(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """Return role -> the backbone whose features the run's aggregator needs, as `describe_backbone` describes it.

    For an aggregator run these are the backbones it was trained on; for an end-to-end run its own, as trained.

    Raises:
        RunError: if an end-to-end run is not finished, or does not say.
    """
    found = run.result.get("backbones") if run.settings.get("kind") == END_TO_END else run.settings.get("backbones")
    if not isinstance(found, dict):
        raise RunError(f"{run.path} does not say which backbones it was trained with; train it again")
    return found
