"""Whether backbones suit the clips and their roles."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import SettingsError, named
from ..features.patterns import CHEAP, EXPENSIVE
from ..videos.clips import ClipSampling
from .places import weights_file
from .weights import Weights, load_weights


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
    """Refuse clips of other lengths or rates than the backbone was trained on: its scores would mean nothing.

    Raises:
        SettingsError: the message says what to type.
    """
    trained = (weights.num_frames, weights.sampling_rate, weights.fps)
    asked = (sampling.num_frames, sampling.sampling_rate, sampling.fps)
    if trained != asked:
        raise SettingsError(
            f"{weights.backbone} was trained on clips of {_clip_text(*trained)}; asked for are {_clip_text(*asked)}. "
            f"Give {_typed(*trained)}"
        )


def check_same_clips(clips: Mapping[str, tuple[int, int, float | None]]) -> None:
    """Refuse an expensive and a cheap backbone that were trained on clips of different kinds: one store has one kind.

    Args:
        clips: role -> frames, stride and rate of the clips.

    Raises:
        SettingsError: naming both.
    """
    if EXPENSIVE in clips and CHEAP in clips and clips[EXPENSIVE] != clips[CHEAP]:
        raise SettingsError(
            f"{named(EXPENSIVE)} was trained on clips of {_clip_text(*clips[EXPENSIVE])}, {named(CHEAP)} on clips of "
            f"{_clip_text(*clips[CHEAP])}; both must see the same clips. Train one of them anew on the other's "
            f"clips: give {_typed(*clips[EXPENSIVE])}"
        )


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


def _typed(num_frames: int, sampling_rate: int, fps: float | None) -> str:
    """Return what to type for such clips."""
    rate = f"and leave {named('fps')} out" if fps is None else f"{named('fps')} {fps}"
    return f"{named('num_frames')} {num_frames} {named('sampling_rate')} {sampling_rate} {rate}"


def _clip_text(num_frames: int, sampling_rate: int, fps: float | None) -> str:
    rate = "the video's own rate" if fps is None else f"{fps} frames/s"
    return f"{num_frames} frames at stride {sampling_rate} and {rate}"
