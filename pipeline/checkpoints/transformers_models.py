"""A folder of a published transformer becomes weights of vidpipe's: every tensor used, every parameter filled.

What its makers set beside the weights comes from their own files where these say it, and from ``RECIPES`` where not:
the defaults of the library's classes are not the published networks' (VideoMAE's are 0.5 where its makers took
ImageNet's means).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ..backbones.transformers_folders import CONFIG, find_folder, read_architecture, read_json
from ..backbones.transformers_names import PREFIX, Architecture
from ..backbones.weights import Weights
from ..errors import SettingsError, WeightsError
from ..videos.preprocessing import Preprocessing
from .containers import file_sha256, read_safetensors
from .conversion import fitted, shapes_of
from .dialects import report
from .recipes import RECIPES, Recipe
from .spelling import Comparison, Spelling, compare, no_classifier

WEIGHTS = "model.safetensors"
_PROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # PIL's numbers
_BEGIN = "<begin>"  # of the encoder's keys
_OLD_BIASES = (
    (r"layers\.(\d+)\.attention\.attention\.query\.bias", _BEGIN + r"encoder.layer.\1.attention.attention.q_bias"),
    (r"layers\.(\d+)\.attention\.attention\.value\.bias", _BEGIN + r"encoder.layer.\1.attention.attention.v_bias"),
)
_VIDEOMAE = (
    (r"patches\.(.+)", _BEGIN + r"embeddings.patch_embeddings.projection.\1"),
    (r"layers\.(.+)", _BEGIN + r"encoder.layer.\1"),
    (r"last\.(.+)", _BEGIN + r"layernorm.\1"),
    (r"neck\.(.+)", r"fc_norm.\1"),
    (r"fc\.(.+)", r"classifier.\1"),
)
_VJEPA2 = (
    (r"patches\.(.+)", _BEGIN + r"encoder.embeddings.patch_embeddings.proj.\1"),
    (r"layers\.(\d+)\.layer\.(.+)", _BEGIN + r"encoder.layer.\1.\2"),
    (r"last\.(.+)", _BEGIN + r"encoder.layernorm.\1"),
    (r"fc\.(.+)", r"classifier.\1"),
)
# What guesses masked tokens, which nothing here masks; and fixed positions, which the network computes.
_UNUSED = (
    r"(vjepa2\.)?predictor\..+",
    r"decoder\..+|encoder_to_decoder\.weight|mask_token|position_embeddings",
    r"(videomae\.)?embeddings\.position_embeddings",
)


def is_model_folder(place: Path) -> bool:
    """Return whether ``place`` is a folder of a model of the library transformers."""
    return (place / CONFIG).is_file()


def is_whole(folder: Path) -> bool:
    """Return whether a folder holds a configuration and all files of weights that belong to it."""
    try:
        return is_model_folder(folder) and all(own.is_file() for own in weight_files(folder))
    except (SettingsError, WeightsError):
        return False


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's tensors: one, or those that its index names.

    Raises:
        WeightsError: if there is none, or the index names anything else than files of the folder.
        SettingsError: if the index cannot be read.
    """
    index = folder / f"{WEIGHTS}.index.json"
    if index.is_file():
        return [folder / name for name in _named_by(index)]
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    pickles = sorted(own.name for own in folder.glob("*.bin"))
    instead = f", but {', '.join(pickles)}, a pickle, which vidpipe does not read" if pickles else ""
    raise WeightsError(f"{folder} holds no {WEIGHTS}{instead}")


def _named_by(index: Path) -> list[str]:
    """Return the names of the files that an index says a folder's tensors are in, sorted.

    Raises:
        WeightsError: if it names none, or what is no file of that folder.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{index} has no mapping of tensors to files called weight_map; fetch it anew")
    for key, name in places.items():
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise WeightsError(f"{index} places {key} in {name!r}, which is no file of its folder; fetch it anew")
    return sorted({*places.values()})


def folder_sha256(folder: Path) -> str:
    """Return the sha256, hexadecimal, of what ``sha256sum`` prints of the files that `read_model` reads, by name.

    Raises:
        WeightsError: if a file is missing.
    """
    beside = (folder / name for name in (CONFIG, *_PROCESSORS))
    files = [*(own for own in beside if own.is_file()), *_there(folder, weight_files(folder))]
    lines = (f"{file_sha256(own)}  {own.name}\n" for own in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFolder:
    """What a folder of a model holds.

    Attributes:
        folder: where it is.
        architecture: the network that its configuration describes.
        state: key -> tensor, on the CPU.
        comparison: how the tensors compare with the network's.
    """

    folder: Path
    architecture: Architecture
    state: dict[str, Tensor]
    comparison: Comparison


def read_folder(folder: Path) -> ModelFolder:
    """Return the content of a folder of a model.

    Raises:
        SettingsError: if vidpipe does not take such a network.
        WeightsError: if the tensors cannot be read.
    """
    own, state = read_architecture(folder), _read_tensors(folder)
    found = compare(spelling_of(own, state), own.name, shapes_of(state))
    return ModelFolder(folder=folder, architecture=own, state=state, comparison=found)


def read_model(
    name: str,
    *,
    folder: Path | None = None,
    classes: Iterable[str] | str | None = None,
    recipe: Recipe | None = None,
    origin: Mapping[str, str] | None = None,
) -> Weights:
    """Return the weights in a folder of transformers, or in Hugging Face's cache; nothing is downloaded.

    Args:
        name: ``hf:`` with a folder, or with ORG/NAME.
        folder: where it is, if the name does not say so.
        classes: the names of its scores, or the name of a list; None for those of its configuration.
        recipe: how pixels are prepared; None for what the folder says, or else its makers.
        origin: what is known of where it comes from, for the file's record.

    Returns:
        The weights, float32. An encoder without a classifier has one class, whose score is always 0.

    Raises:
        SettingsError: if nothing is there, or vidpipe does not take such a network.
        WeightsError: if the tensors are not those of the network.
    """
    folder = folder or find_folder(name)
    own = read_folder(folder)
    found = own.comparison
    if not found.fits:
        raise WeightsError(f"{folder} does not hold {found.backbone}: {report(found)}")
    if recipe is None:
        recipe = replace(RECIPES[found.spelling.recipe], preprocessing=_preprocessing(folder, own.architecture))
    return fitted(
        found,
        own.state,
        place=folder,
        classes=_classes(folder, found.num_classes) if classes is None else classes,
        recipe=recipe,
        origin={"file": name.removeprefix(PREFIX), "sha256": folder_sha256(folder), **(origin or {})},
    )


def spelling_of(own: Architecture, keys: Iterable[str] = ()) -> Spelling:
    """Return how a file spells a network.

    Args:
        own: the network.
        keys: of the file. They tell whether the encoder alone was saved, whose keys then have no first word, and
            whether VideoMAE's biases have the names that they had before transformers 5, as in all published files.
    """
    keys = list(keys)
    begin = f"{own.family}." if any(key.startswith(f"{own.family}.") for key in keys) else ""
    rules = _VIDEOMAE if own.family == "videomae" else _VJEPA2
    old = _OLD_BIASES if any(key.endswith(".q_bias") for key in keys) else ()
    return Spelling(
        dialect="transformers",
        backbones=(own.name,),
        rules=tuple((pattern, replacement.replace(_BEGIN, begin)) for pattern, replacement in (*old, *rules)),
        recipe="vmae" if own.family == "videomae" else "vj2",
        filled=no_classifier() if own.is_encoder else (),
        ignored=_UNUSED,
    )


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder's safetensors files; large models have several."""
    state: dict[str, Tensor] = {}
    for path in _there(folder, weight_files(folder)):
        state |= read_safetensors(path)
    return state


def _there(folder: Path, files: Iterable[Path]) -> list[Path]:
    """Return the files if all are there.

    Raises:
        WeightsError: naming those that are not.
    """
    files = list(files)
    lacking = [own.name for own in files if not own.is_file()]
    if lacking:
        raise WeightsError(f"{folder} lacks {', '.join(lacking)}, which its index names; fetch it whole")
    return files


def _classes(folder: Path, num_classes: int | None) -> tuple[str, ...] | None:
    """Return the names of the classes, in the order of the scores, as the configuration has them."""
    if num_classes is None:
        return None
    listed = read_json(folder / CONFIG).get("id2label") or {str(own): f"LABEL_{own}" for own in range(num_classes)}
    names = [listed.get(str(own)) for own in range(num_classes)] if isinstance(listed, dict) else []
    if len(listed) != num_classes or not all(isinstance(name, str) for name in names):
        raise WeightsError(
            f"{folder / CONFIG} names {len(listed)} classes in id2label, but the classifier scores {num_classes}"
        )
    return tuple(str(name) for name in names)


def _preprocessing(folder: Path, own: Architecture) -> Preprocessing:
    """Return the recipe's preprocessing at the network's size, with what the folder says otherwise."""
    recipe = RECIPES[spelling_of(own).recipe].preprocessing
    processor = next((read_json(folder / name) for name in _PROCESSORS if (folder / name).is_file()), {})
    size = processor.get("size")
    shortest = size.get("shortest_edge") if isinstance(size, dict) else None
    try:
        return Preprocessing(
            short_side=int(shortest or round(recipe.short_side * own.side / recipe.crop)),
            crop=own.side,
            mean=_triple(processor.get("image_mean") or recipe.mean),
            std=_triple(processor.get("image_std") or recipe.std),
            interpolation=_INTERPOLATIONS.get(processor.get("resample", 2), recipe.interpolation),
            rounding=recipe.rounding,
        )
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the preprocessing that {folder} states makes no sense: {error}") from error


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    red, green, blue = (float(own) for own in values)
    return red, green, blue
