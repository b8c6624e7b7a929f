"""What rendering a set is asked to do."""

from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.errors import SettingsError
from ...pipeline.rendering.settings import SceneSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderSettings:
    """What to render, and where.

    Attributes:
        out: the folder of the set; it is made, or completed if it holds the beginning of the same set.
        videos: how many; a larger set of the same seed begins with the same videos.
        test_fraction: part of each class for the split ``test``.
        scene: what the videos look like.
        workers: videos rendered at a time; None is one a core.
    """

    out: Path
    videos: int = 480
    test_fraction: float = 0.25
    scene: SceneSettings = field(default_factory=SceneSettings)
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.videos < 1:
            raise SettingsError(f"the number of videos must be at least 1; got {self.videos}")
        if not 0.0 <= self.test_fraction <= 1.0:
            raise SettingsError(f"the test fraction must lie in 0..1; got {self.test_fraction}")
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"the number of workers must be at least 1; got {self.workers}")
