"""Which frames of a video are not what was recorded: pure arithmetic on what its decoder complained of.

A decoder refers back: whatever it got wrong goes on in the frames that it decodes next, until a keyframe begins anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# What to do with a damaged video: refuse it, or use what lies outside the damage.
REFUSE, KEEP = "refuse", "keep"
DAMAGE_POLICIES = (REFUSE, KEEP)
DAMAGED_HELP = "Damaged or cut videos: refuse them, or keep to clips outside of the damage (decodes all of each first)."
DAMAGE_WORDS = ("damaged", "truncated")  # how reasons begin that the policy is about
REPORT = "report"  # for checks: refuse nothing, and look for nothing unasked


@dataclass(frozen=True, slots=True)
class Fault:
    """A packet that is damaged or does not decode.

    Args:
        packet: its number in decoding order, from 0.
        reason: in words.
    """

    packet: int
    reason: str


@dataclass(frozen=True, eq=False, slots=True)
class Damage:
    """What is wrong with a video.

    Args:
        frames: (F,) bool, the frames that are lost, wrong, or decoded from wrong ones.
        num_lost: how many of all frames, those beyond the timeline included, do not decode at all.
        reason: of the first fault, in words.
    """

    frames: np.ndarray
    num_lost: int = 0
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.frames.any()) or self.num_lost > 0

    @property
    def num_frames(self) -> int:
        """How many frames there would be without the damage to be left out."""
        return int(np.count_nonzero(self.frames))

    def touches(self, places: Sequence[int] | np.ndarray) -> bool:
        """Return whether any of the frames at ``places`` is damaged."""
        return bool(self.frames[np.asarray(places, dtype=np.int64)].any())

    def __str__(self) -> str:
        """Return what is wrong in words: how much, and from which frame on."""
        size, places = len(self.frames), np.flatnonzero(self.frames)
        if len(places) == 0:
            return f"damaged: {_not_decoding(self.num_lost)} ({self.reason})"
        first, last = int(places[0]), int(places[-1])
        if first == last:
            where = f"frame {first} of {size}"
        elif len(places) == last - first + 1:
            where = f"frames {first} to {last} of {size}"
        else:
            where = f"{len(places)} of {size} frames, from frame {first} on"
        lost = f"; {_not_decoding(self.num_lost)}" if self.num_lost else ""
        return f"damaged: {where}{lost} ({self.reason})"


def _not_decoding(count: int) -> str:
    return "1 frame does not decode" if count == 1 else f"{count} frames do not decode"


def damaged_frames(
    faults: Sequence[int] | np.ndarray, packets: np.ndarray, restarts: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Return which frames a decoder gets wrong, (F,) bool.

    A fault spoils its own frame, all that are decoded after it, and those shown before the frame that begins anew. Of a
    frame that is decoded after a keyframe, but shown before it, that keyframe is the end.

    Args:
        faults: numbers of the packets with a fault.
        packets: (F,) int64, the number of the packet of each frame, frames in the order in which they are shown.
        restarts: increasing places of the frames that refer to none before them.
    """
    spoilt = np.zeros(len(packets), bool)
    restarts = np.asarray(restarts, dtype=np.int64)
    begins = np.append(packets[restarts], np.iinfo(np.int64).max)  # increasing: keyframes are decoded as they are shown
    ends = np.append(restarts, len(packets))
    places = np.arange(len(packets))
    place_of = {packet: place for place, packet in enumerate(packets.tolist())}
    done: set[int] = set()
    for fault in np.unique(faults).tolist():
        following = int(np.searchsorted(begins, fault, side="right"))
        end = int(ends[following])
        if following and place_of.get(fault, end) < restarts[following - 1]:
            end = int(restarts[following - 1])  # it is shown before the keyframe: nothing after that refers to it
        if end not in done:  # the first fault before an end spoils all that later ones do
            spoilt |= (packets >= fault) & (places < end)
        done.add(end)
    return spoilt


def own_packets(frames: Sequence[tuple[int | None, int | None]], pts: np.ndarray, dts: np.ndarray) -> np.ndarray:
    """Return the number of the packet that each decoded frame came from, (F,) int64.

    Args:
        frames: the presentation and the decoding time of each, in order of display.
        pts: (P,) int64 of the packets, in decoding order.
        dts: (P,) int64.
    """
    for own, known in ((1, dts), (0, pts)):
        numbers = {time: number for number, time in enumerate(known.tolist())}
        found = [numbers.get(frame[own], -1) for frame in frames]
        # A table of times is good if no two packets, and no two frames, share one.
        if len(numbers) == len(known) and -1 not in found and len(set(found)) == len(found):
            return np.array(found, dtype=np.int64)
    # Without times: a frame a packet, which is right for all but frames that are decoded before they are shown.
    return np.minimum(np.arange(len(frames)), max(len(dts) - 1, 0))
