"""A video's clips as its backbones see them: decoded once, resized and cropped for each preprocessing."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from ..manifests.manifest import Video
from ..seeds import derived_seed
from .clips import ClipSampling, frame_indices, view_starts
from .frame_times import Timeline
from .preprocessing import Preprocessing
from .reader import VideoReader
from .transforms import Look, central_look, random_look


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


def decode_clips(
    video: Video, *, sampling: ClipSampling, due: Mapping[Preprocessing, np.ndarray]
) -> tuple[np.ndarray, dict[Preprocessing, torch.Tensor]]:
    """Decode a video once, from front to back, and prepare its clips for each preprocessing.

    Args:
        video: which one.
        sampling: where its clips lie.
        due: preprocessing -> (N,) bool, the clips that are wanted with it; the others stay zero, and clips that
            nobody wants are not decoded.

    Returns:
        The clips' starts, (R, N) float64 seconds, and by preprocessing the clips, (R, N, L, S, S, 3) uint8.

    Raises:
        VideoError: if a frame that a clip needs does not decode.
    """
    shape = (sampling.views, sampling.num_clips, sampling.num_frames)
    clips = {own: _blank((*shape, own.crop, own.crop, 3)) for own in due}
    with VideoReader(video.path) as reader:
        starts = view_starts(
            sampling, reader.timeline, video_id=video.video_id, start=video.start, end=video.end
        )  # (R, N)
        wanted = _wanted(reader.timeline, starts, video, sampling=sampling, due=due)
        seed, size = (sampling.seed, video.video_id), (reader.info.width, reader.info.height)
        looks = {(own, view): _look(own, size=size, view=view, seed=seed) for own in due for view in range(len(starts))}
        # In the order of time over all views: the video is decoded once, forwards, and one picture is held.
        for frame, picture in reader.pictures(wanted):
            for (own, view), places in wanted[frame].items():
                seen = see(picture, looks[own, view])
                for clip, place in places:
                    clips[own][view, clip, place] = seen
    return starts, clips


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


def _blank(shape: tuple[int, ...]) -> torch.Tensor:
    """Return uint8 zeros that take no memory until they are written: NumPy lets the system clear pages on first use."""
    return torch.from_numpy(np.zeros(shape, np.uint8))


def _look(preprocessing: Preprocessing, *, size: tuple[int, int], view: int, seed: tuple[int, str]) -> Look:
    """Return how a view is seen: the first has the test's centre crop, every other its own crop and flip.

    All clips of a view are cropped alike, so that their maps keep one geometry.

    Args:
        preprocessing: of the backbone.
        size: (width, height) of the video.
        view: number of the view.
        seed: of the sampling, and the video's id.
    """
    if view == 0:
        return central_look(preprocessing)
    return random_look(size, preprocessing, np.random.default_rng(derived_seed(*seed, view, "look")))


def see(picture: np.ndarray, look: Look) -> torch.Tensor:
    """Return (crop, crop, 3) uint8 of one picture, (H, W, 3) uint8."""
    return look(picture[None])[0]


def see_frames(reader: VideoReader, frames: np.ndarray, look: Look) -> torch.Tensor:
    """Return the frames of one clip as ``look`` sees them, each by its own size; one picture is held at a time.

    Args:
        reader: of the video.
        frames: (L,) places in its timeline.
        look: how.

    Returns:
        (L, crop, crop, 3) uint8.

    Raises:
        VideoError: if a frame does not decode.
    """
    seen = {place: see(picture, look) for place, picture in reader.pictures(frames.tolist())}
    return torch.stack([seen[place] for place in frames.tolist()])
