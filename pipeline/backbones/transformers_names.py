"""Names of video transformers: what follows ``hf:`` says how the network is built, and nothing else is needed.

``hf:videomae_base`` is the published size; ``hf:videomae_w32_d2_h2_m64_p8_f4_s32`` has 32 channels, two layers of two
heads, 64 units in their perceptrons, patches of 8 pixels, and clips of 4 frames of 32×32. So weights files, stores and
runs, which keep the name, keep the network.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError

PREFIX = "hf:"
_SIDES = ("width", "depth", "heads", "mlp")
_NAME = re.compile(
    r"(?P<family>videomae|vjepa2)_(?:(?P<size>[a-z]+)|w(?P<width>\d+)_d(?P<depth>\d+)_h(?P<heads>\d+)_m(?P<mlp>\d+))"
    r"(?:_p(?P<patch>\d+))?(?:_t(?P<tubelet>\d+))?(?:_f(?P<frames>\d+))?(?:_s(?P<side>\d+))?"
    r"(?:_(?P<encoder>encoder)|_a(?P<pooler>\d+))?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What the networks of a family have in common.

    Attributes:
        summary: one line of what it is.
        sizes: word -> channels, layers, heads, units of the perceptrons, as published.
        defaults: patch, tubelet, frames, side and pooler where a name does not say them.
        config: keys of the source's configuration -> their values: the source's defaults, where ours have names.
        fixed: likewise, of what vidpipe takes with these values alone.
    """

    summary: str
    sizes: Mapping[str, tuple[int, int, int, int]]
    defaults: Mapping[str, int]
    config: Mapping[str, Any]
    fixed: Mapping[str, Any]


# Source: configuration_videomae.py and configuration_vjepa2.py of transformers 5.24, convert_vjepa2_to_hf.py for sizes.
_LARGE, _HUGE = (1024, 24, 16, 4096), (1280, 32, 16, 5120)
KINDS: dict[str, Kind] = {
    "videomae": Kind(
        summary="VideoMAE: a plain transformer over patches of two frames, all of one clip at once",
        sizes={"small": (384, 12, 6, 1536), "base": (768, 12, 12, 3072), "large": _LARGE, "huge": _HUGE},
        defaults={"patch": 16, "tubelet": 2, "frames": 16, "side": 224, "pooler": 0},
        config={
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "patch_size": 16,
            "tubelet_size": 2,
            "intermediate_size": 3072,
            "num_frames": 16,
            "image_size": 224,
        },
        fixed={"hidden_act": "gelu", "qv_bias": True, "layer_norm_eps": 1e-12, "num_channels": 3},
    ),
    "vjepa2": Kind(
        summary="V-JEPA 2: a transformer with rotary positions, which takes clips of any length",
        sizes={"large": _LARGE, "huge": _HUGE, "giant": (1408, 40, 22, 6144)},
        defaults={"patch": 16, "tubelet": 2, "frames": 16, "side": 256, "pooler": 3},
        config={
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 16,
            "tubelet_size": 2,
            "mlp_ratio": 4.0,
            "frames_per_clip": 64,
            "crop_size": 256,
            "num_pooler_layers": 3,
        },
        fixed={"hidden_act": "gelu", "qkv_bias": True, "layer_norm_eps": 1e-6, "in_chans": 3},
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """How a video transformer is built.

    Attributes:
        family: a key of ``KINDS``.
        width: C, channels of a token.
        depth: layers.
        heads: of the attention in each layer.
        mlp: units of each layer's perceptron.
        patch: side of a token's square, pixels.
        tubelet: frames that a token spans.
        frames: of the clips that the network is used with.
        side: of the square clips, pixels.
        pooler: layers of self-attention in V-JEPA 2's own classifier.
        is_encoder: whether there is no classifier, only the encoder.
    """

    family: str
    width: int
    depth: int
    heads: int
    mlp: int
    patch: int
    tubelet: int
    frames: int
    side: int
    pooler: int
    is_encoder: bool

    def __post_init__(self) -> None:
        least = min(self.width, self.depth, self.heads, self.mlp, self.patch, self.tubelet, self.frames)
        if least < 1 or self.width % self.heads or self.side < self.patch or self.frames % self.tubelet:
            raise SettingsError(
                f"{self.name} is no network: its channels must divide into its heads, its frames into its tubelets of "
                f"{self.tubelet}, and a patch must fit into the picture"
            )

    @property
    def name(self) -> str:
        """The shortest name, which `parse_name` turns into the same."""
        kind, own = KINDS[self.family], (self.width, self.depth, self.heads, self.mlp)
        size = next((word for word, published in kind.sizes.items() if published == own), None)
        parts = [size] if size else [f"{letter}{value}" for letter, value in zip("wdhm", own, strict=True)]
        letters = {"patch": "p", "tubelet": "t", "frames": "f", "side": "s"}
        others = [f"{letter}{getattr(self, field)}" for field, letter in letters.items() if self._differs(field)]
        pooler = [f"a{self.pooler}"] if self._differs("pooler") and not self.is_encoder else []
        return PREFIX + "_".join([self.family, *parts, *others, *pooler, *(["encoder"] if self.is_encoder else [])])

    def _differs(self, field: str) -> bool:
        return getattr(self, field) != KINDS[self.family].defaults[field]


def parse_name(name: str) -> Architecture | None:
    """Return the network that a name describes, with or without the prefix; None if it describes none.

    Raises:
        SettingsError: if it describes one that cannot be.
    """
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if match is None:
        return None
    kind, found = KINDS[match["family"]], match.groupdict()
    if match["size"] and match["size"] not in kind.sizes:
        return None
    sides = kind.sizes[match["size"]] if match["size"] else tuple(int(found[own]) for own in _SIDES)
    if match["family"] == "videomae" and match["pooler"]:
        return None
    return Architecture(
        family=match["family"],
        **dict(zip(_SIDES, sides, strict=True)),
        **{own: int(found[own] or default) for own, default in kind.defaults.items()},
        is_encoder=match["encoder"] is not None,
    )


def read_config(config: Mapping[str, Any], *, origin: str) -> Architecture:
    """Return the network that a configuration of transformers describes (the content of config.json).

    Args:
        config: the mapping; what it leaves out has the source's default.
        origin: where it stands, for messages.

    Raises:
        SettingsError: if it is of another family, or sets what vidpipe's networks have otherwise.
    """
    family = config.get("model_type")
    if family not in KINDS:
        raise SettingsError(
            f"{origin} is of the family {family!r}; of transformers vidpipe takes {' and '.join(KINDS)} alone"
        )
    kind = KINDS[family]
    for key, value in kind.fixed.items():
        if config.get(key, value) != value:
            raise SettingsError(f"{origin} sets {key} to {config[key]!r}; vidpipe builds {family} with {value!r} alone")
    own = {key: config.get(key, default) for key, default in kind.config.items()}
    for key, value in own.items():
        if isinstance(value, bool) or not isinstance(value, float if key == "mlp_ratio" else int):
            raise SettingsError(f"{origin} sets {key} to {value!r}; vidpipe takes one number")
    is_encoder = not any(str(named).endswith("ForVideoClassification") for named in config.get("architectures") or ())
    return _videomae(own, config, is_encoder) if family == "videomae" else _vjepa2(own, is_encoder)


def _videomae(own: Mapping[str, Any], config: Mapping[str, Any], is_encoder: bool) -> Architecture:
    is_mean = config.get("use_mean_pooling", True)
    if is_mean == is_encoder:
        raise SettingsError(
            "VideoMAE's classifier reads the mean over all tokens, and its encoder alone ends in a norm: the "
            f"configuration sets use_mean_pooling otherwise, to {str(is_mean).lower()}"
        )
    return Architecture(
        family="videomae",
        **_common(own),
        mlp=own["intermediate_size"],
        frames=own["num_frames"],
        side=own["image_size"],
        pooler=0,
        is_encoder=is_encoder,
    )


def _vjepa2(own: Mapping[str, Any], is_encoder: bool) -> Architecture:
    """Return V-JEPA 2; its encoder alone takes clips of any length, and its makers probe it on 16 frames."""
    defaults = KINDS["vjepa2"].defaults
    return Architecture(
        family="vjepa2",
        **_common(own),
        mlp=int(own["hidden_size"] * own["mlp_ratio"]),
        frames=defaults["frames"] if is_encoder else own["frames_per_clip"],
        side=own["crop_size"],
        pooler=defaults["pooler"] if is_encoder else own["num_pooler_layers"],
        is_encoder=is_encoder,
    )


def _common(own: Mapping[str, Any]) -> dict[str, int]:
    return {
        "width": own["hidden_size"],
        "depth": own["num_hidden_layers"],
        "heads": own["num_attention_heads"],
        "patch": own["patch_size"],
        "tubelet": own["tubelet_size"],
    }
