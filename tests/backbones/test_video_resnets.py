"""The networks of torchvision, VMZ and mmaction2's R(2+1)D: published sizes and costs, layers, small versions run.

Scores against the sources' own code are in ``tests/checkpoints``.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidpipe.pipeline.backbones import video_resnet as networks
from vidpipe.pipeline.backbones.interface import Backbone
from vidpipe.pipeline.backbones.layers import BATCH_NORMS
from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone, feature_shape
from vidpipe.pipeline.backbones.s3d import SeparableInception
from vidpipe.pipeline.backbones.torch_engine import fold_batch_norm
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.errors import SettingsError

NAMES = [*(spec.name for spec in networks.VIDEO_RESNETS), "s3d"]


def meta(name: str, num_classes: int = 400) -> Backbone:
    with torch.device("meta"):
        return build_backbone(name, num_classes=num_classes)


# With 400 classes: torchvision's `num_params`; counted in the networks of VMZ, ig65m and mmaction2.
PARAMETERS = {
    "r2plus1d_18": 31_505_325,
    "r3d_18": 33_371_472,
    "mc3_18": 11_695_440,
    "s3d": 8_320_048,
    "r2plus1d_34_vmz": 63_697_175,
    "r2plus1d_34_mm": 63_759_281,
}
# VMZ's model zoo, which leaves out batch norms.
MILLIONS_WITHOUT_NORMS = {"r2plus1d_18_vmz": 33.3, "r2plus1d_34_vmz": 63.6, "r2plus1d_152_vmz": 118.0}


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters_to_the_last_one(name, expected):
    assert sum(parameter.numel() for parameter in meta(name).parameters()) == expected


@pytest.mark.parametrize(("name", "millions"), MILLIONS_WITHOUT_NORMS.items())
def test_parameters_as_vmz_counts_them(name, millions):
    count = sum(own.numel() for key, own in meta(name).named_parameters() if ".norm." not in key)
    assert count / 1e6 == pytest.approx(millions, abs=0.051)


# (name, frames, side, GMACs). torchvision: its `_ops`. VMZ: its model zoo, whose figures for R(2+1)D-34 and -152 are
# said to be of 112 pixels and are of 128; 152.4 and 52.98 are fvcore's counts of the sources' networks.
COSTS = [
    ("r2plus1d_18", 16, 112, 40.519),
    ("r3d_18", 16, 112, 40.697),
    ("mc3_18", 16, 112, 43.343),
    ("s3d", 16, 224, 17.979),
    ("r2plus1d_18_vmz", 8, 112, 20.7),
    ("r2plus1d_18_vmz", 16, 112, 41.5),
    ("r3d_18", 8, 112, 20.3),
    ("mc3_18", 8, 112, 21.7),
    ("r2plus1d_34_vmz", 8, 128, 49.8),
    ("r2plus1d_34_vmz", 32, 128, 199.0),
    ("r2plus1d_34_vmz", 32, 112, 152.4),
    ("r2plus1d_152_vmz_nopool", 32, 128, 329.1),
    ("r2plus1d_34_mm", 8, 224, 40.56),
    ("r2plus1d_34_mm", 8, 256, 52.98),
]


@pytest.mark.parity
@pytest.mark.parametrize(("name", "frames", "side", "gmacs"), COSTS)
def test_costs_are_the_published_ones(name, frames, side, gmacs):
    assert backbone_macs(name, num_frames=frames, size=side) / 1e9 == pytest.approx(gmacs, rel=0.005)


def test_mmaction2s_figures_count_batch_norms():
    for frames, gmacs in ((8, 53.1), (32, 213.0)):
        found = backbone_macs("r2plus1d_34_mm", num_frames=frames, size=256, convention="mac+bn") / 1e9
        assert found == pytest.approx(gmacs, rel=0.005)


def layers_of(network: nn.Module) -> list[str]:
    """Each convolution as inputs>outputs kernel/stride, in the order of the network."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv3d)]
    return [
        f"{own.in_channels}>{own.out_channels} {'×'.join(map(str, own.kernel_size))}/{','.join(map(str, own.stride))}"
        for own in convolutions
    ]


def test_mc3_has_torchvisions_layers():
    expected = ["3>64 3×7×7/1,2,2", *["64>64 3×3×3/1,1,1"] * 4]
    for inputs, planes in ((64, 128), (128, 256), (256, 512)):
        expected += [f"{inputs}>{planes} 1×3×3/1,2,2", f"{planes}>{planes} 1×3×3/1,1,1"]
        expected += [f"{inputs}>{planes} 1×1×1/1,2,2", *[f"{planes}>{planes} 1×3×3/1,1,1"] * 2]
    backbone = meta("mc3_18")
    assert layers_of(backbone) == expected
    assert all(own.padding == tuple(side // 2 for side in own.kernel_size) for own in convolutions(backbone))


def convolutions(network: nn.Module) -> list[nn.Conv3d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv3d)]


def planes_between(name: str, stage: str) -> list[int]:
    """The planes between the two pieces of each factorised convolution of a stage."""
    row = getattr(meta(name), stage)
    return [own.out_channels for own in convolutions(row) if own.kernel_size == (1, 3, 3)]


def test_three_networks_of_one_name_differ_in_the_planes_between():
    assert planes_between("r2plus1d_18", "res3") == [230, 230, 288, 288]  # the second takes those of the first
    assert planes_between("r2plus1d_18_vmz", "res3") == [230, 288, 288, 288]
    assert planes_between("r2plus1d_34_vmz", "res5") == [921, 1152, 1152, 1152, 1152, 1152]
    assert planes_between("r2plus1d_34_mm", "res5") == planes_between("r2plus1d_34_vmz", "res5")
    assert planes_between("r2plus1d_152_vmz", "res4") == [576] * 36
    assert [meta(name).conv1[0].conv.out_channels for name in ("r2plus1d_34_vmz", "r2plus1d_34_mm")] == [45, 83]
    assert layers_of(meta("r2plus1d_34_mm").res3[0].shortcut) == ["64>54 1×1×1/1,2,2", "54>128 1×1×1/2,1,1"]
    assert layers_of(meta("r2plus1d_34_vmz").res3[0].shortcut) == ["64>128 1×1×1/2,2,2"]


def test_batch_norms_have_their_sources_eps():
    found = {name: {} for name in NAMES}
    for name in NAMES:
        for module in meta(name).modules():
            if isinstance(module, BATCH_NORMS):
                found[name][module.eps] = found[name].get(module.eps, 0) + 1
    assert {name: set(own) for name, own in found.items()} == {
        "r2plus1d_18": {1e-5},
        "r3d_18": {1e-5},
        "mc3_18": {1e-5},
        "r2plus1d_18_vmz": {1e-3},
        "r2plus1d_34_vmz": {1e-3},
        "r2plus1d_152_vmz": {1e-3},
        "r2plus1d_152_vmz_nopool": {1e-3},
        "r2plus1d_34_mm": {1e-3, 1e-5},
        "s3d": {1e-3},
    }
    assert found["r2plus1d_34_mm"] == {1e-3: 36, 1e-5: 36}
    assert meta("r2plus1d_34_mm").res3[0].shortcut[0].norm.eps == 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_stages_and_blocks_hold_everything_but_the_classifier(name):
    backbone = meta(name)
    whole = {key for key, _ in backbone.named_parameters() if not key.startswith("fc.")}
    for parts in (backbone.stages(), backbone.blocks()):
        assert all(backbone.get_submodule(key) is part for key, part in parts.items())
        held = [f"{part}.{key}" for part, module in parts.items() for key, _ in module.named_parameters()]
        assert len(held) == len(set(held)) and set(held) == whole
    assert len(backbone.blocks()) > len(backbone.stages())


SMALL = {spec.name: replace(spec, width=16, blocks=(1, 2, 1, 1)) for spec in networks.VIDEO_RESNETS}


def small(name: str) -> Backbone:
    """A narrow and shallow version with weights and statistics such as training leaves behind."""
    torch.manual_seed(0)
    backbone = SMALL[name].build(num_classes=5, dropout=0.0) if name in SMALL else build_backbone(name, num_classes=5)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    nn.init.normal_(backbone.fc.weight, 0, 0.1)
    return backbone.eval()


def literal_unit(state: dict[str, Tensor], key: str, x: Tensor, stride: tuple[int, int, int], eps: float) -> Tensor:
    weight = state[f"{key}.conv.weight"]
    x = F.conv3d(x, weight, stride=stride, padding=tuple(side // 2 for side in weight.shape[2:]))
    norm = [state[f"{key}.norm.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *norm, eps=eps)


def literal_mc3(state: dict[str, Tensor], clip: Tensor) -> Tensor:
    """torchvision's MC3 of blocks 1, 2, 1, 1: strides in space alone, and no pool after conv1."""
    x = literal_unit(state, "conv1.0", clip, (1, 2, 2), 1e-5).relu()
    for block, side in (("res2.0", 1), ("res3.0", 2), ("res3.1", 1), ("res4.0", 2), ("res5.0", 2)):
        out = literal_unit(state, f"{block}.first.0", x, (1, side, side), 1e-5).relu()
        out = literal_unit(state, f"{block}.second.0", out, (1, 1, 1), 1e-5)
        x = (out + (literal_unit(state, f"{block}.shortcut", x, (1, 2, 2), 1e-5) if side == 2 else x)).relu()
    return x.mean((2, 3, 4)) @ state["fc.weight"].T + state["fc.bias"]


def test_mc3_is_the_literal_one():
    backbone = small("mc3_18").double()
    clip = torch.randn(2, 3, 5, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(backbone(clip)[1], literal_mc3(dict(backbone.state_dict()), clip))


@pytest.mark.parametrize("name", [*SMALL, "s3d"])
def test_training_reaches_every_parameter(name):
    backbone = small(name).train()
    _, scores = backbone(torch.randn(2, 3, 16, 32, 32))
    F.cross_entropy(scores, torch.tensor([0, 2])).backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", [*SMALL, "s3d"])
def test_folding_batch_norm_changes_nothing_but_rounding(name):
    plain, folded = small(name), fold_batch_norm(small(name))
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    clip = torch.randn(1, 3, 16, 32, 32)
    with torch.no_grad():
        for found, expected in zip(folded(clip), plain(clip), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_blocks_begin_as_their_shortcut(name):
    backbone = small(name)
    backbone.begin_as_identity()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.zeros_(module.bias)
    block = backbone.res3[1]
    channels = 32 * (4 if "152" in name else 1)
    x = torch.rand(1, channels, 2, 4, 4)
    with torch.no_grad():
        assert torch.equal(block(x), x)


@pytest.mark.parametrize("name", [*SMALL, "s3d"])
@pytest.mark.parametrize(("frames", "size"), [(14, 17), (15, 33), (21, 50)])
def test_maps_have_the_announced_shape_whatever_the_clip(name, frames, size):
    with torch.device("meta"), torch.no_grad():
        backbone = (SMALL[name] if name in SMALL else BACKBONES[name]).build(num_classes=5, dropout=0.0)
        features, _ = backbone.eval()(torch.empty(1, 3, frames, size, size))
    time, height, width, channels = backbone.feature_shape(frames, size)
    assert features.shape == (1, channels, time, height, width)


def test_maps_at_the_sources_sizes():
    assert feature_shape("r2plus1d_18", num_frames=16, size=112) == (2, 7, 7, 512)
    assert feature_shape("mc3_18", num_frames=16, size=112) == (16, 7, 7, 512)
    assert feature_shape("r2plus1d_34_vmz", num_frames=32, size=112) == (4, 7, 7, 512)
    assert feature_shape("r2plus1d_34_mm", num_frames=8, size=256) == (1, 8, 8, 512)
    assert feature_shape("r2plus1d_152_vmz", num_frames=32, size=224) == (4, 7, 7, 2048)
    assert feature_shape("s3d", num_frames=128, size=224) == (16, 7, 7, 1024)
    assert feature_shape("r2plus1d_18", num_frames=1, size=1) == (1, 1, 1, 512)


def test_s3d_refuses_what_leaves_no_map():
    with pytest.raises(SettingsError, match="s3d needs clips of at least 14 frames; got 13"):
        feature_shape("s3d", num_frames=13, size=224)
    with pytest.raises(SettingsError, match="s3d needs clips of at least 17 pixels; got size=16"):
        feature_shape("s3d", num_frames=16, size=16)
    with pytest.raises(SettingsError, match="at least 14 frames"):
        meta("s3d")(torch.empty(1, 3, 8, 64, 64, device="meta"))


def test_s3d_has_the_papers_blocks():
    blocks = [module for module in meta("s3d").modules() if isinstance(module, SeparableInception)]
    outputs = [sum(branch[-1].conv.out_channels for branch in block.branches) for block in blocks]
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    assert layers_of(blocks[0].branches[1]) == ["192>96 1×1×1/1,1,1", "96>128 1×3×3/1,1,1", "128>128 3×1×1/1,1,1"]
