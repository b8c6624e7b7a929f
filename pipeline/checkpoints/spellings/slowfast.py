"""Networks of two paths: SlowFast."""

import torch
from torch import Tensor

from ..spelling import Spelling
from . import bottlenecks as parts
from .bottlenecks import STAGES, Rules, named, named_blobs, numbered, numbered_blobs

_PATHS = ("slow", "fast")
# The same tensors at alpha 4 and 8 where the convolutions between the paths span five frames at both.
_FIFTY, _HUNDRED = (("slowfast_50_4x16",), ("slowfast_50_8x8",)), (("slowfast_101_8x8", "slowfast_101_4x16"),)
_SIXTEEN = (("slowfast_101_16x8",),)
_NON_LOCAL_50 = (("slowfast_50_4x16_nl_dot", "slowfast_50_8x8_nl_dot"),)
_NON_LOCAL_101 = (("slowfast_101_16x8_nl_dot",),)
_JOINED = ("stem", "res2", "res3", "res4")  # what the convolutions between the paths follow

_PTV: Rules = (
    *(
        rule
        for place, path in enumerate(_PATHS)
        for rule in (
            named(f"{path}.stem.0.conv", f"blocks.0.multipathway_blocks.{place}.conv"),
            named(f"{path}.stem.0.norm", f"blocks.0.multipathway_blocks.{place}.norm"),
            *(
                own
                for stage in STAGES
                for own in numbered(
                    f"{path}.res{stage}.",
                    rf"blocks.{stage - 1}.multipathway_blocks.{place}.res_blocks.\1",
                    parts.PYTORCHVIDEO,
                )
            ),
        )
    ),
    *(
        rule
        for index, joined in enumerate(_JOINED)
        for rule in (
            named(f"laterals.{joined}.conv", f"blocks.{index}.multipathway_fusion.conv_fast_to_slow"),
            named(f"laterals.{joined}.norm", f"blocks.{index}.multipathway_fusion.norm"),
        )
    ),
    named("fc", "blocks.6.proj"),
)

_PSF: Rules = (
    *(
        rule
        for place, path in enumerate(_PATHS)
        for rule in (
            named(f"{path}.stem.0.conv", f"s1.pathway{place}_stem.conv"),
            named(f"{path}.stem.0.norm", f"s1.pathway{place}_stem.bn"),
            *(
                own
                for stage in STAGES
                for own in (
                    *numbered(f"{path}.res{stage}.", rf"s{stage}.pathway{place}_res\1", parts.PYSLOWFAST),
                    *numbered(
                        f"{path}.res{stage}.nonlocal",
                        rf"s{stage}.pathway{place}_nonlocal\1",
                        parts.PYSLOWFAST_NON_LOCAL,
                    ),
                )
            ),
        )
    ),
    *(
        rule
        for index, joined in enumerate(_JOINED)
        for rule in (
            named(f"laterals.{joined}.conv", f"s{index + 1}_fuse.conv_f2s"),
            named(f"laterals.{joined}.norm", f"s{index + 1}_fuse.bn"),
        )
    ),
    named("fc", "head.projection"),
)


def _blobs(*, last: dict[str, int]) -> Rules:
    """Return PySlowFast's rules for Caffe2, where a lateral convolution is named after the block that it follows.

    Args:
        last: the number of the fast path's last block in res2 to res4.
    """
    followed = {"stem": "t_pool1"} | {stage: f"t_{stage}_{number}_branch2c_bn" for stage, number in last.items()}
    return (
        *(
            rule
            for path, prefix in zip(_PATHS, ("", "t_"), strict=True)
            for rule in (
                *named_blobs(f"{path}.stem.0.conv", f"{prefix}conv1"),
                *named_blobs(f"{path}.stem.0.norm", f"{prefix}res_conv1_bn"),
                *(
                    own
                    for stage in STAGES
                    for own in (
                        *numbered_blobs(f"{path}.res{stage}.", rf"{prefix}res{stage}_\1", parts.CAFFE2),
                        *numbered_blobs(
                            f"{path}.res{stage}.nonlocal",
                            rf"{prefix}nonlocal_conv{stage}_\1",
                            parts.CAFFE2_NON_LOCAL,
                        ),
                    )
                ),
            )
        ),
        *(
            rule
            for joined, name in followed.items()
            for rule in (
                *named_blobs(f"laterals.{joined}.conv", f"{name}_subsample"),
                *named_blobs(f"laterals.{joined}.norm", f"{name}_subsample_bn"),
            )
        ),
        *named_blobs("fc", "pred"),
    )


_BLOBS_50 = _blobs(last={"res2": 2, "res3": 3, "res4": 5})
_BLOBS_101 = _blobs(last={"res2": 2, "res3": 3, "res4": 22})


def _mmaction2(*, lateral: str) -> Rules:
    """Return mmaction2's rules; ``lateral`` is what ends our name of a convolution between the paths."""
    return (
        *(
            rule
            for path in _PATHS
            for rule in (
                named(f"{path}.stem.0.conv", f"backbone.{path}_path.conv1.conv"),
                named(f"{path}.stem.0.norm", f"backbone.{path}_path.conv1.bn"),
                *(
                    own
                    for stage in STAGES
                    for own in numbered(
                        f"{path}.res{stage}.", rf"backbone.{path}_path.layer{stage - 1}.\1", parts.MMACTION2
                    )
                ),
            )
        ),
        *(
            rule
            for joined, name in zip(_JOINED, ("conv1", "layer1", "layer2", "layer3"), strict=True)
            for rule in (
                named(f"laterals.{joined}{lateral}", f"backbone.slow_path.{name}_lateral.conv"),
                named(f"laterals.{joined}.norm", f"backbone.slow_path.{name}_lateral.bn"),
            )
        ),
        named("fc", "cls_head.fc_cls"),
    )


_MM, _MM_NORMED = _mmaction2(lateral=""), _mmaction2(lateral=".conv")

_XT: Rules = (
    *(
        rule
        for path in _PATHS
        for rule in (
            named(f"{path}.stem.0.conv", f"{path}_conv1"),
            named(f"{path}.stem.0.norm", f"{path}_bn1"),
            *(
                own
                for stage in STAGES
                for own in numbered(f"{path}.res{stage}.", rf"{path}_res{stage}.\1", parts.X_TEMPORAL)
            ),
        )
    ),
    named("laterals.stem", "lateral_p1"),
    *(named(f"laterals.res{stage}", f"lateral_res{stage}") for stage in (2, 3, 4)),
)


def _slow_first(weight: Tensor) -> Tensor:
    """Return the classifier of a head that has the fast path's channels, a ninth of all, before the slow one's."""
    return torch.roll(weight, -(weight.shape[1] // 9), dims=1)


_FAST_FIRST = ((r"fc\.weight", _slow_first),)

SPELLINGS = (
    *(
        Spelling(dialect="pytorchvideo", backbones=names, rules=_PTV, recipe="ptv256")
        for names in (*_FIFTY, *_HUNDRED, *_SIXTEEN)
    ),
    *(
        Spelling(dialect="pyslowfast", backbones=names, rules=_PSF, recipe="fb256")
        for names in (*_FIFTY, *_HUNDRED, *_SIXTEEN, *_NON_LOCAL_50, *_NON_LOCAL_101)
    ),
    *(
        Spelling(
            dialect="pyslowfast-caffe2",
            backbones=names,
            rules=rules,
            recipe="fb256",
            ignored=(r".+_momentum", "lr", "model_iter"),
        )
        for rules, groups in (
            (_BLOBS_50, (*_FIFTY, *_NON_LOCAL_50)),
            (_BLOBS_101, (*_HUNDRED, *_SIXTEEN, *_NON_LOCAL_101)),
        )
        for names in groups
    ),
    *(
        Spelling(dialect="mmaction2", backbones=(name,), rules=_MM, recipe="mm3d", altered=_FAST_FIRST)
        for name in ("slowfast_50_4x16_mm", "slowfast_50_8x8_mm", "slowfast_101_8x8_mm", "slowfast_101_50_4x16_mm")
    ),
    # mmaction2's "steplr" has norms and ReLUs between the paths, as the paper.
    *(
        Spelling(dialect="mmaction2", backbones=names, rules=_MM_NORMED, recipe="mm3d", altered=_FAST_FIRST)
        for names in (*_FIFTY, *_HUNDRED)
    ),
    Spelling(dialect="X-Temporal", backbones=("slowfast_50_4x16_xt",), rules=_XT, recipe="xt"),
)
