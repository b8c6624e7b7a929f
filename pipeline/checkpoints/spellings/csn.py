"""CSN: VMZ (PyTorch and Caffe2), mmaction2, pytorchvideo.

Published are ir-CSN-50 by mmaction2 and VMZ (Caffe2), ir-CSN-101 by pytorchvideo, ir- and ip-CSN-152 by VMZ and
mmaction2; the dialects that can spell other depths and forms do. pytorchvideo has no ip-CSN.
"""

from itertools import accumulate

from ...backbones.layers import PUBLISHED_BLOCKS
from ..spelling import Rule, Spelling
from .tables import CAFFE2_IGNORED, Place, caffe2_rules, torch_rules

_DEPTHS = (50, 101, 152)
_FORMS = ("ircsn", "ipcsn")

# The middle: of ir-CSN one convolution, of ip-CSN two.
_VMZ_MIDDLE = {
    "ircsn": {"middle.0.conv": "{}.conv2.0", "middle.0.norm": "{}.conv2.1"},
    "ipcsn": {
        "middle.0.conv": "{}.conv2.0.0",
        "middle.0.norm": "{}.conv2.0.1",
        "middle.1.conv": "{}.conv2.0.2",
        "middle.1.norm": "{}.conv2.1",
    },
}
_VMZ_BLOCK = {
    "reduce.conv": "{}.conv1.0",
    "reduce.norm": "{}.conv1.1",
    "expand.conv": "{}.conv3.0",
    "expand.norm": "{}.conv3.1",
    "shortcut.conv": "{}.downsample.0",
    "shortcut.norm": "{}.downsample.1",
}
_VMZ_ENDS = {"conv1.0.conv": "stem.0", "conv1.0.norm": "stem.1"}
_MM_BLOCK = {
    "reduce.conv": "{}.conv1.conv",
    "reduce.norm": "{}.conv1.bn",
    "middle.0.conv": "{}.conv2.0.conv",
    "middle.0.norm": "{}.conv2.0.bn",
    "middle.1.conv": "{}.conv2.1.conv",
    "middle.1.norm": "{}.conv2.1.bn",
    "expand.conv": "{}.conv3.conv",
    "expand.norm": "{}.conv3.bn",
    "shortcut.conv": "{}.downsample.conv",
    "shortcut.norm": "{}.downsample.bn",
}
_MM_ENDS = {"conv1.0.conv": "backbone.conv1.conv", "conv1.0.norm": "backbone.conv1.bn", "fc": "cls_head.fc_cls"}
_PTV_BLOCK = {
    "reduce.conv": "{}.branch2.conv_a",
    "reduce.norm": "{}.branch2.norm_a",
    "middle.0.conv": "{}.branch2.conv_b",
    "middle.0.norm": "{}.branch2.norm_b",
    "expand.conv": "{}.branch2.conv_c",
    "expand.norm": "{}.branch2.norm_c",
    "shortcut.conv": "{}.branch1_conv",
    "shortcut.norm": "{}.branch1_norm",
}
_PTV_ENDS = {"conv1.0.conv": "blocks.0.conv", "conv1.0.norm": "blocks.0.norm", "fc": "blocks.5.proj"}

# Source: VMZ's ``c2/lib/models/builder/video_model.py`` and ``utilities/model_conversion/convert_models.py``. The
# depthwise convolution of an ir-CSN's block takes two of its numbers.
_CAFFE2_NUMBERS = {
    "ircsn": {"reduce": "1", "middle.0": "3", "expand": "4"},
    "ipcsn": {"reduce": "1", "middle.0": "2_middle", "middle.1": "2", "expand": "3"},
}
_CAFFE2_ENDS = {"conv1.0.conv": "conv1", "conv1.0.norm": "conv1_spatbn_relu", "fc": "last_out_L*"}


def _caffe2(form: str, depth: int) -> tuple[Rule, ...]:
    """Return the rules for VMZ's blobs, in which blocks are counted through all stages."""
    block = {"shortcut.conv": "shortcut_projection_{}", "shortcut.norm": "shortcut_projection_{}_spatbn"}
    for ours, number in _CAFFE2_NUMBERS[form].items():
        block |= {f"{ours}.conv": f"comp_{{}}_conv_{number}", f"{ours}.norm": f"comp_{{}}_spatbn_{number}"}
    before = dict(enumerate(accumulate(PUBLISHED_BLOCKS[depth], initial=0), start=2))  # stage -> blocks before it
    return caffe2_rules(_CAFFE2_ENDS, block, lambda stage, number: str(before[stage] + number))


def _layer(prefix: str) -> Place:
    return lambda stage, number: f"{prefix}layer{stage - 1}.{number}"


def _names(form: str) -> tuple[str, ...]:
    return tuple(f"{form}_{depth}" for depth in _DEPTHS)


SPELLINGS = (
    *(
        Spelling(
            dialect="vmz",
            backbones=_names(form),
            rules=torch_rules(_VMZ_ENDS, _VMZ_BLOCK | _VMZ_MIDDLE[form], _layer("")),
            recipe="vmz_csn",
        )
        for form in _FORMS
    ),
    *(
        Spelling(
            dialect="vmz caffe2",
            backbones=(f"{form}_{depth}",),
            rules=_caffe2(form, depth),
            recipe="vmz_csn",
            ignored=CAFFE2_IGNORED,
        )
        for form in _FORMS
        for depth in _DEPTHS
    ),
    Spelling(
        dialect="mmaction2",
        backbones=(*_names("ircsn"), *_names("ipcsn")),
        rules=torch_rules(_MM_ENDS, _MM_BLOCK, _layer("backbone.")),
        recipe="mm3d_csn",
    ),
    Spelling(
        dialect="pytorchvideo",
        backbones=_names("ircsn"),
        rules=torch_rules(_PTV_ENDS, _PTV_BLOCK, lambda stage, number: f"blocks.{stage - 1}.res_blocks.{number}"),
        recipe="ptv256",
    ),
)
