"""The aggregator run that an end-to-end training begins from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pipeline.aggregators.weights import AggregatorWeights, load_aggregator
from ...pipeline.backbones.weights import Weights
from ...pipeline.errors import RunError, SettingsError, named
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.training.learning_split import class_differences
from ...pipeline.training.run_directory import RunDirectory
from ...pipeline.training.run_kinds import AGGREGATOR, WEIGHTS_FILE
from .settings import FinetuneSettings

OPTIONS = {  # field of the settings -> option that must not be given, because the start decides it
    "aggregator": f"{named('aggregator')}",
    "pattern": f"{named('pattern')}",
    "num_clips": f"{named('num_clips')}",
    "num_frames": f"{named('num_frames')}",
    "sampling_rate": f"{named('sampling_rate')}",
    "fps": f"{named('fps')}",
    "width": f"{named('width')}",
    "dropout": f"{named('dropout')}",
    "reduction": f"{named('reduction')}",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """The run of train-aggregator that an end-to-end training begins from.

    Attributes:
        path: its directory.
        made: its settings.
        weights: the aggregator's.
    """

    path: Path
    made: dict[str, Any]
    weights: AggregatorWeights


def open_start(settings: FinetuneSettings, manifest: Manifest) -> Start:
    """Return the run that ``settings`` begin from.

    Raises:
        RunError: if it is unfinished, of another kind, or of other classes than the manifest's.
        SettingsError: if an option is given that the run already decides.
    """
    assert settings.start is not None
    run = RunDirectory.open(settings.start)
    if run.settings.get("kind") != AGGREGATOR:
        raise RunError(
            f"{named('start')} {run.path} is no run of vidpipe train-aggregator; end-to-end training begins from those"
        )
    _ = run.result  # refuses an unfinished run
    for name, option in OPTIONS.items():
        if getattr(settings, name) is not None:
            raise SettingsError(f"{option} comes from the run {run.path}; leave it out, or leave {named('start')} out")
    differences = class_differences(run.settings["classes"], manifest.classes)
    if differences:
        raise RunError(
            f"the run {run.path} does not belong to the manifest {settings.manifest}: {'; '.join(differences)} (there: "
            f"the run, here: the manifest). Train an aggregator on these videos, or leave {named('start')} out"
        )
    return Start(path=run.path, made=run.settings, weights=load_aggregator(run.path / WEIGHTS_FILE)[1])


def check_start(start: Start, weights: Mapping[str, Weights | None]) -> None:
    """Refuse backbones other than those that the run's aggregator was trained on.

    Raises:
        RunError: with the run's backbones and those given.
    """
    for role, own in weights.items():
        made = start.made["backbones"][role]
        if own is None or own.backbone != made["name"] or own.digest != made["weights_sha256"]:
            given = "none" if own is None else f"{own.backbone} with weights {own.digest[:12]}…"
            raise RunError(
                f"the run {start.path} was trained on maps of {made['name']} with weights "
                f"{made['weights_sha256'][:12]}… as its {role} backbone, {named(role)} gives {given}. Give "
                f"{named(role)} those weights, of {made['name']}"
            )


def start_digest(start: Start) -> str:
    """Return the sha256 (hexadecimal) of the aggregator's weights file."""
    return hashlib.sha256((start.path / WEIGHTS_FILE).read_bytes()).hexdigest()
