"""What a rendered set looks like: its settings."""

from dataclasses import dataclass

from ..errors import SettingsError
from .design import (
    scene_classes,
    shortest_act,
    shortest_video,
)

DIFFICULTIES = {"easy": 0.0, "medium": 0.5, "hard": 1.0}


MIN_SIZE = 32  # below it the bars would be single pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSettings:
    """What a rendered set looks like; together with an index it settles a video to the last bit.

    Attributes:
        seed: of the whole set.
        num_events: E; there are 2 E (E - 1) classes.
        size: height of the frames in pixels, even; widths vary from 1 to 1.2 times as much.
        frames: length of every video.
        clip_frames: the longest clip, in consecutive frames, that must not see both acts.
        difficulty: 0 (easy) to 1 (hard) moves noise, contrast, texture, size, camera shake and clutter.
        act_frames: longest act, in frames, with rests of any length around it; None = acts that fill the video.
    """

    seed: int = 0
    num_events: int = 3
    size: int = 80
    frames: int = 64
    clip_frames: int = 8
    difficulty: float = 0.5
    act_frames: int | None = None

    def __post_init__(self) -> None:
        scene_classes(self.num_events)
        if self.seed < 0:
            raise SettingsError(f"the seed must be 0 or more; got {self.seed}")
        if self.size < MIN_SIZE or self.size % 2:
            raise SettingsError(f"the size must be an even number of pixels from {MIN_SIZE} on; got {self.size}")
        if self.clip_frames < 1:
            raise SettingsError(f"clips must have at least one frame; got {self.clip_frames}")
        if not 0.0 <= self.difficulty <= 1.0:
            raise SettingsError(
                f"the difficulty must lie in 0..1 or be one of {', '.join(DIFFICULTIES)}; got {self.difficulty}"
            )
        if self.frames < shortest_video(self.clip_frames):
            raise SettingsError(
                f"videos whose acts outlast clips of {self.clip_frames} frames must have at least "
                f"{shortest_video(self.clip_frames)} frames; got {self.frames}"
            )
        if self.act_frames is not None and self.act_frames < shortest_act(self.clip_frames):
            raise SettingsError(
                f"acts must outlast clips of {self.clip_frames} frames by half, so --act-frames must be at least "
                f"{shortest_act(self.clip_frames)}; got {self.act_frames}"
            )
