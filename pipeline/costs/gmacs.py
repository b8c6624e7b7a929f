"""What a video costs in GMACs: one sum for clips that are stored, decoded on the spot, or still to be trained on."""

from collections.abc import Mapping, Sequence

import torch

from ..aggregators.video_model import Shape, VideoModel
from ..features.clip_selection import Selection
from ..features.store import FeatureStore
from .flops import backbone_macs, count_macs


def _clips_gmacs(per_clip: Mapping[str, float], *, roles: Sequence[str]) -> float:
    """Return what the backbones cost for one video, in GMACs.

    The sum goes clip by clip in their order: its last bits depend on the order, and figures are compared exactly.

    Args:
        per_clip: role -> GMACs of one of its clips.
        roles: the role of each of the N clips.
    """
    return float(sum(per_clip[role] for role in roles))


def stored_gmacs(store: FeatureStore, selection: Selection) -> float:
    """Return what the backbones of a store cost for one video, in GMACs, over the selected clips."""
    each = {role: store.backbone(name).provenance["gmacs_per_clip"] for role, name in selection.backbones.items()}
    return _clips_gmacs(each, roles=selection.roles)


def backbones_gmacs(
    names: Mapping[str, str], *, roles: Sequence[str], crops: Mapping[str, int], num_frames: int, num_classes: int
) -> float:
    """Return what registered backbones cost for one video, in GMACs, as `stored_gmacs` does for extracted ones.

    Args:
        names: role -> the backbone's registered name.
        roles: the role of each of the N clips.
        crops: role -> side of its square clips, in pixels.
        num_frames: L.
        num_classes: of the backbones' classifiers.

    Raises:
        SettingsError: if there is no such backbone, or it cannot take such clips.
    """
    each = {
        role: backbone_macs(names[role], num_frames=num_frames, size=crops[role], num_classes=num_classes) / 1e9
        for role in dict.fromkeys(roles)
    }
    return _clips_gmacs(each, roles=roles)


def aggregator_gmacs(model: VideoModel, *, roles: Sequence[str], shapes: Mapping[str, Shape], num_scores: int) -> float:
    """Return the cost of one video in GMACs without the backbones.

    Args:
        model: the aggregator, for inputs as the other arguments describe.
        roles: the role of each of the N clips.
        shapes: role -> (T', H', W', C) of the maps; empty if none are read.
        num_scores: K; 0 if the clips' own scores are not read.
    """
    maps = {role: torch.empty(1, roles.count(role), *shape, device="meta") for role, shape in shapes.items()}
    scores = torch.empty(1, len(roles), num_scores, device="meta")
    return count_macs(model, maps, scores, roles) / 1e9
