"""What training a backbone will be: what the trained weights depend on."""

from dataclasses import asdict
from typing import Any

from ...pipeline.backbones.engine import resolve_device
from ...pipeline.manifests.manifest import Manifest
from ...pipeline.training.tasks import Task, named
from .settings import TrainBackboneSettings


def outcome(settings: TrainBackboneSettings, manifest: Manifest, task: Task, *, caches: list[bool]) -> dict[str, Any]:
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
        **named(task),
    }
