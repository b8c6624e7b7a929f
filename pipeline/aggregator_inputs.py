"""What an aggregator reads from a feature store: N clips of a video, expensive and cheap ones mixed by a pattern."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .clip_selection import Selection, choose_clips
from .errors import ManifestError, StoreError
from .seeds import derived_seed
from .store import FeatureStore
from .store_backbone import BackboneGroup
from .store_format import FEATURE_DTYPE, SCORE_DTYPE, Status

Clips = tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]


class AggregatorInputs:
    """Reads the clips of videos, mixed by the pattern; keeps maps in memory where they fit.

    Args:
        store: the feature store.
        selection: which clips of which backbones.
        classes: K names, in the order of the scores to return.
        needs_features: whether to read feature maps; otherwise they come with C = 0.
        needs_scores: whether to read clip scores; otherwise they come with K = 0.
        cache_bytes: keep maps (float16, as stored) if those of ``cached_videos`` fit into this much memory.
        cached_videos: how many videos will be read again and again.

    Raises:
        StoreError: if scores are needed and a backbone was trained on classes that lack some of ``classes``.
    """

    def __init__(
        self,
        store: FeatureStore,
        *,
        selection: Selection,
        classes: Sequence[str],
        needs_features: bool,
        needs_scores: bool,
        cache_bytes: float = 0,
        cached_videos: int = 0,
    ) -> None:
        self.store, self.selection = store, selection
        self.groups = {role: store.backbone(name) for role, name in selection.backbones.items()}
        self.choice = choose_clips(store, selection)
        self.num_views = store.sampling.views
        self.feature_shape = next(iter(self.groups.values())).feature_shape if needs_features else (1, 1, 1, 0)
        self.columns = {role: _columns(group, classes) for role, group in self.groups.items()} if needs_scores else {}
        self.num_scores = len(classes) if needs_scores else 0
        places = np.array(selection.roles)
        self._places = {role: np.flatnonzero(places == role) for role in self.groups}
        self._wanted = {
            role: np.unique(np.concatenate([self.choice.candidates[place] for place in own]))
            for role, own in self._places.items()
        }
        needed = cached_videos * self.num_views * sum(map(len, self._wanted.values())) * self.bytes_per_clip
        self._cache: dict[tuple[str, int, int], npt.NDArray[np.float16]] | None = {} if needed <= cache_bytes else None

    @property
    def bytes_per_clip(self) -> int:
        """Bytes of one clip's feature map."""
        return int(np.prod(self.feature_shape)) * FEATURE_DTYPE.itemsize

    @property
    def keeps_maps(self) -> bool:
        """Whether maps that were read once stay in memory."""
        return self._cache is not None

    def statuses(self) -> npt.NDArray[np.int8]:
        """Return (V,) a `Status` a video: done if all backbones needed are, failed if one failed."""
        each = np.stack([group.status() for group in self.groups.values()])
        failed, done = (each == Status.FAILED).any(axis=0), (each == Status.DONE).all(axis=0)
        return np.where(failed, Status.FAILED, np.where(done, Status.DONE, Status.PENDING)).astype(np.int8)

    def spread_clips(self, video_index: int) -> Clips:
        """Return the video's clips as a test sees them: of view 0, evenly spread.

        Returns:
            (N, T', H', W', C) float16 maps and (N, K) float32 scores.
        """
        return self._read(video_index, 0, self.choice.spread())

    def drawn_clips(self, video_index: int, *, seed: int, epoch: int) -> Clips:
        """Return the video's clips as one epoch of training sees them: of a random view, one of each stretch.

        The draw depends on ``seed``, ``epoch`` and the video's id alone.
        """
        video_id = self.store.manifest.videos[video_index].video_id
        rng = np.random.default_rng(derived_seed(seed, "clips", epoch, video_id))
        return self._read(video_index, int(rng.integers(self.num_views)), self.choice.draw(rng))

    def _read(self, video_index: int, view: int, clips: npt.NDArray[np.int64]) -> Clips:
        maps = np.empty((len(clips), *self.feature_shape), FEATURE_DTYPE)
        scores = np.empty((len(clips), self.num_scores), SCORE_DTYPE)
        for role, places in self._places.items():
            if maps.size:
                maps[places] = self._read_maps(role, video_index, view, clips[places])
            if scores.size:
                own = self.groups[role].read_scores(video_index, view=view)
                scores[places] = own[clips[places]][:, self.columns[role]]
        return maps, scores

    def _read_maps(
        self, role: str, video_index: int, view: int, clips: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float16]:
        if self._cache is None:
            return self.groups[role].read(video_index, view=view, clips=clips.tolist())
        key, wanted = (role, video_index, view), self._wanted[role]
        if key not in self._cache:
            self._cache[key] = self.groups[role].read(video_index, view=view, clips=wanted.tolist())
        return self._cache[key][np.searchsorted(wanted, clips)]


def batch_of(clips: Sequence[Clips], *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return B videos' clips as float32 tensors on ``device``: (B, N, T', H', W', C) and (B, N, K)."""
    maps, scores = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*clips, strict=True))
    return maps.to(device, non_blocking=True).float(), scores.to(device, non_blocking=True)


def class_indices(store: FeatureStore) -> npt.NDArray[np.int64]:
    """Return (V,) the index of each video's class among the manifest's.

    Raises:
        ManifestError: if a video has several labels.
    """
    manifest = store.manifest
    several = next((video for video in manifest.videos if len(video.labels) != 1), None)
    if several is not None:
        raise ManifestError(
            f"video {several.video_id!r} of {store.path} has {len(several.labels)} labels; aggregators are trained and "
            "scored on one label a video. Make a manifest with one"
        )
    place = {name: index for index, name in enumerate(manifest.classes)}
    return np.array([place[video.labels[0]] for video in manifest.videos])


def describe_backbone(group: BackboneGroup) -> dict[str, Any]:
    """Return what an aggregator's weights depend on in a backbone: the weights it ran with, and what it saw."""
    own = group.provenance
    return {"name": group.name, "weights_sha256": own["weights_sha256"], "preprocessing": own["preprocessing"]}


def _columns(group: BackboneGroup, classes: Sequence[str]) -> list[int]:
    """Return where the backbone's scores have each of ``classes``."""
    own = {name: index for index, name in enumerate(group.provenance["classes"])}
    missing = [name for name in classes if name not in own]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise StoreError(
            f"averaging needs {group.name}'s own scores for each class, but it was trained without {shown} "
            f"({len(missing)} of {len(classes)} classes). Train an aggregator that reads feature maps, such as fast-gru"
        )
    return [own[name] for name in classes]
