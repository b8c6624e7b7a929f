"""Render a labelled set of real video files: a folder of MP4, manifest.csv, design.json and README.md."""

import json
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from ..pipeline.errors import RunError, SettingsError
from ..pipeline.manifest import Manifest, Video, write_manifest
from ..pipeline.rendering import RENDERER_VERSION, SceneSettings, plan_video
from ..pipeline.rendering_design import accuracy_bounds, class_of, is_test, scene_classes
from ..pipeline.rendering_frames import draw_frames
from ..pipeline.rendering_words import describe_set
from ..pipeline.run_directory import describe_differences, write_atomically, write_json
from ..pipeline.video_writing import write_h264

EARLIER = {"host": 1.0, "bar_life": 4}  # what sets have that were begun before there was a choice
MANIFEST_FILE, DESIGN_FILE, README_FILE, VIDEO_FOLDER = "manifest.csv", "design.json", "README.md", "videos"


class Progress(Protocol):
    """What `tqdm` is to a stage: passes on what it is given, and shows how far it came."""

    def __call__(self, iterable: Iterable[Future], /, *, total: int) -> Iterable[Future]:
        """Return the same items, of which there will be ``total``."""
        ...


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


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderSummary:
    """What a run came to.

    Attributes:
        manifest: the manifest's path.
        videos, train, test: how many there are, in all and by split.
        rendered: how many of them this run made; the others were there.
        num_classes: K.
        bytes: of all the videos.
        bounds: best accuracies by construction (see ``accuracy_bounds``).
        seconds: that this run took.
    """

    manifest: Path
    videos: int
    train: int
    test: int
    rendered: int
    num_classes: int
    bytes: int
    bounds: dict[str, float]
    seconds: float


def run(settings: RenderSettings, *, progress: Progress = lambda iterable, /, **_: iterable) -> RenderSummary:
    """Render what is missing of a set, then write its manifest.

    Raises:
        RunError: if the folder holds something else.
        OutOfSpaceError: if the disk fills up; the same command goes on later.
    """
    began = perf_counter()
    claim_folder(settings)
    missing = plan(settings)
    with ThreadPoolExecutor(settings.workers or os.cpu_count()) as pool:
        futures = [pool.submit(run_task, settings, index) for index in missing]
        try:
            for future in progress(as_completed(futures), total=len(futures)):
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    manifest = list_videos(settings)
    write_manifest(manifest, settings.out / MANIFEST_FILE)
    return _summarise(settings, manifest, rendered=len(missing), seconds=perf_counter() - began)


def plan(settings: RenderSettings) -> list[int]:
    """Return the videos yet to be rendered; a file that is there is complete, since it was renamed into place."""
    return [index for index in range(settings.videos) if not video_path(settings, index).exists()]


def run_task(settings: RenderSettings, index: int) -> None:
    """Render video ``index``."""
    video = plan_video(settings.scene, index=index)
    write_h264(video_path(settings, index), planes=draw_frames(video), encoding=video.look.encoding)


def video_path(settings: RenderSettings, index: int) -> Path:
    """Return where video ``index`` lies; its name says nothing of its class."""
    return settings.out / VIDEO_FOLDER / f"{index:06d}.mp4"


def claim_folder(settings: RenderSettings) -> None:
    """Write the design into the folder, or check that this very set was begun there.

    Raises:
        RunError: if it cannot be made, or holds other files, another set, or more videos than are asked for.
    """
    file = settings.out / DESIGN_FILE
    try:
        (settings.out / VIDEO_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {settings.out} cannot be made: {error.strerror}") from error
    if not file.exists():
        ours = (VIDEO_FOLDER, f"{DESIGN_FILE}.partial")  # the latter is what a kill at the very start leaves
        foreign = [path.name for path in settings.out.iterdir() if path.name not in ours]
        foreign += [path.name for path in (settings.out / VIDEO_FOLDER).iterdir()]
        if foreign:
            raise RunError(f"{settings.out} holds other files, such as {min(foreign)}; choose another folder")
    elif differences := describe_differences(EARLIER | _read_design(file)["set"], _identity(settings)):
        raise RunError(f"{settings.out} holds another set ({'; '.join(differences)}); choose another folder")
    elif (have := _read_design(file)["videos"]) > settings.videos:
        raise RunError(f"{settings.out} holds {have} videos; ask for at least as many, or choose another folder")
    write_json(file, design(settings))
    text = describe_set(settings.scene)
    write_atomically(settings.out / README_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def design(settings: RenderSettings) -> dict[str, Any]:
    """Return what stands in design.json: the set, its classes and what can be reached by construction."""
    classes = scene_classes(settings.scene.num_events)
    return {
        "set": _identity(settings),
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


def _identity(settings: RenderSettings) -> dict[str, Any]:
    """Return what the first videos of a set depend on, as JSON values."""
    return {
        "renderer_version": RENDERER_VERSION,
        "test_fraction": settings.test_fraction,
        **asdict(settings.scene),
    }


def _read_design(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); choose another folder") from error


def _summarise(settings: RenderSettings, manifest: Manifest, *, rendered: int, seconds: float) -> RenderSummary:
    test = sum(video.split == "test" for video in manifest.videos)
    return RenderSummary(
        manifest=settings.out / MANIFEST_FILE,
        videos=len(manifest),
        train=len(manifest) - test,
        test=test,
        rendered=rendered,
        num_classes=len(scene_classes(settings.scene.num_events)),
        bytes=sum(video.path.stat().st_size for video in manifest.videos),
        bounds=accuracy_bounds(settings.scene.num_events),
        seconds=seconds,
    )
