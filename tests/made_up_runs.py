"""End-to-end runs that nobody has trained: random backbones and aggregators in finished run directories."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.video_model import VideoModel, build_video_model
from vidpipe.pipeline.aggregators.weights import save_aggregator
from vidpipe.pipeline.backbones.registry import build_backbone, feature_shape
from vidpipe.pipeline.backbones.weights import Weights, collect_weights, save_weights
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.preprocessing import Preprocessing

NAMES = {"expensive": "r2plus1d_14_w16", "cheap": "r2d_14_w16"}
NUM_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class MadeUpRun:
    """What a run is to be; the defaults make a good one.

    Attributes:
        crops: role -> side of what its backbone sees, in pixels.
        random: what the random weights depend on.
        start: what the settings say of the run that it goes on from: the digest of its weights; None = nothing.
        from_scratch: whether the settings say that the backbones began without weights.
        changes: what else the settings say.
    """

    aggregator: str = "fast-gru"
    pattern: str = "1:3"
    num_clips: int = 4
    classes: tuple[str, ...] = ("fall", "jump", "run")
    crops: tuple[int, int] = (32, 32)
    random: int = 0
    seed: int = 0
    start: str | None = None
    from_scratch: bool = False
    changes: Mapping[str, Any] | None = None


def make_run(path: Path, wanted: MadeUpRun = MadeUpRun()) -> Path:
    """Leave a finished end-to-end run at ``path`` and return that."""
    roles = tuple(dict.fromkeys(Pattern.parse(wanted.pattern).roles(wanted.num_clips)))
    crops = dict(zip(NAMES, wanted.crops, strict=True))
    weights = {role: make_weights(role, wanted, crop=crops[role]) for role in roles}
    shapes = {role: feature_shape(NAMES[role], num_frames=NUM_FRAMES, size=crops[role]) for role in roles}
    spec = AggregatorSpec(
        name=wanted.aggregator,
        channels=max(shape[-1] for shape in shapes.values()),
        num_classes=len(wanted.classes),
    )
    model = make_model(spec, shapes=shapes, random=wanted.random)
    began = {
        role: _described(own) | {"weights_sha256": None if wanted.from_scratch else f"where {role} began"}
        for role, own in weights.items()
    }
    run = RunDirectory.open_or_create(path, settings=_settings(wanted, spec, began))
    for role, own in weights.items():
        save_weights(path / f"{role}.safetensors", own)
    read = shapes if model.aggregator.needs_features else {}
    weights_file = path / "weights.safetensors"
    save_aggregator(weights_file, spec=spec, shapes=read, classes=wanted.classes, state=model.state_dict())
    run.finish(
        {
            "metrics": {"epoch": 0, "val_accuracy": 0.5},
            "epochs": 1,
            "num_weights": 1,
            "gmacs": 1.0,
            "seconds": 1.0,
            "backbones": {role: _described(own) for role, own in weights.items()},
        }
    )
    return path


def make_model(spec: AggregatorSpec, *, shapes: Mapping[str, tuple[int, int, int, int]], random: int) -> VideoModel:
    """Return an aggregator with random weights, and random running statistics where it keeps some."""
    torch.manual_seed(random)
    model = build_video_model(spec, shapes=shapes)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.add_(0.1 * torch.rand_like(tensor))
    return model


def make_weights(role: str, wanted: MadeUpRun, *, crop: int) -> Weights:
    """Return random weights of the backbone that plays a role, with batch norms that let differences through."""
    torch.manual_seed(100 * wanted.random + list(NAMES).index(role))
    backbone = build_backbone(NAMES[role], num_classes=len(wanted.classes)).train()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None  # the running statistics become those of the next batch
    with torch.no_grad():
        stills = torch.randn(8, 3, 1, 1, 1) + 0.3 * torch.randn(8, 3, 1, crop, crop)
        backbone(stills.expand(-1, -1, NUM_FRAMES, -1, -1))
    preprocessing = Preprocessing(crop=crop, short_side=crop + 4)
    return collect_weights(backbone, classes=wanted.classes, preprocessing=preprocessing, num_frames=NUM_FRAMES)


def _described(weights: Weights) -> dict[str, Any]:
    return {
        "name": weights.backbone,
        "weights_sha256": weights.digest,
        "preprocessing": weights.preprocessing.record(),
    }


def _settings(wanted: MadeUpRun, spec: AggregatorSpec, began: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": "end-to-end",
        "aggregator": spec.record(),
        "pattern": wanted.pattern,
        "num_clips": wanted.num_clips,
        "backbones": began,
        "classes": list(wanted.classes),
        "sampling": ClipSampling(num_frames=NUM_FRAMES, num_clips=wanted.num_clips).record(),
        "manifest_digest": "of the training videos",
        "split": "train",
        "splits_sha256": None,
        "val_fraction": 0.15,
        "num_training": 8,
        "num_validation": 2,
        "videos_sha256": f"chosen by seed {wanted.seed}",
        "optimisation": asdict(OptimisationSettings(seed=wanted.seed)),
        "device": "cpu",
        "start": wanted.start,
        **(wanted.changes or {}),
    }
