"""Which backbones an end-to-end training has: what was typed may be a name, weights, or a run that left them."""

from dataclasses import replace
from pathlib import Path

from ...pipeline.backbones.places import weights_file
from ...pipeline.backbones.registry import BACKBONES
from ...pipeline.backbones.weights import read_head
from ...pipeline.checkpoints.names import is_known_name
from ..ready_weights import ready_place
from .settings import FinetuneSettings, RoleBackbone


def named_backbones(settings: FinetuneSettings) -> FinetuneSettings:
    """Return ``settings`` in which every backbone has its name, and its weights are a file, if there are any.

    Raises:
        WeightsError: if weights do not say whose they are.
    """
    return replace(settings, **{role: named_backbone(own, role=role) for role, own in settings.backbones.items()})


def named_backbone(given: RoleBackbone, *, role: str) -> RoleBackbone:
    """Return the backbone of a role with its name.

    Raises:
        WeightsError: if its weights do not say whose they are.
    """
    weights = given.weights
    # A word that names no backbone may be a folder here. One that does is the name: ./r2d_26 would be the folder.
    word = given.backbone not in BACKBONES and (Path(given.backbone).exists() or is_known_name(given.backbone))
    if weights is None and word:
        given, weights = RoleBackbone(), Path(given.backbone)
    if weights is None:
        return given
    path = weights_file(ready_place(weights, backbone=given.backbone, role=role), role=role)
    return RoleBackbone(backbone=given.backbone or read_head(path).backbone, weights=path)
