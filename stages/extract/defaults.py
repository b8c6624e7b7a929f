"""What follows from the weights that are to run over videos: the clips that they were trained on."""

from dataclasses import asdict, fields

from ...pipeline.backbones.checks import check_same_clips, deciding_clip, other_clips_words, sizes_words
from ...pipeline.backbones.weights import ClipKind, read_head
from ...pipeline.errors import WeightsError
from ..defaults import Chosen, Values

_CLIP = tuple(own.name for own in fields(ClipKind))


def choose(typed: Values) -> Chosen:
    """Return frames, stride and rate of the weights' clips, as far as they are not typed.

    Raises:
        SettingsError: if two weights were trained on different clips, and nothing is typed of them.
    """
    given = {role: typed[role] for role in ("expensive", "cheap") if typed.get(role)}
    try:
        heads = {role: read_head(own.path, role=role) for role, own in given.items()}
    except WeightsError:
        return Chosen()  # extraction says what is wrong
    if not heads:
        return Chosen()
    if not any(name in typed for name in _CLIP):
        check_same_clips(heads)
    values = asdict(deciding_clip(heads)) | {name: typed[name] for name in _CLIP if name in typed}
    sizes = () if typed.get("crop") else sizes_words({role: own.crop for role, own in heads.items()})
    return Chosen(
        values={name: value for name, value in values.items() if name not in typed},
        said=(*sizes, *other_clips_words(heads, ClipKind(**values))),
    )
