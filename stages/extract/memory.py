"""Refuse clips and batches that no memory could hold, before any is taken."""

import math
from collections.abc import Iterable

from ...pipeline.available_memory import host_bytes
from ...pipeline.backbones.weights import Weights
from ...pipeline.errors import SettingsError, named
from ...pipeline.sizes import size_text
from ...pipeline.videos.clip_reader import clips_bytes
from .settings import ExtractSettings


def check_fits(settings: ExtractSettings, weights: Iterable[Weights]) -> None:
    """Refuse a run in which even a single video's clips, or a single pass of a backbone, exceed the available memory.

    This is what every video takes, however small its pictures are; a pass takes several times its input.

    Raises:
        SettingsError: naming what to reduce.
    """
    weights, available, sampling = list(weights), host_bytes(), settings.sampling
    clips = clips_bytes(sampling, dict.fromkeys(own.preprocessing for own in weights))
    if clips > available:
        raise SettingsError(
            f"the clips of one video take {size_text(clips)} ({named('views')} {sampling.views} × {named('num_clips')} "
            f"{sampling.num_clips} × {named('num_frames')} {sampling.num_frames}), {size_text(available)} are available"
        )
    crop = max(own.preprocessing.crop for own in weights)
    batch = 4 * math.prod((settings.engine.batch or 1, sampling.num_frames, crop, crop, 3))  # float32
    if batch > available:
        raise SettingsError(
            f"one pass of a backbone takes {size_text(batch)} for its input alone ({named('batch')} "
            f"{settings.engine.batch or 1} × {named('num_frames')} {sampling.num_frames} of {crop}×{crop} pixels), "
            f"{size_text(available)} are available"
        )
