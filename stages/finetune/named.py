"""Which backbones an end-to-end training has: what was typed may be a name, weights, or a run that left them."""

from dataclasses import replace
from pathlib import Path

from ...pipeline.backbones.weights import read_head
from ...pipeline.checkpoints.ready import Given, means_weights, ready_file
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
    if weights is None and means_weights(given.backbone):
        given, weights = RoleBackbone(), Path(given.backbone)
    if weights is None:
        return given
    path = ready_file(Given(backbone=given.backbone, place=weights), role=role)
    return RoleBackbone(backbone=given.backbone or read_head(path).backbone, weights=path)
