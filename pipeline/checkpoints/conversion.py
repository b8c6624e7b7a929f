"""A foreign checkpoint becomes weights of vidpipe's, strictly: every tensor used, every parameter filled."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..backbones.registry import usual_clip
from ..backbones.weights import Weights, weights_from_state
from ..errors import SettingsError, WeightsError
from .class_lists import BY_SIZE, NO_CLASSES, class_list, unnamed_classes
from .containers import Checkpoint
from .dialects import nearest, read_as, recognised, report
from .recipes import RECIPES, Recipe
from .spelling import Comparison, Shape, translate, whole_numbers
from .strangers import stranger


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return key -> shape."""
    return {key: tuple(own.shape) for key, own in state.items()}


def identify(checkpoint: Checkpoint, *, backbone: str = "") -> Comparison:
    """Return which network a checkpoint holds, in which spelling.

    Args:
        checkpoint: the file's content.
        backbone: the registered name of the network that it must be; empty to find out.

    Raises:
        WeightsError: if it holds none that vidpipe knows, or not the one asked for; the message has what is missing and
            what is left over.
        SettingsError: if its tensors fit several networks, which only its maker can tell apart.
    """
    shapes = shapes_of(checkpoint.state)
    if told := stranger(shapes):
        raise WeightsError(f"{checkpoint.path} holds {told}")
    if backbone:
        try:
            return read_as(shapes, backbone)
        except WeightsError as error:
            raise WeightsError(f"{checkpoint.path}: {error.marked}{_instead(shapes)}") from error
    found = recognised(shapes)
    if not found:
        lines = "".join(f"\n  {own.backbone}: {report(own)}" for own in nearest(shapes))
        raise WeightsError(
            f"{checkpoint.path} fits no network that vidpipe knows ({len(shapes)} tensors). The nearest:{lines}"
        )
    names = list(dict.fromkeys(own.backbone for own in found))
    if len(names) > 1:
        raise SettingsError(
            f"{checkpoint.path} fits {' and '.join(names)}: they have the same tensors and compute differently, and "
            f"nothing in the file tells them apart. Say which, as {names[0]}={checkpoint.path}"
        )
    return found[0]


def _instead(shapes: Mapping[str, Shape]) -> str:
    names = dict.fromkeys(own.backbone for own in recognised(shapes))
    return f". It holds {' or '.join(names)}" if names else ""


def class_names(num_classes: int, given: Iterable[str] | str | None = None) -> tuple[str, ...]:
    """Return the names of K classes: those given, a list's, or the list of that size if there is one.

    Raises:
        SettingsError: if there is no such list, or it has another length.
    """
    if given is None:
        given = BY_SIZE.get(num_classes, unnamed_classes(num_classes))
    names = class_list(given) if isinstance(given, str) else tuple(given)
    if len(names) != num_classes:
        raise SettingsError(f"the file scores {num_classes} classes, but {len(names)} are named")
    return names


def convert(
    checkpoint: Checkpoint,
    *,
    backbone: str = "",
    classes: Iterable[str] | str | None = None,
    recipe: Recipe | None = None,
    origin: Mapping[str, str] | None = None,
) -> Weights:
    """Return a checkpoint as weights of vidpipe's.

    Args:
        checkpoint: the file's content.
        backbone: which registered network it is; empty to find out.
        classes: the names of its scores, or the name of a list; None for the list of that length.
        recipe: how its source prepares pixels; None for what its dialect does.
        origin: what is known of where it comes from, for the file's record.

    Raises:
        WeightsError: if it does not fit.
        SettingsError: if it fits several networks, or the classes do not suit it.
    """
    return fitted(
        identify(checkpoint, backbone=backbone),
        checkpoint.state,
        place=checkpoint.path,
        classes=classes,
        recipe=recipe,
        origin={"file": checkpoint.path.name, "sha256": checkpoint.sha256, **(origin or {})},
    )


def fitted(
    found: Comparison,
    state: Mapping[str, Tensor],
    *,
    place: Path | str,
    classes: Iterable[str] | str | None = None,
    recipe: Recipe | None = None,
    origin: Mapping[str, str],
) -> Weights:
    """Return tensors that fit a network as weights of vidpipe's.

    Args:
        found: how they compare with the network's.
        state: the tensors, by their source's names.
        place: where they come from, for messages.
        classes: the names of their scores, or the name of a list; None for the list of that length. A network that its
            source publishes without a classifier has one class, ``none``, whose score is always 0.
        recipe: how the source prepares pixels; None for what its dialect does.
        origin: what is known of where they come from, for the file's record.

    Raises:
        WeightsError: if a value is no number, or a whole one where the network has floats.
        SettingsError: if the classes do not suit it.
    """
    check_kinds(place, found, state)
    _check_finite(place, state)
    recipe = recipe or RECIPES[found.spelling.recipe]
    frames, stride = usual_clip(found.backbone)
    if found.num_classes is None and classes is None:
        classes = NO_CLASSES
    return weights_from_state(
        translate(found, state),
        backbone=found.backbone,
        classes=class_names(found.num_classes or len(NO_CLASSES), classes),
        preprocessing=recipe.preprocessing,
        num_frames=frames,
        sampling_rate=stride,
        fps=recipe.fps,
        origin={"dialect": found.spelling.dialect, **origin},
    )


def check_kinds(place: Path | str, found: Comparison, state: Mapping[str, Tensor]) -> None:
    """Refuse a file with whole numbers for a network's parameters: it was quantised, and its scales are elsewhere.

    Raises:
        WeightsError: naming the first such tensors.
    """
    bad = whole_numbers(found, state)
    if bad:
        kind = str(state[bad[0]].dtype).removeprefix("torch.")
        raise WeightsError(
            f"{place} has whole numbers ({kind}) where {found.backbone} has floats, in {_first(bad)}: they may have "
            "been quantised. Get the file with floats"
        )


def _check_finite(place: Path | str, state: Mapping[str, Tensor]) -> None:
    """Refuse a file in which a value is no number: every score would be none.

    Raises:
        WeightsError: naming the first such tensors.
    """
    bad = [key for key, own in state.items() if own.is_floating_point() and not torch.isfinite(own).all()]
    if bad:
        raise WeightsError(
            f"{place} has values that are not finite, in {_first(bad)}: its training failed, or "
            "the file is damaged. Get it anew"
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
