"""Small video transformers of the library transformers, with random weights."""

from typing import Any

import torch
from foreign_packages import brought
from torch import nn

WIDTH, DEPTH, HEADS, SIDE, PATCH, FRAMES, CLASSES = 32, 2, 2, 32, 8, 4, 5
GRID = (FRAMES // 2, SIDE // PATCH, SIDE // PATCH)
MAE, MAE_ENCODER, JEPA, JEPA_ENCODER = "videomae", "videomae encoder", "vjepa2", "vjepa2 encoder"
KINDS = (MAE, MAE_ENCODER, JEPA, JEPA_ENCODER)
NAMES = {
    MAE: "hf:videomae_w32_d2_h2_m64_p8_f4_s32",
    MAE_ENCODER: "hf:videomae_w32_d2_h2_m64_p8_f4_s32_encoder",
    JEPA: "hf:vjepa2_w32_d2_h2_m64_p8_f4_s32_a1",
    JEPA_ENCODER: "hf:vjepa2_w32_d2_h2_m64_p8_s32_encoder",
}


def made(kind: str) -> nn.Module:
    """Return the library's own network, with random weights everywhere, norms and biases too."""
    common: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "patch_size": PATCH,
        "num_labels": CLASSES,
    }
    transformers = brought("transformers")
    own: Any
    if kind in (MAE, MAE_ENCODER):
        config = transformers.VideoMAEConfig(
            **common,
            intermediate_size=64,
            num_frames=FRAMES,
            image_size=SIDE,
            use_mean_pooling=kind == MAE,
            decoder_hidden_size=16,
            decoder_num_attention_heads=2,
            decoder_num_hidden_layers=1,
        )
        own = transformers.VideoMAEForVideoClassification if kind == MAE else transformers.VideoMAEForPreTraining
    else:
        config = transformers.VJEPA2Config(
            **common,
            mlp_ratio=2.0,
            crop_size=SIDE,
            frames_per_clip=FRAMES,
            num_pooler_layers=1,
            pred_hidden_size=16,
            pred_num_attention_heads=1,
            pred_num_hidden_layers=1,
        )
        own = transformers.VJEPA2ForVideoClassification if kind == JEPA else transformers.VJEPA2Model
    torch.manual_seed(0)
    network = own(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2)
    return network
