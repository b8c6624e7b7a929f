"""A video's clips as its backbones see them: decoded once, resized and cropped for each preprocessing."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..manifests.manifest import Video
from ..seeds import derived_seed
from .clips import ClipSampling, frame_indices, view_starts
from .damage import KEEP
from .frame_times import Timeline
from .memory import check_available, memory_errors_told
from .preprocessing import Preprocessing
from .reader import VideoReader
from .seeing import seen_together
from .transforms import Look, look_at_test, random_look


def due_clips(wanted: Iterable[tuple[Preprocessing, np.ndarray]]) -> dict[Preprocessing, np.ndarray]:
    """Return what `decode_clips` must make so that each of several backbones finds its clips.

    Args:
        wanted: for each backbone its preprocessing and the clips that it sees, (N,) bool.

    Returns:
        preprocessing -> (N,) bool, the clips that any backbone with it sees.
    """
    due: dict[Preprocessing, np.ndarray] = {}
    for preprocessing, clips in wanted:
        due[preprocessing] = due.get(preprocessing, np.zeros_like(clips)) | clips
    return due


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of a damaged video was not used.

    Args:
        num_frames: that are damaged or missing.
        num_all_frames: that it would have without the damage.
        num_clips: that would have touched the damage and lie elsewhere now, over all views.
        num_all_clips: over all views.
    """

    num_frames: int
    num_all_frames: int
    num_clips: int
    num_all_clips: int

    def __str__(self) -> str:
        return (
            f"left out: {self.num_frames} of {self.num_all_frames} frames, damaged or missing; "
            f"{self.num_clips} of {self.num_all_clips} clips lie elsewhere than in the whole file"
        )


@dataclass(frozen=True, eq=False, slots=True)
class DecodedClips:
    """The clips of a video.

    Args:
        starts: (R, N) float64 seconds.
        clips: preprocessing -> (R, N, L, S, S, 3) uint8; zero where a clip was not wanted.
        left_out: what was not used because it is damaged; None if all could be.
    """

    starts: np.ndarray
    clips: dict[Preprocessing, torch.Tensor]
    left_out: LeftOut | None


def decode_clips(
    video: Video, *, sampling: ClipSampling, due: Mapping[Preprocessing, np.ndarray]
) -> tuple[np.ndarray, dict[Preprocessing, torch.Tensor]]:
    """Return what `decode_video` does, but for what was left out: the clips' starts, and by preprocessing the clips.

    Raises:
        VideoError: likewise.
    """
    decoded = decode_video(video, sampling=sampling, due=due)
    return decoded.starts, decoded.clips


def decode_video(video: Video, *, sampling: ClipSampling, due: Mapping[Preprocessing, np.ndarray]) -> DecodedClips:
    """Decode a video once, from front to back, and prepare its clips for each preprocessing.

    Args:
        video: which one.
        sampling: where its clips lie, and whether they may be clips of a damaged video.
        due: preprocessing -> (N,) bool, the clips that are wanted with it; the others stay zero, and clips that
            nobody wants are not decoded.

    Raises:
        VideoError: if a frame that a clip needs does not decode or is damaged.
    """
    check_available(clips_bytes(sampling, due), "for its clips")
    with (
        memory_errors_told("decoding"),
        VideoReader(video.path, reading=sampling.reading) as reader,
    ):
        clips = {own: _blank((*_shape(sampling), own.crop, own.crop, 3)) for own in due}
        arrays = {own: tensor.numpy() for own, tensor in clips.items()}  # the same memory, quicker to write in pieces
        starts = _starts(reader.timeline, video, sampling)
        wanted = _wanted(reader.timeline, starts, video, sampling=sampling, due=due)
        seed, size = (sampling.seed, video.video_id), (reader.info.width, reader.info.height)
        looks = {
            (own, view): _look(own, size=size, view=view, crops=sampling.crops, seed=seed)
            for own in due
            for view in range(len(starts))
        }
        for (own, view, places), seen in seen_together(_pictures(reader, wanted, looks)):
            for clip, place in places:
                arrays[own][view, clip, place] = seen.numpy()
        left_out = _left_out(reader, video, sampling) if sampling.reading.damaged == KEEP else None
    return DecodedClips(starts, clips, left_out)


def _shape(sampling: ClipSampling) -> tuple[int, int, int]:
    return sampling.num_views, sampling.num_clips, sampling.num_frames


def clips_bytes(sampling: ClipSampling, due: Iterable[Preprocessing]) -> int:
    """Return what a video's clips take in memory, uint8, for each preprocessing."""
    return math.prod(_shape(sampling)) * sum(3 * own.crop**2 for own in due)


def _starts(timeline: Timeline, video: Video, sampling: ClipSampling) -> np.ndarray:
    return view_starts(sampling, timeline, video_id=video.video_id, start=video.start, end=video.end)  # (R, N)


def _left_out(reader: VideoReader, video: Video, sampling: ClipSampling) -> LeftOut | None:
    """Return what of a damaged video its clips avoid."""
    damage, missing = reader.find_damage(), reader.missing.num_frames if reader.missing else 0
    if not damage and not missing:
        return None
    whole = replace(reader.timeline, damaged=None)
    starts = _starts(whole, video, sampling)
    frames = (frame_indices(whole, start, sampling, start=video.start, end=video.end) for start in starts.flat)
    return LeftOut(
        num_frames=damage.num_frames + missing,
        num_all_frames=len(whole) + missing,
        num_clips=sum(damage.touches(own) for own in frames),
        num_all_clips=starts.size,
    )


_Use = tuple[Preprocessing, int, list[tuple[int, int]]]  # preprocessing, view, and clips and places in them
# frame -> preprocessing and view -> clips and places in them
_Wanted = dict[int, dict[tuple[Preprocessing, int], list[tuple[int, int]]]]


def _wanted(
    timeline: Timeline,
    starts: np.ndarray,
    video: Video,
    *,
    sampling: ClipSampling,
    due: Mapping[Preprocessing, np.ndarray],
) -> _Wanted:
    """Return which frames are wanted, and what for, given the clips' ``starts`` (R, N) float64 seconds."""
    wanted: _Wanted = defaultdict(lambda: defaultdict(list))
    somewhere = np.any(list(due.values()), axis=0)
    for view, clip in itertools.product(range(len(starts)), np.flatnonzero(somewhere).tolist()):
        frames = frame_indices(timeline, starts[view, clip], sampling, start=video.start, end=video.end)
        for place, frame in enumerate(frames.tolist()):
            for own in (own for own, mask in due.items() if mask[clip]):
                wanted[frame][own, view].append((clip, place))
    return wanted


def _pictures(
    reader: VideoReader, wanted: _Wanted, looks: Mapping[tuple[Preprocessing, int], Look]
) -> Iterator[tuple[_Use, Look, np.ndarray]]:
    """Yield what each picture is wanted for, how it is seen, and it, (H, W, 3) uint8; decodes once, forwards."""
    for frame, shown in reader.shown(wanted):
        for (own, view), places in wanted[frame].items():
            look = looks[own, view]
            yield (own, view, places), look, shown(look.short_side)
        del shown  # the picture, before the next is decoded


def _blank(shape: tuple[int, ...]) -> torch.Tensor:
    """Return uint8 zeros that take no memory until they are written: NumPy lets the system clear pages on first use."""
    return torch.from_numpy(np.zeros(shape, np.uint8))


def _look(preprocessing: Preprocessing, *, size: tuple[int, int], view: int, crops: int, seed: tuple[int, str]) -> Look:
    """Return how a view is seen: the first ones are the test's crops, every other has its own crop and flip.

    All clips of a view are cropped alike, so that their maps keep one geometry.

    Args:
        preprocessing: of the backbone.
        size: (width, height) of the video.
        view: number of the view.
        crops: of the test.
        seed: of the sampling, and the video's id.
    """
    if view < crops:
        return look_at_test(preprocessing, crop=view)
    return random_look(size, preprocessing, np.random.default_rng(derived_seed(*seed, view, "look")))


def see(picture: np.ndarray, look: Look) -> torch.Tensor:
    """Return (crop, crop, 3) uint8 of one picture, (H, W, 3) uint8."""
    return look(picture[None])[0]
