"""What sets published networks apart from the papers': frames of slow paths, laterals, pools, classifiers."""

import pytest
import torch
from torch import nn

from vidpipe.pipeline.backbones.registry import build_backbone, feature_shape
from vidpipe.pipeline.backbones.slowfast_network import spread_frames
from vidpipe.pipeline.backbones.weights import follow_recipe
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.videos.preprocessing import Preprocessing


def meta(name: str):
    with torch.device("meta"):
        return build_backbone(name, num_classes=5)


# Measured in the sources at alpha 4; the others are worked out by hand.
@pytest.mark.parametrize(
    ("frames", "count", "places"),
    [
        (32, 8, [0, 4, 8, 13, 17, 22, 26, 31]),
        (32, 4, [0, 10, 20, 31]),
        (8, 2, [0, 7]),
        (4, 1, [0]),
    ],
)
def test_spread_frames_are_those_of_the_sources(frames, count, places):
    assert spread_frames(frames, count=count) == places


@pytest.mark.parametrize(
    ("preprocessing", "slow"),
    [
        (Preprocessing(), [0, 4, 8, 12, 16, 20, 24, 28]),
        (RECIPES["mm3d"].preprocessing, [0, 4, 8, 12, 16, 20, 24, 28]),
        (RECIPES["fb256"].preprocessing, [0, 4, 8, 13, 17, 22, 26, 31]),
        (RECIPES["ptv256"].preprocessing, [0, 4, 8, 13, 17, 22, 26, 31]),
    ],
)
def test_the_recipe_says_which_frames_are_slow(preprocessing, slow):
    backbone = build_backbone("slowfast_14_8x8_w16", num_classes=2).eval()
    follow_recipe(backbone, preprocessing)
    seen = []
    backbone.slow.stem.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    clip = torch.arange(32.0)[None, None, :, None, None].expand(1, 3, 32, 16, 16)
    with torch.no_grad():
        backbone(clip)
    assert seen[0][0, 0, :, 0, 0].tolist() == slow


@pytest.mark.parametrize(
    ("name", "kernel", "stride"),
    [
        ("slowfast_50_4x16_mm", 5, 8),
        ("slowfast_50_8x8_mm", 7, 4),
        ("slowfast_101_8x8_mm", 7, 4),
        ("slowfast_101_50_4x16_mm", 5, 8),
        ("slowfast_50_4x16_xt", 5, 4),
    ],
)
def test_what_lies_between_the_paths_may_be_a_convolution_alone(name, kernel, stride):
    for lateral in meta(name).laterals.values():
        assert isinstance(lateral, nn.Conv3d) and lateral.bias is None
        assert (lateral.kernel_size, lateral.stride) == ((kernel, 1, 1), (stride, 1, 1))


def test_six_blocks_of_res4_span_time_in_the_slowfast_of_64_frames():
    backbone = meta("slowfast_101_16x8")
    for path, kernels in ((backbone.slow, (1, 1, 3)), (backbone.fast, (3, 3, 3))):
        found = [[block.reduce.conv.kernel_size[0] for block in getattr(path, f"res{index}")] for index in (2, 3, 5)]
        assert found == [[kernel] * num for kernel, num in zip(kernels, (3, 4, 3), strict=True)]
        assert [block.reduce.conv.kernel_size[0] for block in path.res4] == [3] * 6 + [1] * 17


def test_paths_may_have_depths_of_their_own():
    backbone = meta("slowfast_101_50_4x16_mm")
    assert (len(backbone.slow.res4), len(backbone.fast.res4)) == (23, 6)


def test_non_local_blocks_stand_where_the_sources_have_them():
    def places(stage: nn.Module) -> list[str]:
        return [name for name, _ in stage.named_children() if name.startswith("nonlocal")]

    for name in ("slow_only_50_nl_dot", "i3d_101_8x8_nl_softmax", "i3d_50_nl_gaussian", "c2d_50_8x8_nl_softmax"):
        backbone = meta(name)
        assert places(backbone.res3) == ["nonlocal1", "nonlocal3"]
        assert places(backbone.res4) == ["nonlocal1", "nonlocal3", "nonlocal5"]
        assert not (places(backbone.res2) or places(backbone.res5))
    scaled = meta("slow_only_50_nl_embedded")
    assert (places(scaled.res3), places(scaled.res4)) == (
        ["nonlocal0", "nonlocal2"],
        ["nonlocal0", "nonlocal2", "nonlocal4"],
    )
    slowfast = meta("slowfast_101_16x8_nl_dot")
    assert places(slowfast.slow.res4) == ["nonlocal6", "nonlocal13", "nonlocal20"]
    assert not (places(slowfast.slow.res3) or places(slowfast.fast.res4))


@pytest.mark.parametrize("size", [5, 6, 9, 32, 97, 112, 224, 256])
def test_a_pool_without_padding_leaves_the_announced_grid(size):
    backbone = meta("c2d_50_mm").eval()
    features = backbone.features(torch.empty(1, 3, 2, size, size, device="meta"))
    assert tuple(features.shape[2:]) == feature_shape("c2d_50_mm", num_frames=2, size=size)[:3]


def test_a_pool_without_padding_needs_a_few_pixels():
    with pytest.raises(SettingsError, match="c2d_50_mm needs clips of at least 5 pixels; got size=4"):
        feature_shape("c2d_50_mm", num_frames=2, size=4)
    with pytest.raises(SettingsError, match="at least 1 pixel; got size=0"):
        feature_shape("c2d_50_mm", num_frames=2, size=0)


def test_a_classifier_without_bias_stays_without():
    backbone = build_backbone("slowfast_50_4x16_xt", num_classes=3)
    assert "fc.bias" not in backbone.state_dict()
    backbone.renew_classifier(7)
    assert "fc.bias" not in backbone.state_dict() and backbone.fc.out_features == 7


def test_records_mention_slow_frames_only_where_they_are_spread():
    assert "slow_frames" not in Preprocessing().record()
    assert RECIPES["fb256"].preprocessing.record()["slow_frames"] == "spread"
    with pytest.raises(SettingsError, match="slow_frames must be one of every, spread; got 'some'"):
        Preprocessing(slow_frames="some")
