"""A folder of a published transformer becomes weights of vidpipe's: every tensor used, every parameter filled.

What its makers set beside the weights comes from their own files where these say it, and from ``RECIPES`` where not:
the defaults of the library's classes are not the published networks' (VideoMAE's are 0.5 where its makers took
ImageNet's means).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..backbones.transformers_folders import CONFIG, find_folder, read_architecture, read_json
from ..backbones.transformers_hub import TransformerSpec
from ..backbones.transformers_names import Architecture
from ..backbones.weights import Weights, collect_weights
from ..errors import WeightsError
from ..videos.preprocessing import Preprocessing
from .dialects import report
from .recipes import RECIPES
from .spelling import Shape, Spelling, compare, translate

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
_NO_CLASS = ("none",)  # of an encoder without a classifier: its only score is 0


def is_model_folder(place: Path) -> bool:
    """Return whether ``place`` is a folder of a model of the library transformers."""
    return (place / CONFIG).is_file()


def read_model(name: str, *, folder: Path | None = None) -> Weights:
    """Return the weights in a folder of transformers, or in Hugging Face's cache; nothing is downloaded.

    Args:
        name: ``hf:`` with a folder, or with ORG/NAME.
        folder: where it is, if the name does not say so.

    Returns:
        The weights, float32. An encoder without a classifier has one class, whose score is always 0.

    Raises:
        SettingsError: if nothing is there, or vidpipe does not take such a network.
        WeightsError: if the tensors are not those of the network.
    """
    folder = folder or find_folder(name)
    own = read_architecture(folder)
    state = _read_tensors(folder)
    spelling = spelling_of(own, state)
    found = compare(spelling, own.name, {key: tuple(value.shape) for key, value in state.items()})
    if not found.fits:
        raise WeightsError(f"{folder} does not hold {own.name}: {report(found)}")
    backbone = TransformerSpec(architecture=own).build(num_classes=found.num_classes or 1, dropout=0.0)
    backbone.load_state_dict(translate(found, state), strict=True, assign=True)
    return collect_weights(
        backbone,
        classes=_classes(folder, found.num_classes),
        preprocessing=_preprocessing(folder, own),
        num_frames=own.frames,
        sampling_rate=TransformerSpec(architecture=own).usual_clip[1],
        fps=RECIPES[spelling.recipe].fps,
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
        filled=_no_head(own),
        ignored=_UNUSED,
    )


def _no_head(own: Architecture) -> tuple[Any, ...]:
    return ((r"fc\..+", _zeros),) if own.is_encoder else ()


def _zeros(key: str, shape: Shape) -> Tensor:  # noqa: ARG001
    return torch.zeros(shape)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder's safetensors files; large models have several."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        pickles = [own.name for own in folder.glob("*.bin")]
        instead = f", but {', '.join(sorted(pickles))}, a pickle, which vidpipe does not read" if pickles else ""
        raise WeightsError(f"{folder} holds no model.safetensors{instead}")
    index = folder / "model.safetensors.index.json"
    parts: Mapping[str, str] = read_json(index).get("weight_map", {}) if index.is_file() else {}
    lacking = sorted({*parts.values()} - {own.name for own in files})
    if lacking:
        raise WeightsError(f"{folder} lacks {', '.join(lacking)}, which its index names; fetch it whole")
    state: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(str(path), framework="pt") as file:
                state |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} cannot be read as a safetensors file ({error}); fetch it anew") from error
    return state


def _classes(folder: Path, num_classes: int | None) -> tuple[str, ...]:
    """Return the names of the classes, in the order of the scores, as the configuration has them."""
    if num_classes is None:
        return _NO_CLASS
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
