"""What follows from the videos of an end-to-end training from scratch: the clips' stride."""

from ...pipeline.backbones.registry import usual_clip
from ...pipeline.errors import VidpipeError
from ...pipeline.manifests.manifest import read_manifest
from ..defaults import Chosen, Values
from ..strides import choose_stride, recorded_settings
from .settings import RoleBackbone


def choose(typed: Values) -> Chosen:
    """Return the stride that suits the videos, unless it is typed, or a run or weights to begin from have one."""
    backbones: list[RoleBackbone] = [typed[role] for role in ("expensive", "cheap") if typed.get(role)]
    if typed.get("start") is not None or not backbones or any(own.weights is not None for own in backbones):
        return Chosen()
    try:
        listed = read_manifest(typed["manifest"]).subset(typed.get("split", "train")).videos
        usual_frames, usual_stride = usual_clip(backbones[0].backbone)
    except VidpipeError:
        return Chosen()  # training says what is wrong
    videos = [video for video in listed if video.labels]  # the others are left out
    return choose_stride(
        typed,
        videos,
        num_frames=typed.get("num_frames") or usual_frames,
        usual=usual_stride,
        begun=recorded_settings(typed["out"]).get("sampling", {}).get("sampling_rate"),
    )
