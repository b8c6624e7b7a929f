"""Contexts: what the clips of a video share with one another, position by position, whatever their order."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Context(nn.Module, ABC):
    """What the clips of a video share with one another, in C' channels, whatever their order and number."""

    @abstractmethod
    def push(self, positions: Tensor) -> Tensor:
        """Return the memory (B, …) of ``positions`` (B, P, C): of one clip, or of as many as there are."""

    @abstractmethod
    def pop(self, memory: Tensor, pooled: Tensor) -> Tensor:
        """Return Pool(M_n) (B, N, C'), what the memory (B, …) tells each of the clips ``pooled`` (B, N, C)."""

    def join(self, memory: Tensor, fresh: Tensor, *, count: int) -> Tensor:
        """Add one clip to the memory of those before it: the mean over clips, updated in place of taken anew.

        Args:
            memory: (B, …) float, of the first ``count`` - 1 clips, as `push` returns it.
            fresh: (B, …) float, of the last clip alone.
            count: how many clips there are with the last.

        Returns:
            (B, …) float, the memory of all ``count`` clips.
        """
        return memory.lerp(fresh, 1 / count)


class AssociativeMemory(Context):
    """A C' × C' matrix that associates keys with values; a query reads from it.

    Source: Yang et al., Beyond Short Clips (CVPR 2021), memory push M = 1/N Σ_n (X_n W_k)^T (X_n W_v) and memory pop
    M_n = (X_n W_q) M.
    Differs from the source: the sum over a clip's positions is taken as a mean, so that grids of every size start
    alike; W_v absorbs the factor. Queries begin smaller by √C', as in attention, so that for maps of unit size M_n
    begins no larger than the maps.

    Args:
        channels: C.
        width: C'.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.key = projection(channels, width)  # W_k
        self.value = projection(channels, width)  # W_v
        self.query = projection(channels, width, scale=width**-0.5)  # W_q

    def push(self, positions: Tensor) -> Tensor:
        """Return M (B, C', C') of ``positions`` (B, P, C)."""
        keys, values = self.key(positions), self.value(positions)  # (B, P, C') each
        return keys.transpose(1, 2) @ values / positions.shape[1]

    def pop(self, memory: Tensor, pooled: Tensor) -> Tensor:
        """Return Pool(M_n) (B, N, C') of M (B, C', C') and ``pooled`` clips (B, N, C)."""
        return self.query(pooled) @ memory


class VectorContext(Context, ABC):
    """One vector for the video instead of the memory: a reduction of X_n W_v over clips and positions.

    Source: ours, for comparison with the memory. The poster of Yang et al., Beyond Short Clips (CVPR 2021), says only
    that the memory captures what goes on between clips; it prints no other design.

    Args:
        channels: C.
        width: C'.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.value = projection(channels, width)  # W_v

    def pop(self, memory: Tensor, pooled: Tensor) -> Tensor:
        """Return the vector (B, C') for each of the clips, (B, N, C')."""
        return memory[:, None].expand(-1, pooled.shape[1], -1)


class AverageContext(VectorContext):
    """The mean of X_n W_v over clips and positions."""

    def push(self, positions: Tensor) -> Tensor:
        """Return the vector (B, C') of ``positions`` (B, P, C)."""
        # W_v is linear, so averaging first gives the same for less work.
        return self.value(positions.mean(dim=1))


class MaxContext(VectorContext):
    """The maximum of X_n W_v over clips and positions."""

    def push(self, positions: Tensor) -> Tensor:
        """Return the vector (B, C') of ``positions`` (B, P, C)."""
        return self.value(positions).amax(dim=1)

    def join(self, memory: Tensor, fresh: Tensor, *, count: int) -> Tensor:
        """Return (B, C') float, the larger of ``memory`` and ``fresh``, (B, C') each, channel by channel."""
        del count  # a maximum has no need of it
        return torch.maximum(memory, fresh)


def projection(channels: int, width: int, *, scale: float = 1.0) -> nn.Linear:
    """Return a matrix without bias, as in the paper; it scales the size of its input by about ``scale``."""
    layer = nn.Linear(channels, width, bias=False)
    # A sum of C terms of unit variance has a standard deviation of √C: divided away here.
    nn.init.normal_(layer.weight, std=scale * channels**-0.5)
    return layer
