"""Multiply-accumulates against the paper, and against counts worked out by hand."""

import pytest
import torch
from torch import nn

from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.flops import backbone_macs, count_macs

FRAMES = (8, 16, 32)
# GMACs, convolutions only: first what Table 1 comes to, worked out independently, then what Table 2 prints. Its 6.0 for
# R2D-26 at 16 frames is not what the architecture costs (twice 3.17) and is left out; R3D-50: 942.7 for 8 clips.
CELLS = {
    "r2d_26": [(3.166, 3.2), (6.333, None), (12.665, 12.7)],
    "r2plus1d_50": [(29.979, 30.0), (59.959, 60.0), (119.918, 119.9)],
    "r3d_50": [(29.460, None), (58.920, None), (117.841, 942.7 / 8)],
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("index", range(3))
def test_backbones_cost_what_the_paper_says(name, index):
    worked_out, paper = CELLS[name][index]
    classifier = 2048 * 400
    gmacs = (backbone_macs(name, num_frames=FRAMES[index], size=224) - classifier) / 1e9
    assert abs(gmacs - worked_out) <= 0.000_51  # its three decimals
    if paper is not None:
        # Table 2 has one decimal: half of that is more than 0.5 % for R2D-26 alone.
        assert gmacs == pytest.approx(paper, rel=0.005, abs=0.05)


def reference_macs(conv: nn.Conv3d, out: tuple[int, ...]) -> int:
    time, height, width = conv.kernel_size
    positions = out[0] * out[2] * out[3] * out[4]
    return positions * conv.out_channels * (conv.in_channels // conv.groups) * time * height * width


@pytest.mark.parametrize("stride", [1, 2, (8, 2, 2)])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_convolution_is_counted_right(stride, groups, padding):
    conv = nn.Conv3d(4, 8, (3, 5, 1), stride, padding, groups=groups)
    x = torch.randn(2, 4, 9, 11, 7)
    assert count_macs(conv, x) == reference_macs(conv, tuple(conv(x).shape))


def test_matrix_products_and_nested_inputs_are_counted():
    def mix(maps, *, weight=None):
        return maps["a"] @ maps["b"][0]

    assert count_macs(mix, {"a": torch.randn(5, 7), "b": [torch.randn(7, 3)]}) == 5 * 7 * 3


def test_a_recurrent_module_costs_its_steps():
    gru = nn.GRUCell(6, 10)
    steps = nn.GRU(6, 10, batch_first=True)
    one_step = 3 * 10 * (6 + 10)
    assert count_macs(gru, torch.randn(4, 6), torch.randn(4, 10)) == 4 * one_step
    assert count_macs(steps, torch.randn(4, 5, 6)) == 4 * 5 * one_step


def test_counting_leaves_the_module_alone():
    module = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4)).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    count_macs(module, torch.randn(2, 3, 4, 4, 4))
    assert module.training
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_batch_and_the_classifier_count():
    linear = nn.Linear(30, 7)
    assert count_macs(linear, torch.empty(4, 30)) == 4 * 30 * 7
    few, many = (backbone_macs("r2d_14_w16", num_frames=8, size=64, num_classes=k) for k in (1, 101))
    assert many - few == 100 * 512


def test_a_shape_that_cannot_be_run_is_refused():
    with pytest.raises(SettingsError, match="multiple of 8"):
        backbone_macs("r2d_26", num_frames=4, size=224)
