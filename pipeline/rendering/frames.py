"""Draw the frames of a planned video, straight into planes of luma and chroma.

The host is crossed by bars. From frame to frame they move one step up or down, each of them turns bright or dark at
random, and every few frames (four, unless asked for) they leap to a random place. Averaged over these signs no linear
filter over space and time can tell up from down (second-order motion: Chubb and Sperling, Drift-balanced stimuli,
1988), and because of the leaps nothing travels from the first frame to the last. A network that rectifies each frame
before it compares neighbours does see the motion.
"""

import numpy as np

from ..videos.writing import Planes
from .design import ACTS
from .plan import Look, VideoPlan

_PIXEL_STREAM = 2
_FADE_FRAMES = 3  # in which a visitor appears, and disappears

Pair = tuple[float, float]

# A visitor's stripes as functions of its rows, columns and distances from the middle, in radians of the grain.
PATTERNS = {
    "bars": lambda rows, columns, _: np.sin(rows) + 0 * columns,
    "posts": lambda rows, columns, _: np.sin(columns) + 0 * rows,
    "rings": lambda _rows, _columns, distances: np.sin(distances),
    "checks": lambda rows, columns, _: np.sin(rows / 1.4) * np.sin(columns / 1.4),
    "plain": lambda rows, columns, _: np.ones(np.broadcast_shapes(rows.shape, columns.shape)),
}


def draw_frames(plan: VideoPlan) -> Planes:
    """Return the video as planes Y (F, H, W), U and V (F, H / 2, W / 2), uint8, limited range."""
    look = plan.look
    rng = np.random.default_rng((plan.seed, _PIXEL_STREAM, plan.index))
    camera = _camera(look, rng=rng)
    ground = _ground(look, camera=camera, rng=rng)
    _add_clutter(ground, look=look, rng=rng)
    cover = _cover(look, camera=camera)
    direction = -1 if plan.scene_class.fine == "rising" else 1
    host = _bars(look, direction=direction, camera=camera, rng=rng) * np.float32(look.bar_contrast)
    host += np.float32(look.body)
    host -= ground
    host *= cover
    luma = ground
    luma += host
    for act in ACTS:
        _add_visitor(luma, look=look, act=act, pattern=plan.scene_class.event(act), camera=camera)
    luma += rng.standard_normal(luma.shape, dtype=np.float32) * np.float32(look.noise)
    thumbnail = cover[:, ::2, ::2]
    chroma = [
        _quantise(ground_colour + thumbnail * np.float32(colour - ground_colour))
        for colour, ground_colour in zip(look.body_colour, look.ground_colour, strict=True)
    ]
    return _quantise(luma), chroma[0], chroma[1]


def _camera(look: Look, *, rng: np.random.Generator) -> np.ndarray:
    """Return how far the camera has moved at each frame, (F, 2) whole pixels (y, x): smoothed white noise."""
    jolts = rng.standard_normal((look.frames + 2, 2))
    # Divided by the square root of the squared weights' sum, 1 + 4 + 1, so that the variance stays 1.
    smooth = (jolts[:-2] + 2 * jolts[1:-1] + jolts[2:]) / np.sqrt(6)
    return np.rint(smooth * look.shake).astype(np.int64)


def _ground(look: Look, *, camera: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the textured background as the camera sees it, (F, H, W) float32."""
    margin = int(np.abs(camera).max())
    shape = (look.height + 2 * margin, look.width + 2 * margin)
    texture = sum(_grain(shape, scale=look.texture_scale * factor, rng=rng) for factor in (1, 3))
    scene = (look.ground + look.texture / np.sqrt(2) * texture).astype(np.float32)
    rows = np.arange(look.height) + margin + camera[:, :1]  # (F, H)
    columns = np.arange(look.width) + margin + camera[:, 1:]  # (F, W)
    return scene[rows[:, :, None], columns[:, None, :]]


def _grain(shape: tuple[int, int], *, scale: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of unit variance whose grains are ``scale`` pixels wide, ``shape``."""
    coarse = rng.standard_normal([side // scale + 2 for side in shape])
    return coarse.repeat(scale, axis=0).repeat(scale, axis=1)[: shape[0], : shape[1]]


def _add_clutter(ground: np.ndarray, *, look: Look, rng: np.random.Generator) -> None:
    """Paint small patches that cross the background in straight lines, in place."""
    frames, height, width = ground.shape
    time = np.arange(frames) - frames / 2
    for _ in range(look.clutter):
        side = int(rng.integers(look.bar, 3 * look.bar))
        middle, speed = rng.uniform(0, (height, width)), rng.uniform(-2, 2, 2) * height / 80
        corner = np.rint(middle + time[:, None] * speed).astype(np.int64)  # (F, 2)
        rows = (corner[:, :1] + np.arange(side)) % height  # (F, side)
        columns = (corner[:, 1:] + np.arange(side)) % width
        ground[np.arange(frames)[:, None, None], rows[:, :, None], columns[:, None, :]] += rng.uniform(-50, 50)


def _centres(look: Look) -> np.ndarray:
    """Return where the host is at each frame, (F, 2) pixels (y, x)."""
    return np.array(look.centre) + _wave(look.frames, look.drift, look.drift_period, look.drift_phase)


def _wave(frames: int, reach: Pair, period: Pair, phase: Pair) -> np.ndarray:
    """Return an oscillation along y and x, (F, 2)."""
    time = np.arange(frames)[:, None]
    return np.array(reach) * np.sin(2 * np.pi * time / np.array(period) + np.array(phase))


def _add_visitor(luma: np.ndarray, *, look: Look, act: int, pattern: str, camera: np.ndarray) -> None:
    """Paint the visitor of an act in place, in front of everything; it fades in and out."""
    visitor, start, end = look.visitors[act], look.timetable.starts[act], look.timetable.ends[act]
    margin = int(np.ceil(visitor.radius)) + 1
    path = np.array(visitor.centre) + _wave(look.frames, visitor.reach, visitor.period, visitor.phase) - camera
    path = np.clip(path[start:end], margin, np.array(luma.shape[1:]) - 1 - margin)  # (T, 2)
    whole = np.rint(path).astype(np.int64)
    around = np.arange(-margin, margin + 1)
    y = (around - (path - whole)[:, :1])[:, :, None]  # (T, side, 1) from the visitor's middle
    x = (around - (path - whole)[:, 1:])[:, None, :]
    cover = np.clip(visitor.radius + 0.5 - np.hypot(y, x), 0, 1)  # (T, side, side)
    time = np.arange(end - start)
    cover *= np.clip(np.minimum(time + 1, end - start - time) / _FADE_FRAMES, 0, 1)[:, None, None]
    wave = 2 * np.pi / visitor.grain
    stripes = PATTERNS[pattern](wave * (y + visitor.offset[0]), wave * (x + visitor.offset[1]), wave * np.hypot(y, x))
    paint = visitor.brightness + visitor.contrast * np.sign(stripes)
    place = (
        np.arange(start, end)[:, None, None],
        (whole[:, :1] + around)[:, :, None],
        (whole[:, 1:] + around)[:, None, :],
    )
    below = luma[place]
    luma[place] = below + cover * (paint - below)


def _cover(look: Look, *, camera: np.ndarray) -> np.ndarray:
    """Return how much of each pixel the host covers, (F, H, W) float32 in [0, 1]."""
    centres = _centres(look) - camera
    rows = np.abs(np.arange(look.height) - centres[:, :1]) / look.radii[0]  # (F, H)
    columns = np.abs(np.arange(look.width) - centres[:, 1:]) / look.radii[1]  # (F, W)
    power = np.float32(look.squareness)
    outline = rows.astype(np.float32)[:, :, None] ** power + columns.astype(np.float32)[:, None, :] ** power
    edge = np.float32(min(look.radii) / look.squareness)  # turns the outline's function roughly into pixels
    np.subtract(1, outline, out=outline)
    outline *= edge
    outline += np.float32(0.5)
    np.clip(outline, 0, 1, out=outline)
    return outline


def _bars(look: Look, *, direction: int, camera: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a field of bars that go up (``direction`` -1) or down (1), (F, H, W) float32 of -1, 0 and 1.

    The host is a window onto this field, so that its own movement does not blur that of the bars.
    """
    age = np.arange(look.frames) + rng.integers(look.bar_life)
    life, age = age // look.bar_life, age % look.bar_life
    phase = rng.uniform(0, look.bar_gap, life[-1] + 1)[life] + direction * look.bar_step * age  # (F,)
    rows = np.arange(look.height) + camera[:, :1] - phase[:, None]  # (F, H), in the scene
    numbers = np.floor(rows / look.bar_gap).astype(np.int64)
    signs = rng.choice(np.array([-1, 1], np.float32), (look.frames, int(np.ptp(numbers)) + 1))
    field = np.take_along_axis(signs, numbers - numbers.min(), axis=1)
    field[rows - numbers * look.bar_gap >= look.bar] = 0
    return np.broadcast_to(field[:, :, None], (*field.shape, look.width))


def _quantise(plane: np.ndarray) -> np.ndarray:
    """Return a plane as bytes within the limited range of video."""
    return np.clip(plane, 16, 235).astype(np.uint8)
