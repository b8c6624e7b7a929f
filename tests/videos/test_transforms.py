"""Resizing against independent computations, and the random view's places and determinism."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.transforms import (
    Resizing,
    center_crop,
    central_look,
    crop_at,
    jitter_range,
    look_at_test,
    normalise,
    preprocess_test,
    random_look,
    resize_short_side,
)

PREPROCESSING = Preprocessing(short_side=24, crop=20)


def seen_at_random(clip: np.ndarray, rng: np.random.Generator, *, flip: bool = True) -> torch.Tensor:
    """Return ``clip`` as a random look sees it."""
    height, width = clip.shape[1:3]
    return random_look((width, height), PREPROCESSING, rng, flip=flip)(clip)


def noise(frames=2, height=30, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def coordinates(height, width, frames=2):
    """A clip whose red is the column, green the row and blue the frame, so that a crop tells its place."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    clip[..., 0] = np.arange(width)
    clip[..., 1] = np.arange(height)[:, None]
    clip[..., 2] = np.arange(frames)[:, None, None]
    return clip


def triangle_matrix(source: int, target: int) -> np.ndarray:
    """Antialiased bilinear resampling of one axis as a (target, source) matrix, written from its definition."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(target)[:, None] + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(source) + 0.5 - centres) / reach)
    return weights / weights.sum(1, keepdims=True)


SIZES = [(30, 40, 24), (240, 320, 60), (17, 31, 20), (2, 2, 24), (1, 5, 8), (41, 23, 23), (50, 50, 7)]


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_resizing_equals_the_definition(height, width, size):
    clip = noise(height=height, width=width)
    resized = resize_short_side(clip, size).numpy()
    rows, columns = (triangle_matrix(a, b) for a, b in zip((height, width), resized.shape[1:3], strict=True))
    expected = np.einsum("th,lhwc,sw->ltsc", rows, clip.astype(float), columns, optimize=True)
    assert np.abs(resized - expected).max() <= 1.01  # uint8 rounds after each axis


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_resizing_equals_torch_on_floats(height, width, size):
    clip = noise(height=height, width=width, seed=1)
    resized = resize_short_side(clip, size)
    planes = torch.from_numpy(clip).permute(0, 3, 1, 2).double()
    expected = F.interpolate(planes, list(resized.shape[1:3]), mode="bilinear", antialias=True)
    assert (resized.permute(0, 3, 1, 2) - expected).abs().max() <= 1.01


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40))
def test_the_short_side_is_exact_and_the_aspect_is_kept(height, width, size):
    resized = resize_short_side(np.zeros((1, height, width, 3), np.uint8), size)
    new_height, new_width = resized.shape[1:3]
    assert min(new_height, new_width) == size
    ratio = min(max(height, width) / min(height, width), 8)
    assert abs(max(new_height, new_width) - size * ratio) <= 0.5


def test_a_clip_of_the_right_size_is_left_alone():
    clip = noise(height=24, width=33)
    assert np.array_equal(resize_short_side(clip, 24).numpy(), clip)


def test_a_long_strip_is_cut_to_its_middle():
    clip = coordinates(2, 200)
    resized = resize_short_side(clip, 2)
    assert resized.shape == (2, 2, 16, 3)
    assert resized[0, 0, :, 0].tolist() == list(range(92, 108))


@pytest.mark.parametrize(("height", "width", "top", "left"), [(20, 20, 0, 0), (23, 28, 1, 4), (30, 21, 5, 0)])
def test_the_center_crop_is_in_the_middle(height, width, top, left):
    cropped = center_crop(coordinates(height, width), 20)
    assert cropped.shape == (2, 20, 20, 3)
    assert cropped[0, 0, 0].tolist() == [left, top, 0]
    assert cropped[1, -1, -1].tolist() == [left + 19, top + 19, 1]


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [(22, 29, ((1, 4), (1, 0), (1, 9))), (33, 20, ((6, 0), (0, 0), (13, 0))), (23, 23, ((1, 1), (1, 0), (1, 3)))],
)
def test_a_tests_crops_lie_along_the_longer_side(height, width, corners):
    preprocessing = Preprocessing(short_side=min(height, width), crop=20)
    looks = [look_at_test(preprocessing, crop=crop) for crop in range(3)]
    seen = [look(coordinates(height, width)) for look in looks]
    assert [tuple(own[0, 0, 0, :2].tolist()) for own in seen] == [(left, top) for top, left in corners]
    assert torch.equal(seen[0], central_look(preprocessing)(coordinates(height, width)))


@pytest.mark.parametrize(("top", "left"), [(-1, 0), (0, -1), (5, 0), (0, 5)])
def test_a_crop_outside_the_picture_is_refused(top, left):
    with pytest.raises(SettingsError, match=r"does not fit a picture of 24×24"):
        crop_at(coordinates(24, 24), top=top, left=left, size=20)


def test_preprocessing_is_a_resize_and_a_center_crop():
    clip = noise(height=48, width=70)
    assert torch.equal(preprocess_test(clip, PREPROCESSING), center_crop(resize_short_side(clip, 24), 20))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (1, 1), (3, 90), (241, 33)])
def test_any_picture_comes_out_whole(height, width):
    clip = np.full((3, height, width, 3), 77, np.uint8)
    for out in (preprocess_test(clip, PREPROCESSING), seen_at_random(clip, np.random.default_rng(0))):
        assert out.dtype == torch.uint8
        assert out.shape == (3, 20, 20, 3)
        assert (out == 77).all()


def test_arrays_tensors_and_views_give_the_same():
    clip = noise(frames=4, height=50, width=64)
    view = clip[::-2, :, ::-1]
    frozen = view.copy()
    frozen.flags.writeable = False
    expected = preprocess_test(torch.from_numpy(view.copy()), PREPROCESSING)
    for form in (view, frozen, torch.from_numpy(view.copy()).transpose(1, 2).contiguous().transpose(1, 2)):
        assert torch.equal(preprocess_test(form, PREPROCESSING), expected)


@pytest.mark.parametrize(
    "clip",
    [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)],
    ids=["float", "image", "empty"],
)
def test_what_is_no_clip_is_refused(clip):
    with pytest.raises(SettingsError, match=r"a clip must be uint8 \(L, H, W, 3\)"):
        preprocess_test(clip, PREPROCESSING)


def test_the_jitter_is_the_papers():
    assert jitter_range(224) == (256, 320)
    assert jitter_range(112) == (128, 160)


def test_the_random_view_is_determined_by_its_generator():
    clip = noise(height=60, width=80)
    views = [seen_at_random(clip, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_without_flips_the_same_crop_comes_out_unmirrored():
    clip = noise(height=60, width=80)
    mirrored = 0
    for seed in range(100):
        free, upright = (seen_at_random(clip, np.random.default_rng(seed), flip=flip) for flip in (True, False))
        assert torch.equal(free, upright) or torch.equal(free, upright.flip(2))
        mirrored += not torch.equal(free, upright)
    assert 35 <= mirrored <= 65  # binomial(100, 0.5), three standard deviations


def test_random_crops_reach_every_place_and_every_scale():
    crop = 20
    low, high = jitter_range(crop)
    clip = coordinates(low, low, frames=1)  # at the least scale the picture is not resampled
    places, scales = set(), set()
    for seed in range(400):
        view = seen_at_random(clip, np.random.default_rng(seed), flip=False)
        side = np.random.default_rng(seed).integers(low, high, endpoint=True)
        scales.add(int(side))
        if side == low:
            left, top, _ = view[0, 0, 0].tolist()
            places.add((top, left))
            assert view[0, -1, -1].tolist() == [left + crop - 1, top + crop - 1, 0]
    assert scales == set(range(low, high + 1))
    assert {top for top, _ in places} == {left for _, left in places} == set(range(low - crop + 1))


def test_all_frames_share_one_view():
    clip = np.repeat(noise(frames=1, height=60, width=80), 3, axis=0)
    view = seen_at_random(clip, np.random.default_rng(5))
    assert torch.equal(view[0], view[1]) and torch.equal(view[0], view[2])


def test_normalising_subtracts_the_mean_and_divides_by_the_deviation():
    clips = torch.from_numpy(np.stack([noise(seed=s) for s in range(3)]))
    out = normalise(clips, PREPROCESSING)
    expected = (clips.double() / 255 - torch.tensor(PREPROCESSING.mean)) / torch.tensor(PREPROCESSING.std)
    assert out.dtype == torch.float32
    assert out.shape == (3, 3, 2, 30, 40)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(out, expected.permute(0, 4, 1, 2, 3).float())


def test_normalised_clips_can_be_trained_on_after_inference():
    other = Preprocessing(short_side=9, crop=9)  # its scale is not in the cache yet
    clips = torch.zeros(1, 1, 9, 9, 3, dtype=torch.uint8)
    with torch.inference_mode():
        normalise(clips, other)
    weight = torch.ones(3, 1, 1, 1, requires_grad=True)
    (normalise(clips, other) * weight).sum().backward()
    black = -81 * torch.tensor(other.mean) / torch.tensor(other.std)  # 9×9 pixels of 0
    torch.testing.assert_close(weight.grad, black.reshape(3, 1, 1, 1))


# How sources resize, by torch itself on floats: what is rounded to whole values differs by half a one at most.
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "wanted"), [((50, 91), (24, 43)), ((91, 50), (43, 24))])
def test_recipes_resize_as_their_sources(size, wanted, interpolation, antialias):
    clip = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    how = Resizing(interpolation=interpolation, antialias=antialias, rounding="down")
    resized = resize_short_side(clip, 24, how=how)
    assert tuple(resized.shape) == (2, *wanted, 3)  # 24 · 91 / 50 = 43.68
    floats = torch.nn.functional.interpolate(
        clip.permute(0, 3, 1, 2).double(), wanted, mode=interpolation, antialias=antialias, align_corners=False
    )
    error = (resized.permute(0, 3, 1, 2).double() - floats.clamp(0, 255)).abs().max()
    assert error <= 1.0


def test_squashing_gives_the_size_whatever_the_ratio():
    squashing = Preprocessing(short_side=32, crop=28, squash=(32, 43))
    for height, width in ((50, 300), (90, 60), (32, 43)):
        clip = torch.full((1, height, width, 3), 7, dtype=torch.uint8)
        look = central_look(squashing)
        assert tuple(resize_short_side(clip, 32, how=look.how).shape) == (1, 32, 43, 3)
        assert torch.equal(look(clip), torch.full((1, 28, 28, 3), 7, dtype=torch.uint8))
    assert squashing.at_crop(14).squash == (16, 22)


def test_training_looks_of_a_squashing_recipe_keep_the_ratio():
    squashing = Preprocessing(short_side=32, crop=28, squash=(32, 43), antialias=False)
    look = random_look((300, 50), squashing, np.random.default_rng(0))
    assert look.how == Resizing(antialias=False)
    assert tuple(look(np.zeros((1, 50, 300, 3), np.uint8)).shape) == (1, 28, 28, 3)
