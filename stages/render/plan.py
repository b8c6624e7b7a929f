"""The plan of a set: its design, its videos, and which of them are still to be rendered; writes nothing."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...pipeline.manifests.manifest import Manifest, Video
from ...pipeline.rendering.design import accuracy_bounds, class_of, is_test, scene_classes
from ...pipeline.rendering.plan import RENDERER_VERSION
from .settings import RenderSettings

VIDEO_FOLDER = "videos"


def plan(settings: RenderSettings) -> list[int]:
    """Return the videos still to be rendered; an existing file is complete, since it was renamed into place."""
    return [index for index in range(settings.videos) if not video_path(settings, index).exists()]


def video_path(settings: RenderSettings, index: int) -> Path:
    """Return the path of video ``index``; the name does not reveal its class."""
    return settings.out / VIDEO_FOLDER / f"{index:06d}.mp4"


def design(settings: RenderSettings) -> dict[str, Any]:
    """Return the content of design.json: the set, its classes and the best accuracies by construction."""
    classes = scene_classes(settings.scene.num_events)
    return {
        "set": identity(settings),
        "videos": settings.videos,
        "classes": {scene_class.label: asdict(scene_class) for scene_class in classes},
        "best_accuracy_by_construction": accuracy_bounds(settings.scene.num_events),
    }


def list_videos(settings: RenderSettings) -> Manifest:
    """Return the manifest of the whole set."""
    classes = scene_classes(settings.scene.num_events)
    videos = []
    for index in range(settings.videos):
        path = video_path(settings, index)
        written = path.relative_to(settings.out)
        test = is_test(index, num_classes=len(classes), test_fraction=settings.test_fraction)
        video = Video(
            video_id=written.with_suffix("").as_posix(),
            path=path.resolve(),
            labels=(classes[class_of(index, seed=settings.scene.seed, num_classes=len(classes))].label,),
            split="test" if test else "train",
            written_path=written.as_posix(),
        )
        videos.append(video)
    return Manifest(tuple(videos))


def identity(settings: RenderSettings) -> dict[str, Any]:
    """Return what the first videos of a set depend on, as JSON values."""
    return {
        "renderer_version": RENDERER_VERSION,
        "test_fraction": settings.test_fraction,
        **asdict(settings.scene),
    }
