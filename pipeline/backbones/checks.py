"""Whether backbones suit the clips and their roles."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from ..errors import SettingsError, named
from ..features.patterns import CHEAP, EXPENSIVE
from ..videos.clip_rules import LINSPACE, SEGMENTS, STRIDE
from ..videos.clips import ClipSampling
from .places import weights_file
from .registry import sees_single_frames
from .weights import ClipKind, Head, Weights, load_weights


def load_named(place: Path, *, backbone: str, role: str) -> Weights:
    """Return the weights at ``place``, which must be those of the backbone that the user names.

    Args:
        place: a weights file, or the folder of the run that left it.
        backbone: its name; empty for whichever it is.
        role: that it is to play.

    Raises:
        WeightsError: if there is no weights file of vidpipe's.
        SettingsError: if they are of another backbone; the message says what to type.
    """
    path = weights_file(place, role=role)
    weights = load_weights(path)
    if backbone and weights.backbone != backbone:
        raise SettingsError(
            f"{named(role)} says {backbone}, but {path} holds weights of {weights.backbone}; type {named(role)} {path}"
        )
    return weights


def check_clip(weights: Weights, sampling: ClipSampling) -> None:
    """Refuse clips of another kind than the backbone was trained on: its scores would mean nothing.

    Published networks run on others too, since people have no others of them; `other_clips_words` says so.

    Raises:
        SettingsError: the message says what to type.
    """
    asked = kind_of(sampling)
    if weights.clip != asked and not weights.origin:
        raise SettingsError(
            f"{weights.backbone} was trained on clips of {_clip_text(weights.clip)}; asked for are "
            f"{_clip_text(asked)}. Give {_typed(weights.clip)}"
        )


def kind_of(sampling: ClipSampling) -> ClipKind:
    """Return the kind of clips that a sampling cuts."""
    return ClipKind(**{own.name: getattr(sampling, own.name) for own in fields(ClipKind)})


def other_clips_words(heads: Mapping[str, Head], asked: ClipKind) -> tuple[str, ...]:
    """Return a sentence for each published network that is to see other clips than its source's.

    Args:
        heads: role -> what its weights say of themselves.
        asked: the clips that it is to see.
    """
    return tuple(
        f"{named(role)} {own.backbone} was published for clips of {_clip_text(own.clip)}, and sees "
        f"{_clip_text(asked)}: its maps serve, its own scores are less sure"
        for role, own in heads.items()
        if own.is_published and own.clip != asked and not sees_single_frames(own.backbone)
    )


def check_same_clips(heads: Mapping[str, Head]) -> None:
    """Refuse an expensive and a cheap backbone that were trained on clips of different kinds: one store has one kind.

    Args:
        heads: role -> what its weights say of themselves.

    Raises:
        SettingsError: naming both.
    """
    clips = {role: own.clip for role, own in heads.items() if not own.is_published}
    if EXPENSIVE in clips and CHEAP in clips and clips[EXPENSIVE] != clips[CHEAP]:
        raise SettingsError(
            f"{named(EXPENSIVE)} was trained on clips of {_clip_text(clips[EXPENSIVE])}, {named(CHEAP)} on clips of "
            f"{_clip_text(clips[CHEAP])}; both must see the same clips. Train one of them anew on the other's "
            f"clips: give {_typed(clips[EXPENSIVE])}"
        )


def deciding_clip(heads: Mapping[str, Head]) -> ClipKind:
    """Return the clips that both backbones are to see: of one that vidpipe trained, else of the expensive one.

    Args:
        heads: role -> what its weights say of themselves; at least one.
    """
    ranked = sorted(heads.items(), key=lambda own: (own[1].is_published, own[0] != EXPENSIVE))
    return ranked[0][1].clip


def check_differ(names: Mapping[str, str]) -> None:
    """Refuse the same backbone in both roles.

    Args:
        names: role -> the backbone's name.

    Raises:
        SettingsError: naming it.
    """
    if EXPENSIVE in names and CHEAP in names and names[EXPENSIVE] == names[CHEAP]:
        raise SettingsError(f"{named('expensive')} and {named('cheap')} must differ; both are {names[CHEAP]}")


def sizes_words(crops: Mapping[str, int]) -> tuple[str, ...]:
    """Return a sentence if the two backbones see pictures of different sizes, which is allowed; else nothing.

    Args:
        crops: role -> side of its square input, pixels.
    """
    if len(set(crops.values())) < 2:
        return ()
    each = ", ".join(f"{named(role)} sees {crop}×{crop} pixels" for role, crop in crops.items())
    return (f"{each}: each as it was trained",)


def check_roles(gmacs: Mapping[str, tuple[str, float]]) -> None:
    """Refuse an expensive backbone that costs less than the cheap one.

    Args:
        gmacs: role -> the backbone's name, and 10^9 multiply-accumulates a clip.

    Raises:
        SettingsError: naming both.
    """
    if EXPENSIVE in gmacs and CHEAP in gmacs and gmacs[EXPENSIVE][1] < gmacs[CHEAP][1]:
        costs = ", ".join(f"{name} {own:.3f}" for name, own in gmacs.values())
        raise SettingsError(f"{named('expensive')} costs less than {named('cheap')} (GMACs a clip: {costs}); swap them")


def _typed(clip: ClipKind) -> str:
    """Return what to type for such clips."""
    rate = f"and leave {named('fps')} out" if clip.fps is None else f"{named('fps')} {clip.fps}"
    rule = "" if clip.clip_rule == STRIDE else f"{named('clip_rule')} {clip.clip_rule} "
    return f"{named('num_frames')} {clip.num_frames} {named('sampling_rate')} {clip.sampling_rate} {rule}{rate}"


def _clip_text(clip: ClipKind) -> str:
    rate = "the video's own rate" if clip.fps is None else f"{clip.fps} frames/s"
    if clip.clip_rule == SEGMENTS:
        return f"{clip.num_frames} frames, one of each segment of the video"
    spaced = "evenly from windows of as many times" if clip.clip_rule == LINSPACE else "at stride"
    return f"{clip.num_frames} frames {spaced} {clip.sampling_rate} and {rate}"
