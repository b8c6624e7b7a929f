"""Training's view of a manifest: one random clip of each video and epoch, augmented."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ..errors import VideoError
from ..manifests.manifest import Video
from ..seeds import derived_seed
from ..videos.clip_reader import see, see_frames
from ..videos.clips import ClipSampling, frame_indices, random_starts, uniform_starts
from ..videos.damage import REFUSE, REPORT
from ..videos.frame_times import Timeline
from ..videos.preprocessing import Preprocessing
from ..videos.reader import VideoReader
from ..videos.transforms import Look, central_look, jitter_range, random_look, resize_short_side
from .batches import prefetched
from .distributed import gathered, rank, world_size

Clip = tuple[torch.Tensor, int]
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenVideo:
    """A video whose frames can be had.

    Args:
        timeline: when they are shown.
        size: (width, height) of the first one.
        see: from (L,) places in the timeline and a look to (L, crop, crop, 3) uint8.
    """

    timeline: Timeline
    size: tuple[int, int]
    see: Callable[[np.ndarray, Look], torch.Tensor]


_PROBED_VIDEOS = 64  # enough to estimate what a manifest takes in memory


def open_source(videos: Sequence[Video], *, crop: int, cache_bytes: float, damaged: str = REFUSE) -> "VideoSource":
    """Return the videos, kept decoded in memory if by estimate they fit into ``cache_bytes``."""
    fits = cache_bytes > 0 and estimated_bytes(videos, short_side=jitter_range(crop)[1]) <= cache_bytes
    return VideoSource(videos, crop=crop, cache=fits, damaged=damaged)


class VideoSource:
    """Opens the videos of a list, keeps them decoded if asked to, and notes which ones cannot be read.

    With ``cache`` a video is decoded once and kept in memory, its short side reduced to the largest that the scale
    jitter can draw.

    Args:
        videos: which ones.
        crop: side in pixels of the largest square that is cut from them.
        cache: keep decoded videos in memory.
        damaged: what to do with damaged videos: see `VideoReader`.
    """

    def __init__(self, videos: Sequence[Video], *, crop: int, cache: bool = False, damaged: str = REFUSE) -> None:
        self._damaged = damaged
        self.videos = tuple(videos)
        self.failures: dict[str, str] = {}
        self._seen: set[int] = set()
        self._short_side = jitter_range(crop)[1]
        self._cache: dict[int, tuple[Timeline, _Pictures]] | None = {} if cache else None
        self._lock = threading.Lock()

    @property
    def caches_frames(self) -> bool:
        """Whether decoded videos are kept in memory."""
        return self._cache is not None

    def see(self, index: int, make: Callable[[OpenVideo], Made]) -> Made | None:
        """Return what ``make`` makes of an open video.

        None means that the video cannot be read; ``failures`` then has the reason.
        """
        video = self.videos[index]
        self._seen.add(index)
        try:
            if self._cache is not None:
                return make(_kept(*self._decoded(index)))
            with VideoReader(video.path, damaged=self._damaged) as reader:
                return make(_opened(reader))
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

    def _decoded(self, index: int) -> "tuple[Timeline, _Pictures]":
        assert self._cache is not None
        # Without a lock: two threads may decode the same video, with the same result, and neither waits for the other.
        if index not in self._cache:
            with VideoReader(self.videos[index].path, damaged=self._damaged) as reader:
                self._cache[index] = reader.timeline, _sound_pictures(reader, short_side=self._short_side)
        return self._cache[index]


def _opened(reader: VideoReader) -> OpenVideo:
    size = reader.info.width, reader.info.height
    return OpenVideo(timeline=reader.timeline, size=size, see=partial(see_frames, reader))


@dataclass(frozen=True, slots=True)
class _Pictures:
    """A decoded video.

    Args:
        at: place -> (H, W, 3) uint8; damaged frames are not there.
        damage: why not, in words.
    """

    at: dict[int, np.ndarray]
    damage: str


def _kept(timeline: Timeline, pictures: _Pictures) -> OpenVideo:
    def look_at(places: np.ndarray, look: Look) -> torch.Tensor:
        if not all(place in pictures.at for place in places.tolist()):
            raise VideoError(pictures.damage)
        return torch.stack([see(pictures.at[place], look) for place in places.tolist()])

    height, width = next(iter(pictures.at.values())).shape[:2]
    return OpenVideo(timeline=timeline, size=(width, height), see=look_at)


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

        def clip(opened: OpenVideo) -> Clip:
            starts = random_starts(self.sampling, opened.timeline, rng=rng, start=video.start, end=video.end)
            look = random_look(opened.size, self.preprocessing, rng, flip=self.flip)
            return opened.see(self._indices(video, opened.timeline, starts[0]), look), self.labels[index]

        return self.source.see(index, clip)

    def central_clip(self, index: int) -> Clip | None:
        """Return the middle clip of video ``index`` as in a test, and its label, in `random_clip`'s form; or None."""
        video = self.source.videos[index]

        def clip(opened: OpenVideo) -> Clip:
            starts = uniform_starts(self.sampling, opened.timeline, start=video.start, end=video.end)
            look = central_look(self.preprocessing)
            return opened.see(self._indices(video, opened.timeline, starts[0]), look), self.labels[index]

        return self.source.see(index, clip)

    def _indices(self, video: Video, timeline: Timeline, start: float) -> np.ndarray:
        return frame_indices(timeline, start, self.sampling, start=video.start, end=video.end)


def read_reduced(path: Path, *, short_side: int) -> list[np.ndarray]:
    """Return every frame of a video, F pictures (H, W, 3) uint8, their short sides at most ``short_side`` pixels.

    Frames are reduced one by one as they are decoded, so that a long video is never in memory at its full size.

    Raises:
        VideoError: if the video does not decode, or is damaged.
    """
    with VideoReader(path) as reader:
        return [_reduced(picture, short_side) for _, picture in reader.pictures(range(len(reader.timeline)))]


def _sound_pictures(reader: VideoReader, *, short_side: int) -> "_Pictures":
    """Return the frames of a video that are not damaged, reduced likewise."""
    try:
        every = range(len(reader.timeline))
        return _Pictures({place: _reduced(picture, short_side) for place, picture in reader.pictures(every)}, "")
    except VideoError:
        damage = reader.find_damage()
        sound = np.flatnonzero(~damage.frames).tolist()
        if not damage or not sound:
            raise
        found = {place: _reduced(picture, short_side) for place, picture in reader.pictures(sound)}
        return _Pictures(found, str(damage))


def _reduced(frame: np.ndarray, short_side: int) -> np.ndarray:
    return frame if min(frame.shape[:2]) <= short_side else resize_short_side(frame[None], short_side).numpy()[0]


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
            with VideoReader(video.path, damaged=REPORT) as reader:
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
