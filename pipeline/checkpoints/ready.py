"""What a user gives for weights becomes a weights file of vidpipe's: a file or run of its own, or a foreign one."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ..backbones.places import SUFFIX, weights_file
from ..backbones.registry import BACKBONES
from ..backbones.timm_frames import PREFIX as TIMM
from ..backbones.transformers_names import PREFIX as TRANSFORMERS
from ..backbones.weights import FORMAT_VERSION, Weights, is_own_file, save_weights
from ..errors import WeightsError, named
from ..videos.preprocessing import Preprocessing
from .class_lists import BY_SIZE, class_list, class_lists_sha256
from .fetch import cache_folder, fetched
from .published import Published, find_published, is_published, licence_words, published, published_in
from .recipes import RECIPES
from .sources import (
    FileSource,
    FolderSource,
    Source,
    cached_source,
    file_source,
    folder_source,
    is_timm_folder,
    timm_source,
)
from .transformers_models import is_model_folder

Say = Callable[[str], None]
Fetch = Callable[[Published], Path]
Treatment = tuple[Preprocessing, float | None, int, int]  # pixels, fps, frames, stride
_MOST = 3  # names that a sentence has


def _quietly(words: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Weights as they were given.

    Attributes:
        backbone: the network that they must be of; empty: whichever it is.
        place: a file, the folder of a run or of a model of transformers, a name of the registry of published weights,
            ``hf:ORG/NAME`` or ``timm:NAME``.
    """

    backbone: str = ""
    place: Path


def ready_file(given: Given, *, role: str | None = None, say: Say = _quietly, fetch: Fetch = fetched) -> Path:
    """Return a weights file of vidpipe's with what was given; foreign ones are converted once, and kept.

    Args:
        given: what the user gave.
        role: which of its backbones an end-to-end run is to give.
        say: called with what is worth knowing, such as a licence.
        fetch: brings published weights; for whoever shows how it goes.

    Raises:
        WeightsError: if there is no such file, or it does not hold the network.
        SettingsError: if it fits several networks.
    """
    source = foreign_source(given, role=role, fetch=fetch)
    return weights_file(given.place, role=role) if source is None else _converted(source, say=say)


def foreign_source(given: Given, *, role: str | None = None, fetch: Fetch = fetched) -> Source | None:
    """Return where weights of another program are, fetched if need be; None if what was given is a file of vidpipe's.

    Args:
        given: what the user gave.
        role: which of its backbones an end-to-end run is to give.
        fetch: brings published weights.

    Raises:
        WeightsError: if they cannot be had, or are of another network.
        SettingsError: if what was given makes no sense.
    """
    named = None if given.place.exists() else _named_source(given, fetch=fetch)
    if named is not None:
        return named
    if is_model_folder(given.place) or is_timm_folder(given.place, backbone=given.backbone):
        return folder_source(given.place, backbone=given.backbone)
    path = weights_file(given.place, role=role)
    if not path.is_file() or is_own_file(path):
        return None
    return file_source(path, backbone=given.backbone)


def _named_source(given: Given, *, fetch: Fetch) -> Source | None:
    """Return the weights that a name stands for; None if it stands for none."""
    name = str(given.place)
    entry = published_in(name.removeprefix(TRANSFORMERS)) if name.startswith(TRANSFORMERS) else None
    if entry is not None or is_published(name):
        return _published_source(entry or find_published(name), backbone=given.backbone, fetch=fetch)
    if name.startswith(TRANSFORMERS):
        return cached_source(name, backbone=given.backbone)
    if name.startswith(TIMM):
        if given.backbone not in ("", name):
            raise WeightsError(f"{name} is not {given.backbone}; give {name} alone")
        return timm_source(name)
    return None


def _published_source(entry: Published, *, backbone: str, fetch: Fetch) -> Source:
    if backbone not in ("", entry.backbone):
        raise WeightsError(f"{entry.name} holds {entry.backbone}, not {backbone}")
    place = fetch(entry)
    if entry.repository:
        return FolderSource(folder=place, name=entry.repository, entry=entry)
    return FileSource(path=place, entry=entry)


def means_weights(word: str) -> bool:
    """Return whether a word that may also be the name of a network, for one from scratch, means weights.

    Published names do, names of timm's weights, as ``timm:resnet18.a1_in1k``, and files and folders here, unless there
    is a network of that name.
    """
    if word.startswith(TIMM):
        return "." in word
    return word not in BACKBONES and (is_published(word) or Path(word).exists())


def _converted(source: Source, *, say: Say) -> Path:
    """Return the file of converted weights, made if it is not there."""
    place = cache_folder() / "weights" / f"{_key(source)}{SUFFIX}"
    if not place.is_file():
        weights = source.read()
        place.parent.mkdir(parents=True, exist_ok=True)
        save_weights(place, weights)
        for sentence in told(weights, source):
            say(sentence)
    return place


def _key(source: Source) -> str:
    """Return what names the converted file: all that decides its content."""
    recipes = {name: (own.preprocessing.record(), own.fps) for name, own in RECIPES.items()}
    decisive = [FORMAT_VERSION, version("vidpipe"), class_lists_sha256(), recipes, source.decisive()]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:24]


def told(weights: Weights, source: Source, *, are_named: bool = False, has_recipe: bool = False) -> list[str]:
    """Return sentences: what foreign weights were taken for, what of it was guessed, and what their licence forbids.

    Args:
        weights: as they became.
        source: what they were read from.
        are_named: whether whoever gave them has also named their classes.
        has_recipe: whether they have also said how pixels are prepared.
    """
    own, origin = weights.preprocessing, weights.origin
    name = f"{origin['name']}, " if "name" in origin else ""
    sentences = [
        f"{origin['file']} is {name}{weights.backbone} as {origin['dialect']} spells it: "
        f"{len(weights.classes)} classes, pictures of {own.crop}×{own.crop}, clips of {weights.num_frames} frames at "
        f"stride {weights.sampling_rate}",
        "" if are_named else _guessed_classes(weights, source),
        "" if has_recipe else _others_told(weights, source),
        licence_words(origin.get("name", origin["file"]), origin.get("licence", "")),
    ]
    return [words for words in sentences if words]


def _guessed_classes(weights: Weights, source: Source) -> str:
    """Return a sentence if nothing but their number tells the classes' names."""
    listed = BY_SIZE.get(len(weights.classes))
    tells = not isinstance(source, FileSource) or (source.entry is not None and source.entry.classes)
    if tells or listed is None:
        return ""
    return (
        f"the classes of {weights.origin['file']} are named as in {listed}, by their number alone; vidpipe weights "
        f"convert takes {named('class_list')}"
    )


def _others_told(weights: Weights, source: Source) -> str:
    """Return a sentence if files that are published with the same tensors want other pixels or clips."""
    if not isinstance(source, FileSource) or source.entry is not None:
        return ""
    others = [own.name for own in _others(weights)]
    if not others:
        return ""
    names = " or ".join(others[:_MOST]) + (f" (and {len(others) - _MOST} more)" if len(others) > _MOST else "")
    return (
        f"{weights.origin['file']} may as well be {names}, whose pixels or clips differ: then give that name; vidpipe "
        f"weights convert takes {named('recipe')}"
    )


def _others(weights: Weights) -> list[Published]:
    """Return the first of each kind of published weights that are spelled like these and are treated otherwise.

    Those with as many classes come alone, if there are any.
    """
    spelled = (weights.backbone, weights.origin["dialect"])
    alike = [own for own in published().values() if (own.backbone, own.dialect) == spelled]
    scored = [own for own in alike if own.classes and len(class_list(own.classes)) == len(weights.classes)]
    kinds: dict[Treatment, Published] = {}
    for own in scored or alike:
        recipe = RECIPES[own.recipe]
        kinds.setdefault((recipe.preprocessing, recipe.fps, own.frames, own.stride), own)
    kinds.pop((weights.preprocessing, weights.fps, weights.num_frames, weights.sampling_rate), None)
    return list(kinds.values())
