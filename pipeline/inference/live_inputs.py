"""What an aggregator reads, computed on the spot: videos are decoded and run through backbones, without a store.

A store extracted with the same backbones, sampling and engine gives the aggregator the same, bit for bit: the same
engine runs over the same clips, and maps are float16 in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..backbones.engine import build_engine
from ..backbones.engine_settings import EngineSettings
from ..backbones.registry import feature_shape
from ..backbones.weights import Weights
from ..costs.gmacs import backbones_gmacs
from ..errors import VideoError
from ..features.format import SCORE_DTYPE
from ..features.patterns import Pattern
from ..manifests.manifest import Video
from ..training.batches import prefetched
from ..videos.clip_reader import decode_clips, due_clips
from ..videos.clips import ClipSampling
from ..videos.memory import memory_errors_told
from ..videos.preprocessing import Preprocessing
from .inputs import Clips, Crops

_LEAST_AHEAD = 2  # videos that wait in memory, decoded, for the backbones
Decoded = dict[Preprocessing, torch.Tensor]  # (crops, N, L, S, S, 3) uint8


class LiveInputs:
    """Runs each role's backbone over just the clips that the pattern gives it. These are `Inputs`.

    Args:
        weights: role -> its backbone's weights; each role of the pattern must be there, and no other is used.
        videos: those whose clips can be asked for, by index.
        pattern: which of the N clips are expensive.
        sampling: where the clips lie; only the test's crops are used of its views.
        engine: how to run the backbones.
        workers: threads that decode, one video each; with 0, the reading thread decodes.
        needs_features: whether to return feature maps.
        needs_scores: whether to return clip scores, in the order of the weights' classes; otherwise K = 0.

    Attributes:
        roles: the role of each of the N clips.
        shapes: role -> (T', H', W', C) of its maps; empty if none are returned.
        num_scores: K.
        num_crops: of each clip.
        backbone_gmacs: what the backbones cost for one video, in GMACs, over all crops.

    Raises:
        SettingsError: if this machine lacks the device or the precision, or a backbone cannot take such clips.
    """

    def __init__(
        self,
        weights: Mapping[str, Weights],
        *,
        videos: Sequence[Video],
        pattern: Pattern,
        sampling: ClipSampling,
        engine: EngineSettings,
        workers: int,
        needs_features: bool,
        needs_scores: bool,
    ) -> None:
        self.videos, self.workers = videos, workers
        self.sampling = replace(sampling, views=1)
        self.num_crops = sampling.crops
        self.roles = pattern.roles(sampling.num_clips)
        used = {role: own for role, own in weights.items() if role in self.roles}
        self.backbone_gmacs = self.num_crops * backbones_gmacs(
            {role: own.backbone for role, own in used.items()},
            roles=self.roles,
            crops={role: own.preprocessing.crop for role, own in used.items()},
            num_frames=sampling.num_frames,
            num_classes=len(next(iter(used.values())).classes),
        )
        self.shapes = {role: _shape(own, sampling.num_frames) for role, own in used.items()} if needs_features else {}
        self.num_scores = len(next(iter(used.values())).classes) if needs_scores else 0
        self._preprocessing = {role: own.preprocessing for role, own in used.items()}
        masks = {role: np.array(self.roles) == role for role in used}
        self._places = {role: np.flatnonzero(mask) for role, mask in masks.items()}
        self._due = due_clips((self._preprocessing[role], mask) for role, mask in masks.items())
        self._engines = {role: build_engine(own, engine) for role, own in used.items()}

    def read(self, videos: Sequence[int], *, batch_size: int) -> Iterator[Crops | VideoError]:
        """Yield each video's clips, in order, or the reason why it has none; threads decode the next videos meanwhile.

        Args:
            videos: indices into these inputs' videos.
            batch_size: ignored: decoded videos are large, so only a few wait, not batches of them.
        """
        del batch_size
        alone = [[self.videos[index]] for index in videos]
        ahead = max(_LEAST_AHEAD, self.workers)
        for (decoded,) in prefetched(self._decode, alone, workers=self.workers, ahead=ahead):
            yield decoded if isinstance(decoded, VideoError) else self._compute(decoded)

    def _decode(self, video: Video) -> Decoded | VideoError:
        try:
            _, clips = decode_clips(video, sampling=self.sampling, due=self._due)
        except VideoError as error:
            return error
        return clips

    def _compute(self, decoded: Decoded) -> Crops | VideoError:
        threads = torch.get_num_threads()
        try:
            return tuple(self._compute_crop(decoded, crop) for crop in range(self.num_crops))
        except VideoError as error:
            return error
        finally:
            torch.set_num_threads(threads)  # engines set their own; the aggregator's last bits depend on it too

    def _compute_crop(self, decoded: Decoded, crop: int) -> Clips:
        maps, scores = {}, np.empty((len(self.roles), self.num_scores), SCORE_DTYPE)
        for role, engine in self._engines.items():
            places = self._places[role]
            with memory_errors_told("running the backbones"):
                features, own = engine.run(decoded[self._preprocessing[role]][crop][places])
            if role in self.shapes:
                maps[role] = features
            scores[places] = own[:, : self.num_scores]
        return maps, scores


def _shape(weights: Weights, num_frames: int) -> tuple[int, int, int, int]:
    return feature_shape(weights.backbone, num_frames=num_frames, size=weights.preprocessing.crop)
