"""X3D: pytorchvideo, its EfficientX3D, PySlowFast (PyTorch and Caffe2), mmaction2.

XS, S and M are one network, so that a file of one fits all three; their clips differ, and with these their recipes.
"""

from functools import cache

import torch
from torch import Tensor

from ..spelling import Shape, Spelling
from .tables import CAFFE2_IGNORED, caffe2_rules, torch_rules

_EPS = 1e-5  # of the batch norms of all these

_PTV_ENDS = {
    "conv1.0": "blocks.0.conv.conv_t",  # the one over space, for all its name
    "conv1.1.conv": "blocks.0.conv.conv_xy",
    "conv1.1.norm": "blocks.0.norm",
    "conv5.conv": "blocks.5.pool.pre_conv",
    "conv5.norm": "blocks.5.pool.pre_norm",
    "neck.0": "blocks.5.pool.post_conv",
    "fc": "blocks.5.proj",
}
_PTV_BLOCK = {
    "widen.conv": "{}.branch2.conv_a",
    "widen.norm": "{}.branch2.norm_a",
    "depthwise.conv": "{}.branch2.conv_b",
    "depthwise.norm": "{}.branch2.norm_b.0",
    "squeeze.reduce": "{}.branch2.norm_b.1.block.0",
    "squeeze.restore": "{}.branch2.norm_b.1.block.2",
    "expand.conv": "{}.branch2.conv_c",
    "expand.norm": "{}.branch2.norm_c",
    "shortcut.conv": "{}.branch1_conv",
    "shortcut.norm": "{}.branch1_norm",
}
_EFFICIENT_ENDS = {
    "conv1.0": "s1.pathway0_stem_conv_xy.kernel.conv",
    "conv1.1.conv": "s1.pathway0_stem_conv.kernel.conv",
    "conv1.1.norm": "s1.pathway0_stem_conv.kernel.bn",
    "conv5.conv": "head.conv_5.kernel.conv",
    "conv5.norm": "head.conv_5.kernel.bn",
    "neck.0": "head.lin_5.kernel.conv",
    "fc": "projection.model",
}
_EFFICIENT_BLOCK = {
    "widen.conv": "{}.layers.conv_0.kernel.conv",
    "widen.norm": "{}.layers.conv_0.kernel.bn",
    "depthwise.conv": "{}.layers.conv_1.kernel.conv",
    "depthwise.norm": "{}.layers.conv_1.kernel.bn",
    "squeeze.reduce": "{}.layers.se.se.block.0",
    "squeeze.restore": "{}.layers.se.se.block.2",
    "expand.conv": "{}.layers.conv_2.kernel.conv",
    "expand.norm": "{}.layers.conv_2.kernel.bn",
    "shortcut.conv": "{}._res_proj.kernel.conv",
    "shortcut.norm": "{}._res_proj.kernel.bn",
}
_PSF_ENDS = {
    "conv1.0": "s1.pathway0_stem.conv_xy",
    "conv1.1.conv": "s1.pathway0_stem.conv",
    "conv1.1.norm": "s1.pathway0_stem.bn",
    "conv5.conv": "head.conv_5",
    "conv5.norm": "head.conv_5_bn",
    "neck.0": "head.lin_5",
    "fc": "head.projection",
}
_PSF_BLOCK = {
    "widen.conv": "{}.branch2.a",
    "widen.norm": "{}.branch2.a_bn",
    "depthwise.conv": "{}.branch2.b",
    "depthwise.norm": "{}.branch2.b_bn",
    "squeeze.reduce": "{}.branch2.se.fc1",
    "squeeze.restore": "{}.branch2.se.fc2",
    "expand.conv": "{}.branch2.c",
    "expand.norm": "{}.branch2.c_bn",
    "shortcut.conv": "{}.branch1",
    "shortcut.norm": "{}.branch1_bn",
}
_MM_ENDS = {
    "conv1.0": "backbone.conv1_s.conv",
    "conv1.1.conv": "backbone.conv1_t.conv",
    "conv1.1.norm": "backbone.conv1_t.bn",
    "conv5.conv": "backbone.conv5.conv",
    "conv5.norm": "backbone.conv5.bn",
    "neck.0": "cls_head.fc1",
    "fc": "cls_head.fc2",
}
_MM_BLOCK = {
    "widen.conv": "{}.conv1.conv",
    "widen.norm": "{}.conv1.bn",
    "depthwise.conv": "{}.conv2.conv",
    "depthwise.norm": "{}.conv2.bn",
    "squeeze.reduce": "{}.se_module.fc1",
    "squeeze.restore": "{}.se_module.fc2",
    "expand.conv": "{}.conv3.conv",
    "expand.norm": "{}.conv3.bn",
    "shortcut.conv": "{}.downsample.conv",
    "shortcut.norm": "{}.downsample.bn",
}
_CAFFE2_ENDS = {
    "conv1.0": "conv1_xy",
    "conv1.1.conv": "conv1",
    "conv1.1.norm": "res_conv1_bn",
    "conv5.conv": "conv_5",
    "conv5.norm": "conv_5_bn",
    "neck.0": "lin_5",
    "fc": "pred",
}
_CAFFE2_BLOCK = {
    "widen.conv": "{}_branch2a",
    "widen.norm": "{}_branch2a_bn",
    "depthwise.conv": "{}_branch2b",
    "depthwise.norm": "{}_branch2b_bn",
    "squeeze.reduce": "{}_branch2b_bn_fc1",
    "squeeze.restore": "{}_branch2b_bn_fc2",
    "expand.conv": "{}_branch2c",
    "expand.norm": "{}_branch2c_bn",
    "shortcut.conv": "{}_branch1",
    "shortcut.norm": "{}_branch1_bn",
}


def _identity_norm(key: str, shape: Shape) -> Tensor:
    """Return a tensor of a batch norm that changes nothing."""
    own = key.rpartition(".")[2]
    if own == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    weight, variance = _neutral_pair()
    return torch.full(shape, {"weight": weight, "running_var": variance}.get(own, 0.0))


@cache
def _neutral_pair() -> tuple[float, float]:
    """Return a weight and a variance close to 1 with weight / √(variance + eps) = 1, exactly to 1e-11.

    √(1 + eps) and 1 are such a pair but for the rounding of float32, which here would be the largest error by far.
    """
    weights = 1 + torch.arange(4096, dtype=torch.float64) * torch.finfo(torch.float32).eps
    variances = (weights.square() - _EPS).float().double()
    best = (weights / (variances + _EPS).sqrt() - 1).abs().argmin()
    return weights[best].item(), variances[best].item()


_PTV = torch_rules(_PTV_ENDS, _PTV_BLOCK, lambda stage, number: f"blocks.{stage - 1}.res_blocks.{number}")
_EFFICIENT = torch_rules(_EFFICIENT_ENDS, _EFFICIENT_BLOCK, lambda stage, number: f"s{stage}.pathway0_res{number}")
_PSF = torch_rules(_PSF_ENDS, _PSF_BLOCK, lambda stage, number: f"s{stage}.pathway0_res{number}")
_MM = torch_rules(_MM_ENDS, _MM_BLOCK, lambda stage, number: f"backbone.layer{stage - 1}.{number}")
_CAFFE2 = caffe2_rules(_CAFFE2_ENDS, _CAFFE2_BLOCK, lambda stage, number: f"res{stage}_{number}")
_SIZES = {"182": ("x3d_xs", "x3d_s"), "256": ("x3d_m",), "356": ("x3d_l",)}  # pixels in the sources' tests

SPELLINGS = (
    *(
        Spelling(
            dialect="pytorchvideo",
            backbones=names,
            rules=_PTV,
            recipe=f"ptvX3D_{size}",
            filled=((r"res2\.0\.shortcut\.norm\..+", _identity_norm),),  # its first shortcut has no norm
            linear_as=3,
            linear_where=r"neck\..+",
        )
        for size, names in _SIZES.items()
    ),
    *(
        Spelling(
            dialect="pytorchvideo-efficient",
            backbones=names,
            rules=_EFFICIENT,
            recipe=f"efficientX3D_{size}",
            linear_as=3,
            linear_where=r"neck\..+",
        )
        for size, names in _SIZES.items()
    ),
    *(
        Spelling(
            dialect="pyslowfast",
            backbones=names,
            rules=_PSF,
            recipe=f"fbX3D_{size}",
            linear_as=3,
            linear_where=r"neck\..+",
        )
        for size, names in _SIZES.items()
    ),
    *(
        Spelling(
            dialect="pyslowfast-caffe2",
            backbones=names,
            rules=_CAFFE2,
            recipe=f"fbX3D_{size}",
            linear_as=3,
            linear_where=r"neck\..+",
            ignored=CAFFE2_IGNORED,
        )
        for size, names in _SIZES.items()
    ),
    *(
        Spelling(dialect="mmaction2", backbones=names, rules=_MM, recipe=f"mmX3D_{size}")
        for size, names in _SIZES.items()
    ),
)
