"""How another program spells our networks: the name and shape of each of their tensors in its files."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

import torch
from torch import Tensor

from ..backbones.registry import build_backbone

Shape = tuple[int, ...]
State = Mapping[str, Tensor]
Replacement = Callable[[re.Match[str]], str]
Rule = tuple[str, str | Replacement]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spelling:
    """How one source spells the tensors of one or several of our networks.

    Attributes:
        dialect: the source's name, as ``pytorchvideo``.
        backbones: registered names of the networks that it spells so. Several are listed where the same tensors make
            different networks: then a file does not tell which one it holds.
        rules: (pattern, replacement) in the sense of ``re.sub``: a template, or a function where a source counts
            otherwise than we do. Each of our keys is rewritten by the first whose pattern matches it as a whole; one
            that no rule matches is spelled as it is. A ``*`` in what comes out stands for anything: for numbers of
            classes that some sources put into names.
        recipe: the name in ``RECIPES`` of how the source prepares pixels for these networks.
        filled: (pattern, fill): our tensors that the source lacks because its network computes the same without them;
            ``fill`` makes one from our key and shape.
        without_time: whether the source's convolutions are 2D: (O, I, H, W) where ours are (O, I, 1, H, W).
        linear_as: the number of axes of one that the source puts behind (K, C) of our linear layers: 3 where its
            classifier is a 3D convolution.
        linear_where: pattern of the keys to which ``linear_as`` applies, where a source has both kinds.
        ignored: patterns of keys in the source's files that no network needs, as counters of other programs.
        altered: (pattern, alter): our tensors whose values the source keeps in another order, as a classifier of
            channels that it joins the other way round; ``alter`` makes ours of theirs.
    """

    dialect: str
    backbones: tuple[str, ...]
    rules: tuple[Rule, ...]
    recipe: str
    filled: tuple[tuple[str, Callable[[str, Shape], Tensor]], ...] = ()
    without_time: bool = False
    linear_as: int = 0
    linear_where: str = ".+"
    ignored: tuple[str, ...] = ()
    altered: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = ()

    def name(self, key: str) -> str:
        """Return how the source calls the tensor that we call ``key``."""
        for pattern, replacement in self.rules:
            match = re.fullmatch(pattern, key)
            if match:
                return match.expand(replacement) if isinstance(replacement, str) else replacement(match)
        return key

    def fill(self, key: str, shape: Shape) -> Tensor | None:
        """Return the tensor that the source lacks, or None if it has it."""
        return next((make(key, shape) for pattern, make in self.filled if re.fullmatch(pattern, key)), None)

    def foreign_shape(self, shape: Shape, *, is_linear: bool) -> Shape:
        """Return the shape in the source's files of a tensor that has ``shape`` here."""
        if is_linear:
            return shape + (1,) * self.linear_as
        return shape[:2] + shape[3:] if self.without_time and len(shape) == 5 and shape[2] == 1 else shape

    def alter(self, key: str, tensor: Tensor) -> Tensor:
        """Return our tensor ``key`` of the source's, whose shape it has already."""
        return next((make(tensor) for pattern, make in self.altered if re.fullmatch(pattern, key)), tensor)

    def is_ignored(self, foreign: str) -> bool:
        """Return whether the source's key holds nothing that a network needs."""
        return any(re.fullmatch(pattern, foreign) for pattern in self.ignored)


def no_classifier() -> tuple[tuple[str, Callable[[str, Shape], Tensor]], ...]:
    """Return the `Spelling.filled` of a source that has no classifier: ours scores zero."""
    return ((r"fc\..+", lambda _key, shape: torch.zeros(shape)),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How a foreign state dict compares with a network in a spelling.

    Attributes:
        spelling: the spelling.
        backbone: the network's registered name.
        num_classes: K that the file's classifier has; None if it has none.
        sources: our key -> the file's, of tensors that are there with the right shape.
        missing: the source's names of tensors that are not there.
        left_over: the file's keys that the network does not use.
        differing: (the file's key, its shape, the shape it should have).
    """

    spelling: Spelling
    backbone: str
    num_classes: int | None
    sources: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    differing: tuple[tuple[str, Shape, Shape], ...] = ()

    @property
    def fits(self) -> bool:
        """Whether every tensor of the file is used and every one of the network is filled, with equal shapes."""
        return not (self.missing or self.left_over or self.differing)

    @property
    def distance(self) -> int:
        """How far the file is from the network: the number of tensors that do not fit."""
        return len(self.missing) + len(self.left_over) + len(self.differing)


def compare(spelling: Spelling, backbone: str, shapes: Mapping[str, Shape]) -> Comparison:
    """Return how the tensors of a file compare with a network's, by names and shapes alone.

    Args:
        spelling: which names to expect.
        backbone: the registered name of the network.
        shapes: the file's keys, without prefixes that its container adds, and their shapes.
    """
    sources, missing, differing, num_classes = {}, [], [], None
    for key, own in _shapes_of(backbone).items():
        if spelling.fill(key, own) is not None:
            continue
        foreign = _in_file(_names(spelling, backbone)[key], shapes)
        if foreign not in shapes:
            if not key.endswith("num_batches_tracked"):  # only training counts batches, and some sources drop it
                missing.append(foreign)
            continue
        is_linear = _is_linear(key, own) and re.fullmatch(spelling.linear_where, key) is not None
        found = shapes[foreign]
        if key.startswith("fc.") and found:
            num_classes = num_classes or found[0] or 1  # the weight's, which comes first; no head has none
            own = (num_classes, *own[1:])
        expected = spelling.foreign_shape(own, is_linear=is_linear)
        if found == expected:
            sources[key] = foreign
        else:
            differing.append((foreign, found, expected))
    used = {*sources.values(), *(own for own, _, _ in differing)}
    return Comparison(
        spelling=spelling,
        backbone=backbone,
        num_classes=num_classes,
        sources=sources,
        missing=tuple(missing),
        left_over=tuple(own for own in shapes if own not in used and not spelling.is_ignored(own)),
        differing=tuple(differing),
    )


def translate(found: Comparison, state: State) -> dict[str, Tensor]:
    """Return our state dict of a foreign one that fits, on the CPU, with tensors of our shapes.

    Tensors take our types: float32, whose values are those of the file where it has float32, float16 or bfloat16, and
    int64 for counted batches, which some sources keep as floats.

    Raises:
        ValueError: if it does not fit.
    """
    if not found.fits:
        raise ValueError("only a state dict that fits can be translated")
    translated = {}
    for key, own in _shapes_of(found.backbone).items():
        filled = found.spelling.fill(key, own)
        if filled is None and key not in found.sources:
            filled = torch.zeros(own, dtype=torch.int64)  # batches that a source did not count
        if filled is not None:
            translated[key] = filled
            continue
        own = (found.num_classes or own[0], *own[1:]) if key.startswith("fc.") else own
        tensor = state[found.sources[key]].detach().cpu().to(_tensors_of(found.backbone)[key].dtype)
        translated[key] = found.spelling.alter(key, tensor.reshape(own)).clone().contiguous()
    return translated


def whole_numbers(found: Comparison, state: State) -> list[str]:
    """Return the file's keys of tensors of whole numbers, or of truth values, where the network has floats."""
    ours = _tensors_of(found.backbone)
    return [
        foreign
        for key, foreign in found.sources.items()
        if ours[key].is_floating_point() and not state[foreign].is_floating_point()
    ]


def _in_file(name: str, shapes: Mapping[str, Shape]) -> str:
    """Return the only key of a file that a name with a ``*`` stands for; other names as they are."""
    found = [own for own in shapes if fnmatchcase(own, name)] if "*" in name else []
    return found[0] if len(found) == 1 else name


@lru_cache(maxsize=512)  # a file is compared with many networks
def _names(spelling: Spelling, backbone: str) -> dict[str, str]:
    """Return key -> the source's name of a registered network."""
    return {key: spelling.name(key) for key in _shapes_of(backbone)}


@lru_cache(maxsize=512)
def _shapes_of(backbone: str) -> dict[str, Shape]:
    """Return key -> shape of a registered network with one class."""
    return {key: tuple(value.shape) for key, value in _tensors_of(backbone).items()}


@lru_cache(maxsize=512)
def _tensors_of(backbone: str) -> dict[str, Tensor]:
    """Return key -> tensor, without values, of a registered network with one class."""
    with torch.device("meta"):
        return dict(build_backbone(backbone, num_classes=1).state_dict())


def _is_linear(key: str, shape: Shape) -> bool:
    """Return whether ``key`` is the weight of a linear layer: of the classifier, or of the neck before it."""
    return len(shape) == 2 and key.endswith(".weight")
