"""The non-local block: each position of a map looks at every other, in space and time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .interface import Backbone, initialise
from .layers import ConvNorm

AFFINITIES = ("dot", "softmax", "gaussian")


@dataclass(frozen=True, kw_only=True, slots=True)
class NonLocalForm:
    """What sets apart the non-local blocks of different sources, and where they stand.

    Attributes:
        res3: the blocks of res3 that one follows, counted from 0.
        res4: likewise of res4.
        affinity: how positions are weighted, one of ``AFFINITIES``: by θφ over their number (dot product), by its
            softmax (embedded Gaussian), or by the softmax of x itself with x (Gaussian, which has no θ and φ).
        scaled: whether a softmax is taken of products divided by the root of their channels.
        pools_first: whether x is pooled before φ and g, not their maps. The largest of a map is not the map of the
            largest.
        pools_odd: whether the pool keeps the last row or column of a side that is odd.
        output_bias: whether the convolution at the end has a bias, although a norm follows.
    """

    res3: tuple[int, ...] = (1, 3)
    res4: tuple[int, ...] = (1, 3, 5)
    affinity: str = "dot"
    scaled: bool = False
    pools_first: bool = False
    pools_odd: bool = False
    output_bias: bool = False

    def after(self, stage: int) -> tuple[int, ...]:
        """Return the blocks of res2 (``stage`` 0) to res5 (3) that a non-local block follows."""
        return ((), self.res3, self.res4, ())[stage]


MMACTION2_DOT = NonLocalForm(pools_odd=True)  # but for odd sides, whose last row mmaction2 drops
# PySlowFast's. Its I3D and C2D are published with the first, its slow-only and SlowFast with the second; the tensors
# are the same either way.
PSF_SOFTMAX = NonLocalForm(affinity="softmax", scaled=True, pools_first=True, output_bias=True)
PSF_DOT = NonLocalForm(affinity="dot", pools_first=True, output_bias=True)


class NonLocal(nn.Module):
    """Add to each position a weighted sum over all positions, weighted by their affinity.

    With the embeddings θ, φ and g of half the channels, θ at all P positions and φ and g at the Q that a 1×2×2 max pool
    leaves, y = w(θ φᵀ) g, and the block returns x + norm(W y). By the dot product, w divides by Q, without a softmax.
    The last norm begins at zero, so that the block begins as the identity.

    Source: Wang et al., Non-local Neural Networks (CVPR 2018), section 3, with its subsampling trick; biases and
    initial weights as in mmaction2's I3D. The forms are those of mmaction2 and PySlowFast.
    Differs from the source: where the form says so, φ and g are pooled, as in mmaction2, where the authors' code pools
    x before them; and with ``pools_odd`` the pool keeps the last row or column of a side that is odd, which theirs
    drops.
    """

    def __init__(self, channels: int, *, form: NonLocalForm = MMACTION2_DOT) -> None:
        super().__init__()
        inner = channels // 2
        self.form = form
        if form.affinity != "gaussian":
            self.theta, self.phi = (nn.Conv3d(channels, inner, 1) for _ in range(2))
        self.g = nn.Conv3d(channels, inner, 1)
        self.expand = ConvNorm(inner, channels, kernel=(1, 1, 1), relu=False, bias=form.output_bias)

    def initialise(self) -> None:
        """Draw small embeddings, and make the block the identity."""
        if self.g.weight.is_meta:
            return
        for embedding in self.children():
            if isinstance(embedding, nn.Conv3d):
                nn.init.normal_(embedding.weight, 0.0, 0.01)
                if embedding.bias is not None:
                    nn.init.zeros_(embedding.bias)
        if self.expand.conv.bias is not None:
            nn.init.zeros_(self.expand.conv.bias)
        nn.init.zeros_(self.expand.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        theta, phi, g = (own.flatten(2) for own in self._embed(x))  # (B, D, P), (B, D, Q), (B, C / 2, Q)
        affinity = self._affinity(theta.transpose(1, 2), phi)  # (B, P, Q)
        y = torch.bmm(affinity, g.transpose(1, 2)).transpose(1, 2)  # (B, C / 2, P)
        return x + self.expand(y.unflatten(2, x.shape[2:]))

    def _embed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return θ at all positions, and φ and g at those that the pool leaves."""
        if self.form.affinity == "gaussian":
            return x, self._pool(x), self._pool(self.g(x))
        if self.form.pools_first:
            pooled = self._pool(x)
            return self.theta(x), self.phi(pooled), self.g(pooled)
        return self.theta(x), self._pool(self.phi(x)), self._pool(self.g(x))

    def _pool(self, x: Tensor) -> Tensor:
        """Return the largest of every 2×2 positions of a frame; a side of 1 is left as it is."""
        window = (1, min(2, x.shape[3]), min(2, x.shape[4]))
        return F.max_pool3d(x, window, ceil_mode=self.form.pools_odd)

    def _affinity(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Return how much each position takes of every other: (B, P, D) and (B, D, Q) -> (B, P, Q)."""
        if self.form.affinity == "dot":
            return torch.bmm(theta, phi / phi.shape[2])  # divided first: float16 could overflow
        scale = phi.shape[1] ** -0.5 if self.form.scaled else 1.0
        return torch.bmm(theta, phi * scale).softmax(dim=-1)


def initialise_with_non_local(backbone: Backbone) -> None:
    """Initialise in place as every backbone, and then its non-local blocks as their source does."""
    initialise(backbone)
    for module in backbone.modules():
        if isinstance(module, NonLocal):
            module.initialise()


def with_non_local(stage: nn.Sequential, *, channels: int, form: NonLocalForm, after: tuple[int, ...]) -> nn.Sequential:
    """Return a stage with a non-local block after some of its blocks.

    Blocks keep their numbers, so that weights have the same keys with and without non-local blocks.
    """
    mixed = nn.Sequential()
    for place, block in stage.named_children():
        mixed.add_module(place, block)
        if int(place) in after:
            mixed.add_module(f"nonlocal{place}", NonLocal(channels, form=form))
    return mixed
