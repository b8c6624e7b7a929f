"""Videos and settings that memory cannot hold: a video fails with its reason, and the run goes on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from refusals import assert_refused

from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, save_weights
from vidpipe.pipeline.errors import SettingsError, StoreError
from vidpipe.pipeline.execution import WorkerLostError
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.videos import memory
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.hdr import AS_IS
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reading import Reading
from vidpipe.stages.check_manifest.run import run as check
from vidpipe.stages.check_manifest.settings import CheckSettings
from vidpipe.stages.extract import memory as stage_memory
from vidpipe.stages.extract import run as stage
from vidpipe.stages.extract import task as stage_task
from vidpipe.stages.extract.run import run
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.extract.task import ExtractTask, TaskResult

NAME = "r2d_14_w16"


@pytest.fixture
def settings(tmp_path: Path, make_video: Callable[..., Path]) -> ExtractSettings:
    """Return settings for two small videos and a larger one, in which nothing counts as too small to matter."""
    for name, size in (("a", (48, 40)), ("large", (160, 120)), ("c", (48, 40))):
        make_video(tmp_path / f"{name}.mp4", size=size, num_frames=10)
    rows = "".join(f"{name}.mp4,{name},x,train\n" for name in ("a", "large", "c"))
    (tmp_path / "m.csv").write_text(f"path,video_id,label,split\n{rows}")
    torch.manual_seed(0)
    backbone = build_backbone(NAME, num_classes=2)
    kept = collect_weights(
        backbone, classes=["x", "y"], preprocessing=Preprocessing(crop=16, short_side=18), num_frames=8
    )
    save_weights(tmp_path / "w.safetensors", kept)
    return ExtractSettings(
        manifest=tmp_path / "m.csv",
        store=tmp_path / "s.zarr",
        cheap=RoleWeights(backbone=NAME, path=tmp_path / "w.safetensors"),
        sampling=ClipSampling(num_clips=2),
        engine=EngineSettings(device="cpu", precision="float32", threads=1),
    )


def test_a_video_that_is_too_large_fails_alone_and_check_says_the_same(settings, monkeypatch):
    monkeypatch.setattr(memory, "_SMALL_BYTES", 0)
    monkeypatch.setattr(memory, "host_bytes", lambda: 500_000)
    summary = run(settings)
    assert summary.done == 2
    assert list(summary.failed) == ["large"]
    assert "needs about 728.6 kB to decode at 160×120, 500.0 kB are available" in summary.failed["large"]
    assert run(settings).failed == summary.failed  # not tried again
    found = check(CheckSettings(manifest=settings.manifest))
    assert found.problem_counts == {"too large": 1}


def test_max_pixels_is_a_bound_of_each_video_and_no_part_of_the_store(settings):
    summary = run(replace(settings, sampling=replace(settings.sampling, reading=Reading(max_pixels=48 * 40))))
    assert list(summary.failed) == ["large"]
    assert "160×120 are 19,200 pixels, more than max_pixels 1,920" in summary.failed["large"]
    assert run(replace(settings, retry_failed=True)).failed == {}
    assert "max_pixels" not in FeatureStore.open(settings.store).attributes["sampling"]
    assert check(CheckSettings(manifest=settings.manifest, max_pixels=48 * 40)).problem_counts == {"too large": 1}


def test_out_of_memory_in_a_backbone_fails_the_video(settings, monkeypatch):
    real, calls = stage_task.run_backbone, []

    def greedy(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 4 bytes")
        return real(*args, **kwargs)

    monkeypatch.setattr(stage_task, "run_backbone", greedy)
    summary = run(settings)
    assert list(summary.failed) == ["large"]
    assert "memory ran out while running the backbones" in summary.failed["large"]
    assert summary.done == 2


def test_a_video_that_kills_its_workers_is_recorded_and_not_tried_again(settings, monkeypatch):
    def run_tasks(
        function: Callable[[ExtractTask], TaskResult], tasks: Iterable[ExtractTask], *, lost, **_: object
    ) -> Iterator[TaskResult]:
        for own in tasks:
            yield lost(own, WorkerLostError("gone")) if own.video.video_id == "large" else function(own)

    monkeypatch.setattr(stage, "run_tasks", run_tasks)
    on_dask = replace(settings, scheduler="local", workers=1)
    summary = run(on_dask)
    assert summary.done == 2
    assert summary.failed["large"].startswith("its workers died, 3 one after the other: out of memory?")
    assert run(on_dask).done == 0
    assert run(replace(settings, retry_failed=True)).failed == {}


def test_clips_and_batches_that_no_memory_holds_are_refused_before_anything_is_read(settings, monkeypatch):
    monkeypatch.setattr(stage_memory, "host_bytes", lambda: 1_000_000)
    many = replace(settings, sampling=ClipSampling(num_clips=1000))
    with assert_refused(SettingsError, match=r"clips of one video take 6\.1 MB .* 1\.0 MB are available"):
        run(many)
    wide = replace(settings, engine=replace(settings.engine, batch=1000))
    with assert_refused(SettingsError, match=r"one pass of a backbone takes 2\d\.\d MB for its input alone"):
        run(wide)
    assert not settings.store.exists()


def test_a_store_of_one_hdr_policy_is_not_continued_under_the_other(settings):
    run(replace(settings, sampling=replace(settings.sampling, reading=Reading(hdr=AS_IS))))
    assert "hdr" not in FeatureStore.open(settings.store).attributes["sampling"]  # as in stores from before
    with assert_refused(StoreError, match=r'stored "as-is", now "tone-map"\n.*Give --hdr as-is, or another --store'):
        run(settings)
