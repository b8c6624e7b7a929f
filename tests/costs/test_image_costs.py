"""Networks of single pictures against published parameters and multiply-adds."""

import pytest
import torch

from vidpipe.pipeline.backbones.registry import build_backbone, feature_shape, usual_clip
from vidpipe.pipeline.costs.flops import backbone_macs

pytestmark = pytest.mark.parity

# Parameters with 1000 classes and 10^9 multiply-adds at 224 pixels. Source: torchvision 0.29.1's records.
TORCHVISION = {
    "resnet_18": (11_689_512, 1.814),
    "resnet_34": (21_797_672, 3.664),
    "resnet_50": (25_557_032, 4.089),
    "resnet_101": (44_549_160, 7.801),
    "mobilenet_v2": (3_504_872, 0.301),
}
# Millions of parameters and of multiply-adds, and pixels. Source: the table beside TensorFlow's EfficientNet-Lite. Its
# profile counts three for each element that passes a norm, on top of multiply-accumulates.
LITE = {
    "efficientnet_lite0": (4.7, 407, 224),
    "efficientnet_lite1": (5.4, 631, 240),
    "efficientnet_lite2": (6.1, 899, 260),
    "efficientnet_lite3": (8.2, 1440, 280),
    "efficientnet_lite4": (13.0, 2640, 300),
}


def parameters(name, num_classes=1000):
    with torch.device("meta"):
        return sum(own.numel() for own in build_backbone(name, num_classes=num_classes).parameters())


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions(name):
    count, gmacs = TORCHVISION[name]
    assert parameters(name) == count
    assert backbone_macs(name, num_frames=1, size=224, num_classes=1000) / 1e9 == pytest.approx(gmacs, abs=0.0006)


@pytest.mark.parametrize("name", LITE)
def test_efficientnet_lites(name):
    millions, madds, size = LITE[name]
    assert parameters(name) / 1e6 == pytest.approx(millions, abs=0.05)
    clip = {"num_frames": 1, "size": size, "num_classes": 1000}
    macs, with_norms = (backbone_macs(name, **clip, convention=own) for own in ("mac", "mac+bn"))
    assert (macs + 3 * (with_norms - macs) / 2) / 1e6 == pytest.approx(madds, rel=0.005)


def test_tsn_50_costs_what_mmaction2_counts():
    assert backbone_macs("resnet_50", num_frames=8, size=224) / 1e9 == pytest.approx(32.70, rel=0.0005)
    assert backbone_macs("resnet_50", num_frames=25, size=224) / 1e9 == pytest.approx(102.18, rel=0.0005)


# mmaction2's figures for so many frames, at so many pixels, with batch norms; parameters with so many classes.
MIXING = {
    ("tsm_resnet_50", 8, 224): (32.88, 400, 24_327_632),
    ("tsm_resnet_50", 16, 224): (65.75, 400, 24_327_632),
    ("tsm_resnet_101", 8, 224): (62.66, 174, 42_856_686),
    ("tsm_mobilenet_v2", 8, 256): (3.269, 400, 2_736_272),
    ("tin_resnet_50", 8, 224): (32.966, 400, 24_358_640),
}


@pytest.mark.parametrize("clip", MIXING)
def test_networks_whose_frames_see_each_other(clip):
    (name, frames, size), (gmacs, num_classes, count) = clip, MIXING[clip]
    found = backbone_macs(name, num_frames=frames, size=size, num_classes=num_classes, convention="mac+bn") / 1e9
    assert found == pytest.approx(gmacs, rel=0.0005)
    assert parameters(name, num_classes) == count


def test_what_interlacing_costs():
    elements = 64 * 56**2 + 3 * 256 * 56**2 + 4 * 512 * 28**2 + 6 * 1024 * 14**2 + 2 * 2048 * 7**2  # of a frame's maps
    moves = 8 * 8 * elements // 4  # each of 8 frames from each, a quarter of the channels
    channels = (64 + 3 * 256 + 4 * 512 + 6 * 1024 + 2 * 2048) // 4
    found = 3 * 3 * 8 * channels + 16 * (8 * 8 + 8 * 2)  # three kernels of width 3, and the linear layers
    clip = {"num_frames": 8, "size": 224}
    assert backbone_macs("tin_resnet_50", **clip) - backbone_macs("tsm_resnet_50", **clip) == moves + found


def test_a_frame_costs_the_same_in_every_clip_but_for_the_classifier():
    one, eight, pooled = (
        backbone_macs(name, num_frames=frames, size=96, num_classes=1) - 512
        for name, frames in (("resnet_18", 1), ("resnet_18", 8), ("resnet_18_t4", 8))
    )
    assert eight == pooled == 8 * one


def test_shapes_and_clips_go_by_the_name():
    assert feature_shape("resnet_18", num_frames=8, size=97) == (8, 4, 4, 512)
    assert feature_shape("resnet_18_t4", num_frames=8, size=97) == (2, 4, 4, 512)
    assert usual_clip("efficientnet_lite0_t8") == (8, 4)
