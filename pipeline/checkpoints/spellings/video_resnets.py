"""Video ResNets: torchvision, VMZ with ig65m (PyTorch and Caffe2), mmaction2.

VMZ and ig65m have torchvision's names, and other shapes: these decide.
"""

import re
from itertools import accumulate

from ...backbones import video_resnet as networks
from ..spelling import Replacement, Rule, Spelling

_BLOCK = r"res(\d)\.(\d+)"
_PARTS = (("first", "conv1"), ("second", "conv2"))


def _layer(template: str) -> Replacement:
    r"""Return what names a block of res2 as one of layer1, and so on; ``\2`` is its number, ``\3`` what follows."""
    return lambda match: f"layer{int(match[1]) - 1}.{match.expand(template)}"


_TV_HEAD: tuple[Rule, ...] = (
    (r"conv1\.0\.conv\.(.+)", r"stem.0.\1"),
    (r"conv1\.0\.norm\.(.+)", r"stem.1.\1"),
    (r"conv1\.1\.conv\.(.+)", r"stem.3.\1"),
    (r"conv1\.1\.norm\.(.+)", r"stem.4.\1"),
    (rf"{_BLOCK}\.shortcut\.conv\.(.+)", _layer(r"\2.downsample.0.\3")),
    (rf"{_BLOCK}\.shortcut\.norm\.(.+)", _layer(r"\2.downsample.1.\3")),
)


def _tv_pair(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Return the rules of a factorised convolution."""
    return (
        (rf"{_BLOCK}\.{ours}\.0\.conv\.(.+)", _layer(rf"\2.{theirs}.0.0.\3")),
        (rf"{_BLOCK}\.{ours}\.0\.norm\.(.+)", _layer(rf"\2.{theirs}.0.1.\3")),
        (rf"{_BLOCK}\.{ours}\.1\.conv\.(.+)", _layer(rf"\2.{theirs}.0.3.\3")),
        (rf"{_BLOCK}\.{ours}\.1\.norm\.(.+)", _layer(rf"\2.{theirs}.1.\3")),
    )


def _tv_whole(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Return the rules of a convolution in one piece."""
    return (
        (rf"{_BLOCK}\.{ours}\.conv\.(.+)", _layer(rf"\2.{theirs}.0.\3")),
        (rf"{_BLOCK}\.{ours}\.norm\.(.+)", _layer(rf"\2.{theirs}.1.\3")),
    )


_TV_PAIRS = (*_TV_HEAD, *(rule for part in _PARTS for rule in _tv_pair(*part)))
_TV_WHOLE = (*_TV_HEAD, *(rule for ours, theirs in _PARTS for rule in _tv_whole(rf"{ours}\.0", theirs)))
_TV_BOTTLENECKS = (
    *_TV_HEAD,
    *_tv_whole("reduce", "conv1"),
    *_tv_pair("middle", "conv2"),
    *_tv_whole("expand", "conv3"),
)


def _mm_unit(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Return the rules of what mmaction2 factorises in a block: each of its convolutions, and the shortcut."""
    return (
        (rf"{_BLOCK}\.{ours}\.0\.conv\.(.+)", _mm_layer(rf"\2.{theirs}.conv.conv_s.\3")),
        (rf"{_BLOCK}\.{ours}\.0\.norm\.(.+)", _mm_layer(rf"\2.{theirs}.conv.bn_s.\3")),
        (rf"{_BLOCK}\.{ours}\.1\.conv\.(.+)", _mm_layer(rf"\2.{theirs}.conv.conv_t.\3")),
        (rf"{_BLOCK}\.{ours}\.1\.norm\.(.+)", _mm_layer(rf"\2.{theirs}.bn.\3")),
    )


def _mm_layer(template: str) -> Replacement:
    named = _layer(template)
    return lambda match: f"backbone.{named(match)}"


_MM: tuple[Rule, ...] = (
    (r"conv1\.0\.conv\.(.+)", r"backbone.conv1.conv.conv_s.\1"),
    (r"conv1\.0\.norm\.(.+)", r"backbone.conv1.conv.bn_s.\1"),
    (r"conv1\.1\.conv\.(.+)", r"backbone.conv1.conv.conv_t.\1"),
    (r"conv1\.1\.norm\.(.+)", r"backbone.conv1.bn.\1"),
    *(rule for part in (*_PARTS, ("shortcut", "downsample")) for rule in _mm_unit(*part)),
    (r"fc\.(.+)", r"cls_head.fc_cls.\1"),
)

# Of Caffe2's blobs. Source: VMZ's ``utilities/model_conversion/convert_models.py``; ``_riv`` is the variance itself.
_C2_SUFFIXES = {
    "conv.weight": "_w",
    "norm.weight": "_s",
    "norm.bias": "_b",
    "norm.running_mean": "_rm",
    "norm.running_var": "_riv",
    "norm.num_batches_tracked": "_not_counted",
}
_C2_STEM_OF_PAIRS, _C2_STEM_OF_WHOLE = {"0": "conv1_middle", "1": "conv1"}, {"0": "conv1"}
_C2_PAIRS = {"first.0": "1_middle", "first.1": "1", "second.0": "2_middle", "second.1": "2"}
_C2_BOTTLENECKS = {"reduce": "1", "middle.0": "2_middle", "middle.1": "2", "expand": "3"}
_C2_WHOLE = {"first.0": "1", "second.0": "2"}


def _caffe2(spec: networks.VideoResNetSpec, *, stem: dict[str, str], block: dict[str, str]) -> Spelling:
    """Return VMZ's names of blobs, in which blocks are counted through all stages.

    Args:
        spec: the network.
        stem: our convolution of conv1 -> its name there.
        block: our convolution of a block -> its number there.
    """
    before = dict(zip("2345", accumulate(spec.blocks, initial=0), strict=False))  # stage -> blocks before it

    def in_stem(match: re.Match[str]) -> str:
        index, own = match.groups()
        return f"{stem[index]}{'_spatbn_relu' if own.startswith('norm') else ''}{_C2_SUFFIXES[own]}"

    def in_block(match: re.Match[str]) -> str:
        stage, place, part, own = match.groups()
        count, is_norm = before[stage] + int(place), own.startswith("norm")
        if part == "shortcut":
            return f"shortcut_projection_{count}{'_spatbn' if is_norm else ''}{_C2_SUFFIXES[own]}"
        return f"comp_{count}_{'spatbn' if is_norm else 'conv'}_{block[part]}{_C2_SUFFIXES[own]}"

    return Spelling(
        dialect="vmz caffe2",
        backbones=(spec.name,),
        rules=(
            (r"conv1\.(\d)\.(.+)", in_stem),
            (rf"{_BLOCK}\.(.+?)\.((?:conv|norm)\..+)", in_block),
            (r"fc\.weight", "last_out_L*_w"),
            (r"fc\.bias", "last_out_L*_b"),
        ),
        recipe="vmz",
        ignored=(r".+_momentum", "lr", "model_iter"),
    )


SPELLINGS = (
    Spelling(dialect="torchvision", backbones=("r2plus1d_18",), rules=_TV_PAIRS, recipe="tv112"),
    Spelling(dialect="torchvision", backbones=("r3d_18",), rules=_TV_WHOLE, recipe="tv112"),
    Spelling(dialect="torchvision", backbones=("mc3_18",), rules=_TV_WHOLE, recipe="tv112"),
    Spelling(dialect="vmz", backbones=("r2plus1d_34_vmz",), rules=_TV_PAIRS, recipe="vmz"),
    # A file does not tell whether its network has a pool after conv1; see the networks for which one is published.
    Spelling(
        dialect="vmz",
        backbones=("r2plus1d_152_vmz", "r2plus1d_152_vmz_nopool"),
        rules=_TV_BOTTLENECKS,
        recipe="vmz",
    ),
    Spelling(dialect="mmaction2", backbones=("r2plus1d_34_mm",), rules=_MM, recipe="mm_r2plus1d"),
    _caffe2(networks.R3D_18, stem=_C2_STEM_OF_WHOLE, block=_C2_WHOLE),
    _caffe2(networks.MC3_18, stem=_C2_STEM_OF_WHOLE, block=_C2_WHOLE),
    _caffe2(networks.R2PLUS1D_18_VMZ, stem=_C2_STEM_OF_PAIRS, block=_C2_PAIRS),
    _caffe2(networks.R2PLUS1D_34_VMZ, stem=_C2_STEM_OF_PAIRS, block=_C2_PAIRS),
    _caffe2(networks.R2PLUS1D_152_VMZ_NOPOOL, stem=_C2_STEM_OF_PAIRS, block=_C2_BOTTLENECKS),
)
