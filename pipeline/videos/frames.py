"""From a decoded frame to the picture that is shown: RGB, upright, with square pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from .hdr import AS_IS, TONE_MAP, tone_mapped, transfer_of
from .stated import Stated, stated

# The default of the ffmpeg program: for pictures that keep their size, the result equals its fast paths bit for bit.
_UNSCALED = Interpolation.BICUBIC

# In these formats, stretching to square pixels first and converting to RGB then is four times faster than both at once.
_STRETCHED = Interpolation.BILINEAR
_STRETCHED_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p")

# A pixel ten times as wide as high is a damaged header, not a camera.
_MAX_ASPECT_RATIO = 10

# Sine of the angle by which a display matrix may be off a right angle: the ffmpeg program allows one degree, 0.017.
_OFF_AXIS = 0.02


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pictures are turned for display: transposed first, then mirrored left-right and upside-down."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def degrees(self) -> int:
        """Clockwise degrees, 0, 90, 180 or 270; mirroring is left out."""
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if self.flip_x and self.flip_y else 0

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Return (H, W, C) ``picture``, of any dtype, as it is shown: a view, (W, H, C) if it is transposed."""
        if self.transpose:
            picture = picture.transpose(1, 0, 2)  # (W, H, C)
        if self.flip_x:
            picture = picture[:, ::-1]
        if self.flip_y:
            picture = picture[::-1]
        return picture


def orientation_of(matrix: np.ndarray) -> Orientation:
    """Return the turn that a display matrix asks for: none if it is damaged or not at a right angle.

    Args:
        matrix: (9,) int32, row-major 3x3, as in an MP4 track header: x' = m0 x + m3 y, y' = m1 x + m4 y.
    """
    turn = matrix.astype(np.float64)[[0, 1, 3, 4]]
    scale = np.abs(turn).max()
    if scale == 0:
        return Orientation()
    x_x, y_x, x_y, y_y = turn / scale
    if max(abs(y_x), abs(x_y)) < _OFF_AXIS and min(abs(x_x), abs(y_y)) > _OFF_AXIS:
        return Orientation(flip_x=bool(x_x < 0), flip_y=bool(y_y < 0))
    if max(abs(x_x), abs(y_y)) < _OFF_AXIS and min(abs(y_x), abs(x_y)) > _OFF_AXIS:
        return Orientation(transpose=True, flip_x=bool(x_y < 0), flip_y=bool(y_x < 0))
    return Orientation()


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
    """What is kept of a frame whose picture is not.

    Args:
        width: pixels, as stored.
        height: pixels, as stored.
        pixel_format: as ``yuv420p``.
        bit_depth: bits per component.
        stated: what the stream states about it.
        pts: when it is shown, in units of the stream's time base; None if unknown.
        interlaced: whether it is made of two fields.
        color_trc: its transfer characteristics, by ITU-T H.273.
    """

    width: int
    height: int
    pixel_format: str
    bit_depth: int
    stated: Stated
    pts: int | None
    interlaced: bool
    color_trc: int

    @property
    def orientation(self) -> Orientation:
        """How it must be turned for display."""
        matrix = self.stated.matrix
        return Orientation() if matrix is None else orientation_of(np.frombuffer(matrix, dtype=np.int32)[:9])


def glance(frame: av.VideoFrame) -> Glance:
    """Return what is worth keeping of ``frame`` once its picture is gone."""
    return Glance(
        width=frame.width,
        height=frame.height,
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        stated=stated(frame),
        pts=frame.pts,
        interlaced=frame.interlaced_frame,
        color_trc=frame.color_trc,
    )


def _usable_aspect_ratio(aspect_ratio: Fraction | None) -> Fraction:
    """Return the width of a pixel over its height; 1 if the file gives none, or nonsense."""
    if not aspect_ratio or not Fraction(1, _MAX_ASPECT_RATIO) <= aspect_ratio <= _MAX_ASPECT_RATIO:
        return Fraction(1)
    return Fraction(aspect_ratio)


@dataclass(frozen=True, slots=True)
class Form:
    """What a frame is like, beside its content: this may change within a video.

    Args:
        width: pixels, as displayed: turned upright, with square pixels.
        height: pixels, as displayed.
        rotation: clockwise degrees by which the stored frame is turned for display: 0, 90, 180 or 270.
        pixel_format: of the stored frame, as ``yuv420p``.
        hdr: ``PQ`` or ``HLG``; "" for an ordinary picture.
    """

    width: int
    height: int
    rotation: int
    pixel_format: str
    hdr: str = ""


Shown = Callable[[int | None], np.ndarray]  # from `Display.show`'s ``short_side`` to its picture


class Display:
    """How the stored frames of a video become the pictures that it shows, in square pixels, each with its own size.

    Args:
        first: the video's first frame.
        aspect_ratio: width of a pixel over its height, as the file gives it; where the stream changes its own from one
            frame to another, that counts.
        color_trc: the transfer characteristics that the file gives, by ITU-T H.273; what a frame says itself counts.
        hdr: ``tone-map`` makes ordinary pictures of those in high dynamic range, ``as-is`` takes their values as if
            they were ordinary ones already, as the ffmpeg program does.
    """

    def __init__(
        self,
        first: av.VideoFrame | Glance,
        *,
        aspect_ratio: Fraction | None,
        color_trc: int = 2,
        hdr: str = AS_IS,
    ) -> None:
        first = first if isinstance(first, Glance) else glance(first)
        self.aspect_ratio = _usable_aspect_ratio(aspect_ratio)
        self._first_stated = first.stated.aspect_ratio
        self._color_trc, self._tone_maps = color_trc, hdr == TONE_MAP
        self._stretcher, self._converter = VideoReformatter(), VideoReformatter()
        self.first_form = self._form(first)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame as displayed."""
        return self.first_form.width, self.first_form.height

    def form(self, frame: av.VideoFrame) -> Form:
        """Return what ``frame`` is like."""
        return self._form(glance(frame))

    def _form(self, seen: Glance) -> Form:
        width, height = self._square_size(seen)
        if seen.orientation.transpose:
            width, height = height, width
        return Form(
            width=width,
            height=height,
            rotation=seen.orientation.degrees,
            pixel_format=seen.pixel_format,
            hdr=transfer_of(seen.color_trc, by_file=self._color_trc),
        )

    def show(self, frame: av.VideoFrame, *, short_side: int | None = None) -> np.ndarray:
        """Return the picture of ``frame``, (H, W, 3) uint8 RGB, by the colour matrix and range it states.

        Args:
            frame: as decoded.
            short_side: pixels that suffice for whoever looks at the picture. If it is tone-mapped it is reduced to that
                first, since each pixel costs time; others keep their size, whatever this says.
        """
        seen = glance(frame)
        transfer = transfer_of(seen.color_trc, by_file=self._color_trc)
        if transfer and self._tone_maps:
            return self._show_tone_mapped(frame, seen, transfer, short_side)
        interpolation, size = _UNSCALED, self._square_size(seen)
        if (frame.width, frame.height) != size:
            interpolation = _STRETCHED
            if frame.format.name in _STRETCHED_FIRST:
                frame, interpolation = _reformat(self._stretcher, frame, size, None, _STRETCHED), _UNSCALED
        picture = _reformat(self._converter, frame, size, "rgb24", interpolation).to_ndarray()
        return np.ascontiguousarray(seen.orientation.apply(picture))

    def shown(self, frame: av.VideoFrame) -> "Shown":
        """Return what makes the picture of ``frame`` when it is asked for, and keeps it."""
        kept: dict[int | None, np.ndarray] = {}
        tone_mapped = self._tone_maps and transfer_of(frame.color_trc, by_file=self._color_trc)

        def picture(short_side: int | None = None) -> np.ndarray:
            asked = short_side if tone_mapped else None
            if asked not in kept:
                kept[asked] = self.show(frame, short_side=asked)
            return kept[asked]

        return picture

    def _show_tone_mapped(
        self, frame: av.VideoFrame, seen: Glance, transfer: str, short_side: int | None
    ) -> np.ndarray:
        width, height = self._square_size(seen)
        scale = min(1.0, (short_side or width) / min(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        interpolation = _UNSCALED if size == (frame.width, frame.height) else _STRETCHED
        picture = _reformat(self._converter, frame, size, "rgb48le", interpolation).to_ndarray()
        return np.ascontiguousarray(seen.orientation.apply(tone_mapped(picture, transfer)))

    def _square_size(self, seen: Glance) -> tuple[int, int]:
        """Return (width, height) of a stored frame with square pixels."""
        own = seen.stated.aspect_ratio
        ratio = self.aspect_ratio if own == self._first_stated else _usable_aspect_ratio(own)
        return max(1, round(seen.width * ratio)), seen.height


def _reformat(
    reformatter: VideoReformatter,
    frame: av.VideoFrame,
    size: tuple[int, int],
    pixel_format: str | None,
    interpolation: Interpolation,
) -> av.VideoFrame:
    width, height = size
    return reformatter.reformat(
        frame, width=width, height=height, format=pixel_format, interpolation=interpolation, threads=1
    )
