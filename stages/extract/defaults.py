"""What follows from the weights that are to run over videos: the clips that they were trained on."""

from ...pipeline.backbones.checks import check_same_clips
from ...pipeline.backbones.weights import read_clip
from ...pipeline.errors import WeightsError
from ..defaults import Chosen, Values

_CLIP = ("num_frames", "sampling_rate", "fps")


def choose(typed: Values) -> Chosen:
    """Return frames, stride and rate of the weights' clips, as far as they are not typed.

    Raises:
        SettingsError: if two weights were trained on different clips, and nothing is typed of them.
    """
    given = {role: typed[role] for role in ("expensive", "cheap") if typed.get(role)}
    try:
        clips = {role: read_clip(own.path) for role, own in given.items()}
    except WeightsError:
        return Chosen()  # extraction says what is wrong
    if not clips:
        return Chosen()
    if not any(name in typed for name in _CLIP):
        check_same_clips(clips)
    values = dict(zip(_CLIP, next(iter(clips.values())), strict=True))
    return Chosen(values={name: value for name, value in values.items() if name not in typed})
