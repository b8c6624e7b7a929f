"""Networks of one path with bottlenecks: slow-only, I3D, C2D, pytorchvideo's R(2+1)D; with non-local blocks or without.

Where several networks stand in one spelling, the same tensors make all of them: strides in time, pools and what
non-local blocks do with their products leave no trace in a file.
"""

from ..spelling import Spelling
from . import bottlenecks as parts
from .bottlenecks import STAGES, Rules, named, numbered, numbered_blobs

_SLOW_ONLY = ("slow_only_50", "slow_only_101")
_I3D_50, _I3D_101 = ("i3d_50_8x8", "i3d_50"), ("i3d_101_8x8", "i3d_101")
_C2D_50 = ("c2d_50_8x8", "c2d_50_nopool")
_IGNORED_BLOBS = (r".+_momentum", "lr", "model_iter")


def _pytorchvideo(*, head: int, first: int, middle: dict[str, str] | None = None) -> Rules:
    """Return pytorchvideo's rules.

    Args:
        head: the number of the block that classifies.
        first: the number of the block that is res3; 3 where a pool has taken the 2.
        middle: where it is not one convolution, the parts of the middle.
    """
    blocks = {own: name for own, name in parts.PYTORCHVIDEO.items() if not (middle and own.startswith("middle"))}
    places = {2: 1} | {stage: stage - 3 + first for stage in (3, 4, 5)}
    return (
        named("conv1.0.conv", "blocks.0.conv"),
        named("conv1.0.norm", "blocks.0.norm"),
        *(
            rule
            for stage in STAGES
            for rule in numbered(f"res{stage}.", rf"blocks.{places[stage]}.res_blocks.\1", blocks | (middle or {}))
        ),
        named("fc", f"blocks.{head}.proj"),
    )


_PTV = _pytorchvideo(head=5, first=2)
_PTV_POOLED = _pytorchvideo(head=6, first=3)
_PTV_R2PLUS1D = _pytorchvideo(
    head=5,
    first=2,
    middle={
        "middle.0.conv": ".branch2.conv_b.conv_t",
        "middle.0.norm": ".branch2.conv_b.norm",
        "middle.1.conv": ".branch2.conv_b.conv_xy",
        "middle.1.norm": ".branch2.norm_b",
    },
)

_PSF = (
    named("conv1.0.conv", "s1.pathway0_stem.conv"),
    named("conv1.0.norm", "s1.pathway0_stem.bn"),
    *(
        rule
        for stage in STAGES
        for rule in (
            *numbered(f"res{stage}.", rf"s{stage}.pathway0_res\1", parts.PYSLOWFAST),
            *numbered(f"res{stage}.nonlocal", rf"s{stage}.pathway0_nonlocal\1", parts.PYSLOWFAST_NON_LOCAL),
        )
    ),
    named("fc", "head.projection"),
)

_PSF_BLOBS = (
    *parts.named_blobs("conv1.0.conv", "conv1"),
    *parts.named_blobs("conv1.0.norm", "res_conv1_bn"),
    *(
        rule
        for stage in STAGES
        for rule in (
            *numbered_blobs(f"res{stage}.", rf"res{stage}_\1", parts.CAFFE2),
            *numbered_blobs(f"res{stage}.nonlocal", rf"nonlocal_conv{stage}_\1", parts.CAFFE2_NON_LOCAL),
        )
    ),
    *parts.named_blobs("fc", "pred"),
)

_MM = (
    named("conv1.0.conv", "backbone.conv1.conv"),
    named("conv1.0.norm", "backbone.conv1.bn"),
    *(
        rule
        for stage in STAGES
        for rule in (
            *numbered(f"res{stage}.", rf"backbone.layer{stage - 1}.\1", parts.MMACTION2),
            *numbered(f"res{stage}.nonlocal", rf"backbone.layer{stage - 1}.\1", parts.MMACTION2_NON_LOCAL),
        )
    ),
    named("fc", "cls_head.fc_cls"),
)

_PYSLOWFAST_NETWORKS = (
    _SLOW_ONLY,
    ("slow_only_50_nl_dot",),
    _I3D_50,
    _I3D_101,
    ("i3d_50_8x8_nl_softmax", "i3d_50_8x8_nl_dot"),
    ("i3d_101_8x8_nl_softmax", "i3d_101_8x8_nl_dot"),
    _C2D_50,
    ("c2d_101_nopool",),
    ("c2d_50_8x8_nl_softmax",),
)
_MMACTION2_NETWORKS = (
    _SLOW_ONLY,
    ("slow_only_50_nl_embedded",),
    _I3D_50,
    _I3D_101,
    ("i3d_50_nl", "i3d_50_nl_embedded"),
    ("i3d_50_nl_gaussian",),
    ("i3d_50_heavy",),
)

SPELLINGS = (
    *(
        Spelling(dialect="pytorchvideo", backbones=names, rules=_PTV, recipe="ptv256")
        for names in (_SLOW_ONLY, ("c2d_50_nopool", "c2d_101_nopool"))
    ),
    *(
        Spelling(dialect="pytorchvideo", backbones=names, rules=_PTV_POOLED, recipe="ptv256")
        for names in (_I3D_50, _I3D_101, ("c2d_50_8x8",))
    ),
    Spelling(
        dialect="pytorchvideo",
        backbones=("r2plus1d_50_ptv", "r2plus1d_101_ptv"),
        rules=_PTV_R2PLUS1D,
        recipe="fb256",
    ),
    *(Spelling(dialect="pyslowfast", backbones=names, rules=_PSF, recipe="fb256") for names in _PYSLOWFAST_NETWORKS),
    *(
        Spelling(
            dialect="pyslowfast-caffe2",
            backbones=names,
            rules=_PSF_BLOBS,
            recipe="fb256",
            ignored=_IGNORED_BLOBS,
        )
        for names in _PYSLOWFAST_NETWORKS
    ),
    *(Spelling(dialect="mmaction2", backbones=names, rules=_MM, recipe="mm3d") for names in _MMACTION2_NETWORKS),
    # TSN has these tensors too: it is the image network on every frame, which is C2D without its pool.
    *(
        Spelling(dialect="mmaction2", backbones=names, rules=_MM, recipe="mm3d", without_time=True)
        for names in (("c2d_50_mm", "c2d_50_nopool"), ("c2d_101_nopool",))
    ),
)
