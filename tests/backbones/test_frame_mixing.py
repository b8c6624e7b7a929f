"""Image networks whose frames see each other: against literal versions, and for what all backbones keep."""

import copy
from collections.abc import Callable
from functools import partial
from math import floor

import pytest
import torch
from torch import Tensor, nn

from vidpipe.pipeline.backbones.frame_mixing import FrameMixing, TemporalInterlace, TemporalShift, shift_for
from vidpipe.pipeline.backbones.frames import FrameBackbone, FrameSpec
from vidpipe.pipeline.backbones.image_resnet import ImageResNet
from vidpipe.pipeline.backbones.registry import build_backbone, feature_shape, sees_single_frames, usual_clip
from vidpipe.pipeline.backbones.torch_engine import fold_batch_norm
from vidpipe.pipeline.end_to_end.checkpointing import checkpointed
from vidpipe.pipeline.errors import SettingsError

FRAMES = 4


def small(mixing: Callable[[int], FrameMixing] | None) -> FrameBackbone:
    """A narrow ResNet-18 with a mixing before each branch, and statistics such as training leaves behind."""
    torch.manual_seed(0)
    image = partial(ImageResNet, 18, mixing=mixing, width=16)
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


def drawn_interlace(channels: int) -> FrameMixing:
    """Return one whose offsets and weights differ from clip to clip and from frame to frame."""
    interlace = TemporalInterlace(channels, frames=FRAMES)
    for parameter in interlace.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return interlace


def literal_interlace(interlace: TemporalInterlace, maps: Tensor, frames: int) -> Tensor:
    """One clip, one group and one frame after the other; integer shifts, then the mean of two by the fraction."""
    moved, quarter = maps.clone(), maps.shape[1] // 4
    for clip in range(len(maps) // frames):
        own = maps[clip * frames : (clip + 1) * frames]
        averages = own[:, :quarter].mean((2, 3)).T[None]
        hidden = interlace.offset_hidden(interlace.offset_conv(averages)[0, 0]).relu()
        first, second = (4 * (interlace.offset_last(hidden).sigmoid() - 0.5)).tolist()
        weights = 2 * interlace.weight_conv(averages)[0].sigmoid()
        for group, offset in enumerate((first, second, -first, -second)):
            channels = slice(group * quarter // 4, (group + 1) * quarter // 4)
            for frame in range(frames):
                found = torch.zeros_like(own[0, channels])
                for whole, share in ((floor(offset), 1 - offset % 1), (floor(offset) + 1, offset % 1)):
                    if 0 <= frame - whole < frames:
                        found += share * own[frame - whole, channels]
                moved[clip * frames + frame, channels] = weights[group % 2, frame] * found
    return moved


def test_an_interlace_is_the_literal_one():
    torch.manual_seed(0)
    interlace = drawn_interlace(32).double()
    maps = torch.randn(3 * FRAMES, 32, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(interlace(maps, FRAMES), literal_interlace(interlace, maps, FRAMES))


def test_an_interlace_begins_at_half_a_frame_and_without_weights():
    interlace = TemporalInterlace(64, frames=8)
    interlace.begin()
    for layer in (interlace.offset_last, interlace.weight_conv):
        nn.init.zeros_(layer.weight)
    maps = torch.ones(8, 64, 1, 1)
    with torch.no_grad():
        moved = interlace(maps, 8)[:, ::4, 0, 0]  # a channel of each moving group, and others
    torch.testing.assert_close(moved[0, :4], torch.tensor([0.5, 0.5, 1.0, 1.0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(moved[7, :4], torch.tensor([1.0, 1.0, 0.5, 0.5]), rtol=0, atol=1e-4)
    torch.testing.assert_close(moved[1:7], torch.ones(6, 16), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_interlace_has_the_same_bits_at_every_place_of_a_batch(dtype):
    torch.manual_seed(0)
    interlace, order = TemporalInterlace(64, frames=8).to(dtype), [2, 0, 1]
    with torch.inference_mode():
        for _ in range(5):
            maps = torch.randn(3, 8, 64, 3, 3).to(dtype)
            found = interlace(maps.flatten(0, 1), 8).unflatten(0, (3, 8))
            assert torch.equal(interlace(maps[order].flatten(0, 1), 8).unflatten(0, (3, 8)), found[order])


MIXINGS = {"shift": shift_for, "interlace": partial(TemporalInterlace, frames=FRAMES)}


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
    kinds = [key.split(".", 3)[-1] for key, _ in backbone.named_parameters()]  # a ReLU may be dead in one block
    assert {kind for kind, own in zip(kinds, plain, strict=True) if own.any()} == set(kinds)


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


@pytest.mark.parametrize(("name", "frames"), [("tin_resnet_50", 8), ("tin_resnet_50_16f", 16), ("tin_resnet_101", 8)])
def test_an_interlace_in_every_block_takes_clips_of_one_length(name, frames):
    assert len(mixed_blocks(name)) == (33 if "101" in name else 16)
    assert feature_shape(name, num_frames=frames, size=64) == (frames, 2, 2, 2048)
    assert usual_clip(name) == (frames, 4)
    with pytest.raises(SettingsError, match=f"{name} needs clips of {frames} frames, .*; got 12"):
        feature_shape(name, num_frames=12, size=64)


def test_clips_of_any_kind_suit_only_what_sees_single_frames():
    assert sees_single_frames("resnet_50")
    assert not sees_single_frames("tsm_resnet_50")
    assert not sees_single_frames("tsm_resnet_50_t4")
