"""What follows from the videos that a backbone is to learn from: the clips' stride, and the recipe."""

from ...pipeline.backbones.registry import usual_clip
from ...pipeline.errors import VidpipeError
from ...pipeline.manifests.manifest import read_manifest
from ...pipeline.training.run_directory import recorded_settings
from ..defaults import Chosen, Values
from ..presets import choose_preset
from ..strides import choose_stride


def choose(typed: Values) -> Chosen:
    """Return the stride that suits the videos and the recipe for so many, as far as they are not typed."""
    try:
        listed = read_manifest(typed["manifest"]).subset(typed.get("split", "train")).videos
        usual_frames, usual_stride = usual_clip(typed["backbone"])
    except VidpipeError:
        return Chosen()  # training says what is wrong
    videos = [video for video in listed if video.labels]  # the others are left out
    if not videos:
        return Chosen()
    stride = choose_stride(
        typed,
        videos,
        num_frames=typed.get("num_frames") or usual_frames,
        usual=usual_stride,
        begun=recorded_settings(typed["out"]).get("sampling_rate"),
    )
    return choose_preset("train_backbone", typed, num_videos=len(videos)) + stride
