"""The network at the beginning of end-to-end training."""

import torch

from ...pipeline.aggregators.video_model import build_video_model
from ...pipeline.backbones.interface import Backbone
from ...pipeline.backbones.registry import build_backbone
from ...pipeline.backbones.weights import Weights, load_backbone
from ...pipeline.end_to_end.network import EndToEnd
from .plan import PreparedFinetuning
from .settings import FinetuneSettings


def build_model(settings: FinetuneSettings, prepared: PreparedFinetuning) -> EndToEnd:
    """Return the network at the beginning of training, on the CPU; its fresh parts depend on the seed."""
    # The order of building is part of what the seed means: the aggregator first, then the backbones.
    torch.manual_seed(settings.optimisation.seed)
    video_model = build_video_model(prepared.spec, shapes=prepared.shapes)
    if prepared.start is not None:
        video_model.load_state_dict(prepared.start.weights.state)
    backbones = {
        role: _fresh(settings.backbones[role].backbone, prepared) if own is None else _begun(own, prepared)
        for role, own in prepared.weights.items()
    }
    return EndToEnd(
        backbones,
        video_model,
        preprocessing=prepared.preprocessing,
        roles=prepared.roles,
        statistics=prepared.statistics,
        trained=prepared.trained,
    )


def _fresh(name: str, prepared: PreparedFinetuning) -> Backbone:
    backbone = build_backbone(name, num_classes=len(prepared.classes))
    backbone.begin_as_identity()
    return backbone


def _begun(weights: Weights, prepared: PreparedFinetuning) -> Backbone:
    """Return a backbone with its weights, and a fresh classifier if it was trained on other classes."""
    backbone = load_backbone(weights)
    if weights.classes != prepared.classes:
        backbone.renew_classifier(len(prepared.classes))
    return backbone
