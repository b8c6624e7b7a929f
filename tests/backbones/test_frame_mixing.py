"""Image networks whose frames see each other: against literal versions, and for what all backbones keep."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from vidpipe.pipeline.backbones.frame_mixing import FrameMixing, TemporalShift, shift_for
from vidpipe.pipeline.backbones.frames import FrameBackbone, FrameSpec
from vidpipe.pipeline.backbones.image_resnet import ImageResNet
from vidpipe.pipeline.backbones.registry import build_backbone, sees_single_frames
from vidpipe.pipeline.backbones.torch_engine import fold_batch_norm
from vidpipe.pipeline.end_to_end.checkpointing import checkpointed

FRAMES = 4


def small(mixing: Callable[[int], FrameMixing] | None) -> FrameBackbone:
    """A ResNet-18 with a mixing before each branch, and weights and statistics such as training leaves behind."""
    torch.manual_seed(0)
    image = partial(ImageResNet, 18, mixing=mixing)
    backbone = FrameSpec(name="small", summary="", image=image, mixes_frames=mixing is not None).build(
        num_classes=3, dropout=0.0
    )
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return backbone.double().eval()


def clips(number: int) -> Tensor:
    return torch.randn(number, 3, FRAMES, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def literal_shift(maps: Tensor, frames: int) -> Tensor:
    """One frame of one clip after the other."""
    eighth, shifted = maps.shape[1] // 8, torch.zeros_like(maps)
    for place in range(len(maps)):
        first, last = place % frames == 0, place % frames == frames - 1
        shifted[place, 2 * eighth :] = maps[place, 2 * eighth :]
        if not last:
            shifted[place, :eighth] = maps[place + 1, :eighth]
        if not first:
            shifted[place, eighth : 2 * eighth] = maps[place - 1, eighth : 2 * eighth]
    return shifted


@pytest.mark.parametrize("frames", [1, 2, 8])
@pytest.mark.parametrize("channels", [16, 27])  # MobileNetV2 has 24
def test_a_shift_is_the_literal_one(channels, frames):
    maps = torch.randn(3 * frames, channels, 2, 3)
    assert torch.equal(TemporalShift()(maps, frames), literal_shift(maps, frames))


MIXINGS = {"shift": shift_for}


@pytest.fixture(scope="module", params=MIXINGS)
def backbone(request) -> FrameBackbone:
    return small(MIXINGS[request.param])


def test_frames_see_their_own_clip_alone(backbone):
    both, apart = clips(2), small(None)
    changed = both.clone()
    changed[1, :, -1] += 1.0
    with torch.no_grad():
        seen, passed = ((own.features(changed) - own.features(both)).abs() for own in (backbone, apart))
    assert not seen[0].any() and not passed[0].any()  # the other clip
    assert (seen[1].amax(dim=(0, 2, 3)) > 1e-6).all()  # eight blocks carry it over four frames
    assert [bool(own.any()) for own in passed[1].unbind(1)] == [False] * (FRAMES - 1) + [True]


def test_folded_norms_compute_the_same(backbone):
    folded = fold_batch_norm(copy.deepcopy(backbone))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(clips(1)), backbone(clips(1)))


@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_parts_that_are_computed_again_give_the_same_gradients(backbone, granularity):
    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(backbone(clips(1))[1].square().sum(), list(backbone.parameters())))

    plain = gradients()
    with checkpointed(backbone, granularity=granularity):
        again = gradients()
    torch.testing.assert_close(again, plain)
    assert all(own.abs().sum() > 0 for own in plain)


def mixed_blocks(name: str) -> list[str]:
    with torch.device("meta"):
        network = build_backbone(name, num_classes=1)
    return [key.removesuffix(".mixing") for key, part in network.named_modules() if isinstance(part, FrameMixing)]


def test_the_blocks_that_are_shifted_are_the_sources():
    depths = (3, 4, 6, 3)
    expected = [f"image.res{stage + 2}.{place}" for stage, depth in enumerate(depths) for place in range(depth)]
    assert mixed_blocks("tsm_resnet_50") == expected
    assert [int(own.rsplit(".", 1)[1]) + 1 for own in mixed_blocks("tsm_mobilenet_v2")] == [
        *(3, 5, 6, 8, 9, 10, 12, 13, 15, 16)  # as the sources number them
    ]
    deep = [place for place in range(23) if place % 2 == 0]
    assert [int(own.rsplit(".", 1)[1]) for own in mixed_blocks("tsm_resnet_101") if "res4" in own] == deep


def test_clips_of_any_kind_suit_only_what_sees_single_frames():
    assert sees_single_frames("resnet_50")
    assert not sees_single_frames("tsm_resnet_50")
    assert not sees_single_frames("tsm_resnet_50_t4")
