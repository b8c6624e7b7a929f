"""The description of a rendered set, for the README beside the videos."""

from .design import EVENTS, FINE_MOTIONS, accuracy_bounds, scene_classes
from .settings import SceneSettings

README = """# A rendered set of videos

Made by `vidpipe render`. `manifest.csv` lists the videos; `design.json` holds all that they depend on.

Each video of {frames} frames shows a host in the middle of a textured, noisy background, and two acts with a rest
before, between and after them. In each act a visitor of another pattern passes ({events}: {num_events} kinds).
All the while the bars that cross the host are {fine}: they go one step from frame to frame, turn bright or dark
at random, and leap every {bar_life} frames, so that no linear filter over space and time tells up from down. A class is
(first visitor, second visitor, direction of the bars): {num_classes} classes.

No clip of up to {clip_frames} consecutive frames sees both acts, nor does it show which of the two it sees: the rests
are long enough, and the acts alike. Sizes, colours, speeds, times, camera shake and encoding are drawn without knowing
the class.

The best accuracy that any classifier can reach, by what it can see:

| it sees | at most |
|---|---|
{bounds}
"""

_BOUND_WORDS = {
    "chance": "nothing",
    "one_clip": "one clip of an act",
    "one_clip_without_fine_motion": "one clip of an act, but not the bars' direction",
    "one_clip_between_the_acts": "one clip between the acts",
    "all_clips_without_order": "all clips, but not their order (averaging)",
    "all_clips_without_order_or_fine_motion": "all clips, neither their order nor the bars' direction",
    "all_clips_in_order_without_fine_motion": "all clips in order, but not the bars' direction",
    "all_clips_in_order": "all clips in order",
}


def describe_set(settings: SceneSettings) -> str:
    """Return the README of a set, in Markdown."""
    bounds = accuracy_bounds(settings.num_events)
    return README.format(
        frames=settings.frames,
        num_events=settings.num_events,
        events=", ".join(EVENTS[: settings.num_events]),
        fine=" or ".join(FINE_MOTIONS),
        num_classes=len(scene_classes(settings.num_events)),
        clip_frames=settings.clip_frames,
        bar_life=settings.bar_life,
        bounds="\n".join(f"| {_BOUND_WORDS[name]} | {value:.1%} |" for name, value in bounds.items()),
    )
