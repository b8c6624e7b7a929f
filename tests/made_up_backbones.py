"""Backbones with weights and statistics that are not those of a fresh network."""

import torch
from torch import nn

from vidpipe.pipeline.backbones.interface import Backbone
from vidpipe.pipeline.backbones.non_local import NonLocal
from vidpipe.pipeline.backbones.registry import build_backbone


def lived_in(name: str, num_classes: int = 5) -> Backbone:
    """A backbone with statistics, scales and embeddings such as training leaves behind, in evaluation mode."""
    torch.manual_seed(0)
    backbone = build_backbone(name, num_classes=num_classes)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, NonLocal):
            for embedding in (module.theta, module.phi, module.g):
                nn.init.normal_(embedding.weight, 0, 0.03)
                nn.init.normal_(embedding.bias, 0, 0.03)
    nn.init.normal_(backbone.fc.weight, 0, 0.1)
    return backbone.eval()
