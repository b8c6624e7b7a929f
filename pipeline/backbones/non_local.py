"""The non-local block: each position of a map looks at every other, in space and time."""

import torch
from torch import Tensor, nn

from .layers import ConvNorm


class NonLocal(nn.Module):
    """Add to each position a weighted sum over all positions, weighted by their affinity: the dot-product form.

    With the embeddings θ, φ and g of half the channels, θ at all P positions and φ and g at the Q that a 1×2×2 max pool
    leaves, y = (θ φᵀ) g / Q, and the block returns x + norm(W y). There is no softmax: the weights are the products
    themselves, divided by their number. The last norm begins at zero, so that the block begins as the identity.

    Source: Wang et al., Non-local Neural Networks (CVPR 2018), section 3, with its subsampling trick; biases and
    initial weights as in mmaction2's I3D.
    Differs from the source: φ and g are pooled, as in mmaction2, where the authors' code pools x before them; and the
    pool keeps the last row or column of a side that is odd, which theirs drops.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.theta, self.phi, self.g = (nn.Conv3d(channels, inner, 1) for _ in range(3))
        self.pool = nn.MaxPool3d((1, 2, 2), ceil_mode=True)
        self.expand = ConvNorm(inner, channels, kernel=(1, 1, 1), relu=False)

    def initialise(self) -> None:
        """Draw small embeddings, and make the block the identity."""
        for embedding in (self.theta, self.phi, self.g):
            nn.init.normal_(embedding.weight, 0.0, 0.01)
            if embedding.bias is not None:
                nn.init.zeros_(embedding.bias)
        nn.init.zeros_(self.expand.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        theta = self.theta(x).flatten(2).transpose(1, 2)  # (B, P, C / 2)
        phi, g = (self.pool(embedding(x)).flatten(2) for embedding in (self.phi, self.g))  # (B, C / 2, Q)
        affinity = torch.bmm(theta, phi / phi.shape[2])  # (B, P, Q); divided first: float16 could overflow
        y = torch.bmm(affinity, g.transpose(1, 2)).transpose(1, 2)  # (B, C / 2, P)
        return x + self.expand(y.unflatten(2, x.shape[2:]))
