"""Draw the frames of a planned video, straight into planes of luma and chroma.

A dot of the thing lives for a few frames. From each to the next it goes one step up or down, and at random turns bright or
dark. Averaged over these signs no linear filter over space and time knows up from down (second-order motion: Chubb and
Sperling, Drift-balanced random stimuli, 1988); a network that rectifies each frame before it compares frames does.
"""

import numpy as np

from .rendering import Look, VideoPlan
from .rendering_design import SceneClass

PIXEL_STREAM = 2
DOT_LIFE = 4  # frames
DOT_AREA = 10  # a dot per so many times its own area
EVENT_RAMP = 3  # frames in which an event swings in, and out

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw_frames(plan: VideoPlan) -> Planes:
    """Return the video as planes Y (F, H, W), U and V (F, H / 2, W / 2), uint8, limited range."""
    look = plan.look
    rng = np.random.default_rng((plan.seed, PIXEL_STREAM, plan.index))
    frames = plan.frames
    camera = _camera(frames, shake=look.shake, rng=rng)
    ground = _ground(look, camera=camera, rng=rng)
    _add_clutter(ground, look=look, rng=rng)
    cover = _cover(look, poses=_poses(look, scene_class=plan.scene_class, frames=frames), camera=camera)
    direction = -1 if plan.scene_class.fine == "rising" else 1
    thing = _dots(look, direction=direction, camera=camera, rng=rng) * np.float32(look.dot_contrast)
    thing += np.float32(look.body)
    thing -= ground
    thing *= cover
    luma = ground
    luma += thing
    luma += rng.standard_normal(luma.shape, dtype=np.float32) * np.float32(look.noise)
    thumbnail = cover[:, ::2, ::2]
    chroma = [
        _quantise(ground_colour + thumbnail * np.float32(colour - ground_colour))
        for colour, ground_colour in zip(look.body_colour, look.ground_colour, strict=True)
    ]
    return _quantise(luma), chroma[0], chroma[1]
