"""The parts of a residual network of bottlenecks, in each dialect that has them."""

import re
from collections.abc import Iterator, Mapping

Rules = tuple[tuple[str, str], ...]
Parts = Mapping[str, str]  # our part of a block -> theirs

STAGES = (2, 3, 4, 5)

PYTORCHVIDEO = {
    "reduce.conv": ".branch2.conv_a",
    "reduce.norm": ".branch2.norm_a",
    "middle.0.conv": ".branch2.conv_b",
    "middle.0.norm": ".branch2.norm_b",
    "expand.conv": ".branch2.conv_c",
    "expand.norm": ".branch2.norm_c",
    "shortcut.conv": ".branch1_conv",
    "shortcut.norm": ".branch1_norm",
}
PYSLOWFAST = {
    "reduce.conv": ".branch2.a",
    "reduce.norm": ".branch2.a_bn",
    "middle.0.conv": ".branch2.b",
    "middle.0.norm": ".branch2.b_bn",
    "expand.conv": ".branch2.c",
    "expand.norm": ".branch2.c_bn",
    "shortcut.conv": ".branch1",
    "shortcut.norm": ".branch1_bn",
}
MMACTION2 = {
    "reduce.conv": ".conv1.conv",
    "reduce.norm": ".conv1.bn",
    "middle.0.conv": ".conv2.conv",
    "middle.0.norm": ".conv2.bn",
    "expand.conv": ".conv3.conv",
    "expand.norm": ".conv3.bn",
    "shortcut.conv": ".downsample.conv",
    "shortcut.norm": ".downsample.bn",
}
X_TEMPORAL = {
    "reduce.conv": ".conv1",
    "reduce.norm": ".bn1",
    "middle.0.conv": ".conv2",
    "middle.0.norm": ".bn2",
    "expand.conv": ".conv3",
    "expand.norm": ".bn3",
    "shortcut.conv": ".downsample.0",
    "shortcut.norm": ".downsample.1",
}
CAFFE2 = {
    "reduce.conv": "_branch2a",
    "reduce.norm": "_branch2a_bn",
    "middle.0.conv": "_branch2b",
    "middle.0.norm": "_branch2b_bn",
    "expand.conv": "_branch2c",
    "expand.norm": "_branch2c_bn",
    "shortcut.conv": "_branch1",
    "shortcut.norm": "_branch1_bn",
}

PYSLOWFAST_NON_LOCAL = {
    "theta": ".conv_theta",
    "phi": ".conv_phi",
    "g": ".conv_g",
    "expand.conv": ".conv_out",
    "expand.norm": ".bn",
}
MMACTION2_NON_LOCAL = {  # of blocks that pool: there φ and g are rows of which the first convolves
    "theta": ".non_local_block.theta.conv",
    "phi": ".non_local_block.phi.0.conv",
    "g": ".non_local_block.g.0.conv",
    "expand.conv": ".non_local_block.conv_out.conv",
    "expand.norm": ".non_local_block.conv_out.bn",
}
CAFFE2_NON_LOCAL = {
    "theta": "_theta",
    "phi": "_phi",
    "g": "_g",
    "expand.conv": "_out",
    "expand.norm": "_bn",
}

# What Caffe2's blobs end with. Source: PySlowFast's ``utils/c2_model_loading.py``; ``riv`` is the variance itself.
_OF_CONVOLUTIONS = {"weight": "_w", "bias": "_b"}
_OF_NORMS = {"weight": "_s", "bias": "_b", "running_mean": "_rm", "running_var": "_riv"}


def numbered(ours: str, theirs: str, parts: Parts) -> Iterator[tuple[str, str]]:
    r"""Yield the rules of blocks that ours names ``ours`` with a number behind; it is ``\1`` in ``theirs``."""
    for own, name in parts.items():
        yield rf"{re.escape(ours)}(\d+)\.{re.escape(own)}\.(.+)", rf"{theirs}{name}.\2"


def numbered_blobs(ours: str, theirs: str, parts: Parts) -> Iterator[tuple[str, str]]:
    """Yield the same for Caffe2."""
    for own, name in parts.items():
        for end, blob in _ends(own).items():
            yield rf"{re.escape(ours)}(\d+)\.{re.escape(own)}\.{end}", f"{theirs}{name}{blob}"


def named(ours: str, theirs: str) -> tuple[str, str]:
    """Return the rule of one module, of any tensors."""
    return rf"{re.escape(ours)}\.(.+)", rf"{theirs}.\1"


def named_blobs(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    """Yield the rules of one module for Caffe2."""
    for end, blob in _ends(ours).items():
        yield rf"{re.escape(ours)}\.{end}", f"{theirs}{blob}"


def _ends(ours: str) -> dict[str, str]:
    return _OF_NORMS if ours.endswith("norm") else _OF_CONVOLUTIONS
