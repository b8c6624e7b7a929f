"""What a user gives for weights becomes a weights file of vidpipe's: a file or run of its own, or a foreign one."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..backbones.places import SUFFIX, weights_file
from ..backbones.weights import Weights, is_own_file, save_weights
from ..errors import WeightsError
from .containers import Checkpoint, file_sha256, read_checkpoint
from .conversion import convert
from .fetch import cache_folder, fetched
from .published import Published, find_published, is_published
from .recipes import RECIPES

Say = Callable[[str], None]
Fetch = Callable[[Published], Path]


def _quietly(words: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Weights as they were given.

    Attributes:
        backbone: the network that they must be of; empty: whichever it is.
        place: a file, the folder of a run, or a name of the registry of published weights.
    """

    backbone: str = ""
    place: Path


def ready_file(given: Given, *, role: str | None = None, say: Say = _quietly, fetch: Fetch = fetched) -> Path:
    """Return a weights file of vidpipe's with what was given; foreign ones are converted once, and kept.

    Args:
        given: what the user gave.
        role: which of its backbones an end-to-end run is to give.
        say: called with what is worth knowing, such as a licence.
        fetch: brings a published file; for whoever shows how it goes.

    Raises:
        WeightsError: if there is no such file, or it does not hold the network.
        SettingsError: if it fits several networks.
    """
    name = str(given.place)
    if is_published(name) and not given.place.exists():
        entry = find_published(name)
        if given.backbone not in ("", entry.backbone):
            raise WeightsError(f"{name} holds {entry.backbone}, not {given.backbone}")
        return _converted(fetch(entry), backbone=entry.backbone, entry=entry, say=say)
    path = weights_file(given.place, role=role)
    if not path.is_file() or is_own_file(path):
        return path
    return _converted(path, backbone=given.backbone, entry=None, say=say)


def _converted(path: Path, *, backbone: str, entry: Published | None, say: Say) -> Path:
    """Return the file of converted weights, made if it is not there."""
    place = cache_folder() / "weights" / f"{_key(path, backbone=backbone, entry=entry)}{SUFFIX}"
    if not place.is_file():
        checkpoint = read_checkpoint(path)
        weights = convert_published(checkpoint, entry) if entry else convert(checkpoint, backbone=backbone)
        place.parent.mkdir(parents=True, exist_ok=True)
        save_weights(place, weights)
        _tell(weights, entry, say)
    return place


def convert_published(checkpoint: Checkpoint, entry: Published) -> Weights:
    """Return the file of a registered entry as weights of vidpipe's, with the entry's recipe, clips and classes.

    Raises:
        WeightsError, SettingsError: if the file does not hold what the registry says.
    """
    weights = convert(
        checkpoint,
        backbone=entry.backbone,
        classes=entry.classes or None,
        recipe=RECIPES[entry.recipe],
        origin={"name": entry.name, "url": entry.url, "licence": entry.licence},
    )
    return replace(weights, num_frames=entry.frames, sampling_rate=entry.stride)


def _key(path: Path, *, backbone: str, entry: Published | None) -> str:
    """Return what names the converted file: all that decides its content."""
    recipes = {name: (own.preprocessing.record(), own.fps) for name, own in RECIPES.items()}
    decisive = [file_sha256(path), backbone, entry and [entry.name, entry.frames, entry.stride], recipes]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:24]


def _tell(weights: Weights, entry: Published | None, say: Say) -> None:
    """Say what a foreign file was taken for, and what its licence forbids."""
    own = weights.preprocessing
    say(
        f"{weights.origin['file']} is {weights.backbone} as {weights.origin['dialect']} spells it: "
        f"{len(weights.classes)} classes, pictures of {own.crop}×{own.crop}, clips of {weights.num_frames} frames at "
        f"stride {weights.sampling_rate}"
    )
    if entry is not None and not entry.is_commercial:
        say(f"the licence of {entry.name}, {entry.licence}, forbids commercial use")
