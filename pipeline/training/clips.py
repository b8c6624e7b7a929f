"""Training's view of a manifest: one random clip of each video and epoch, augmented."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ..errors import VideoError
from ..manifests.manifest import Video
from ..seeds import derived_seed
from ..videos.clips import ClipSampling, Timeline, frame_indices, random_starts, uniform_starts
from ..videos.preprocessing import Preprocessing
from ..videos.reader import VideoReader, iterate_frames
from ..videos.transforms import augment, jitter_range, preprocess_test, resize_short_side
from .batches import prefetched
from .distributed import gathered, rank, world_size

Clip = tuple[torch.Tensor, int]
ReadFrames = Callable[[np.ndarray], np.ndarray]
Made = TypeVar("Made")

_PROBED_VIDEOS = 64  # enough to estimate what a manifest takes in memory


def open_source(videos: Sequence[Video], *, crop: int, cache_bytes: float) -> "VideoSource":
    """Return the videos, kept decoded in memory if by estimate they fit into ``cache_bytes``."""
    fits = cache_bytes > 0 and estimated_bytes(videos, short_side=jitter_range(crop)[1]) <= cache_bytes
    return VideoSource(videos, crop=crop, cache=fits)


class VideoSource:
    """Opens the videos of a list, keeps them decoded if asked to, and notes which ones cannot be read.

    With ``cache`` a video is decoded once and kept in memory, its short side reduced to the largest that the scale
    jitter can draw.

    Args:
        videos: which ones.
        crop: side in pixels of the largest square that is cut from them.
        cache: keep decoded videos in memory.
    """

    def __init__(self, videos: Sequence[Video], *, crop: int, cache: bool = False) -> None:
        self.videos = tuple(videos)
        self.failures: dict[str, str] = {}
        self._seen: set[int] = set()
        self._short_side = jitter_range(crop)[1]
        self._cache: dict[int, tuple[Timeline, np.ndarray]] | None = {} if cache else None
        self._lock = threading.Lock()

    @property
    def caches_frames(self) -> bool:
        """Whether decoded videos are kept in memory."""
        return self._cache is not None

    def see(self, index: int, make: Callable[[Timeline, ReadFrames], Made]) -> Made | None:
        """Return what ``make`` makes from a video's timeline and a function from places in it to (n, H, W, 3) uint8.

        None means that the video cannot be read; ``failures`` then has the reason.
        """
        video = self.videos[index]
        self._seen.add(index)
        try:
            if self._cache is not None:
                timeline, frames = self._decoded(index)
                return make(timeline, lambda indices: frames[indices])
            with VideoReader(video.path) as reader:
                return make(reader.timeline, reader.read_frames)
        except VideoError as error:
            with self._lock:
                self.failures[video.video_id] = str(error)
            return None

    def all_failures(self, look: Callable[[int], object], *, workers: int) -> dict[str, str]:
        """Return id -> reason for the videos that cannot be read, taking a ``look`` at those that no process has seen.

        In a resumed training an earlier process may have seen them and its findings are lost. Call it in every process.
        """
        seen = set().union(*gathered(self._seen))
        unseen = [[index] for index in range(len(self.videos)) if index not in seen]
        for _ in prefetched(look, unseen[rank() :: world_size()], workers=workers):
            pass
        found = {video_id: reason for own in gathered(self.failures) for video_id, reason in own.items()}
        return dict(sorted(found.items()))

    def _decoded(self, index: int) -> tuple[Timeline, np.ndarray]:
        assert self._cache is not None
        # Without a lock: two threads may decode the same video, with the same result, and neither waits for the other.
        if index not in self._cache:
            path = self.videos[index].path
            with VideoReader(path) as reader:
                timeline = reader.timeline
            self._cache[index] = timeline, read_reduced(path, short_side=self._short_side)
        return self._cache[index]


class TrainingClips:
    """The clips of a list of videos for a backbone's training and validation.

    A clip depends only on (seed, epoch, video), whichever thread makes it and in whatever order.

    Args:
        source: the videos.
        labels: (V,) the class index of each video.
        sampling: how a clip's frames are taken; its ``num_clips`` and ``views`` do not matter here.
        preprocessing: of the network.
        seed: of the draws.
        flip: whether a clip may be mirrored; false if left and right tell classes apart.
    """

    def __init__(
        self,
        source: VideoSource,
        *,
        labels: Sequence[int],
        sampling: ClipSampling,
        preprocessing: Preprocessing,
        seed: int = 0,
        flip: bool = True,
    ) -> None:
        self.source = source
        self.labels = tuple(labels)
        self.sampling = replace(sampling, num_clips=1, views=1)
        self.preprocessing = preprocessing
        self.seed = seed
        self.flip = flip

    def random_clip(self, index: int, *, epoch: int) -> Clip | None:
        """Return a random augmented clip (L, crop, crop, 3) uint8 of video ``index`` and its label.

        None means that the video cannot be read; the source's ``failures`` then has the reason.
        """
        video = self.source.videos[index]
        rng = np.random.default_rng(derived_seed(self.seed, video.video_id, epoch))

        def clip(timeline: Timeline, read: ReadFrames) -> Clip:
            starts = random_starts(self.sampling, timeline, rng=rng, start=video.start, end=video.end)
            frames = read(self._indices(video, timeline, starts[0]))
            return augment(frames, self.preprocessing, rng, flip=self.flip), self.labels[index]

        return self.source.see(index, clip)

    def central_clip(self, index: int) -> Clip | None:
        """Return the middle clip of video ``index`` as in a test, and its label, in `random_clip`'s form; or None."""
        video = self.source.videos[index]

        def clip(timeline: Timeline, read: ReadFrames) -> Clip:
            starts = uniform_starts(self.sampling, timeline, start=video.start, end=video.end)
            frames = read(self._indices(video, timeline, starts[0]))
            return preprocess_test(frames, self.preprocessing), self.labels[index]

        return self.source.see(index, clip)

    def _indices(self, video: Video, timeline: Timeline, start: float) -> np.ndarray:
        return frame_indices(timeline, start, self.sampling, start=video.start, end=video.end)


def read_reduced(path: Path, *, short_side: int) -> np.ndarray:
    """Return every frame of a video, (F, H, W, 3) uint8, its short side at most ``short_side`` pixels.

    Frames are reduced one by one as they are decoded, so that a long video is never in memory at its full size.

    Raises:
        VideoError: if the video does not decode.
    """
    return np.concatenate([_reduced(frame[None], short_side) for frame in iterate_frames(path)])


def _reduced(frames: np.ndarray, short_side: int) -> np.ndarray:
    return frames if min(frames.shape[1:3]) <= short_side else resize_short_side(frames, short_side).numpy()


def estimated_bytes(videos: Sequence[Video], *, short_side: int) -> int:
    """Return what the decoded videos take in memory, in bytes, estimated from a sample spread over them.

    Videos that cannot be opened count as nothing.
    """
    if not videos:
        return 0
    sample = videos[:: max(1, len(videos) // _PROBED_VIDEOS)]
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
