"""What follows from what an end-to-end training begins with: from scratch, the clips' stride from the videos."""

from collections.abc import Mapping

from ...pipeline.backbones.checks import check_same_clips, sizes_words
from ...pipeline.backbones.registry import usual_clip
from ...pipeline.backbones.weights import Head, read_head
from ...pipeline.errors import VidpipeError
from ...pipeline.manifests.manifest import read_manifest
from ...pipeline.training.run_directory import recorded_settings
from ..defaults import Chosen, Values
from ..strides import choose_stride
from .named import named_backbone
from .settings import RoleBackbone


def choose(typed: Values) -> Chosen:
    """Return the stride that suits the videos, unless it is typed, or a run or weights to begin from have one.

    Raises:
        SettingsError: if two weights were trained on different clips, and nothing is typed of them.
    """
    given: dict[str, RoleBackbone] = {role: typed[role] for role in ("expensive", "cheap") if typed.get(role)}
    if typed.get("start") is not None or not given:
        return Chosen()
    try:
        named = {role: named_backbone(own, role=role) for role, own in given.items()}
        begun = {role: read_head(own.weights) for role, own in named.items() if own.weights is not None}
        usual_frames, usual_stride = usual_clip(next(iter(named.values())).backbone)
        listed = () if begun else read_manifest(typed["manifest"]).subset(typed.get("split", "train")).videos
    except VidpipeError:
        return Chosen()  # training says what is wrong
    if begun:
        return _of_weights(typed, begun)
    videos = [video for video in listed if video.labels]  # the others are left out
    return choose_stride(
        typed,
        videos,
        num_frames=typed.get("num_frames") or usual_frames,
        usual=usual_stride,
        begun=recorded_settings(typed["out"]).get("sampling", {}).get("sampling_rate"),
    )


def _of_weights(typed: Values, begun: Mapping[str, Head]) -> Chosen:
    """Return nothing but a word: training itself takes the clips of the weights that it begins from."""
    if not {"num_frames", "sampling_rate", "fps"} & typed.keys():
        check_same_clips({role: own.clip for role, own in begun.items()})
    return Chosen(said=sizes_words({role: own.crop for role, own in begun.items()}))
