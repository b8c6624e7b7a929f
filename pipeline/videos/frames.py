"""From a decoded frame to the picture that is shown: RGB, upright, with square pixels."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from .stated import stated

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


def _frame_orientation(frame: av.VideoFrame) -> Orientation:
    """Return how ``frame`` must be turned for display."""
    matrix = stated(frame).matrix
    return Orientation() if matrix is None else orientation_of(np.frombuffer(matrix, dtype=np.int32)[:9])


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
    """

    width: int
    height: int
    rotation: int
    pixel_format: str


class Display:
    """How the stored frames of a video become the pictures that it shows, in square pixels, each with its own size.

    Args:
        first: the video's first frame.
        aspect_ratio: width of a pixel over its height, as the file gives it; where the stream changes its own from one
            frame to another, that counts.
    """

    def __init__(self, first: av.VideoFrame, *, aspect_ratio: Fraction | None) -> None:
        self.aspect_ratio = _usable_aspect_ratio(aspect_ratio)
        self._first_stated = stated(first).aspect_ratio
        self._stretcher, self._converter = VideoReformatter(), VideoReformatter()
        self.first_form = self.form(first)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame as displayed."""
        return self.first_form.width, self.first_form.height

    def form(self, frame: av.VideoFrame) -> Form:
        """Return what ``frame`` is like."""
        width, height = self._square_size(frame)
        orientation = _frame_orientation(frame)
        if orientation.transpose:
            width, height = height, width
        return Form(width=width, height=height, rotation=orientation.degrees, pixel_format=frame.format.name)

    def show(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the picture of ``frame``, (H, W, 3) uint8 RGB, by the colour matrix and range it states."""
        interpolation, size = _UNSCALED, self._square_size(frame)
        orientation = _frame_orientation(frame)
        if (frame.width, frame.height) != size:
            interpolation = _STRETCHED
            if frame.format.name in _STRETCHED_FIRST:
                frame, interpolation = _reformat(self._stretcher, frame, size, None, _STRETCHED), _UNSCALED
        picture = _reformat(self._converter, frame, size, "rgb24", interpolation).to_ndarray()
        return np.ascontiguousarray(orientation.apply(picture))

    def _square_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Return (width, height) of the stored ``frame`` with square pixels."""
        own = stated(frame).aspect_ratio
        ratio = self.aspect_ratio if own == self._first_stated else _usable_aspect_ratio(own)
        return max(1, round(frame.width * ratio)), frame.height


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
