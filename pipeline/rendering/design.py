"""The task of the rendered set: its classes, who can tell them apart by construction, and when its two acts play.

A video has two acts, with an intermission between them that is longer than a clip. In each act another visitor passes
(an event); all the time the bars across the host, the thing in the middle, rise or fall (the fine motion). A class is
(first event, second event, fine motion).
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from ..errors import SettingsError

EVENTS = ("bars", "posts", "rings", "checks", "plain")  # a visitor, by its pattern; mirroring does not change it
FINE_MOTIONS = ("rising", "falling")  # mirroring does not change these either
ACTS = (0, 1)


@dataclass(frozen=True, slots=True)
class SceneClass:
    """One class: the events of the two acts, in order, and the direction of the fine motion."""

    first: str
    second: str
    fine: str

    @property
    def label(self) -> str:
        """The class as written in manifests, such as ``bars-rings-rising``."""
        return f"{self.first}-{self.second}-{self.fine}"

    def event(self, act: int) -> str:
        """Return the event of act 0 or 1."""
        return (self.first, self.second)[act]


def scene_classes(num_events: int) -> tuple[SceneClass, ...]:
    """Return the E (E - 1) ordered pairs of different events, each with either fine motion.

    Raises:
        SettingsError: if there are not that many events.
    """
    if not 2 <= num_events <= len(EVENTS):
        raise SettingsError(
            f"the number of events must lie in 2..{len(EVENTS)} ({', '.join(EVENTS)}); got {num_events}"
        )
    pairs = permutations(EVENTS[:num_events], 2)
    return tuple(SceneClass(*pair, fine) for pair, fine in product(pairs, FINE_MOTIONS))


def best_accuracy(cases: Iterable[tuple[Hashable, Hashable]]) -> float:
    """Return the highest accuracy that any classifier can reach from its observations alone.

    Args:
        cases: (class, observation) of equally likely cases; the best guess upon an observation is its commonest class.
    """
    counts = Counter(cases)
    best: dict[Hashable, int] = {}
    for (_, observation), count in counts.items():
        best[observation] = max(best.get(observation, 0), count)
    return sum(best.values()) / counts.total()


def accuracy_bounds(num_events: int) -> dict[str, float]:
    """Return the best possible accuracy, by construction, of several kinds of classifier, by name.

    A clip comes without its time in the video: acts look alike wherever they are (see ``draw_timetable``), so a clip
    that sees an act, whole or in part, shows its event, but not whether it is the first or the second.
    """
    classes = scene_classes(num_events)
    clips = list(product(classes, ACTS))
    return {
        "chance": 1 / len(classes),
        "one_clip": best_accuracy((c, (c.event(act), c.fine)) for c, act in clips),
        "one_clip_without_fine_motion": best_accuracy((c, c.event(act)) for c, act in clips),
        "one_clip_between_the_acts": best_accuracy((c, c.fine) for c in classes),
        "all_clips_without_order": best_accuracy((c, (frozenset((c.first, c.second)), c.fine)) for c in classes),
        "all_clips_without_order_or_fine_motion": best_accuracy((c, frozenset((c.first, c.second))) for c in classes),
        "all_clips_in_order_without_fine_motion": best_accuracy((c, (c.first, c.second)) for c in classes),
        "all_clips_in_order": best_accuracy((c, c) for c in classes),
    }


@dataclass(frozen=True, slots=True)
class Timetable:
    """When the acts play, in frames: act a runs from ``starts[a]`` to before ``ends[a]``."""

    starts: tuple[int, int]
    ends: tuple[int, int]


def shortest_act(clip_frames: int) -> int:
    """Return the fewest frames of an act: one and a half clips."""
    return clip_frames * 3 // 2


def shortest_video(clip_frames: int) -> int:
    """Return the fewest frames that hold two of the shortest acts, and the rests around them."""
    return 2 * shortest_act(clip_frames) + _rests(clip_frames).sum()


def draw_timetable(
    frames: int, *, clip_frames: int, rng: np.random.Generator, act_frames: int | None = None
) -> Timetable:
    """Draw when the two acts play, so that a clip never tells which of them it sees.

    The intermission is longer than a clip, so no clip sees both acts. At least
    ``clip_frames - 1`` frames pass before the first act and after the second one, so that a clip can overlap either act
    in the same ways. The lengths of both acts are drawn alike. The remaining frames go to the three rests at random:
    about a third each or, if short acts were asked for, in any proportion, so that an act may be early or late.

    Args:
        frames: length of the video.
        clip_frames: the longest clip for which this must hold, in frames.
        rng: the source of randomness.
        act_frames: longest act; None: as long as there is room.

    Raises:
        SettingsError: if the video is too short.
    """
    if frames < shortest_video(clip_frames):
        raise SettingsError(
            f"two acts seen by clips of {clip_frames} frames need videos of at least {shortest_video(clip_frames)} "
            f"frames; got {frames}"
        )
    rests = _rests(clip_frames)
    longest = (frames - rests.sum()) // 2
    if act_frames is not None:
        longest = min(longest, act_frames)
    lengths = rng.integers(max(shortest_act(clip_frames), longest * 3 // 4), longest + 1, 2)
    shares = [1 / 3] * 3 if act_frames is None else rng.dirichlet([1.0] * 3)
    rests += rng.multinomial(frames - rests.sum() - lengths.sum(), shares)
    first = int(rests[0])
    second = first + int(lengths[0] + rests[1])
    return Timetable((first, second), (first + int(lengths[0]), second + int(lengths[1])))


def _rests(clip_frames: int) -> np.ndarray:
    """Return the least frames before, between and after the acts, (3,) int64."""
    return np.array([clip_frames - 1, clip_frames + 1, clip_frames - 1])


def class_of(index: int, *, seed: int, num_classes: int) -> int:
    """Return the class of video ``index``: each run of ``num_classes`` videos has every class once, in random order."""
    block, place = divmod(index, num_classes)
    return int(np.random.default_rng((seed, 1, block)).permutation(num_classes)[place])


def is_test(index: int, *, num_classes: int, test_fraction: float) -> bool:
    """Return whether video ``index`` is for testing: whole runs of ``num_classes`` videos are, evenly spread.

    So the split is stratified, and does not change when a set grows.
    """
    # A block is for testing where the running total passes a whole number; 1e-9 absorbs rounding, as of 10 * 0.1.
    block = index // num_classes
    return int((block + 1) * test_fraction + 1e-9) > int(block * test_fraction + 1e-9)
