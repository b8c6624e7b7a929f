"""The settings of rendering a set."""

from dataclasses import field
from pathlib import Path

from ...pipeline.rendering.settings import SceneSettings
from ...pipeline.settings import check_fields, setting, settings


@settings
class RenderSettings:
    """What to render, and where; an unfinished set there is completed."""

    out: Path = setting(help="Folder of the set.")
    videos: int = setting(default=480, help="How many; more begin with the same ones.", at_least=1)
    scene: SceneSettings = field(default_factory=SceneSettings)
    test_fraction: float = setting(default=0.25, help="Part of each class for the split 'test'.", at_least=0, at_most=1)
    workers: int | None = setting(default=None, help="Videos rendered at a time.", at_least=1, unset="one a core")

    def __post_init__(self) -> None:
        check_fields(self)
