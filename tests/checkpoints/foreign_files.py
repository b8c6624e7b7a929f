"""Made-up checkpoints of other programs: a network's tensors under a source's names, with random values."""

import torch

from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.checkpoints.dialects import SPELLINGS


def foreign_state(backbone: str, *, dialect: str, num_classes: int = 400) -> dict[str, torch.Tensor]:
    """Return a state dict as the source would save it."""
    spelling = next(own for own in SPELLINGS if own.dialect == dialect and backbone in own.backbones)
    torch.manual_seed(0)
    network = build_backbone(backbone, num_classes=num_classes)
    linear = {f"{name}.weight" for name, own in network.named_modules() if isinstance(own, torch.nn.Linear)}
    return {
        spelling.name(key): own.reshape(spelling.foreign_shape(tuple(own.shape), is_linear=key in linear))
        for key, own in network.state_dict().items()
    }
