"""What training a backbone will be: what the trained weights depend on."""

from dataclasses import asdict, replace
from typing import Any

from ...pipeline.backbones.engine import resolve_device
from ...pipeline.backbones.registry import usual_clip
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.training.optimisation import resolved
from ...pipeline.videos.clips import ClipSampling
from .settings import TrainBackboneSettings


def resolve(settings: TrainBackboneSettings) -> TrainBackboneSettings:
    """Return the settings with what they leave open decided: the backbone's usual clip, the machine's precision.

    Raises:
        SettingsError: if there is no such backbone.
    """
    num_frames, sampling_rate = usual_clip(settings.backbone)
    return replace(
        settings,
        num_frames=settings.num_frames or num_frames,
        sampling_rate=settings.sampling_rate or sampling_rate,
        optimisation=resolved(settings.optimisation, device=settings.device),
    )


def sampling_of(settings: TrainBackboneSettings) -> ClipSampling:
    """Return how the clips of resolved settings are cut from a video."""
    num_frames, sampling_rate = settings.num_frames, settings.sampling_rate
    assert num_frames is not None and sampling_rate is not None, "resolve the settings first"
    return ClipSampling(num_frames=num_frames, sampling_rate=sampling_rate, fps=settings.fps, num_clips=1)


def outcome(settings: TrainBackboneSettings, manifest: Manifest, *, caches: list[bool]) -> dict[str, Any]:
    """Return what the trained weights depend on, as JSON values."""
    own = asdict(settings)
    for place in ("manifest", "out", "threads", "workers", "checkpoint_seconds", "cache_gib", "device"):
        del own[place]
    return {
        "stage": "train-backbone",
        "manifest_digest": manifest.digest,
        "device": resolve_device(settings.device).type,
        "reduced_in_cache": caches,
        **own,
    }
