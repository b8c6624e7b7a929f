"""What a rendered set looks like: its settings."""

from ..errors import SettingsError, named
from ..settings import check_fields, setting, settings
from .design import (
    scene_classes,
    shortest_act,
    shortest_video,
)

_DIFFICULTIES = {"easy": 0.0, "medium": 0.5, "hard": 1.0}


_MAX_HOST = 1.6  # beyond it hosts would reach over the frame
_MIN_SIZE = 32  # below it the bars would be single pixels


class Difficulty(float):
    """A number from 0 to 1, which may be written as a word."""

    @classmethod
    def parse(cls, text: str) -> "Difficulty":
        """Return what easy, medium, hard or a number says.

        Raises:
            ValueError: if ``text`` is none of them.
        """
        try:
            return cls(_DIFFICULTIES.get(text, text))
        except ValueError:
            raise ValueError(f"{text!r} is neither easy, medium or hard nor a number from 0 to 1.") from None


@settings
class SceneSettings:
    """What a rendered set looks like; together with an index it determines a video to the last bit.

    ``difficulty`` changes noise, contrast, texture, size, camera shake and clutter.
    """

    seed: int = setting(default=0, help="Another seed gives another set.", at_least=0)
    num_events: int = setting(default=3, help="E kinds of visitor: 2 E (E - 1) classes.")
    size: int = setting(default=80, help="Height of the frames, pixels, even; widths vary from 1 to 1.2 times as much.")
    frames: int = setting(default=64, help="Frames in a video.")
    clip_frames: int = setting(default=8, help="Clips up to this long never see both acts.", at_least=1)
    difficulty: Difficulty = setting(
        default=Difficulty(0.5), help="Noise, contrast, clutter, shake.", metavar="easy|medium|hard|0..1"
    )
    host: float = setting(
        default=1.0,
        help="Size of the host, times the usual: a large one shows more of its bars.",
        at_least=0.5,
        at_most=_MAX_HOST,
    )
    bar_life: int = setting(default=4, help="Frames from one leap of the bars to the next.", at_least=2, unit="frames")
    act_frames: int | None = setting(
        default=None, help="Longest act, frames; rests take what is left.", unset="as fits"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        scene_classes(self.num_events)
        if self.size < _MIN_SIZE or self.size % 2:
            raise SettingsError(
                f"{named('size')} must be an even number of pixels from {_MIN_SIZE} on; got {self.size}"
            )
        if not 0.0 <= self.difficulty <= 1.0:
            raise SettingsError(
                f"{named('difficulty')} must lie in 0..1 or be one of {', '.join(_DIFFICULTIES)}; got {self.difficulty}"
            )
        if self.frames < shortest_video(self.clip_frames):
            raise SettingsError(
                f"videos whose acts outlast clips of {self.clip_frames} frames must have at least "
                f"{shortest_video(self.clip_frames)} frames; got {self.frames}"
            )
        if self.act_frames is not None and self.act_frames < shortest_act(self.clip_frames):
            raise SettingsError(
                f"acts must outlast clips of {self.clip_frames} frames by half, so {named('act_frames')} must be at "
                f"least {shortest_act(self.clip_frames)}; got {self.act_frames}"
            )
