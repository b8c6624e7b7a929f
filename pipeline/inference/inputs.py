"""What an aggregator reads about videos, whether from a feature store or from the videos themselves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..aggregators.video_model import Shape
from ..errors import VideoError

Maps = dict[str, npt.NDArray[np.float16]]  # role -> (N_role, T', H', W', C_role)
Clips = tuple[Maps, npt.NDArray[np.float32]]  # of one video: maps, and (N, K) scores
Crops = tuple[Clips, ...]  # of one video: the same clips in each crop of a test, the middle first


class Inputs(Protocol):
    """The clips of some videos as in a test: evenly spread, expensive and cheap ones mixed."""

    @property
    def roles(self) -> Sequence[str]:
        """The role of each of a video's N clips."""
        ...

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Role -> (T', H', W', C) of its maps; empty if none are read."""
        ...

    @property
    def num_scores(self) -> int:
        """K; 0 if the clips' own scores are not read."""
        ...

    @property
    def backbone_gmacs(self) -> float:
        """What the backbones cost for one video, in GMACs, over all crops."""
        ...

    @property
    def num_crops(self) -> int:
        """How many crops of each clip there are."""
        ...

    def read(self, videos: Sequence[int], *, batch_size: int) -> Iterator[Crops | VideoError]:
        """Yield each video's clips, in order, or the reason why it has none, reading ahead.

        Args:
            videos: indices.
            batch_size: how many are used at a time.
        """
        ...


def batch_of(clips: Sequence[Clips], *, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """Return B videos' clips as float32 on ``device``: role -> (B, N_role, T', H', W', C_role), and (B, N, K)."""

    def stacked(arrays: list[npt.NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device, non_blocking=True).float()

    maps = {role: stacked([maps[role] for maps, _ in clips]) for role in clips[0][0]}
    return maps, stacked([scores for _, scores in clips])
