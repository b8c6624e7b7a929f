"""Resizing, cropping, flipping and normalising whole clips.

Everything up to the crop takes uint8 clips (L, H, W, 3), as arrays or tensors, and returns uint8 tensors: a quarter of
the memory of float, and torch's uint8 resize is four times as fast. Only `normalise` makes floats, on the device that
uses them.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingsError
from .preprocessing import Preprocessing

_SCALE_JITTER = (256 / 224, 320 / 224)  # shorter side over crop; Wang et al. (2018), as in FASTER's training
_MAX_ASPECT = 8  # longer pictures lose their ends: a strip of 2×9,000 pixels, resized, would fill the memory

Clip = np.ndarray | Tensor


def _as_clip(clip: Clip) -> Tensor:
    """Return a uint8 clip as a contiguous tensor (L, H, W, 3), without copying where possible.

    Raises:
        SettingsError: if it has another shape or dtype.
    """
    if isinstance(clip, np.ndarray):
        usable = clip.flags.writeable and clip.flags.c_contiguous
        clip = torch.from_numpy(clip if usable else clip.copy(order="C"))
    if clip.dtype != torch.uint8 or clip.ndim != 4 or clip.shape[3] != 3 or clip.numel() == 0:
        raise SettingsError(f"a clip must be uint8 (L, H, W, 3) and not empty; got {clip.dtype} {tuple(clip.shape)}")
    return clip.contiguous()


def resize_short_side(clip: Clip, size: int) -> Tensor:
    """Return the clip with its shorter side ``size`` pixels long and its aspect ratio kept (bilinear, antialiased).

    Only the middle is kept of a picture more than eight times as long as wide.

    Args:
        clip: (L, H, W, 3) uint8.
        size: pixels.

    Returns:
        (L, H', W', 3) uint8 with min(H', W') = ``size``.
    """
    clip = _limit_aspect(_as_clip(clip))
    height, width = clip.shape[1:3]
    short = min(height, width)
    if short == size:
        return clip
    target = [max(size, round(side * size / short)) for side in (height, width)]
    planes = clip.permute(0, 3, 1, 2)  # (L, 3, H, W) in channels-last memory, the fast path for uint8
    resized = F.interpolate(planes, target, mode="bilinear", antialias=True, align_corners=False)
    return resized.permute(0, 2, 3, 1).contiguous()  # (L, H', W', 3)


def crop_at(clip: Clip, *, top: int, left: int, size: int) -> Tensor:
    """Return the square of ``size`` pixels whose corner is at (``top``, ``left``).

    Args:
        clip: (L, H, W, 3) uint8.
        top: pixels above the square.
        left: pixels left of it.
        size: its side in pixels.

    Returns:
        (L, size, size, 3) uint8.

    Raises:
        SettingsError: if it does not lie inside the picture.
    """
    clip = _as_clip(clip)
    height, width = clip.shape[1:3]
    if min(top, left) < 0 or top + size > height or left + size > width:
        raise SettingsError(f"a crop of {size} pixels at ({top}, {left}) does not fit a picture of {height}×{width}")
    return clip[:, top : top + size, left : left + size].contiguous()


def center_crop(clip: Clip, size: int) -> Tensor:
    """Return (L, size, size, 3) uint8, the middle of ``clip`` (L, H, W, 3) uint8; an odd margin is larger at the end.

    Raises:
        SettingsError: if it does not fit into the picture.
    """
    height, width = clip.shape[1:3]
    return crop_at(clip, top=(height - size) // 2, left=(width - size) // 2, size=size)


def preprocess_test(clip: Clip, preprocessing: Preprocessing) -> Tensor:
    """Return the clip as a backbone sees it at test time: shorter side resized, middle cropped.

    Args:
        clip: (L, H, W, 3) uint8.
        preprocessing: from the backbone's weights.

    Returns:
        (L, crop, crop, 3) uint8.
    """
    return center_crop(resize_short_side(clip, preprocessing.short_side), preprocessing.crop)


def jitter_range(crop: int) -> tuple[int, int]:
    """Return the least and greatest shorter side in training, in pixels: [256, 320] for a crop of 224."""
    low, high = (round(crop * ratio) for ratio in _SCALE_JITTER)
    return low, high


def augment(clip: Clip, preprocessing: Preprocessing, rng: np.random.Generator, *, flip: bool = True) -> Tensor:
    """Return a random view of the clip for training, the same for all of its frames.

    The shorter side is drawn from `jitter_range`, the crop's place is uniform, and half of the clips are mirrored. The
    same generator state gives the same view; turning the flip off changes nothing else.

    Source: FASTER, setups for clip-level backbones.

    Args:
        clip: (L, H, W, 3) uint8.
        preprocessing: says the crop.
        rng: where the four draws come from.
        flip: false for classes that mirroring would confuse (left and right).

    Returns:
        (L, crop, crop, 3) uint8.
    """
    low, high = jitter_range(preprocessing.crop)
    clip = resize_short_side(clip, int(rng.integers(low, high, endpoint=True)))
    height, width = clip.shape[1:3]
    top = int(rng.integers(height - preprocessing.crop, endpoint=True))
    left = int(rng.integers(width - preprocessing.crop, endpoint=True))
    # Drawn even without flips, so that turning them off changes no other draw.
    mirrored = rng.random() < 0.5
    clip = crop_at(clip, top=top, left=left, size=preprocessing.crop)
    return clip.flip(2) if flip and mirrored else clip


def normalise(clips: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return clips ready for a backbone, on the device they are on.

    Args:
        clips: (B, L, H, W, 3) uint8.
        preprocessing: says mean and standard deviation.

    Returns:
        (B, 3, L, H, W) float32 in channels_last_3d memory.
    """
    scale, shift = _scale_and_shift(preprocessing, clips.device)
    return clips.contiguous().float().mul_(scale).add_(shift).permute(0, 4, 1, 2, 3)


@lru_cache(maxsize=16)
def _scale_and_shift(preprocessing: Preprocessing, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the scale and shift that normalise 0…255; kept, so that a GPU need not wait for six numbers each time."""
    with torch.inference_mode(
        mode=False
    ):  # else, first asked for in inference mode, they would be unusable in training
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        return (1 / (255 * std)).to(device), (-mean / std).to(device)


def _limit_aspect(clip: Tensor) -> Tensor:
    """Return the middle of a picture whose aspect ratio is beyond _MAX_ASPECT, others as they are."""
    height, width = clip.shape[1:3]
    limit = _MAX_ASPECT * min(height, width)
    if max(height, width) <= limit:
        return clip
    top, left = max(0, height - limit) // 2, max(0, width - limit) // 2
    return clip[:, top : top + limit, left : left + limit].contiguous()
