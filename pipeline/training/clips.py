"""Training's view of a manifest: one random clip of each video and epoch, augmented."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from ..errors import VideoError
from ..manifests.manifest import Video
from ..seeds import derived_seed
from ..videos.clips import ClipSampling, frame_indices, random_starts, uniform_starts
from ..videos.frame_times import Timeline
from ..videos.preprocessing import Preprocessing
from ..videos.reading import Reading
from ..videos.transforms import central_look, jitter_range, random_look
from .batches import prefetched
from .clip_cache import ClipCache
from .distributed import gathered, rank, world_size
from .reduced import ReducedVideo, Reduction, decoded, in_memory, num_bytes

Clip = tuple[torch.Tensor, int]
Made = TypeVar("Made")

_PROBED_VIDEOS = 64  # enough to estimate what a manifest takes


class VideoSource:
    """Opens the videos of a list, keeps them decoded if asked to, and notes which ones cannot be read.

    Their short sides are reduced to the largest that the scale jitter can draw, wherever they come from: keeping them
    changes no result.

    Args:
        videos: which ones.
        crop: side in pixels of the largest square that is cut from them.
        cache: keep decoded videos in memory (or on disk, with `keep_on`).
        reading: what is done about damage, HDR and large pictures; None: the defaults.

    Attributes:
        videos: all of them.
        reduction: how they are read.
        failures: id -> reason, of those that could not be read so far.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        crop: int,
        cache: bool = False,
        reading: Reading | None = None,
    ) -> None:
        self.videos = tuple(videos)
        self.reduction = Reduction(short_side=jitter_range(crop)[1], reading=reading or Reading())
        self.failures: dict[str, str] = {}
        self._seen: set[int] = set()
        self._cache: dict[int, ReducedVideo | None] | None = {} if cache else None
        self._disk: ClipCache | None = None
        self._lock = threading.Lock()

    def keep_in_memory(self) -> None:
        """Keep decoded videos in memory from here on."""
        self._cache = {}

    @property
    def keeps_in_memory(self) -> bool:
        """Whether decoded videos are kept in memory."""
        return self._cache is not None

    def keep_on(self, disk: ClipCache) -> None:
        """Keep decoded videos on ``disk`` from here on, and use those that are there."""
        self._disk = disk

    def see(self, index: int, make: Callable[[ReducedVideo], Made]) -> Made | None:
        """Return what ``make`` makes of a video; it may be called again if what was kept of the video is damaged.

        None means that the video cannot be read; ``failures`` then has the reason.
        """
        self._seen.add(index)
        try:
            return self._see(index, make)
        except VideoError as error:
            with self._lock:
                self.failures[self.videos[index].video_id] = str(error)
            return None

    def _see(self, index: int, make: Callable[[ReducedVideo], Made]) -> Made:
        video = self.videos[index]
        if self._cache is not None:
            held = self._held(self._cache, index)
            if held is not None:
                return make(held)
        elif self._disk is not None:
            made = self._disk.see(video, make, reduction=self.reduction)
            if made is not None:
                return made
        with decoded(video, reduction=self.reduction) as opened:
            return make(opened)

    def _held(self, cache: dict[int, ReducedVideo | None], index: int) -> ReducedVideo | None:
        """Return the video in memory; None if not all of it decodes: the clips that can be had are then read singly."""
        # Without a lock: two threads may decode the same video, with the same result, and neither waits for the other.
        if index not in cache:
            try:
                cache[index] = in_memory(self.videos[index], reduction=self.reduction)
            except VideoError:
                cache[index] = None
        return cache[index]

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
        self.sampling = replace(sampling, num_clips=1, views=1, crops=1)
        self.preprocessing = preprocessing
        self.seed = seed
        self.flip = flip

    def random_clip(self, index: int, *, epoch: int) -> Clip | None:
        """Return a random augmented clip (L, crop, crop, 3) uint8 of video ``index`` and its label.

        None means that the video cannot be read; the source's ``failures`` then has the reason.
        """
        video = self.source.videos[index]

        def clip(opened: ReducedVideo) -> Clip:
            rng = np.random.default_rng(derived_seed(self.seed, video.video_id, epoch))
            starts = random_starts(self.sampling, opened.timeline, rng=rng, start=video.start, end=video.end)
            look = random_look(opened.size, self.preprocessing, rng, flip=self.flip)
            return opened.see(self._indices(video, opened.timeline, starts[0]), look), self.labels[index]

        return self.source.see(index, clip)

    def central_clip(self, index: int) -> Clip | None:
        """Return the middle clip of video ``index`` as in a test, and its label, in `random_clip`'s form; or None."""
        video = self.source.videos[index]

        def clip(opened: ReducedVideo) -> Clip:
            starts = uniform_starts(self.sampling, opened.timeline, start=video.start, end=video.end)
            look = central_look(self.preprocessing)
            return opened.see(self._indices(video, opened.timeline, starts[0]), look), self.labels[index]

        return self.source.see(index, clip)

    def _indices(self, video: Video, timeline: Timeline, start: float) -> np.ndarray:
        return frame_indices(timeline, start, self.sampling, start=video.start, end=video.end)


def estimated_bytes(videos: Sequence[Video], *, reduction: Reduction) -> int:
    """Return what the decoded videos take, in bytes, estimated from a sample spread over them.

    Videos that cannot be opened count as nothing.
    """
    if not videos:
        return 0
    sample = videos[:: max(1, len(videos) // _PROBED_VIDEOS)]
    total = 0
    for video in sample:
        try:
            total += num_bytes(video, reduction=reduction)
        except VideoError:
            continue
    return total * len(videos) // len(sample)


def collate(clips: Sequence[Clip | None], *, at_least: int = 1) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return (B, L, S, S, 3) uint8 and (B,) int64 of the clips that could be read; None if fewer than ``at_least``."""
    readable = [clip for clip in clips if clip is not None]
    if len(readable) < at_least:
        return None
    return torch.stack([clip for clip, _ in readable]), torch.tensor([label for _, label in readable])
