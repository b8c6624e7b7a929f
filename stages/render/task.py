"""Render one video of a set."""

from ...pipeline.rendering.frames import draw_frames
from ...pipeline.rendering.plan import plan_video
from ...pipeline.videos.writing import write_h264
from .plan import video_path
from .settings import RenderSettings


def run_task(settings: RenderSettings, index: int) -> None:
    """Render video ``index``."""
    video = plan_video(settings.scene, index=index)
    write_h264(video_path(settings, index), planes=draw_frames(video), encoding=video.look.encoding)
