"""Networks of single pictures: ResNets, MobileNetV2, EfficientNet-Lite; TSN is one of them on each frame."""

from ..spelling import Spelling

_RESNETS = ("resnet_18", "resnet_34", "resnet_50", "resnet_101")
_STAGES = {f"image.res{index + 1}": f"layer{index}" for index in range(1, 5)}
# Ours -> the number of the convolution in torchvision's blocks: of two convolutions or of three.
_BASIC, _BOTTLENECK = {"first": 1, "last": 2}, {"reduce": 1, "middle": 2, "last": 3}

Rules = tuple[tuple[str, str], ...]


def _named(ours: str, conv: str, norm: str) -> Rules:
    """Return the rules of a convolution and its norm; ``ours`` is a pattern, ``conv`` and ``norm`` what it becomes."""
    return (rf"{ours}\.conv\.(?P<key>.+)", rf"{conv}.\g<key>"), (rf"{ours}\.norm\.(?P<key>.+)", rf"{norm}.\g<key>")


def _torchvision_resnet(convolutions: dict[str, int], prefix: str = "", fc: str = "fc") -> Rules:
    rules = _named(r"image\.conv1", f"{prefix}conv1", f"{prefix}bn1")
    for ours, theirs in _STAGES.items():
        block, to = rf"{ours}\.(\d+)", rf"{prefix}{theirs}.\1"
        for name, number in convolutions.items():
            rules += _named(rf"{block}\.branch\.{name}", rf"{to}.conv{number}", rf"{to}.bn{number}")
        rules += _named(rf"{block}\.shortcut", rf"{to}.downsample.0", rf"{to}.downsample.1")
    return (*rules, (r"fc\.(.+)", rf"{fc}.\1"))


def _mm_resnet(convolutions: dict[str, int]) -> Rules:
    rules = _named(r"image\.conv1", "backbone.conv1.conv", "backbone.conv1.bn")
    for ours, theirs in _STAGES.items():
        block, to = rf"{ours}\.(\d+)", rf"backbone.{theirs}.\1"
        for name, number in convolutions.items():
            rules += _named(rf"{block}\.branch\.{name}", rf"{to}.conv{number}.conv", rf"{to}.conv{number}.bn")
        rules += _named(rf"{block}\.shortcut", rf"{to}.downsample.conv", rf"{to}.downsample.bn")
    return (*rules, (r"fc\.(.+)", r"cls_head.fc_cls.\1"))


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
    spellings = []
    for names, convolutions in ((_RESNETS[:2], _BASIC), (_RESNETS[2:], _BOTTLENECK)):
        if dialect == "mmaction2":
            rules = _mm_resnet(convolutions)
        elif dialect == "tsm":
            rules = _torchvision_resnet(convolutions, "base_model.", "new_fc")
        else:
            rules = _torchvision_resnet(convolutions)
        spellings.append(Spelling(dialect=dialect, backbones=names, rules=rules, recipe=recipe))
    return spellings


SPELLINGS = (
    *_resnets("torchvision", "imagenet"),
    *_resnets("mmaction2", "mm2d"),
    *_resnets("tsm", "tsm"),
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
