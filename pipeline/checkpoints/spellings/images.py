"""Networks of single pictures: ResNets, MobileNetV2, EfficientNet-Lite; TSN is one of them on each frame.

TSM and TIN are some of them too, whose convolutions behind a shift are wrapped once more.
"""

import re
from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..spelling import Spelling

_RESNETS = ("resnet_18", "resnet_34", "resnet_50", "resnet_101")
_STAGES = {f"image.res{index + 1}": f"layer{index}" for index in range(1, 5)}
# Ours -> the number of the convolution in torchvision's blocks: of two convolutions or of three.
_BASIC, _BOTTLENECK = {"first": 1, "last": 2}, {"reduce": 1, "middle": 2, "last": 3}
_ALL, _EVEN = r"\d+", r"\d*[02468]"  # of the blocks of a stage
_MOBILE_ROWS = (0, 1, 3, 6, 10, 13, 16)  # the first blocks of MobileNetV2's rows; those after them have a shortcut
_MOBILE_BLOCKS = 17

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
    "X-Temporal": _Source(prefix="base_model.", fc="new_fc"),
}
# Ours -> theirs, behind the name of the block's first convolution.
_SHIFTED = {"branch.reduce.conv": "net"}
_INTERLACED = {
    "mmaction2": {
        "branch.reduce.conv": "net2",
        "mixing.offset_conv": "net1.offset_net.conv",
        "mixing.offset_hidden": "net1.offset_net.fc1",
        "mixing.offset_last": "net1.offset_net.fc2",
        "mixing.weight_conv": "net1.weight_net.conv",
    },
    "X-Temporal": {
        "branch.reduce.conv": "net2",
        "mixing.offset_conv": "net1.biasnet.net.conv",
        "mixing.offset_hidden": "net1.biasnet.net.fc",
        "mixing.offset_last": "net1.biasnet.net.lastlayer",
        "mixing.weight_conv": "net1.weightnet.net.lastlayer",
    },
}


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


Names = tuple[str, str]  # of a convolution and its norm


def _mobilenet(block: Callable[[int, int, bool], Names], *, stem: Names, last: Names, fc: str) -> Rules:
    """Return the rules of MobileNetV2.

    Args:
        block: number of a block, place of a convolution in it, and whether that is its last -> the source's names.
        stem: of the first convolution.
        last: of the last one.
        fc: of the classifier.
    """
    rules = _named(r"image\.stem", *stem)
    for number in range(_MOBILE_BLOCKS):
        parts = ("expand", "depthwise", "project")[number == 0 :]  # the first block does not expand
        for place, part in enumerate(parts):
            names = block(number, place, part == parts[-1])
            rules += _named(rf"image\.rows\.\d+\.{number}\.{part}", *names)
    return (*rules, *_named(r"image\.last", *last), (r"fc\.(.+)", rf"{fc}.\1"))


def _torchvision_block(number: int, place: int, is_last: bool) -> Names:
    to = f"features.{number + 1}.conv"
    return (f"{to}.{place}", f"{to}.{place + 1}") if is_last else (f"{to}.{place}.0", f"{to}.{place}.1")


def _wrap(number: int, place: int) -> str:
    """Return what follows the name of a convolution in TSM: something, if a shift stands before it."""
    return ".net" if place == 0 and number not in _MOBILE_ROWS else ""


def _tsm_block(number: int, place: int, _is_last: bool) -> Names:
    to = f"base_model.features.{number + 1}.conv"  # of convolution, norm and activation in turn
    return f"{to}.{3 * place}{_wrap(number, place)}", f"{to}.{3 * place + 1}"


def _mm_block(number: int, place: int, _is_last: bool) -> Names:
    row = bisect(_MOBILE_ROWS, number)
    to = f"backbone.layer{row}.{number - _MOBILE_ROWS[row - 1]}.conv.{place}{_wrap(number, place)}"
    return f"{to}.conv", f"{to}.bn"


_TORCHVISION_MOBILE = _mobilenet(
    _torchvision_block,
    stem=("features.0.0", "features.0.1"),
    last=("features.18.0", "features.18.1"),
    fc="classifier.1",
)
_MM_MOBILE = _mobilenet(
    _mm_block,
    stem=("backbone.conv1.conv", "backbone.conv1.bn"),
    last=("backbone.conv2.conv", "backbone.conv2.bn"),
    fc="cls_head.fc_cls",
)
# The classifier is the network's own where its authors trained without dropout.
_TSM_MOBILE = tuple(
    _mobilenet(
        _tsm_block,
        stem=("base_model.features.0.0", "base_model.features.0.1"),
        last=("base_model.features.18.0", "base_model.features.18.1"),
        fc=fc,
    )
    for fc in ("new_fc", "base_model.classifier")
)


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


def _interlaced_resnets(dialect: str, recipe: str) -> Spelling:
    """Return how a source spells TIN."""
    return Spelling(
        dialect=dialect,
        backbones=("tin_resnet_50", "tin_resnet_50_16f", "tin_resnet_101"),
        rules=_mixing_resnet(_SOURCES[dialect], _INTERLACED[dialect]),
        recipe=recipe,
    )


SPELLINGS = (
    *_resnets("torchvision", "imagenet"),
    *_resnets("mmaction2", "mm2d"),
    *_resnets("tsm", "tsm"),
    *_shifted_resnets("mmaction2", "mm2d"),
    *_shifted_resnets("tsm", "tsm"),
    _interlaced_resnets("mmaction2", "mm2d"),
    _interlaced_resnets("X-Temporal", "xt2d"),
    Spelling(dialect="torchvision", backbones=("mobilenet_v2",), rules=_TORCHVISION_MOBILE, recipe="imagenet"),
    Spelling(dialect="mmaction2", backbones=("tsm_mobilenet_v2",), rules=_MM_MOBILE, recipe="mm2d"),
    *(Spelling(dialect="tsm", backbones=("tsm_mobilenet_v2",), rules=rules, recipe="tsm") for rules in _TSM_MOBILE),
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
