"""Gradient checkpointing: nothing but memory may change."""

from functools import cache

import pytest
import torch
from refusals import assert_refused
from torch import nn

from vidpipe.pipeline.backbones.interface import Backbone
from vidpipe.pipeline.backbones.layers import BATCH_NORMS
from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone
from vidpipe.pipeline.end_to_end.checkpointing import checkpointed, checkpointed_parts, untracked_statistics
from vidpipe.pipeline.end_to_end.memory.tracking import tracked_memory
from vidpipe.pipeline.end_to_end.strategies import GRANULARITIES
from vidpipe.pipeline.errors import SettingsError

CPU = torch.device("cpu")
# One of each family, with non-local blocks where depth 14 has them too.
SMALL = [name for name in BACKBONES.names() if "_14" in name and name.endswith("_w16")]
SIZE = 32
# With 16 frames some convolutions span more frames than their maps have, and there torch 2.13 takes wrong gradients of
# the weights in bfloat16 on a CPU, other ones at each run.
FRAMES, FRAMES_IN_BFLOAT16 = 16, 32


def build(name: str, *, training: bool, dtype: torch.dtype = torch.float64, dropout: float = 0.5) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, num_classes=3, dropout=dropout).to(dtype).train(training)


def clips(dtype: torch.dtype = torch.float64, *, number: int = 2, frames: int = FRAMES) -> torch.Tensor:
    return torch.rand(number, 3, frames, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).to(dtype)


def step(backbone: nn.Module, clip: torch.Tensor, *, low_precision: bool = False) -> tuple[dict, dict]:
    """Go forward and backward; return gradients and buffers."""
    torch.manual_seed(2)  # dropout draws the same
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low_precision):
        features, scores = backbone(clip)
    (features.square().mean() + scores.square().sum()).backward()
    gradients = {name: parameter.grad for name, parameter in backbone.named_parameters()}
    return gradients, dict(backbone.named_buffers())


@cache
def plain_step(name: str, *, training: bool) -> tuple[dict, dict]:
    """Return what the plain network gives, once for all granularities."""
    return step(build(name, training=training), clips())


@cache
def plain_step_in_bfloat16(name: str) -> tuple[dict, dict]:
    clip = clips(torch.float32, frames=FRAMES_IN_BFLOAT16)
    return step(build(name, training=True, dtype=torch.float32), clip, low_precision=True)


def assert_close(actual: dict, expected: dict, *, tolerance: float) -> None:
    """Compare tensors by the greatest value of each."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = value.double().abs().max().clamp_min(torch.finfo(torch.float64).tiny)
        difference = ((actual[name].double() - value.double()).abs().max() / scale).item()
        assert difference <= tolerance, f"{name} is off by {difference:.1e}"


@pytest.mark.parametrize("training", [True, False], ids=["tracked", "eval"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", SMALL)
def test_gradients_and_running_statistics_are_those_of_the_plain_network(name, granularity, training):
    expected = plain_step(name, training=training)
    backbone = build(name, training=training)
    with checkpointed(backbone, granularity=granularity):
        actual = step(backbone, clips())
    for own, plain in zip(actual, expected, strict=True):
        assert_close(own, plain, tolerance=1e-8)
    tracked = [value for key, value in actual[1].items() if key.endswith("num_batches_tracked")]
    assert tracked
    assert all(int(value) == training for value in tracked)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", SMALL)
def test_also_in_bfloat16(name, granularity):
    clip = clips(torch.float32, frames=FRAMES_IN_BFLOAT16)
    expected = plain_step_in_bfloat16(name)
    backbone = build(name, training=True, dtype=torch.float32)
    with checkpointed(backbone, granularity=granularity):
        actual = step(backbone, clip, low_precision=True)
    for own, plain in zip(actual, expected, strict=True):
        assert_close(own, plain, tolerance=0.05)  # a bfloat16 holds 8 bits


def test_a_second_call_before_the_backward_pass_counts_as_one_more_batch_for_the_statistics():
    plain, backbone = (build("r2plus1d_14_w16", training=True, dropout=0.0) for _ in range(2))
    for network in (plain, backbone):
        with checkpointed(backbone, granularity="stage"):
            (network(clips())[1].sum() + network(2 * clips())[1].square().sum()).backward()
    assert_close(dict(backbone.named_buffers()), dict(plain.named_buffers()), tolerance=1e-8)
    gradients = [{name: value.grad for name, value in network.named_parameters()} for network in (backbone, plain)]
    assert_close(*gradients, tolerance=1e-8)
    assert int(backbone.get_buffer("conv1.0.norm.num_batches_tracked")) == 2


def test_the_backward_pass_may_come_after_the_block():
    gradients = []
    for inside in (True, False):
        backbone = build("r2d_14_w16", training=True, dropout=0.0)
        with checkpointed(backbone, granularity="block"):
            loss = backbone(clips())[1].square().sum()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        assert int(backbone.get_buffer("conv1.0.norm.num_batches_tracked")) == 1
        gradients.append({name: parameter.grad for name, parameter in backbone.named_parameters()})
    assert_close(*gradients, tolerance=1e-8)


@pytest.mark.parametrize("name", SMALL)
def test_state_dict_keys_stay_and_everything_is_undone(name):
    backbone = build(name, training=True)
    before = {key: set(vars(module)) for key, module in backbone.named_modules()}
    keys = list(backbone.state_dict())
    for granularity in GRANULARITIES:
        with pytest.raises(KeyboardInterrupt), checkpointed(backbone, granularity=granularity):
            assert list(backbone.state_dict()) == keys
            assert {key: set(vars(module)) for key, module in backbone.named_modules()} != before
            raise KeyboardInterrupt
        assert {key: set(vars(module)) for key, module in backbone.named_modules()} == before


@pytest.mark.parametrize("name", SMALL)
def test_parts_hold_every_convolution_and_norm_of_the_features_once(name):
    backbone = build(name, training=True)
    layers = {id(m) for m in backbone.modules() if isinstance(m, nn.Conv3d | nn.BatchNorm3d)}
    for granularity, at_least in (("stage", 5), ("block", 5)):
        parts = checkpointed_parts(backbone, granularity=granularity)
        assert len(parts) >= at_least
        held = [id(m) for part in parts.values() for m in part.modules() if isinstance(m, nn.Conv3d | nn.BatchNorm3d)]
        assert sorted(held) == sorted(layers)


def test_blocks_are_single_residual_blocks():
    with torch.device("meta"):
        backbone = build_backbone("r2plus1d_50", num_classes=2)
    blocks = checkpointed_parts(backbone, granularity="block")
    expected = [
        f"res{stage}.{index}" for stage, count in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True) for index in range(count)
    ]
    assert list(blocks) == ["conv1", *expected]


def test_parts_of_both_pathways_are_found():
    with torch.device("meta"):
        backbone = build_backbone("slowfast_26_8x8", num_classes=2)
    parts = ("stem", "res2", "res3", "res4", "res5")
    stages = [f"{path}.{part}" for path in ("slow", "fast") for part in parts]
    laterals = [f"laterals.{part}" for part in parts[:-1]]
    assert list(checkpointed_parts(backbone, granularity="stage")) == stages + laterals
    blocks = [f"{stage}.{index}" for stage in stages for index in (0, 1) if not stage.endswith("stem")]
    found = checkpointed_parts(backbone, granularity="block")
    assert [name for name in found if not name.endswith("stem")] == blocks + laterals[1:]
    assert all(backbone.get_submodule(name) is part for name, part in found.items())


def test_non_local_blocks_are_parts_by_themselves():
    with torch.device("meta"):
        backbone = build_backbone("i3d_14_nl", num_classes=2)
    expected = ["conv1", "res2.0", "res3.0", "res3.nonlocal0", "res4.0", "res4.nonlocal0", "res5.0"]
    assert list(checkpointed_parts(backbone, granularity="block")) == expected


def test_without_gradients_nothing_changes():
    backbone = build("r2plus1d_14_w16", training=True)
    calls = []
    backbone.res3.register_forward_hook(lambda *_: calls.append(1))
    with checkpointed(backbone, granularity="stage"), torch.no_grad():
        _, scores = backbone(clips())
    assert scores.grad_fn is None
    assert len(calls) == 1
    assert int(backbone.get_buffer("res3.0.reduce.norm.num_batches_tracked")) == 1


def test_finer_parts_take_less_memory():
    def peak(granularity: str | None) -> int:
        backbone = build("r2plus1d_50_w16", training=True, dtype=torch.float32)
        with tracked_memory(CPU) as memory:
            if granularity is None:
                step(backbone, clips(torch.float32, number=8))
            else:
                with checkpointed(backbone, granularity=granularity):
                    step(backbone, clips(torch.float32, number=8))
        return memory.peak_bytes

    plain, stage, block = peak(None), peak("stage"), peak("block")
    assert stage < 0.8 * plain
    assert block < 0.8 * stage


@pytest.mark.parametrize("granularity", ["layer", ""])
def test_an_unknown_granularity_is_refused(granularity):
    backbone = build("r2d_14_w16", training=True)
    refused = assert_refused(SettingsError, match="--granularity must be one of backbone, stage, block")
    with refused, checkpointed(backbone, granularity=granularity):
        pass


class NoParts(Backbone):
    """A network whose family names no parts."""

    def features(self, clip: torch.Tensor) -> torch.Tensor:
        return clip

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        return frames, size, size, 3


@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_a_network_without_such_parts_is_refused(granularity):
    with assert_refused(SettingsError, match="this network has none; use --granularity backbone"):
        checkpointed_parts(NoParts(name="no_parts", num_classes=2, channels=3), granularity=granularity)


@pytest.mark.parametrize("momentum", [0.1, None], ids=["moving", "cumulative"])
def test_untracked_norms_normalise_by_the_batch_and_keep_their_statistics(momentum):
    norm = nn.BatchNorm3d(4, momentum=momentum).train()
    batch = torch.randn(2, 4, 3, 5, 5)
    expected = nn.BatchNorm3d(4).train()(batch)
    before = {name: (id(value), value.clone()) for name, value in norm.named_buffers()}
    with untracked_statistics(norm):
        torch.testing.assert_close(norm(batch), expected)
        assert isinstance(norm, BATCH_NORMS)
    for name, value in norm.named_buffers():
        assert id(value) == before[name][0]
        assert torch.equal(value, before[name][1])


def test_norms_in_evaluation_mode_use_their_statistics_untracked_too():
    norm = nn.BatchNorm3d(4).eval()
    norm.running_mean.fill_(3.0)
    batch = torch.randn(2, 4, 3, 5, 5)
    expected = norm(batch)
    with untracked_statistics(norm):
        assert torch.equal(norm(batch), expected)
