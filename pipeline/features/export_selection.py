"""What an export takes of a store: which videos, and which backbones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StoreError
from ..manifests.manifest import Manifest
from ..registry import did_you_mean
from .backbone_group import BackboneGroup
from .format import Status
from .store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class ExportSelection:
    """Videos and backbones of a store.

    Attributes:
        store: opened to read.
        manifest: the n videos, in the order of the store's manifest; those that it does not list any more are left out.
        indices: (n,) their places in the store's manifest.
        groups: the backbones.
    """

    store: FeatureStore
    manifest: Manifest
    indices: npt.NDArray[np.int64]
    groups: tuple[BackboneGroup, ...]

    @cached_property
    def statuses(self) -> dict[str, npt.NDArray[np.int8]]:
        """Backbone -> (n,) what became of each video."""
        return {group.name: group.status()[self.indices] for group in self.groups}

    @property
    def num_done(self) -> dict[str, int]:
        """Backbone -> how many of the videos have all of its features."""
        return {name: int((own == Status.DONE).sum()) for name, own in self.statuses.items()}

    @property
    def raw_bytes(self) -> int:
        """Size of all maps of these videos, uncompressed."""
        return sum(self.num_done[group.name] * group.raw_bytes_per_video for group in self.groups)

    def done(self, group: BackboneGroup) -> list[int]:
        """Return the places, from 0 to n - 1, of the videos that have all features of a backbone."""
        return np.flatnonzero(self.statuses[group.name] == Status.DONE).tolist()

    def record(self) -> dict[str, Any]:
        """Return what the store says of itself, as JSON values: sampling, backbones with all attributes, digest."""
        return {
            "manifest_digest": self.manifest.digest,
            "num_videos": len(self.manifest),
            "sampling": self.store.attributes["sampling"],
            "backbones": {group.name: whole_attributes(group) for group in self.groups},
        }


def select(store: FeatureStore, *, split: str | None = None, backbones: Sequence[str] = ()) -> ExportSelection:
    """Return what to export.

    Args:
        store: opened to read.
        split: of the videos; None for all.
        backbones: names; none for all.

    Raises:
        ManifestError: if there is no such split.
        StoreError: if there is no such backbone, or one is named twice.
    """
    known = store.backbones()
    for name in backbones:
        if name not in known:
            question = did_you_mean(name, known)
            has = f"{question} It has" if question else "; it has"
            raise StoreError(f"{store.path} has no features of {name!r}{has} {', '.join(known) or 'none yet'}")
    if len(set(backbones)) < len(backbones):
        raise StoreError(f"give each backbone once; got {', '.join(backbones)}")
    manifest, videos = store.manifest, store.manifest.videos
    indices = np.arange(len(videos))
    if split is not None:
        manifest = store.manifest.subset(split)
        indices = np.flatnonzero(videos.split_codes == videos.split_names.index(split))
    groups = tuple(store.backbone(name) for name in known if not backbones or name in backbones)
    return ExportSelection(store=store, manifest=manifest, indices=indices, groups=groups)


def whole_attributes(group: BackboneGroup) -> dict[str, Any]:
    """Return a backbone's attributes without those of an extension that is under way."""
    return {name: value for name, value in group.attributes.items() if name != "due_before"}
