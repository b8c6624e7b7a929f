"""Backbones and the video model over them as one network, trained and run on clips."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..aggregators.video_model import VideoModel
from ..backbones.interface import Backbone
from ..backbones.layers import BATCH_NORMS
from ..videos.preprocessing import Preprocessing
from ..videos.transforms import normalise
from .strategies import FROZEN

ClipsByRole = Mapping[str, Tensor]  # role -> (B, N_role, L, S, S, 3) uint8


class EndToEnd(nn.Module):
    """Clips of a video -> scores of the video and of each clip.

    Source: Yang et al., Beyond Short Clips (CVPR 2021), end-to-end video-level learning; with FAST-GRU on top, FASTER
    (AAAI 2020) without its cache.

    Args:
        backbones: role -> its network, both of the same classes.
        video_model: what turns the clips' maps into the video's scores.
        preprocessing: role -> how its pixels are normalised.
        roles: the role of each of the N places.
        statistics: of the backbones' batch norms in training: "frozen" (normalise by the running statistics, which do
            not change) or "tracked" (normalise by the batch's, and update the running ones).
        trained: the roles whose backbones are trained; the others do not change at all.
    """

    def __init__(
        self,
        backbones: Mapping[str, Backbone],
        video_model: VideoModel,
        *,
        preprocessing: Mapping[str, Preprocessing],
        roles: Sequence[str],
        statistics: str,
        trained: frozenset[str],
    ) -> None:
        super().__init__()
        self.backbones = nn.ModuleDict(dict(backbones))
        self.video_model = video_model
        self.preprocessing = dict(preprocessing)
        self.roles = tuple(roles)
        self.statistics = statistics
        self.trained = trained
        for role, backbone in self.backbones.items():
            backbone.requires_grad_(role in trained)
            backbone.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]: torch's stubs lack it

    def train(self, mode: bool = True) -> "EndToEnd":
        """Set training mode; norms with frozen statistics and untrained backbones stay in evaluation mode."""
        super().train(mode)
        for role, backbone in self.backbones.items():
            backbone.train(mode and role in self.trained)
            for module in backbone.modules():
                if isinstance(module, BATCH_NORMS) and self.statistics == FROZEN:
                    module.eval()
        return self

    def extract(self, role: str, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps and scores of a role's clips.

        Args:
            role: whose backbone.
            clips: (B, n, L, S, S, 3) uint8.

        Returns:
            maps (B, n, T', H', W', C) and scores (B, n, K), float; under autocast the maps in its precision.
        """
        backbone = self.backbones[role]
        pixels = normalise(clips.flatten(0, 1), self.preprocessing[role])
        features, scores = backbone(pixels.to(next(backbone.parameters()).dtype))
        maps = features.permute(0, 2, 3, 4, 1).unflatten(0, clips.shape[:2])
        return maps, scores.unflatten(0, clips.shape[:2])

    def aggregate(
        self, maps: Mapping[str, Tensor], scores: Mapping[str, Tensor], *, num_clips: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the scores of videos and of their clips, in the order of the clips.

        Args:
            maps: role -> (B, N_role, T', H', W', C).
            scores: role -> (B, N_role, K).
            num_clips: how many of the N places are filled so far; None: all.

        Returns:
            (B, K) and (B, N, K), logits or log-probabilities.
        """
        roles = self.roles[:num_clips]
        own = {role: iter(part.unbind(dim=1)) for role, part in scores.items()}
        clip_scores = torch.stack([next(own[role]) for role in roles], dim=1)
        needs = self.video_model.aggregator
        seen = maps if needs.needs_features else {}
        read = clip_scores if needs.needs_scores else clip_scores[..., :0]
        return self.video_model(seen, read, roles), clip_scores

    def forward(self, clips: ClipsByRole) -> tuple[Tensor, Tensor]:
        """Return (B, K) scores of the videos and (B, N, K) of their clips."""
        seen = {role: self.extract(role, own) for role, own in clips.items()}
        maps, scores = ({role: pair[part] for role, pair in seen.items()} for part in (0, 1))
        return self.aggregate(maps, scores)
