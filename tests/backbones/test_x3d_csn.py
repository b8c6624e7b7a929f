"""X3D and CSN: their published sizes and costs, and what their depthwise convolutions and necks need elsewhere."""

import numpy as np
import pytest
import torch
from torch import nn

from vidpipe.pipeline.backbones.csn import CSNS
from vidpipe.pipeline.backbones.engine import build_engine
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.layers import Bottleneck
from vidpipe.pipeline.backbones.registry import build_backbone, usual_clip
from vidpipe.pipeline.backbones.torch_engine import fold_batch_norm
from vidpipe.pipeline.backbones.weights import collect_weights
from vidpipe.pipeline.backbones.x3d import X3D, SqueezeExcite, X3DBlock, X3DSpec
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.videos.preprocessing import Preprocessing

# With 400 classes. Source: the networks of PySlowFast, pytorchvideo, mmaction2 and VMZ; of 152 ip and L the published
# millions.
PARAMETERS = {
    "x3d_xs": 3_794_322,
    "x3d_s": 3_794_322,
    "x3d_m": 3_794_322,
    "ircsn_50": 13_131_152,
    "ircsn_101": 22_213_776,
    "ircsn_152": 29_703_568,
}
MILLIONS = {"x3d_l": 6.15, "ipcsn_152": 33.0}
# (network, frames, pixels, what an element through a batch norm adds) -> GMACs as published. Sources: PySlowFast's zoo
# (X3D at the crops of training); pytorchvideo's (X3D at 182, 256, 356; CSN-101; batch norm at 5), and fvcore's count of
# its networks at 256; mmaction2's (batch norm at 2); VMZ's.
GMACS = {
    ("x3d_s", 13, 160, 0): 1.96,
    ("x3d_m", 16, 224, 0): 4.73,
    ("x3d_m", 16, 256, 0): 6.18,
    ("x3d_l", 16, 312, 0): 18.37,
    ("x3d_xs", 4, 182, 5): 0.91,
    ("x3d_s", 13, 182, 5): 2.96,
    ("x3d_m", 16, 256, 5): 6.72,
    ("x3d_l", 16, 356, 5): 26.64,
    ("ircsn_101", 32, 256, 0): 73.75,
    ("ircsn_101", 32, 256, 5): 75.62,
    ("ircsn_50", 32, 256, 2): 55.90,
    ("ircsn_152", 32, 256, 2): 97.63,
    ("ipcsn_152", 32, 256, 2): 109.9,
    ("ircsn_152", 32, 256, 0): 96.7,
    ("ipcsn_152", 32, 256, 0): 108.8,
}
TINY = X3DSpec(name="x3d_s", blocks=(1, 2, 1, 1), usual_clip=(4, 1), pixels=32)


def tiny(num_classes: int = 3) -> X3D:
    torch.manual_seed(0)
    return TINY.build(num_classes=num_classes, dropout=0.0)


def count(name: str) -> int:
    with torch.device("meta"):
        return sum(part.numel() for part in build_backbone(name, num_classes=400).parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_sources(name):
    assert count(name) == PARAMETERS[name]


@pytest.mark.parametrize("name", MILLIONS)
def test_millions_of_parameters_are_the_published(name):
    decimals = len(str(MILLIONS[name]).partition(".")[2])
    assert round(count(name) / 1e6, decimals) == MILLIONS[name]


@pytest.mark.parity
@pytest.mark.parametrize("cell", GMACS, ids=lambda cell: "-".join(map(str, cell)))
def test_gmacs_are_the_published(cell):
    name, frames, pixels, per_normalised = cell
    macs, with_norms = (
        backbone_macs(name, num_frames=frames, size=pixels, convention=own) / 1e9 for own in ("mac", "mac+bn")
    )
    assert macs + (with_norms - macs) * per_normalised / 2 == pytest.approx(GMACS[cell], rel=0.005)


def test_x3d_xs_costs_what_the_paper_cuts_off_after_two_decimals():
    # PySlowFast prints 0.60: 0.605, less the rest. pytorchvideo's figure for it is met above.
    assert int(backbone_macs("x3d_xs", num_frames=4, size=160) / 1e7) == 60


def test_the_usual_clips_are_the_papers():
    clips = {name: usual_clip(name) for name in ("x3d_xs", "x3d_s", "x3d_m", "x3d_l", "ircsn_50")}
    assert list(clips.values()) == [(4, 12), (13, 6), (16, 5), (16, 5), (32, 2)]


def test_every_other_block_squeezes_to_the_papers_widths():
    with torch.device("meta"):
        network = build_backbone("x3d_m", num_classes=2)
    rows = [getattr(network, f"res{stage}") for stage in (2, 3, 4, 5)]
    for row, (channels, squeezed) in zip(rows, [(54, 8), (108, 8), (216, 16), (432, 32)], strict=True):
        squeezes = [isinstance(block.squeeze, SqueezeExcite) for block in row]
        assert squeezes == [place % 2 == 0 for place in range(len(row))]
        assert row[0].squeeze.reduce.weight.shape[:2] == (squeezed, channels)


@pytest.mark.parametrize("name", ["ircsn_50", "ipcsn_50"])
def test_channels_of_csn_meet_in_one_by_ones_alone(name):
    with torch.device("meta"):
        network = build_backbone(name, num_classes=2)
    for block in (module for module in network.modules() if isinstance(module, Bottleneck)):
        *mixing, depthwise = block.middle
        assert depthwise.conv.groups == depthwise.conv.in_channels and depthwise.conv.kernel_size == (3, 3, 3)
        assert [own.conv.kernel_size for own in mixing] == [(1, 1, 1)] * (name == "ipcsn_50")
        assert all(isinstance(own.activation, nn.Identity) for own in mixing)
    assert len({spec.name for spec in CSNS}) == 6


def test_scores_of_x3d_are_neck_and_classifier_on_the_averaged_map():
    network = tiny().eval()
    with torch.no_grad():
        features, scores = network(torch.randn(2, 3, 3, 40, 40))
        assert features.shape == (2, 432, 3, 2, 2)
        pooled = (features.flatten(2).mean(2) @ network.neck[0].weight.T).relu()
        torch.testing.assert_close(scores, pooled @ network.fc.weight.T + network.fc.bias)


def test_training_reaches_every_parameter_of_x3d():
    network = tiny()
    _, scores = network(torch.randn(2, 3, 4, 64, 64))
    nn.functional.cross_entropy(scores, torch.tensor([0, 2])).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


def test_blocks_of_x3d_can_begin_as_the_identity():
    network = tiny().eval()
    network.begin_as_identity()
    x = torch.rand(1, 48, 2, 4, 4)
    assert torch.equal(network.res3[1](x), x)


def test_stages_and_blocks_of_x3d_are_all_that_features_runs():
    network = tiny()
    head = {"neck", "dropout", "fc"}
    assert set(network.stages()) == {name for name, _ in network.named_children()} - head
    inside = [module for module in network.blocks().values() if isinstance(module, X3DBlock)]
    assert len(inside) == sum(TINY.blocks)
    parts = [part for module in network.blocks().values() for part in module.parameters()]
    assert sum(map(torch.numel, parts)) == sum(
        own.numel() for key, own in network.named_parameters() if key.partition(".")[0] not in head
    )


def test_folding_norms_into_depthwise_convolutions_changes_nothing():
    network = tiny().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0.0, 0.1)
    clip = torch.randn(1, 3, 3, 40, 40)
    with torch.no_grad():
        before = network(clip)
        after = fold_batch_norm(network)(clip)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_the_engine_runs_a_neck_in_low_precision():
    weights = collect_weights(
        build_backbone("x3d_xs", num_classes=2),
        classes=["a", "b"],
        preprocessing=Preprocessing(crop=32, short_side=32),
        num_frames=2,
    )
    clips = torch.randint(0, 256, (1, 2, 32, 32, 3), dtype=torch.uint8)
    results = {
        precision: build_engine(weights, EngineSettings(device="cpu", precision=precision)).run(clips)
        for precision in ("float32", "bfloat16")
    }
    (features, scores), (rough_features, rough_scores) = results.values()
    assert features.shape == rough_features.shape == (1, 2, 1, 1, 432)
    assert rough_scores.dtype == np.float32
    assert np.abs(scores - rough_scores).max() < 0.05 * np.abs(scores).max() + 1e-3
