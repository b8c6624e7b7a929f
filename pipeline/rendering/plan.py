"""Plan a rendered video: everything random about it is drawn from (seed, index) before any pixel is.

What may vary freely (looks, timetable, camera, encoding) is drawn without knowledge of the class, so that it cannot
give the class away.
"""

from dataclasses import dataclass

import numpy as np

from ..videos.writing import Encoding
from .design import (
    SceneClass,
    Timetable,
    class_of,
    draw_timetable,
    scene_classes,
)
from .settings import SceneSettings

WIDTHS = (1.0, 1.1, 1.2)  # of the height
_RATES = (24, 25, 30)  # frames per second
RENDERER_VERSION = 1  # raise it with every change that alters videos
_LOOK_STREAM = 0  # `design` draws the classes from stream 1, `frames` the pixels from stream 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    """The thing that passes in an act, without its pattern, which is the event.

    Attributes:
        radius: in pixels.
        grain: pixels from one stripe of the pattern to the next like it.
        offset: (y, x) of the pattern from the visitor's middle, in pixels.
        brightness, contrast: of the pattern, in steps of luma; the contrast's sign is random.
        centre, reach, period, phase: (y, x) each of the path, centre + reach sin(2 pi t / period + phase).
    """

    radius: float
    grain: float
    offset: tuple[float, float]
    brightness: float
    contrast: float
    centre: tuple[float, float]
    reach: tuple[float, float]
    period: tuple[float, float]
    phase: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Everything about a video that does not depend on its class.

    Lengths are in pixels, times in frames, brightness in steps of 8-bit luma, colours are (U, V) around 128.

    Attributes:
        height, width: of the frames; frames: how many.
        timetable: when the acts play.
        centre: (y, x) about which the host drifts; drift, drift_period, drift_phase: how.
        radii: (y, x) half-axes of the host; squareness: exponent of its outline (2 an ellipse, more a rounded box).
        body, body_colour, ground, ground_colour: brightness and colour of host and background.
        texture, texture_scale: contrast and grain of the background.
        bar, bar_gap, bar_step: height of the host's bars, distance from one to the next, and step per frame.
        bar_life: frames from one leap of the bars to the next.
        bar_contrast: brightness of a bar above or below the body's.
        visitors: of the two acts, without their patterns.
        noise: standard deviation of the sensor noise.
        shake: standard deviation of the camera's place.
        clutter: number of other moving things, behind the host.
        encoding: how the file is written.
    """

    height: int
    width: int
    frames: int
    timetable: Timetable
    centre: tuple[float, float]
    drift: tuple[float, float]
    drift_period: tuple[float, float]
    drift_phase: tuple[float, float]
    radii: tuple[float, float]
    squareness: float
    body: float
    body_colour: tuple[float, float]
    ground: float
    ground_colour: tuple[float, float]
    texture: float
    texture_scale: int
    bar: int
    bar_gap: float
    bar_step: float
    bar_life: int
    bar_contrast: float
    visitors: tuple[Visitor, Visitor]
    noise: float
    shake: float
    clutter: int
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """One video to be rendered: its class, its look and the seed of its pixels."""

    index: int
    scene_class: SceneClass
    look: Look
    seed: int


def plan_video(settings: SceneSettings, *, index: int) -> VideoPlan:
    """Return video ``index`` of the set, which depends only on ``settings`` and ``index``."""
    classes = scene_classes(settings.num_events)
    chosen = classes[class_of(index, seed=settings.seed, num_classes=len(classes))]
    return VideoPlan(index, chosen, draw_look(settings, index=index), settings.seed)


def draw_look(settings: SceneSettings, *, index: int) -> Look:
    """Draw the look of video ``index``, without knowledge of its class."""
    rng = np.random.default_rng((settings.seed, _LOOK_STREAM, index))
    size, hard = settings.size, settings.difficulty

    width = 2 * round(size * rng.choice(WIDTHS) / 2)
    radius = size * rng.uniform(0.27, 0.33) * (1.1 - 0.2 * hard) * settings.host
    body, ground = _contrasting(rng)
    return Look(
        height=size,
        width=width,
        frames=settings.frames,
        timetable=draw_timetable(
            settings.frames, clip_frames=settings.clip_frames, rng=rng, act_frames=settings.act_frames
        ),
        centre=(size * rng.uniform(0.45, 0.55), width * rng.uniform(0.45, 0.55)),
        drift=(size * rng.uniform(0.0, 0.04), size * rng.uniform(0.0, 0.04)),
        drift_period=_pair(rng, 40, 80),
        drift_phase=_pair(rng, 0, 2 * np.pi),
        radii=(radius * rng.uniform(0.9, 1.1), radius * rng.uniform(0.9, 1.1)),
        squareness=rng.uniform(2, 5),
        body=body,
        body_colour=_pair(rng, 114, 142),
        ground=ground,
        ground_colour=_pair(rng, 116, 140),
        texture=rng.uniform(0.5, 1.0) * (8 + 16 * hard),
        texture_scale=max(2, round(size * rng.uniform(0.05, 0.12))),
        bar=max(2, round(size / 16)),
        bar_gap=size * 7 / 32,
        bar_step=size * 3 / 64,
        bar_life=settings.bar_life,
        bar_contrast=rng.uniform(0.85, 1.15) * (76 - 36 * hard),
        visitors=(_draw_visitor(rng, settings), _draw_visitor(rng, settings)),
        noise=rng.uniform(0.6, 1.0) * (4 + 12 * hard),
        shake=rng.uniform(0.0, 1.0) * 2 * hard * size / 80,
        clutter=int(rng.integers(0, 1 + round(8 * hard))),
        encoding=_draw_encoding(rng),
    )


def _draw_visitor(rng: np.random.Generator, settings: SceneSettings) -> Visitor:
    size, hard = settings.size, settings.difficulty

    return Visitor(
        radius=size * rng.uniform(0.18, 0.22) * (1.1 - 0.2 * hard),
        grain=size * rng.uniform(0.11, 0.14),
        offset=_pair(rng, -size, size),
        brightness=rng.uniform(112, 136),
        contrast=rng.choice((-1, 1)) * rng.uniform(0.9, 1.1) * (70 - 20 * hard),
        centre=_pair(rng, 0.4 * size, 0.6 * size),
        reach=_pair(rng, 0.04 * size, 0.10 * size),
        period=_pair(rng, 40, 80),
        phase=_pair(rng, 0, 2 * np.pi),
    )


def _pair(rng: np.random.Generator, low: float, high: float) -> tuple[float, float]:
    return float(rng.uniform(low, high)), float(rng.uniform(low, high))


def _contrasting(rng: np.random.Generator) -> tuple[float, float]:
    """Draw the brightness of host and background: either may be the brighter one, by 12 to 30 steps."""
    body = rng.uniform(112, 136)
    return float(body), float(body + rng.choice((-1, 1)) * rng.uniform(12, 30))


def _draw_encoding(rng: np.random.Generator) -> Encoding:
    return Encoding(
        fps=int(rng.choice(_RATES)),
        crf=int(rng.integers(17, 27)),
        keyframe_interval=int(rng.integers(8, 65)),
        b_frames=int(rng.integers(0, 4)),
    )
