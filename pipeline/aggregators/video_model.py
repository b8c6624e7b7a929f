"""What stage two trains: an aggregator over the maps of two backbones, brought to one form."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Aggregator, AggregatorSpec
from .registry import build_aggregator

Shape = tuple[int, int, int, int]  # (T', H', W', C)


class MapMixing(nn.Module):
    """Bring the maps of expensive and cheap clips to one width and one grid, in the order of the clips.

    Maps whose channels differ from the common width pass a learned 1x1x1 projection without bias; maps of different
    grids are resampled, trilinearly, to the larger size along each axis. Maps that already agree pass unchanged.

    Args:
        shapes: role -> (T', H', W', C); empty where no maps are read.
        channels: the common width.
    """

    def __init__(self, shapes: Mapping[str, Shape], *, channels: int) -> None:
        super().__init__()
        self.grid = tuple(max(axis) for axis in zip(*(shape[:3] for shape in shapes.values()), strict=True))
        self.projections = nn.ModuleDict(
            {
                role: nn.Linear(shape[-1], channels, bias=False)
                for role, shape in shapes.items()
                if shape[-1] != channels
            }
        )

    def forward(self, maps: Mapping[str, Tensor], roles: Sequence[str]) -> Tensor:
        """Return (B, N, T', H', W', C) of each role's (B, N_role, T', H', W', C_role); ``roles`` are the N places'."""
        met = {role: self.meet(own, role) for role, own in maps.items()}
        # With a single role the clips are in order already; and without stacking they are not copied.
        if len(met) == 1:
            return next(iter(met.values()))
        clips = {role: iter(own.unbind(dim=1)) for role, own in met.items()}
        return torch.stack([next(clips[role]) for role in roles], dim=1)

    def meet(self, features: Tensor, role: str) -> Tensor:
        """Return (…, T', H', W', C) of a role's maps (…, T', H', W', C_role)."""
        # Projected before resampled: the order makes no difference to the result, and the projection gets the small
        # map.
        if role in self.projections:
            features = self.projections[role](features)
        if features.shape[-4:-1] == self.grid:
            return features
        maps = features.flatten(0, -5).movedim(-1, 1)  # (all, C, T', H', W')
        resampled = F.interpolate(maps, size=self.grid, mode="trilinear", align_corners=False).movedim(1, -1)
        return resampled.unflatten(0, features.shape[:-4])


class VideoModel(nn.Module):
    """Clips of a video, of either role -> scores of the video; make it with `build_video_model`."""

    def __init__(self, mixing: MapMixing, aggregator: Aggregator) -> None:
        super().__init__()
        self.mixing = mixing
        self.aggregator = aggregator

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to train."""
        return self.aggregator.is_trained

    def forward(self, maps: Mapping[str, Tensor], scores: Tensor, roles: Sequence[str]) -> Tensor:
        """Return the videos' scores.

        Args:
            maps: role -> (B, N_role, T', H', W', C_role) float, that role's clips in order; best left
                empty if the aggregator needs no features: they are not read then.
            scores: (B, N, K) float, the clips' own scores, as logits; K = 0 where the aggregator needs none.
            roles: the role of each of the N places.

        Returns:
            (B, K) float: logits, or log-probabilities; their softmax is the prediction.
        """
        features = self.mixing(maps, roles) if self.aggregator.needs_features else _no_maps(scores)
        return self.aggregator(features, scores)

    def step(self, state: Any, features: Tensor, scores: Tensor, role: str) -> tuple[Any, Tensor]:
        """Take one more clip of a stream and predict: after N steps the same scores as `forward` on N clips.

        Args:
            state: what the last step returned; None before the first clip.
            features: (B, T', H', W', C_role) float.
            scores: (B, K) float.
            role: of the backbone that saw the clip.

        Returns:
            The state to pass on, and (B, K) scores of the clips so far.
        """
        met = self.mixing.meet(features, role) if self.aggregator.needs_features else _no_maps(scores)
        return self.aggregator.step(state, met, scores)


def build_video_model(spec: AggregatorSpec, *, shapes: Mapping[str, Shape]) -> VideoModel:
    """Return the model of ``spec``, whose channels are the common width, over maps of ``shapes``, with fresh weights.

    Raises:
        SettingsError: if there is no such aggregator, or the width does not suit it.
    """
    aggregator = build_aggregator(spec)
    return VideoModel(MapMixing(shapes if aggregator.needs_features else {}, channels=spec.channels), aggregator)


def _no_maps(scores: Tensor) -> Tensor:
    """Return maps (…, 1, 1, 1, 0), without channels, for ``scores`` (…, K)."""
    return scores.new_empty((*scores.shape[:-1], 1, 1, 1, 0))
