"""Not a stage: the stride of the clips that stages decode to train on, where it is not typed."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from ..pipeline.errors import named
from ..pipeline.manifests.manifest import Video
from ..pipeline.videos.clips import ClipSampling
from ..pipeline.videos.strides import Stretch, fitting_stride, look_at_some, share_seen
from .defaults import Chosen, Values

# Clips that see less than this are worth a word even if their stride was typed.
_LITTLE = 0.25


def choose_stride(typed: Values, videos: Sequence[Video], *, num_frames: int, usual: int, begun: int | None) -> Chosen:
    """Return the stride that suits the videos, unless one is typed, and how much of a video clips see.

    Args:
        typed: what was typed.
        videos: those to train on; a few are opened.
        num_frames: L, of a clip.
        usual: the stride that the backbone is known for, if no video can be read.
        begun: the stride of the run that goes on, if there is one: it stays, whatever has become of the videos.
    """
    own = typed.get("sampling_rate")
    if own is None and begun is not None:
        return Chosen(values={"sampling_rate": begun}, said=(f"stride {begun}, with which this run began",))
    # Before any file is opened, as this refuses what cannot be.
    asked = ClipSampling(num_frames=num_frames, sampling_rate=usual if own is None else own, fps=typed.get("fps"))
    stretches = look_at_some(videos)
    if not stretches:
        return Chosen() if own is not None else Chosen(values={"sampling_rate": usual})
    fitting = fitting_stride(stretches, num_frames=num_frames, fps=asked.fps)
    stride = fitting if own is None else own
    share = share_seen(stretches, replace(asked, sampling_rate=stride, num_clips=1))
    sees = f"stride {stride}: a clip of {num_frames} frames sees {share:.0%} of a typical video ({_length(stretches)})"
    if own is None:
        return Chosen(values={"sampling_rate": stride}, said=(f"{sees}; {named('sampling_rate')} for another",))
    if share < _LITTLE and fitting > stride:
        return Chosen(said=(f"{sees}; {named('sampling_rate')} {fitting} would suit these videos",))
    return Chosen()


def _length(stretches: Sequence[Stretch]) -> str:
    frames, seconds = (statistics.median(getattr(own, name) for own in stretches) for name in ("num_frames", "seconds"))
    return f"{frames:.0f} frames, {seconds:.1f} s"
