"""`vidpipe extract`: from video files to a store, whole, once, and the same however it gets there."""

import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from heard_progress import InterruptAt
from own_processes import forked_workers, kill, started_command
from refusals import assert_refused

from vidpipe.cli.extract import command as extract
from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.engine import build_engine
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, load_weights, save_weights
from vidpipe.pipeline.errors import OutOfSpaceError, SettingsError, StoreError, WeightsError
from vidpipe.pipeline.features.clip_selection import missing_videos, select
from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.recording import Recorder
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.files import PARTIAL
from vidpipe.pipeline.settings import build
from vidpipe.pipeline.videos.clips import ClipSampling, frame_indices, view_starts
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import VideoReader, read_all
from vidpipe.pipeline.videos.transforms import preprocess_test
from vidpipe.stages.extract.estimate import estimate
from vidpipe.stages.extract.plan import prepare_run
from vidpipe.stages.extract.run import run
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.extract.task import prepare

CHEAP, EXPENSIVE = "r2d_14_w16", "r2plus1d_14_w16"
NUM_VIDEOS = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Return a folder with six videos (one of them broken), a manifest, and random weights of two backbones."""
    folder = tmp_path_factory.mktemp("world")
    lines = ["path,label,split"]
    for index in range(NUM_VIDEOS):
        make_video(folder / f"v{index}.mp4", num_frames=24 + 5 * index, size=(80, 64), seed=index)
        lines.append(f"v{index}.mp4,{'ab'[index % 2]},{'test' if index == 5 else 'train'}")
    (folder / "v2.mp4").write_bytes(b"not a video at all")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    for name in (CHEAP, EXPENSIVE):
        write_weights(folder / f"{name}.safetensors", name, seed=0)
    return folder


def write_weights(path: Path, name: str, *, seed: int, fps: float | None = None, bias: float | None = None) -> None:
    torch.manual_seed(seed)
    backbone = build_backbone(name, num_classes=2)
    if bias is not None:
        torch.nn.init.constant_(backbone.fc.bias, bias)
    pre = Preprocessing(crop=32, short_side=36)
    save_weights(path, collect_weights(backbone, classes=("a", "b"), preprocessing=pre, num_frames=8, fps=fps))


def settings(world: Path, store: Path, **changes) -> ExtractSettings:
    own = ExtractSettings(
        manifest=world / "m.csv",
        store=store,
        expensive=RoleWeights(backbone=EXPENSIVE, path=world / f"{EXPENSIVE}.safetensors"),
        cheap=RoleWeights(backbone=CHEAP, path=world / f"{CHEAP}.safetensors"),
        sampling=ClipSampling(num_clips=4),
        pattern=Pattern.parse("1:3"),
        engine=EngineSettings(device="cpu", precision="float32", threads=1),
    )
    return replace(own, **changes)


def command(world: Path, store: Path, *more: str) -> list[str]:
    roles = [f"--expensive={EXPENSIVE}={world}/{EXPENSIVE}.safetensors", f"--cheap={CHEAP}={world}/{CHEAP}.safetensors"]
    fixed = ["--clips=4", "--pattern=1:3", "--device=cpu", "--precision=float32", "--threads=1"]
    return ["extract", f"--manifest={world}/m.csv", f"--store={store}", *roles, *fixed, *more]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def files_of(store: Path) -> dict[str, str]:
    """Return the digest of each file of a store."""
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def reference(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of an undisturbed serial run."""
    store = tmp_path_factory.mktemp("reference") / "s.zarr"
    run(settings(world, store))
    return store


def test_features_are_those_of_the_plain_computation(world: Path, reference: Path):
    store = FeatureStore.open(reference)
    weights = load_weights(world / f"{EXPENSIVE}.safetensors")
    engine = build_engine(weights, EngineSettings(device="cpu", precision="float32"))
    with VideoReader(world / "v3.mp4") as reader:
        timeline = reader.timeline
    starts = view_starts(store.sampling, timeline, video_id="v3")
    clip = read_all(world / "v3.mp4")[frame_indices(timeline, starts[0, 0], store.sampling)]
    features, scores = engine.run(preprocess_test(clip, weights.preprocessing)[None])
    group = store.backbone(EXPENSIVE)
    np.testing.assert_array_equal(group.read(3)[0], features[0])
    np.testing.assert_array_equal(group.read_scores(3)[0], scores[0])
    np.testing.assert_array_equal(store.clip_starts(3), starts)


def test_only_what_the_pattern_needs_is_computed(reference: Path):
    store = FeatureStore.open(reference)
    assert np.isnan(store.backbone(EXPENSIVE).read(0)).all(axis=(1, 2, 3, 4)).tolist() == [False, True, True, True]
    assert not np.isnan(store.backbone(CHEAP).read(0)).any()


def test_a_broken_video_is_recorded_and_the_run_goes_on(world: Path, reference: Path, tmp_path: Path):
    result = invoke(*command(world, tmp_path / "s.zarr", "--json"))
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert list(document["failed"]) == ["v2"]
    assert document["done"] == NUM_VIDEOS - 1
    group = FeatureStore.open(tmp_path / "s.zarr").backbone(CHEAP)
    assert group.status().tolist() == [Status.DONE] * 2 + [Status.FAILED] + [Status.DONE] * 3
    assert group.errors()[2] == "is text, not a video"
    assert files_of(tmp_path / "s.zarr") == files_of(reference)


def test_stopped_and_resumed_gives_the_same_bytes(world: Path, reference: Path, tmp_path: Path):
    own = settings(world, tmp_path / "s.zarr")
    with pytest.raises(KeyboardInterrupt):
        run(own, progress=InterruptAt(2))
    assert FeatureStore.open(own.store).backbone(CHEAP).pending().tolist() == [2, 3, 4, 5]
    summary = run(own)
    assert (summary.done, summary.already_done) == (3, 2)
    assert files_of(own.store) == files_of(reference)
    again = run(own)
    assert (again.done, again.already_done, list(again.failed)) == (0, NUM_VIDEOS, ["v2"])


def test_backbones_and_splits_one_after_the_other_give_the_same_bytes(world: Path, reference: Path, tmp_path: Path):
    own = settings(world, tmp_path / "s.zarr")
    run(replace(own, expensive=None, pattern=Pattern.parse("all-expensive"), split="test"))
    run(replace(own, cheap=None))
    run(own)
    assert files_of(own.store) == files_of(reference)


def test_a_dask_cluster_gives_the_same_bytes(world: Path, reference: Path, tmp_path: Path):
    own = settings(world, tmp_path / "s.zarr", scheduler="local", workers=2)
    with forked_workers():
        summary = run(own)
    assert summary.done == NUM_VIDEOS - 1
    assert files_of(own.store) == files_of(reference)


@pytest.mark.parametrize("scheduler", ["none", "local"])
def test_killed_at_any_moment_and_resumed_gives_the_same_bytes(
    world: Path, reference: Path, tmp_path: Path, scheduler: str
):
    store = tmp_path / "s.zarr"
    more = ["--scheduler=local", "--workers=2"] if scheduler == "local" else []
    for at_least in (1, 3):
        own = started_command(*command(world, store, *more))
        wait_for_videos(store, at_least, own)
        assert kill(own) == -signal.SIGKILL
        assert at_least <= num_shards(store) < NUM_VIDEOS - 1  # one video is broken
    with forked_workers():
        done = invoke(*command(world, store, *more))
    assert done.exit_code == 3, done.output
    assert files_of(store) == files_of(reference)


def num_shards(store: Path) -> int:
    """Return how many videos have maps of the cheap backbone, the last one that a task writes."""
    # A shard that is still written may be seen under both of its names.
    return sum(own.suffix != PARTIAL for own in store.glob(f"{CHEAP}/features/c.*"))


def wait_for_videos(store: Path, at_least: int, process: BaseProcess, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while num_shards(store) < at_least and process.is_alive() and time.monotonic() < end:
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sampling": ClipSampling(num_clips=5)}, "num_clips"),
        ({"crop": 48}, "crop"),
        ({"engine": EngineSettings(device="cpu", precision="bfloat16", threads=1)}, "precision"),
        ({"engine": EngineSettings(device="cpu", precision="float32", threads=1, batch=2)}, "batch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_settings_are_refused_by_name(world: Path, reference: Path, change: dict, named: str):
    before = files_of(reference)
    for refusing in (run, estimate):
        with pytest.raises(StoreError, match=named):
            refusing(settings(world, reference, **change))
    assert files_of(reference) == before


def test_other_weights_are_refused(world: Path, reference: Path, tmp_path: Path):
    write_weights(tmp_path / "other.safetensors", CHEAP, seed=1)
    with pytest.raises(StoreError, match="weights_sha256"):
        run(settings(world, reference, cheap=RoleWeights(backbone=CHEAP, path=tmp_path / "other.safetensors")))


def test_weights_and_stores_made_anew_are_not_served_from_a_cache(world: Path, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    write_weights(path, CHEAP, seed=0)
    cheap = RoleWeights(backbone=CHEAP, path=path)
    own = settings(world, tmp_path / "s.zarr", expensive=None, pattern=Pattern.parse("all-expensive"), cheap=cheap)
    run(own)
    before, maps = prepare_run(own).job, FeatureStore.open(own.store).backbone(CHEAP).read(0)
    write_weights(path, CHEAP, seed=1)
    shutil.rmtree(own.store)
    run(own)
    assert not np.array_equal(FeatureStore.open(own.store).backbone(CHEAP).read(0), maps)
    shutil.rmtree(own.store)
    run(replace(own, sampling=ClipSampling(num_clips=3)))
    assert len(FeatureStore.open(own.store).backbone(CHEAP).read(0)) == 3
    with pytest.raises(WeightsError, match="other weights here"):
        prepare(before)


def test_the_paths_of_a_job_are_absolute(world: Path, monkeypatch):
    monkeypatch.chdir(world)
    prepared = prepare_run(settings(Path(), Path("s.zarr")))
    assert prepared.job.store == world / "s.zarr"
    assert prepared.job.backbones[1].weights == world / f"{CHEAP}.safetensors"
    assert all(video.path.is_absolute() for video in prepared.manifest.videos)


def test_clips_of_another_rate_are_refused(world: Path, tmp_path: Path):
    with assert_refused(SettingsError, match="Give --frames 8 --stride 1 and leave --fps out"):
        prepare_run(settings(world, tmp_path / "s.zarr", sampling=ClipSampling(num_clips=4, fps=12.5)))
    write_weights(tmp_path / "w.safetensors", CHEAP, seed=0, fps=12.5)
    cheap = RoleWeights(backbone=CHEAP, path=tmp_path / "w.safetensors")
    with assert_refused(SettingsError, match=r"Give --frames 8 --stride 1 --fps 12\.5"):
        prepare_run(settings(world, tmp_path / "s.zarr", cheap=cheap))


def test_maps_that_are_not_finite_fail_their_videos(world: Path, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    write_weights(path, CHEAP, seed=0, bias=float("nan"))
    result = invoke(*command(world, tmp_path / "s.zarr", f"--cheap={CHEAP}={path}"))
    assert result.exit_code == 3
    assert "--retry-failed" in result.stdout.splitlines()[-1]
    store = FeatureStore.open(tmp_path / "s.zarr")
    errors = store.backbone(EXPENSIVE).errors()
    assert len(errors) == NUM_VIDEOS
    assert "not finite" in errors[0]
    assert np.isnan(store.clip_starts()).all()
    assert not list(store.path.glob("*/features/c.*"))


def test_clips_computed_again_are_the_stored_ones(world: Path, reference: Path, tmp_path: Path):
    own = [f"--weights={world}/{name}.safetensors" for name in (CHEAP, EXPENSIVE)]
    result = invoke("store", "verify", str(reference), "--recompute=6", f"--manifest={world}/m.csv", *own, "--json")
    assert result.exit_code == 0, result.output
    comparisons = json.loads(result.stdout)["comparisons"]
    assert len(comparisons) == 6
    assert all(comparison["identical"] for comparison in comparisons)


def test_recomputing_with_other_weights_is_refused(world: Path, reference: Path, tmp_path: Path):
    write_weights(tmp_path / "other.safetensors", CHEAP, seed=1)
    own = [f"--weights={world}/{EXPENSIVE}.safetensors", f"--weights={tmp_path}/other.safetensors"]
    result = invoke("store", "verify", str(reference), "--recompute=1", f"--manifest={world}/m.csv", *own)
    assert result.exit_code == 1
    assert "are not those" in result.stderr


def test_a_dry_run_times_and_writes_nothing(world: Path, reference: Path, tmp_path: Path):
    result = invoke(*command(world, tmp_path / "s.zarr", "--dry-run", "--json"))
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert not (tmp_path / "s.zarr").exists()
    assert document["num_videos"] == NUM_VIDEOS
    expensive, cheap = document["backbones"]
    assert (expensive["num_clips"], cheap["num_clips"]) == (NUM_VIDEOS, NUM_VIDEOS * 4)
    assert document["total_seconds"] > 0
    assert document["num_bytes"] >= sum(path.stat().st_size for path in reference.rglob("*") if path.is_file())


def test_too_little_space_is_said_before_anything_is_written(world: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutOfSpaceError, match="are free"):
        run(settings(world, tmp_path / "s.zarr"))
    assert not (tmp_path / "s.zarr").exists()


def test_random_views_are_drawn_once_and_differ(world: Path, tmp_path: Path):
    cheap_alone = {"expensive": None, "pattern": Pattern.parse("all-expensive")}
    own = settings(world, tmp_path / "a.zarr", sampling=ClipSampling(num_clips=4, views=2), **cheap_alone)
    run(own)
    run(replace(own, store=tmp_path / "b.zarr"))
    assert files_of(tmp_path / "a.zarr") == files_of(tmp_path / "b.zarr")
    group = FeatureStore.open(tmp_path / "a.zarr").backbone(CHEAP)
    assert not np.array_equal(group.read(0, view=0), group.read(0, view=1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--expensive", "r2d_26"], "before one of these; there is none 'r2d_26'"),
        (["--frames", "16"], "--frames 8"),
        (["--pattern", "3"], "E:C"),
        (["--split", "val"], "val"),
        (["--workers", "2"], "--scheduler local"),
        (["--cheap", f"{EXPENSIVE}=x"], "must differ"),
        (
            [
                "--cheap",
                f"{EXPENSIVE}={{world}}/{EXPENSIVE}.safetensors",
                "--expensive",
                f"{CHEAP}={{world}}/{CHEAP}.safetensors",
            ],
            "swap them",
        ),
    ],
)
def test_bad_options_are_explained(world: Path, tmp_path: Path, arguments: list[str], said: str):
    result = invoke(*command(world, tmp_path / "s.zarr", *(word.format(world=world) for word in arguments)))
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "s.zarr").exists()


def test_defaults_of_the_command_are_those_of_the_stage():
    context = extract.make_context("extract", ["--manifest=m", "--store=s", "--cheap=r2d_26=w", "--threads=1"])
    del context.params["dry_run"], context.params["as_json"]
    own = build(ExtractSettings, context.params)
    assert own.sampling == ClipSampling()
    assert own.engine == EngineSettings(threads=1)
    assert str(own.pattern) == "all-expensive"


# Stores that grow.


def longer(world: Path, *, without: tuple[str, ...] = (), relabelled: tuple[str, ...] = ()) -> Path:
    """Write a manifest of the world's videos, of which some rows are missing or have another label."""
    lines = (world / "m.csv").read_text().splitlines()
    kept = [line for line in lines if line.split(".")[0] not in without]
    kept = [line.replace(",a,", ",b,") if line.split(".")[0] in relabelled else line for line in kept]
    path = world / f"{'-'.join(without)} {'-'.join(relabelled)}.csv"
    path.write_text("\n".join(kept) + "\n")
    return path


def test_a_longer_manifest_extracts_only_what_is_new(world: Path, reference: Path, tmp_path: Path):
    own = settings(world, tmp_path / "s.zarr")
    run(replace(own, manifest=longer(world, without=("v4", "v5"))))
    told = estimate(own).plan
    assert (len(told.tasks), told.changes.added) == (2, ("v4", "v5"))
    summary = run(own)
    assert (summary.done, summary.already_done, summary.changes.added) == (2, 4, ("v4", "v5"))
    assert files_of(own.store) == files_of(reference)


def test_a_corrected_label_is_taken_over_and_nothing_is_extracted_again(world: Path, reference: Path, tmp_path: Path):
    store = shutil.copytree(reference, tmp_path / "s.zarr")
    manifest = longer(world, without=("v3",), relabelled=("v4",))
    result = invoke(*command(world, store, f"--manifest={manifest}"))
    assert result.exit_code == 3
    assert result.stderr == (
        "the store changes:\n"
        "  1 video no longer listed: left out of use, features kept: v3\n"
        "  1 × another label: v4 a → b\n"
    )
    assert result.stdout.startswith("nothing to do: 4 videos done, 1 failed before")
    assert FeatureStore.open(store).manifest.videos[3].labels == ("b",)
    invoke(*command(world, store))
    assert files_of(store) == files_of(reference)


def test_a_dry_run_says_what_would_change_and_changes_nothing(world: Path, reference: Path):
    before = files_of(reference)
    result = invoke(*command(world, reference, f"--manifest={longer(world, relabelled=('v0',))}", "--dry-run"))
    assert "1 × another label: v0 a → b" in result.stdout
    assert files_of(reference) == before


@pytest.fixture(scope="module")
def all_expensive(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of an undisturbed run in which all clips are expensive."""
    store = tmp_path_factory.mktemp("all") / "s.zarr"
    run(settings(world, store, pattern=Pattern.parse("all-expensive")))
    return store


def test_a_further_pattern_computes_what_is_missing(world: Path, reference: Path, all_expensive: Path, tmp_path: Path):
    own = settings(world, shutil.copytree(reference, tmp_path / "s.zarr"), pattern=Pattern.parse("all-expensive"))
    told = {plan.name: plan.num_clips for plan in estimate(own).plan.backbones}
    assert told == {EXPENSIVE: (NUM_VIDEOS - 1) * 3, CHEAP: 0}
    with pytest.raises(KeyboardInterrupt):
        run(own, progress=InterruptAt(2))
    assert FeatureStore.open(own.store).backbone(EXPENSIVE).status().tolist() == [1, 1, 2, 3, 3, 3]
    run(replace(own, pattern=Pattern.parse("1:3"), expensive=own.expensive))  # asks for less, and goes on with all
    assert files_of(own.store) == files_of(all_expensive)
    assert run(replace(own, pattern=Pattern.parse("1:3"))).done == 0  # less than there is


def test_two_patterns_that_do_not_contain_each_other_are_both_named(world: Path, reference: Path, tmp_path: Path):
    own = settings(world, shutil.copytree(reference, tmp_path / "s.zarr"), pattern=Pattern.parse("2:2"), cheap=None)
    run(replace(own, pattern=Pattern.parse("1:1")))
    run(own)
    group = FeatureStore.open(own.store).backbone(EXPENSIVE)
    assert (group.provenance["pattern"], group.due.tolist()) == ("1:1+2:2", [True, True, True, False])
    with assert_refused(SettingsError, match=r"several patterns; say which: --pattern 1:1 | 2:2"):
        select(FeatureStore.open(own.store))


def test_a_video_that_is_gone_keeps_the_clips_that_it_has(
    world: Path, reference: Path, all_expensive: Path, tmp_path: Path
):
    moved = shutil.copytree(world, tmp_path / "world")
    store = shutil.copytree(reference, tmp_path / "s.zarr")
    (moved / "v1.mp4").rename(moved / "elsewhere.mp4")
    own = settings(world, store, manifest=moved / "m.csv", pattern=Pattern.parse("all-expensive"))
    assert list(run(own).failed) == ["v1", "v2"]
    assert run(own).done == 0
    opened = FeatureStore.open(store)
    first, every = (select(opened, pattern=Pattern.parse(name)) for name in ("first", "all-expensive"))
    assert list(missing_videos(opened, range(NUM_VIDEOS), selection=first)) == ["v2"]
    assert list(missing_videos(opened, range(NUM_VIDEOS), selection=every)) == ["v1", "v2"]
    (moved / "elsewhere.mp4").rename(moved / "v1.mp4")
    assert list(run(replace(own, retry_failed=True)).failed) == ["v2"]
    assert files_of(store) == files_of(all_expensive)


@pytest.fixture
def other_video(world: Path, tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """Return a copy of the world in which v1 is another, longer video."""
    changed = shutil.copytree(world, tmp_path / "changed")
    make_video(changed / "v1.mp4", num_frames=80, size=(80, 64), seed=1)
    return changed


def test_clips_of_a_file_that_has_changed_are_not_mixed_with_those_of_the_old_one(
    reference: Path, other_video: Path, tmp_path: Path
):
    store = shutil.copytree(reference, tmp_path / "s.zarr")
    own = settings(other_video, store, pattern=Pattern.parse("all-expensive"), retry_failed=True)
    kept = {name: digest for name, digest in files_of(store).items() if "/c.1." in name}
    for _ in range(2):
        assert "has changed since it was extracted" in run(own).failed["v1"]
        assert {name: files_of(store)[name] for name in kept} == kept
        assert FeatureStore.open(store).backbone(EXPENSIVE).has([0]).tolist() == [True, True, False, True, True, True]


def test_clips_that_a_kill_left_unrecorded_are_compared_with_the_file_too(
    world: Path, reference: Path, other_video: Path, all_expensive: Path, tmp_path: Path, monkeypatch
):
    store = shutil.copytree(reference, tmp_path / "s.zarr")
    own = settings(world, store, pattern=Pattern.parse("all-expensive"))
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record", lambda *_, **__: None)  # all clips are written, and nothing is said of them
        run(own)
    again = shutil.copytree(store, tmp_path / "again.zarr")
    assert "has changed since it was extracted" in run(replace(own, manifest=other_video / "m.csv")).failed["v1"]
    run(replace(own, store=again))
    assert files_of(again) == files_of(all_expensive)


def test_what_was_left_out_is_told_anew_when_a_failure_is_mended(
    world: Path, reference: Path, all_expensive: Path, tmp_path: Path
):
    moved, store = shutil.copytree(world, tmp_path / "world"), shutil.copytree(reference, tmp_path / "s.zarr")
    (moved / "v1.mp4").rename(moved / "elsewhere.mp4")
    own = settings(world, store, manifest=moved / "m.csv", pattern=Pattern.parse("all-expensive"), retry_failed=True)
    assert list(run(own).failed) == ["v1", "v2"]
    (moved / "elsewhere.mp4").rename(moved / "v1.mp4")
    run(own)
    assert FeatureStore.open(store).backbone(EXPENSIVE).left_out() == {}


def test_a_damaged_video_is_not_kept_by_a_further_pattern(
    world: Path, reference: Path, all_expensive: Path, tmp_path: Path
):
    store = shutil.copytree(reference, tmp_path / "s.zarr")
    shard = store / EXPENSIVE / "features" / "c.0.0.0.0.0.0.0"
    shard.write_bytes(shard.read_bytes()[:-1])
    run(settings(world, store, pattern=Pattern.parse("all-expensive")))
    assert files_of(store) == files_of(all_expensive)


def test_a_file_that_has_changed_is_told_by_its_content(world: Path, tmp_path: Path):
    moved, store = shutil.copytree(world, tmp_path / "world"), tmp_path / "s.zarr"
    own = settings(world, store, manifest=moved / "m.csv", record_content=True)
    run(replace(own, manifest=longer(moved, without=("v5",))))
    run(own)
    assert list(FeatureStore.open(store).contents()) == [0, 1, 3, 4, 5]
    good = invoke("store", "verify", str(store), "--content", f"--manifest={moved}/m.csv")
    assert (good.exit_code, good.stdout.count("no problems")) == (0, 1)
    export = tmp_path / "s.h5"
    assert invoke("store", "export", str(store), str(export)).exit_code == 0
    assert invoke("store", "import", str(export), str(tmp_path / "back.zarr")).exit_code == 0
    assert files_of(tmp_path / "back.zarr") == files_of(store)
    with (moved / "v1.mp4").open("ab") as file:
        file.write(b"\0")
    bad = invoke("store", "verify", str(store), "--content", f"--manifest={moved}/m.csv", "--json")
    (problem,) = json.loads(bad.stdout)["problems"]
    assert (bad.exit_code, problem["video_id"]) == (3, "v1")
    # Asked for once, it is asked for ever after; and the clips that are there stay.
    failed = run(replace(own, pattern=Pattern.parse("all-expensive"), record_content=False)).failed
    assert "has changed since it was extracted" in failed["v1"]
    assert list(failed) == ["v1", "v2"]
    assert FeatureStore.open(store).backbone(EXPENSIVE).has([0]).tolist() == [True, True, False, True, True, True]


def test_files_without_a_record_cannot_be_compared(world: Path, reference: Path):
    result = invoke("store", "verify", str(reference), "--content", f"--manifest={world}/m.csv")
    assert result.exit_code == 1
    assert "vidpipe extract --record-content makes one" in result.stderr
