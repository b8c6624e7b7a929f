"""Training's view of a manifest: one random clip of each video and epoch, augmented."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .clips import ClipSampling, Timeline, frame_indices, random_starts, uniform_starts
from .errors import VideoError
from .manifest import Video
from .seeds import derived_seed
from .transforms import augment, jitter_range, preprocess_test, resize_short_side
from .video import VideoReader, iterate_frames
from .weights import Preprocessing

Clip = tuple[torch.Tensor, int]

PROBED_VIDEOS = 64  # enough to foresee what a manifest takes in memory


class TrainingClips:
    """The clips of a list of videos, as training and validation see them.

    A clip depends on (seed, epoch, video) alone, whichever thread makes it and in whatever order. With ``cache`` a
    video is decoded once and kept in memory, its short side reduced to the most that the scale jitter asks for.

    Args:
        videos: whose clips.
        labels: (V,) the class index of each video.
        sampling: how a clip's frames are taken; its ``num_clips`` and ``views`` do not matter here.
        preprocessing: what the network sees.
        seed: of the draws.
        flip: whether a clip may be mirrored; no, where left and right are what tells classes apart.
        cache: keep decoded videos in memory.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        labels: Sequence[int],
        sampling: ClipSampling,
        preprocessing: Preprocessing,
        seed: int = 0,
        flip: bool = True,
        cache: bool = False,
    ) -> None:
        self.videos = tuple(videos)
        self.labels = tuple(labels)
        self.sampling = sampling
        self.preprocessing = preprocessing
        self.seed = seed
        self.flip = flip
        self.failures: dict[str, str] = {}
        self.visited = False
        self._cache: dict[int, tuple[Timeline, np.ndarray]] | None = {} if cache else None
        self._lock = threading.Lock()

    @property
    def caches_frames(self) -> bool:
        """Whether decoded videos are kept in memory."""
        return self._cache is not None

    def random_clip(self, index: int, *, epoch: int) -> Clip | None:
        """Return a random augmented clip (L, crop, crop, 3) uint8 of video ``index`` and its label.

        None stands for a video that cannot be read; its reason is then in ``failures``.
        """
        rng = np.random.default_rng(derived_seed(self.seed, self.videos[index].video_id, epoch))

        def clip(timeline: Timeline, read: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
            video = self.videos[index]
            starts = random_starts(self._one_clip, timeline, rng=rng, start=video.start, end=video.end)
            frames = read(self._indices(index, timeline, starts[0]))
            return augment(frames, self.preprocessing, rng, flip=self.flip)

        return self._clip(index, clip)

    def central_clip(self, index: int) -> Clip | None:
        """Return the middle clip of video ``index`` as testing sees it, and its label; None as in `random_clip`."""

        def clip(timeline: Timeline, read: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
            video = self.videos[index]
            starts = uniform_starts(self._one_clip, timeline, start=video.start, end=video.end)
            return preprocess_test(read(self._indices(index, timeline, starts[0])), self.preprocessing)

        return self._clip(index, clip)

    @property
    def _one_clip(self) -> ClipSampling:
        own = self.sampling
        return ClipSampling(
            num_frames=own.num_frames, sampling_rate=own.sampling_rate, fps=own.fps, num_clips=1, short=own.short
        )

    def _indices(self, index: int, timeline: Timeline, start: float) -> np.ndarray:
        video = self.videos[index]
        return frame_indices(timeline, start, self.sampling, start=video.start, end=video.end)

    def _clip(self, index: int, clip: Callable[..., torch.Tensor]) -> Clip | None:
        video = self.videos[index]
        self.visited = True
        try:
            if self._cache is not None:
                timeline, frames = self._decoded(index)
                return clip(timeline, lambda indices: frames[indices]), self.labels[index]
            with VideoReader(video.path) as reader:
                return clip(reader.timeline, reader.read_frames), self.labels[index]
        except VideoError as error:
            with self._lock:
                self.failures[video.video_id] = str(error)
            return None

    def _decoded(self, index: int) -> tuple[Timeline, np.ndarray]:
        assert self._cache is not None
        if index not in self._cache:
            path = self.videos[index].path
            with VideoReader(path) as reader:
                timeline = reader.timeline
            short_side = jitter_range(self.preprocessing.crop)[1]
            self._cache[index] = timeline, read_reduced(path, short_side=short_side)
        return self._cache[index]


def read_reduced(path: Path, *, short_side: int) -> np.ndarray:
    """Return every frame of a video, (F, H, W, 3) uint8, its short side at most ``short_side`` pixels.

    Frames are reduced one by one as they are decoded, so that a long video never lies in memory at its full size.

    Raises:
        VideoError: if the video does not decode.
    """
    return np.concatenate([_reduced(frame[None], short_side) for frame in iterate_frames(path)])


def _reduced(frames: np.ndarray, short_side: int) -> np.ndarray:
    return frames if min(frames.shape[1:3]) <= short_side else resize_short_side(frames, short_side).numpy()


def foreseen_bytes(videos: Sequence[Video], *, short_side: int) -> int:
    """Return what the decoded videos take in memory, foreseen from a sample spread over them.

    Videos that cannot be opened count for nothing.
    """
    sample = videos[:: max(1, len(videos) // PROBED_VIDEOS)]
    total = 0
    for video in sample:
        try:
            with VideoReader(video.path) as reader:
                width, height = reader.info.width, reader.info.height
                scale = min(1.0, short_side / min(width, height))
                total += len(reader.timeline.pts) * round(width * scale) * round(height * scale) * 3
        except VideoError:
            continue
    return total * len(videos) // len(sample)


def collate(clips: Sequence[Clip | None], *, at_least: int = 1) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return (B, L, S, S, 3) uint8 and (B,) int64 of the clips that could be read; None if fewer than ``at_least``."""
    readable = [clip for clip in clips if clip is not None]
    if len(readable) < at_least:
        return None
    return torch.stack([clip for clip, _ in readable]), torch.tensor([label for _, label in readable])
