"""Resizing, cropping, flipping and normalising clips, or single pictures of a video whose size changes.

Everything up to the crop takes uint8 clips (L, H, W, 3), as arrays or tensors, and returns uint8 tensors: a quarter of
the memory of float, and torch's uint8 resize is four times as fast. Only `normalise` makes floats, on the device that
uses them.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SettingsError
from .preprocessing import Preprocessing

_SCALE_JITTER = (256 / 224, 320 / 224)  # shorter side over crop; Wang et al. (2018), as in FASTER's training
_ALONG = (0, -1, 1)  # places of a test's crops, the middle first
_MAX_ASPECT = 8  # longer pictures lose their ends: a strip of 2×9,000 pixels, resized, would fill the memory

Clip = np.ndarray | Tensor


def _as_clip(clip: Clip) -> Tensor:
    """Return a uint8 clip as a contiguous tensor (L, H, W, 3), without copying where possible.

    Raises:
        SettingsError: if it has another shape or dtype.
    """
    if isinstance(clip, np.ndarray):
        usable = clip.flags.writeable and clip.flags.c_contiguous
        # NumPy gives an axis of one picture the stride 0, in which torch does not know channels-last memory.
        clip = torch.from_numpy(clip if usable else clip.copy(order="C")).view(clip.shape)
    if clip.dtype != torch.uint8 or clip.ndim != 4 or clip.shape[3] != 3 or clip.numel() == 0:
        raise SettingsError(f"a clip must be uint8 (L, H, W, 3) and not empty; got {clip.dtype} {tuple(clip.shape)}")
    return clip.contiguous()


@dataclass(frozen=True, kw_only=True, slots=True)
class Resizing:
    """How pictures are resized; the fields are those of `Preprocessing`, which says what they mean."""

    squash: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    antialias: bool = True
    rounding: str = "nearest"

    def size(self, height: int, width: int, short_side: int) -> tuple[int, int]:
        """Return height and width that a picture of these is to have; not as a squashed one, but with its ratio."""
        short = min(height, width)
        whole = round if self.rounding == "nearest" else int
        new_height, new_width = (max(short_side, whole(side * short_side / short)) for side in (height, width))
        return new_height, new_width


USUAL = Resizing()


def resizing_of(preprocessing: Preprocessing) -> Resizing:
    """Return how a backbone's pictures are resized."""
    return Resizing(**{own.name: getattr(preprocessing, own.name) for own in fields(Resizing)})


def resize_short_side(clip: Clip, size: int, *, how: Resizing = USUAL) -> Tensor:
    """Return the clip with its shorter side ``size`` pixels long and its aspect ratio kept, unless it is squashed.

    Only the middle is kept of a picture more than eight times as long as wide. Values are rounded to whole ones.

    Args:
        clip: (L, H, W, 3) uint8.
        size: pixels.
        how: bilinear and antialiased, unless it says otherwise; where it squashes, that decides the size.

    Returns:
        (L, H', W', 3) uint8 with min(H', W') = ``size``, or of the squashed size.
    """
    clip = _as_clip(clip) if how.squash else _limit_aspect(_as_clip(clip))
    height, width = clip.shape[1:3]
    wanted = how.squash or how.size(height, width, size)
    if (height, width) == wanted:
        return clip
    planes = clip.permute(0, 3, 1, 2)  # (L, 3, H, W) in channels-last memory, the fast path for uint8
    if how.interpolation == "bicubic":  # of whole numbers torch cuts off what overshoots between its two passes
        planes = planes.float()
    resized = F.interpolate(planes, list(wanted), mode=how.interpolation, antialias=how.antialias, align_corners=False)
    if resized.is_floating_point():
        resized = resized.round_().clamp_(0, 255).to(torch.uint8)
    return resized.permute(0, 2, 3, 1).contiguous()  # (L, H', W', 3)


def resized_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return (width, height) of what `resize_short_side` makes of a picture of ``size``, (width, height)."""
    width, height = size
    new_height, new_width = USUAL.size(*_limited(height, width), short_side)
    return new_width, new_height


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


def crop_along(clip: Clip, size: int, place: int) -> Tensor:
    """Return (L, size, size, 3) uint8 of ``clip`` (L, H, W, 3) uint8: the middle, or what lies left, right, up or down.

    Args:
        clip: the pictures.
        size: side of the square, pixels.
        place: -1 for the beginning of the longer side (the left of a square picture), 0 for the middle, 1 for the end.

    Raises:
        SettingsError: if it does not fit into the picture.
    """
    if place == 0:
        return center_crop(clip, size)
    height, width = clip.shape[1:3]
    top, left = (height - size) // 2, (width - size) // 2
    if width >= height:
        left = 0 if place < 0 else width - size
    else:
        top = 0 if place < 0 else height - size
    return crop_at(clip, top=top, left=left, size=size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Margin:
    """Where a crop lies along one side of a picture.

    Args:
        before: pixels before it.
        of: pixels that it leaves over in all.
    """

    before: int
    of: int

    def at(self, of: int) -> int:
        """Return the pixels before a crop that leaves over ``of``, at the same relative place."""
        if of == self.of:
            return self.before
        return round(of * self.before / self.of) if self.of else of // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One way to see the pictures of a video, whatever their sizes: resized, a square cut out, perhaps mirrored.

    Args:
        short_side: pixels of the shorter side after resizing.
        crop: side of the square in pixels.
        rows: where the square lies from top to bottom; None: in the middle.
        columns: the same from left to right.
        mirrored: whether left and right change places.
        along: where a square in the middle of the shorter side lies along the longer one: -1 at its beginning, 0 in the
            middle, 1 at its end.
        how: the pictures are resized.
    """

    short_side: int
    crop: int
    rows: Margin | None = None
    columns: Margin | None = None
    mirrored: bool = False
    along: int = 0
    how: Resizing = USUAL

    def __call__(self, clip: Clip) -> Tensor:
        """Return (L, crop, crop, 3) uint8 of pictures (L, H, W, 3) uint8."""
        clip = resize_short_side(clip, self.short_side, how=self.how)
        if self.rows is None or self.columns is None:
            return crop_along(clip, self.crop, self.along)
        height, width = clip.shape[1:3]
        top, left = self.rows.at(height - self.crop), self.columns.at(width - self.crop)
        clip = crop_at(clip, top=top, left=left, size=self.crop)
        return clip.flip(2) if self.mirrored else clip


def central_look(preprocessing: Preprocessing) -> Look:
    """Return how a backbone sees pictures at test time: resized as its recipe says, middle cropped."""
    return look_at_test(preprocessing, crop=0)


def look_at_test(preprocessing: Preprocessing, *, crop: int) -> Look:
    """Return how a backbone sees pictures at test time in one of the crops of a test: the middle, and those beside it.

    Source: the three crops of Wang et al., Non-local Neural Networks (2018), as PySlowFast and mmaction2 take them.

    Args:
        preprocessing: of the backbone.
        crop: 0: the middle; 1 and 2: the beginning and the end of the longer side.
    """
    return Look(
        short_side=preprocessing.short_side,
        crop=preprocessing.crop,
        along=_ALONG[crop],
        how=resizing_of(preprocessing),
    )


def preprocess_test(clip: Clip, preprocessing: Preprocessing) -> Tensor:
    """Return the clip as a backbone sees it at test time: shorter side resized, middle cropped.

    Args:
        clip: (L, H, W, 3) uint8.
        preprocessing: from the backbone's weights.

    Returns:
        (L, crop, crop, 3) uint8.
    """
    return central_look(preprocessing)(clip)


def jitter_range(crop: int) -> tuple[int, int]:
    """Return the least and greatest shorter side in training, in pixels: [256, 320] for a crop of 224."""
    low, high = (round(crop * ratio) for ratio in _SCALE_JITTER)
    return low, high


def random_look(
    size: tuple[int, int], preprocessing: Preprocessing, rng: np.random.Generator, *, flip: bool = True
) -> Look:
    """Return a random way to see a video in training, the same for all of its pictures.

    The shorter side is drawn from `jitter_range`, the crop's place is uniform, and half of the looks are mirrored. The
    same generator state gives the same look; turning the flip off changes nothing else. Pictures of another size are
    cropped at the same relative place. None is squashed.

    Source: FASTER, setups for clip-level backbones.

    Args:
        size: (width, height) of the video's pictures, of the first ones if that changes.
        preprocessing: says the crop.
        rng: where the four draws come from.
        flip: false for classes that mirroring would confuse (left and right).
    """
    low, high = jitter_range(preprocessing.crop)
    short_side = int(rng.integers(low, high, endpoint=True))
    width, height = size
    how = replace(resizing_of(preprocessing), squash=None)
    over = [side - preprocessing.crop for side in how.size(*_limited(height, width), short_side)]
    rows, columns = (Margin(before=int(rng.integers(of, endpoint=True)), of=of) for of in over)
    # Drawn even without flips, so that turning them off changes no other draw.
    mirrored = rng.random() < 0.5
    crop, mirrored = preprocessing.crop, flip and mirrored
    return Look(short_side=short_side, crop=crop, rows=rows, columns=columns, mirrored=mirrored, how=how)


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
    new_height, new_width = _limited(height, width)
    if (new_height, new_width) == (height, width):
        return clip
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return clip[:, top : top + new_height, left : left + new_width].contiguous()


def _limited(height: int, width: int) -> tuple[int, int]:
    """Return height and width, each at most _MAX_ASPECT times the other."""
    limit = _MAX_ASPECT * min(height, width)
    return min(height, limit), min(width, limit)
