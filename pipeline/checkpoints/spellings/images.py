"""Networks of single pictures: ResNets, MobileNetV2, EfficientNet-Lite; TSN is one of them on each frame.

TSM is one of them too, whose convolutions behind a shift are wrapped once more.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..spelling import Spelling

_RESNETS = ("resnet_18", "resnet_34", "resnet_50", "resnet_101")
_STAGES = {f"image.res{index + 1}": f"layer{index}" for index in range(1, 5)}
# Ours -> the number of the convolution in torchvision's blocks: of two convolutions or of three.
_BASIC, _BOTTLENECK = {"first": 1, "last": 2}, {"reduce": 1, "middle": 2, "last": 3}
_ALL, _EVEN = r"\d+", r"\d*[02468]"  # of the blocks of a stage

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """How a source names what all ResNets have.

    Attributes:
        prefix: what everything but the classifier begins with.
        conv: a convolution of a block, by its number.
        norm: its norm.
        shortcut: convolution and norm of a shortcut.
        fc: the classifier.
    """

    prefix: str = ""
    conv: str = "conv{}"
    norm: str = "bn{}"
    shortcut: tuple[str, str] = ("downsample.0", "downsample.1")
    fc: str = "fc"


_SOURCES = {
    "torchvision": _Source(),
    "mmaction2": _Source(
        prefix="backbone.",
        conv="conv{}.conv",
        norm="conv{}.bn",
        shortcut=("downsample.conv", "downsample.bn"),
        fc="cls_head.fc_cls",
    ),
    "tsm": _Source(prefix="base_model.", fc="new_fc"),
}
_SHIFTED = {"branch.reduce.conv": "net"}  # ours -> theirs, behind the name of the block's first convolution


def _named(ours: str, conv: str, norm: str) -> Rules:
    """Return the rules of a convolution and its norm; ``ours`` is a pattern, ``conv`` and ``norm`` what it becomes."""
    return (rf"{ours}\.conv\.(?P<key>.+)", rf"{conv}.\g<key>"), (rf"{ours}\.norm\.(?P<key>.+)", rf"{norm}.\g<key>")


def _resnet(source: _Source, convolutions: Mapping[str, int]) -> Rules:
    """Return the rules of a ResNet, whose blocks have these convolutions."""
    conv, norm, prefix = source.conv, source.norm, source.prefix
    rules = _named(r"image\.conv1", f"{prefix}{conv.format(1)}", f"{prefix}{norm.format(1)}")
    for ours, theirs in _STAGES.items():
        block, to = rf"{ours}\.(\d+)", rf"{prefix}{theirs}.\1"
        for name, number in convolutions.items():
            rules += _named(rf"{block}\.branch\.{name}", f"{to}.{conv.format(number)}", f"{to}.{norm.format(number)}")
        rules += _named(rf"{block}\.shortcut", *(f"{to}.{own}" for own in source.shortcut))
    return (*rules, (r"fc\.(.+)", rf"{source.fc}.\1"))


def _mixing_resnet(source: _Source, wrapped: Mapping[str, str], *, blocks: str = _ALL) -> Rules:
    """Return the rules of a ResNet whose frames see each other before the first convolution of some blocks.

    Args:
        source: of the names.
        wrapped: our parts of such a block -> theirs, behind the name of its first convolution.
        blocks: pattern of the numbers of such blocks.
    """
    first = source.conv.format(1)
    rules = tuple(
        (rf"{ours}\.({blocks})\.{re.escape(own)}\.(.+)", rf"{source.prefix}{theirs}.\1.{first}.{wrap}.\2")
        for ours, theirs in _STAGES.items()
        for own, wrap in wrapped.items()
    )
    return (*rules, *_resnet(source, _BOTTLENECK))


def _torchvision_mobilenet() -> Rules:
    rules = _named(r"image\.stem", "features.0.0", "features.0.1")
    for number in range(17):
        block, to = rf"image\.rows\.\d+\.{number}", f"features.{number + 1}.conv"
        depthwise = 0 if number == 0 else 1  # the first block does not expand
        rules += _named(rf"{block}\.expand", f"{to}.0.0", f"{to}.0.1")
        rules += _named(rf"{block}\.depthwise", f"{to}.{depthwise}.0", f"{to}.{depthwise}.1")
        rules += _named(rf"{block}\.project", f"{to}.{depthwise + 1}", f"{to}.{depthwise + 2}")
    return (*rules, *_named(r"image\.last", "features.18.0", "features.18.1"), (r"fc\.(.+)", r"classifier.1.\1"))


def _efficientnet_pytorch() -> Rules:
    rules = _named(r"image\.stem", "_conv_stem", "_bn0")
    for index, name in enumerate(("expand", "depthwise", "project")):
        block, to = rf"image\.rows\.\d+\.(\d+)\.{name}", r"_blocks.\1"
        rules += _named(block, rf"{to}._{name}_conv", rf"{to}._bn{index}")
    return (*rules, *_named(r"image\.last", "_conv_head", "_bn1"), (r"fc\.(.+)", r"_fc.\1"))


def _resnets(dialect: str, recipe: str) -> list[Spelling]:
    """Return how a source spells the ResNets of two convolutions a block, and those of three."""
    return [
        Spelling(dialect=dialect, backbones=names, rules=_resnet(_SOURCES[dialect], convolutions), recipe=recipe)
        for names, convolutions in ((_RESNETS[:2], _BASIC), (_RESNETS[2:], _BOTTLENECK))
    ]


def _shifted_resnets(dialect: str, recipe: str) -> list[Spelling]:
    """Return how a source spells TSM."""
    return [
        Spelling(
            dialect=dialect,
            backbones=(name,),
            rules=_mixing_resnet(_SOURCES[dialect], _SHIFTED, blocks=blocks),
            recipe=recipe,
        )
        for name, blocks in (("tsm_resnet_50", _ALL), ("tsm_resnet_101", _EVEN))
    ]


SPELLINGS = (
    *_resnets("torchvision", "imagenet"),
    *_resnets("mmaction2", "mm2d"),
    *_resnets("tsm", "tsm"),
    *_shifted_resnets("mmaction2", "mm2d"),
    *_shifted_resnets("tsm", "tsm"),
    Spelling(dialect="torchvision", backbones=("mobilenet_v2",), rules=_torchvision_mobilenet(), recipe="imagenet"),
    *(
        Spelling(
            dialect="efficientnet_pytorch",
            backbones=(f"efficientnet_lite{size}",),
            rules=_efficientnet_pytorch(),
            recipe=f"efficientnet_lite{size}",
        )
        for size in range(5)
    ),
)
