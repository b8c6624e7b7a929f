"""What an aggregator reads from a feature store: N clips of a video, expensive and cheap ones mixed by a pattern."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..costs.gmacs import stored_gmacs
from ..errors import StoreError
from ..features.backbone_group import BackboneGroup
from ..features.clip_selection import Selection, choose_clips, wanted_clips
from ..features.format import FEATURE_DTYPE, SCORE_DTYPE, Status
from ..features.local_copies import LocalCopy, open_copy
from ..features.store import FeatureStore
from ..seeds import derived_seed
from ..training.batches import prefetched
from .inputs import Clips, Crops

READERS = 4  # threads that read maps which do not fit into memory


class AggregatorInputs:
    """Reads the clips of videos, mixed by the pattern; keeps maps in memory if they fit. These are `Inputs`.

    Args:
        store: the feature store.
        selection: which clips of which backbones.
        classes: K names, in the order of the scores to return.
        needs_features: whether to read feature maps.
        needs_scores: whether to read clip scores; otherwise K = 0.
        cache_bytes: keep maps (float16, as stored) if those of ``cached_videos`` fit into this much memory.
        cached_videos: how many videos will be read again and again.
        local_copies: read maps from copies in this folder of the machine; made if they do not exist.

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
        local_copies: Path | None = None,
    ) -> None:
        self.store, self.selection = store, selection
        self.groups = {role: store.backbone(name) for role, name in selection.backbones.items()}
        self.choice = choose_clips(store, selection)
        self.num_views, self.num_crops = store.sampling.num_views, store.sampling.crops
        self.shapes = selection.shapes(store) if needs_features else {}
        self.columns = {role: _columns(group, classes) for role, group in self.groups.items()} if needs_scores else {}
        self.num_scores = len(classes) if needs_scores else 0
        places = np.array(selection.roles)
        self._places = {role: np.flatnonzero(places == role) for role in self.groups}
        self._wanted = wanted_clips(selection, self.choice)
        needed = cached_videos * self.num_views * self._bytes_per_view()
        self._copies: dict[str, LocalCopy] = {}
        if local_copies is not None:
            self._copies = {role: open_copy(self.groups[role], local_copies) for role in self.shapes}
        self._cache: dict[tuple[str, int, int], npt.NDArray[np.float16]] | None = {} if needed <= cache_bytes else None

    def _bytes_per_view(self) -> int:
        """Return the bytes of all maps of a video's view that may be requested."""
        numbers = sum(len(self._wanted[role]) * math.prod(shape) for role, shape in self.shapes.items())
        return numbers * FEATURE_DTYPE.itemsize

    @property
    def keeps_maps(self) -> bool:
        """Whether maps come from memory: kept, or mapped from a copy on this machine."""
        return self._cache is not None or bool(self._copies)

    @property
    def num_readers(self) -> int:
        """How many threads should read ahead: none if maps come from memory."""
        return 0 if self.keeps_maps else READERS

    @property
    def roles(self) -> tuple[str, ...]:
        """The role of each of a video's N clips."""
        return self.selection.roles

    @property
    def backbone_gmacs(self) -> float:
        """What the backbones cost for one video, in GMACs, over all crops."""
        return self.num_crops * stored_gmacs(self.store, self.selection)

    def read(self, videos: Sequence[int], *, batch_size: int) -> Iterator[Crops]:
        """Yield all crops of each video, in order; threads read some batches ahead if maps are not in memory.

        Args:
            videos: indices into the store.
            batch_size: how many are used at a time.
        """
        order = [videos[i : i + batch_size] for i in range(0, len(videos), batch_size)]
        return itertools.chain.from_iterable(prefetched(self.all_crops, order, workers=self.num_readers))

    def statuses(self) -> npt.NDArray[np.int8]:
        """Return (V,) int8, a `Status` per video: done if all clips that may be read are, failed if one failed."""
        failed = np.any([group.status() == Status.FAILED for group in self.groups.values()], axis=0)
        done = np.all([self.groups[role].has(own) for role, own in self._wanted.items()], axis=0)
        return np.where(failed, Status.FAILED, np.where(done, Status.DONE, Status.PENDING)).astype(np.int8)

    def all_crops(self, video_index: int) -> Crops:
        """Return the video's clips as in a test, in each of its crops, the middle one first."""
        return tuple(self.spread_clips(video_index, crop=crop) for crop in range(self.num_crops))

    def spread_clips(self, video_index: int, *, crop: int = 0) -> Clips:
        """Return the video's clips as in a test, evenly spread: in the middle crop, or another.

        Returns:
            role -> (N_role, T', H', W', C_role) float16 maps, and (N, K) float32 scores.
        """
        return self._read(video_index, crop, self.choice.spread())

    def drawn_clips(self, video_index: int, *, seed: int, epoch: int) -> Clips:
        """Return the video's clips for one epoch of training: of a random view, one from each stretch.

        The draw depends only on ``seed``, ``epoch`` and the video's id. The form is that of `spread_clips`.
        """
        video_id = self.store.manifest.videos[video_index].video_id
        rng = np.random.default_rng(derived_seed(seed, "clips", epoch, video_id))
        return self._read(video_index, int(rng.integers(self.num_views)), self.choice.draw(rng))

    def _read(self, video_index: int, view: int, clips: npt.NDArray[np.int64]) -> Clips:
        maps = {role: self._read_maps(role, video_index, view, clips[self._places[role]]) for role in self.shapes}
        scores = np.empty((len(clips), self.num_scores), SCORE_DTYPE)
        for role, columns in self.columns.items():
            own, places = self.groups[role].read_scores(video_index, view=view), self._places[role]
            scores[places] = own[clips[places]][:, columns]
        return maps, scores

    def _read_maps(
        self, role: str, video_index: int, view: int, clips: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float16]:
        if role in self._copies:
            return self._copies[role].read(video_index, view=view, clips=clips.tolist())
        if self._cache is None:
            return self.groups[role].read(video_index, view=view, clips=clips.tolist())
        key, wanted = (role, video_index, view), self._wanted[role]
        # All clips that any epoch may draw are read at once, so that later epochs find everything in memory.
        if key not in self._cache:
            self._cache[key] = self.groups[role].read(video_index, view=view, clips=wanted.tolist())
        return self._cache[key][np.searchsorted(wanted, clips)]


def describe_backbone(group: BackboneGroup) -> dict[str, Any]:
    """Return what an aggregator depends on in a backbone: its weights, and how its pixels were prepared."""
    own = group.provenance
    return backbone_record(group.name, digest=own["weights_sha256"], preprocessing=own["preprocessing"])


def describe_engine(group: BackboneGroup) -> dict[str, Any]:
    """Return what tells one engine's maps from another's: its name and its precision, if these are known.

    Threads and batches change only the last bits, so stores that differ in them can serve the same run.
    """
    engine = group.provenance.get("engine", {})
    return {name: engine[name] for name in ("name", "precision") if name in engine}


def backbone_record(name: str, *, digest: str | None, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record that runs keep of a backbone they depend on; a digest of None means no weights."""
    return {"name": name, "weights_sha256": digest, "preprocessing": dict(preprocessing)}


def _columns(group: BackboneGroup, classes: Sequence[str]) -> list[int]:
    """Return the index of each of ``classes`` in the backbone's scores."""
    own = {name: index for index, name in enumerate(group.provenance["classes"])}
    missing = [name for name in classes if name not in own]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise StoreError(
            f"averaging needs {group.name}'s own scores for each class, but it was trained without {shown} "
            f"({len(missing)} of {len(classes)} classes). Train an aggregator that reads feature maps, such as "
            "multi-clip, which averages as well, or fast-gru"
        )
    return [own[name] for name in classes]
