"""A video's clips as its backbones see them: decoded once, resized and cropped for each preprocessing."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from ..manifests.manifest import Video
from ..seeds import derived_seed
from .clips import ClipSampling, frame_indices, view_starts
from .preprocessing import Preprocessing
from .reader import VideoReader
from .transforms import augment, preprocess_test


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
    somewhere = np.any(list(due.values()), axis=0)
    interval = {"start": video.start, "end": video.end}
    with VideoReader(video.path) as reader:
        timeline = reader.timeline
        starts = view_starts(sampling, timeline, video_id=video.video_id, **interval)  # (R, N)
        places = [(view, int(clip)) for view in range(sampling.views) for clip in np.flatnonzero(somewhere)]
        # In the order of time over all views: the video is decoded once, forwards.
        places.sort(key=lambda place: starts[place])
        indices = [frame_indices(timeline, starts[place], sampling, **interval) for place in places]
        for (view, clip), frames in zip(places, reader.read_clips(indices), strict=True):
            for own in (own for own, mask in due.items() if mask[clip]):
                clips[own][view, clip] = see(frames, own, view=view, seed=(sampling.seed, video.video_id))
    return starts, clips


def _blank(shape: tuple[int, ...]) -> torch.Tensor:
    """Return uint8 zeros that take no memory until they are written: NumPy lets the system clear pages on first use."""
    return torch.from_numpy(np.zeros(shape, np.uint8))


def see(frames: np.ndarray, preprocessing: Preprocessing, *, view: int, seed: tuple[int, str]) -> torch.Tensor:
    """Return one clip as a view sees it: the first view has the test's centre crop, every other its own crop and flip.

    All clips of a view are cropped alike, so that their maps keep one geometry.

    Args:
        frames: (L, H, W, 3) uint8.
        preprocessing: of the backbone.
        view: number of the view.
        seed: of the sampling, and the video's id.

    Returns:
        (L, crop, crop, 3) uint8.
    """
    if view == 0:
        return preprocess_test(frames, preprocessing)
    return augment(frames, preprocessing, np.random.default_rng(derived_seed(*seed, view, "look")))
