"""Render a labelled set of real video files: a folder of MP4, manifest.csv, design.json and README.md."""

import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from ...pipeline.errors import RunError
from ...pipeline.execution import SILENT, Progress, under_way
from ...pipeline.files import PARTIAL, held_folder, remove_leftovers, write_json, write_text
from ...pipeline.manifests.manifest import Manifest, write_manifest
from ...pipeline.rendering.design import accuracy_bounds, scene_classes
from ...pipeline.rendering.words import describe_set
from ...pipeline.settings import describe_differences
from .plan import VIDEO_FOLDER, design, identity, list_videos, plan
from .settings import RenderSettings
from .task import run_task

_MANIFEST_FILE, _DESIGN_FILE, _README_FILE = "manifest.csv", "design.json", "README.md"

_EARLIER = {"host": 1.0, "bar_life": 4}  # what sets have that were begun before there was a choice


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderSummary:
    """The result of a run.

    Attributes:
        manifest: the manifest's path.
        videos, train, test: how many there are, in all and by split.
        rendered: how many of them this run made; the others were there already.
        num_classes: K.
        bytes: of all the videos.
        bounds: best accuracies by construction (see ``accuracy_bounds``).
        seconds: how long this run took.
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


def run(settings: RenderSettings, *, progress: Progress = SILENT) -> RenderSummary:
    """Render the missing videos of a set, then write its manifest.

    Raises:
        RunError: if the folder holds something else.
        OutOfSpaceError: if the disk fills up; the same command goes on later.
    """
    began = perf_counter()
    _make_folders(settings)
    with held_folder(settings.out, error=RunError):
        _claim_folder(settings)
        remove_leftovers(settings.out / VIDEO_FOLDER)
        missing = plan(settings)
        # Threads suffice: NumPy and x264 work outside of the interpreter's lock.
        with ThreadPoolExecutor(settings.workers or os.cpu_count()) as pool:
            futures = [pool.submit(run_task, settings, index) for index in missing]
            try:
                with under_way(progress, "rendering", total=len(futures), unit="video"):
                    for future in as_completed(futures):
                        future.result()
                        progress.advance()
            finally:
                pool.shutdown(cancel_futures=True)
        manifest = list_videos(settings)
        write_manifest(manifest, settings.out / _MANIFEST_FILE)
    return _summarise(settings, manifest, rendered=len(missing), seconds=perf_counter() - began)


def _make_folders(settings: RenderSettings) -> None:
    """Make the folders of the set.

    Raises:
        RunError: if they cannot be made.
    """
    try:
        (settings.out / VIDEO_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {settings.out} cannot be made: {error.strerror}") from error


def _claim_folder(settings: RenderSettings) -> None:
    """Write the design into the folder, or check that it belongs to the same set.

    Raises:
        RunError: if the folder holds other files, another set, or more videos than requested.
    """
    file = settings.out / _DESIGN_FILE
    # A kill may leave the folder of videos, still empty, or a half-written file before there is a design.
    if not file.exists():
        entries = [path.name for path in settings.out.iterdir()]
        foreign = [name for name in entries if name != VIDEO_FOLDER and not name.endswith(PARTIAL)]
        foreign += [path.name for path in (settings.out / VIDEO_FOLDER).iterdir()]
        if foreign:
            raise RunError(f"{settings.out} holds other files, such as {min(foreign)}; choose another folder")
    elif differences := describe_differences(_EARLIER | _read_design(file)["set"], identity(settings)):
        raise RunError(f"{settings.out} holds another set ({'; '.join(differences)}); choose another folder")
    elif (have := _read_design(file)["videos"]) > settings.videos:
        raise RunError(f"{settings.out} holds {have} videos; ask for at least as many, or choose another folder")
    write_json(file, design(settings))
    text = describe_set(settings.scene)
    write_text(settings.out / _README_FILE, text)


def _read_design(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}); choose another folder") from error


def _summarise(settings: RenderSettings, manifest: Manifest, *, rendered: int, seconds: float) -> RenderSummary:
    test = sum(video.split == "test" for video in manifest.videos)
    return RenderSummary(
        manifest=settings.out / _MANIFEST_FILE,
        videos=len(manifest),
        train=len(manifest) - test,
        test=test,
        rendered=rendered,
        num_classes=len(scene_classes(settings.scene.num_events)),
        bytes=sum(video.path.stat().st_size for video in manifest.videos),
        bounds=accuracy_bounds(settings.scene.num_events),
        seconds=seconds,
    )
