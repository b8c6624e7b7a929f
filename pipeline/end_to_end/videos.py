"""Training's view of a manifest for whole videos: N clips of each, prepared for the backbones of their roles."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ..seeds import derived_seed
from ..training.clips import VideoSource
from ..training.reduced import ReducedVideo
from ..videos.clips import ClipSampling, frame_indices, random_starts, view_starts
from ..videos.frame_times import Timeline
from ..videos.preprocessing import Preprocessing
from ..videos.transforms import Look, central_look, random_look
from .steps import ClipBatch

VideoClips = tuple[dict[str, torch.Tensor], int]  # role -> (N_role, L, S, S, 3) uint8, and the class


class TrainingVideos:
    """The clips of a list of videos, N of each, for training and validation.

    They depend only on (seed, epoch, video), whichever thread makes them and in whatever order.

    Args:
        source: the videos.
        labels: (V,) the class index of each video.
        sampling: how clips are cut, its ``num_clips`` N, its ``views`` 1.
        preprocessing: role -> that of its backbone.
        roles: the role of each of the N places.
        seed: of the draws.
        flip: whether a video may be mirrored.
    """

    def __init__(
        self,
        source: VideoSource,
        *,
        labels: Sequence[int],
        sampling: ClipSampling,
        preprocessing: Mapping[str, Preprocessing],
        roles: Sequence[str],
        seed: int = 0,
        flip: bool = True,
    ) -> None:
        self.source = source
        self.labels = tuple(labels)
        self.sampling = sampling
        self.preprocessing = dict(preprocessing)
        self.roles = tuple(roles)
        self.seed = seed
        self.flip = flip

    def random_clips(self, index: int, *, epoch: int) -> VideoClips | None:
        """Return one clip from each of N equal stretches of video ``index``, all augmented alike, and its label.

        Source: Yang et al., Beyond Short Clips (CVPR 2021), multi-clip sampling: the clips cover the whole video.

        None means that the video cannot be read; the source's ``failures`` then has the reason.
        """
        video = self.source.videos[index]
        look = derived_seed(self.seed, video.video_id, epoch, "look")

        def starts(timeline: Timeline) -> np.ndarray:
            rng = np.random.default_rng(derived_seed(self.seed, video.video_id, epoch))
            return random_starts(self.sampling, timeline, rng=rng, stratified=True, start=video.start, end=video.end)

        def look_of(preprocessing: Preprocessing, size: tuple[int, int]) -> Look:
            # The same generator for each role, so that all clips are cropped and mirrored alike.
            return random_look(size, preprocessing, np.random.default_rng(look), flip=self.flip)

        return self._clips(index, starts, look_of)

    def spread_clips(self, index: int) -> VideoClips | None:
        """Return the N clips of video ``index`` that a test uses, and its label; or None likewise."""
        video = self.source.videos[index]

        def starts(timeline: Timeline) -> np.ndarray:
            return view_starts(self.sampling, timeline, video_id=video.video_id, start=video.start, end=video.end)[0]

        return self._clips(index, starts, lambda preprocessing, _: central_look(preprocessing))

    def _clips(
        self,
        index: int,
        starts: Callable[[Timeline], np.ndarray],
        look_of: Callable[[Preprocessing, tuple[int, int]], Look],
    ) -> VideoClips | None:
        video = self.source.videos[index]

        def clips(opened: ReducedVideo) -> VideoClips:
            seen: dict[str, list[torch.Tensor]] = {role: [] for role in dict.fromkeys(self.roles)}
            looks = {role: look_of(self.preprocessing[role], opened.size) for role in seen}
            for role, start in zip(self.roles, starts(opened.timeline), strict=True):
                places = frame_indices(opened.timeline, start, self.sampling, start=video.start, end=video.end)
                seen[role].append(opened.see(places, looks[role]))
            return {role: torch.stack(own) for role, own in seen.items()}, self.labels[index]

        return self.source.see(index, clips)


def batch_of(videos: Sequence[VideoClips | None]) -> ClipBatch:
    """Return the videos that could be read as one batch, an empty one if none could."""
    readable = [video for video in videos if video is not None]
    roles = readable[0][0] if readable else {}
    clips = {role: torch.stack([own[role] for own, _ in readable]) for role in roles}
    return ClipBatch(clips=clips, targets=torch.tensor([label for _, label in readable], dtype=torch.int64))
