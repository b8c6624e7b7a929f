"""Video transformers of the library transformers, as clip backbones: the grid of tokens is the clip's map.

VideoMAE: Tong et al., VideoMAE (NeurIPS 2022). V-JEPA 2: Assran et al., V-JEPA 2 (2025). The layers are transformers'
own (5.24); what comes before and after them is here, so that no network builds a predictor or decoder that it never
runs, and the names alone tell the network (`transformers_names`).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SettingsError, named
from .interface import Backbone
from .transformers_folders import find_folder, read_architecture
from .transformers_names import KINDS, PREFIX, Architecture, parse_name

_STRIDE = 4  # of both sources' clips
_INITIAL_STD = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerSpec:
    """A video transformer of a given architecture."""

    architecture: Architecture

    @property
    def name(self) -> str:
        """The architecture's."""
        return self.architecture.name

    @property
    def summary(self) -> str:
        """The family's."""
        return KINDS[self.architecture.family].summary

    @property
    def usual_clip(self) -> tuple[int, int]:
        """The source's."""
        return self.architecture.frames, _STRIDE

    def build(self, *, num_classes: int, dropout: float) -> "VideoTransformer":
        """Return a freshly initialised network, on torch's default device.

        Raises:
            SettingsError: if the library is not installed.
        """
        return VideoTransformer(self.architecture, num_classes=num_classes, dropout=dropout)


def find_spec(name: str) -> TransformerSpec:
    """Return the network that ``hf:…`` names: an architecture, a folder here, or a model in Hugging Face's cache.

    Raises:
        SettingsError: if it names none; the message says where it was looked for.
    """
    described = parse_name(name)
    if described is None and name.removeprefix(PREFIX).startswith(tuple(f"{own}_" for own in KINDS)):
        sizes = "; ".join(f"{own}_ and one of {', '.join(kind.sizes)}" for own, kind in KINDS.items())
        raise SettingsError(f"{name} names no network of transformers. After {PREFIX} stand {sizes}; or a folder")
    return TransformerSpec(architecture=described or read_architecture(find_folder(name)))


class VideoTransformer(Backbone):
    """VideoMAE or V-JEPA 2.

    Of VideoMAE, whose positions are fixed to its grid, the head is the mean over tokens, a norm and the classifier. Of
    V-JEPA 2 an attentive pooler reads the tokens. An encoder without a classifier has the plain head of every backbone.

    Differs from the sources: in nothing known, in evaluation. No layer is dropped in training.
    """

    def __init__(self, architecture: Architecture, *, num_classes: int, dropout: float) -> None:
        own, parts = architecture, _parts(architecture)
        super().__init__(
            name=own.name,
            num_classes=num_classes,
            channels=own.width,
            dropout=dropout,
            frames_multiple=own.tubelet,
            neck=parts.neck,
            neck_channels=own.width,
        )
        self.architecture = own
        tubelet = (own.tubelet, own.patch, own.patch)
        self.patches = nn.Conv3d(3, own.width, tubelet, stride=tubelet)
        self.layers = nn.ModuleList(parts.layers)
        self.last = parts.last or nn.Identity()
        self.pooler = parts.pooler
        _initialise(self)

    def features(self, clip: Tensor) -> Tensor:
        """Return the tokens on their grid: (B, 3, L, S, S) float -> (B, C, L / tubelet, S / patch, S / patch)."""
        self.check_frames(clip.shape[2])
        self.check_size(clip.shape[3])
        patches = self.patches(clip)  # (B, C, T', H', W')
        tokens = patches.flatten(2).transpose(1, 2)  # (B, T' H' W', C)
        if self._has_positions:
            tokens = tokens + torch.from_numpy(sine_positions(tokens.shape[1], self.channels)).to(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.last(tokens).transpose(1, 2).unflatten(2, patches.shape[2:])

    def scores(self, features: Tensor) -> Tensor:
        """Return the class scores (B, K) of maps (B, C, T', H', W'), in the classifier's dtype."""
        if self.pooler is None:
            return super().scores(features)
        tokens = features.flatten(2).transpose(1, 2)  # (B, N, C)
        pooled = self.pooler(tokens)  # (B, C)
        return self.classifier(self.dropout(pooled.to(self.classifier.weight.dtype)))

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        """Return (T', H', W', C): frames over the tubelet, and pixels over the patch."""
        self.check_frames(frames)
        self.check_size(size)
        side = size // self.architecture.patch
        return frames // self.architecture.tubelet, side, side, self.channels

    def stages(self) -> dict[str, nn.Module]:
        """Return the layers: each keeps as much as the next."""
        return {f"layers.{index}": layer for index, layer in enumerate(self.layers)}

    def check_frames(self, frames: int) -> None:
        """Raise SettingsError unless clips have whole tubelets, and of VideoMAE the frames of its positions."""
        if self._has_positions and frames != self.architecture.frames:
            raise SettingsError(
                f"{self.name} has positions for clips of {self.architecture.frames} frames alone; got {frames}. Set "
                f"{named('num_frames')} accordingly."
            )
        super().check_frames(frames)

    def check_size(self, size: int) -> None:
        """Raise SettingsError unless pictures have the size that the network's positions are of."""
        if size != self.architecture.side:
            raise SettingsError(
                f"{self.name} has positions for pictures of {self.architecture.side}×{self.architecture.side} pixels "
                f"alone; got size={size}"
            )

    @property
    def _has_positions(self) -> bool:
        """Whether tokens get positions before the first layer; V-JEPA 2 turns queries and keys instead."""
        return self.architecture.family == "videomae"


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What a family's networks are made of beside patches: layers, and what follows them."""

    layers: list[nn.Module]
    last: nn.Module | None
    neck: nn.Module | None
    pooler: nn.Module | None


class _First(nn.Module):
    """A layer that returns its tokens with other things, without these."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.layer(tokens)[0]


def _parts(own: Architecture) -> _Parts:
    try:
        return _videomae_parts(own) if own.family == "videomae" else _vjepa2_parts(own)
    except ImportError as error:
        raise SettingsError(
            f"{own.name} needs the library transformers ({error}): pip install 'vidpipe[transformers]'"
        ) from error


def _videomae_parts(own: Architecture) -> _Parts:
    from transformers.models.videomae.configuration_videomae import VideoMAEConfig  # pyright: ignore[reportMissingImports]
    from transformers.models.videomae.modeling_videomae import VideoMAELayer  # pyright: ignore[reportMissingImports]

    config: Any = VideoMAEConfig(
        hidden_size=own.width, num_attention_heads=own.heads, intermediate_size=own.mlp, num_hidden_layers=own.depth
    )
    config._attn_implementation = "sdpa"
    return _Parts(
        layers=[VideoMAELayer(config) for _ in range(own.depth)],
        last=nn.LayerNorm(own.width, eps=config.layer_norm_eps) if own.is_encoder else None,
        neck=None if own.is_encoder else nn.LayerNorm(own.width),
        pooler=None,
    )


def _vjepa2_parts(own: Architecture) -> _Parts:
    from transformers.models.vjepa2.configuration_vjepa2 import VJEPA2Config  # pyright: ignore[reportMissingImports]
    from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2AttentivePooler, VJEPA2Layer  # pyright: ignore[reportMissingImports]

    config: Any = VJEPA2Config(
        hidden_size=own.width,
        num_attention_heads=own.heads,
        num_hidden_layers=own.depth,
        num_pooler_layers=own.pooler,
        patch_size=own.patch,
        tubelet_size=own.tubelet,
        crop_size=own.side,
    )
    config._attn_implementation = "sdpa"
    ratio = (own.mlp + 0.5) / own.width  # the source rounds the product down
    layers = [VJEPA2Layer(config, 0.0, own.width, own.heads, ratio) for _ in range(own.depth)]
    return _Parts(
        layers=[_First(layer) for layer in layers],
        last=nn.LayerNorm(own.width, eps=config.layer_norm_eps),
        neck=None,
        pooler=None if own.is_encoder else VJEPA2AttentivePooler(config),
    )


@lru_cache(maxsize=4)
def sine_positions(count: int, channels: int) -> np.ndarray:
    """Return VideoMAE's fixed positions (count, channels) float32: sines in even channels, cosines in odd ones.

    Source: Vaswani et al., Attention Is All You Need (2017), section 3.5, over the tokens in their order.
    """
    powers = np.power(10000, 2 * (np.arange(channels) // 2) / channels)
    angles = np.arange(count)[:, None] / powers
    angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
    return angles.astype(np.float32)


def _initialise(backbone: VideoTransformer) -> None:
    """Initialise in place as the sources do: small truncated normals, no biases, unit norms."""
    for module in backbone.modules():
        if isinstance(module, (nn.Linear, nn.Conv3d)):
            nn.init.trunc_normal_(module.weight, std=_INITIAL_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if backbone.pooler is not None:
        nn.init.trunc_normal_(backbone.pooler.get_parameter("query_tokens"), std=_INITIAL_STD)
