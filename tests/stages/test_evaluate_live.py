"""End-to-end runs are scored from the videos or by way of a store, with the same figures to the last bit."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from heard_progress import Heard
from made_up_runs import NAMES, MadeUpRun, make_run
from made_up_stores import MadeUp, make_store
from refusals import assert_refused

from vidpipe.cli.main import main
from vidpipe.cli.spelling import option_name
from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.video_model import build_video_model
from vidpipe.pipeline.aggregators.weights import load_aggregator
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import feature_shape
from vidpipe.pipeline.backbones.weights import load_backbone, load_weights
from vidpipe.pipeline.costs.flops import aggregator_macs, backbone_macs
from vidpipe.pipeline.costs.gmacs import backbones_gmacs
from vidpipe.pipeline.end_to_end.network import EndToEnd
from vidpipe.pipeline.errors import ManifestError, RunError, SettingsError, VideoError, WeightsError
from vidpipe.pipeline.features.clip_selection import select
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.files import write_json
from vidpipe.pipeline.inference.live_inputs import LiveInputs
from vidpipe.pipeline.inference.predict import predict
from vidpipe.pipeline.inference.stored_inputs import AggregatorInputs
from vidpipe.pipeline.manifests.manifest import read_manifest
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.run_kinds import backbone_file, backbones_of
from vidpipe.pipeline.videos import clip_reader as video_clips
from vidpipe.pipeline.videos.clip_reader import decode_clips
from vidpipe.pipeline.videos.clips import ClipSampling, frame_indices, view_starts
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import read_timeline
from vidpipe.pipeline.videos.reading import Reading
from vidpipe.stages.evaluate.grouping import group_runs
from vidpipe.stages.evaluate.plan import check_fits, other_clips
from vidpipe.stages.evaluate.run import report
from vidpipe.stages.evaluate.run import run as evaluate
from vidpipe.stages.evaluate.scores import evaluate as scores_of
from vidpipe.stages.evaluate.settings import EvaluateSettings
from vidpipe.stages.extract.run import run as extract
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.train_aggregator.run import run as train
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings

RUNS = {
    "fast": MadeUpRun(),
    "concat": MadeUpRun(aggregator="concat", random=1, crops=(40, 32)),
    "average": MadeUpRun(aggregator="average", random=2),
    "expensive": MadeUpRun(aggregator="fast-gru", pattern="all-expensive", random=3),
    "cheap": MadeUpRun(aggregator="average", pattern="all-cheap", random=4),
    "memory": MadeUpRun(aggregator="memory", random=5),
}
BROKEN = "v5"
ENGINE = EngineSettings(device="cpu", precision="float32", batch=3, threads=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Return a folder with a manifest of ten videos, one of the eight test ones broken, and the runs of `RUNS`."""
    folder = tmp_path_factory.mktemp("live")
    lines = ["path,label,split"]
    for index in range(10):
        make_video(folder / f"v{index}.mp4", num_frames=20 + 7 * index, size=(64 + 16 * (index % 3), 48), seed=index)
        lines.append(f"v{index}.mp4,{MadeUpRun().classes[index % 3]},{'train' if index < 2 else 'test'}")
    (folder / f"{BROKEN}.mp4").write_bytes(b"not a video at all")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    for name, wanted in RUNS.items():
        make_run(folder / name, wanted)
    return folder


def store_of(world: Path, name: str, path: Path, **changes) -> Path:
    """Extract the videos with a run's own backbones, and return the store."""
    weights = {
        role: RoleWeights(backbone=NAMES[role], path=world / name / backbone_file(role))
        for role in backbones_of(RunDirectory.open(world / name))
    }
    own = ExtractSettings(
        manifest=world / "m.csv",
        store=path,
        **weights,
        sampling=ClipSampling(num_clips=4),
        pattern=Pattern.parse("1:3" if "cheap" in weights and "expensive" in weights else "all-expensive"),
        engine=ENGINE,
    )
    extract(replace(own, **changes))
    return path


def from_videos(world: Path, out: Path, *names: str) -> EvaluateSettings:
    own = {name: getattr(ENGINE, name) for name in ("device", "precision", "batch", "threads")}
    runs = tuple(world / name for name in names)
    return EvaluateSettings(manifest=world / "m.csv", runs=runs, out=out, workers=2, videos_at_once=3, **own)


def from_store(world: Path, out: Path, store: Path, *names: str) -> EvaluateSettings:
    runs = tuple(world / name for name in names)
    return EvaluateSettings(store=store, runs=runs, out=out, videos_at_once=3, device="cpu")


def assert_same_both_ways(world: Path, name: str, scratch: Path, **changes) -> None:
    """Score a run from the videos and from a store, and compare everything that comes of it."""
    store = store_of(world, name, scratch / "s.zarr", **changes)
    settings = from_videos(world, scratch / "live", name), from_store(world, scratch / "stored", store, name)
    evaluations = [scores_of(own) for own in settings]
    live, stored = (report(evaluation) for evaluation in evaluations)
    assert live["runs"] == stored["runs"]
    assert live["groups"] == stored["groups"]
    for file in ("predictions.csv", "classes.csv", "confusion.csv"):
        assert (scratch / "live" / name / file).read_bytes() == (scratch / "stored" / name / file).read_bytes()
    first, second = (evaluation.runs[0] for evaluation in evaluations)
    assert first.probabilities.tobytes() == second.probabilities.tobytes()
    assert len(np.unique(first.probabilities)) > 7  # or there would be little to compare
    assert (len(first.videos), list(first.missing)) == (7, [BROKEN])


@pytest.mark.parametrize("name", RUNS)
def test_videos_and_a_store_give_the_same_to_the_last_bit(world: Path, tmp_path: Path, name: str) -> None:
    assert_same_both_ways(world, name, tmp_path)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["fast", "average"])
def test_videos_and_a_store_give_the_same_on_a_gpu(world: Path, tmp_path: Path, name: str) -> None:
    engine = EngineSettings(device="cuda")
    store = store_of(world, name, tmp_path / "s.zarr", engine=engine)
    live = replace(from_videos(world, tmp_path, name), device="cuda", precision="auto", batch=0)
    stored = replace(from_store(world, tmp_path, store, name), device="cuda")
    first, second = (scores_of(own).runs[0].probabilities for own in (live, stored))
    assert first.tobytes() == second.tobytes()


def test_a_store_with_more_views_gives_the_same(world: Path, tmp_path: Path) -> None:
    assert_same_both_ways(world, "fast", tmp_path, sampling=ClipSampling(num_clips=4, views=2))


def test_three_crops_are_the_same_both_ways_and_their_scores_are_averaged(world: Path, tmp_path: Path) -> None:
    sampling, pattern = ClipSampling(num_clips=4, crops=3, views=2), Pattern.parse("1:3")
    store = FeatureStore.open(store_of(world, "fast", tmp_path / "s.zarr", sampling=sampling))
    run, video = RunDirectory.open(world / "fast"), 2  # 96×48 pixels: its crops show different things
    weights = {role: load_weights(run.path / backbone_file(role)) for role in ("cheap", "expensive")}
    both: dict[str, Any] = {"needs_features": True, "needs_scores": True}
    videos = read_manifest(world / "m.csv").videos
    live = LiveInputs(weights, videos=videos, pattern=pattern, sampling=sampling, engine=ENGINE, workers=0, **both)
    selection = select(store, pattern=pattern, num_clips=4, names={role: NAMES[role] for role in weights})
    stored = AggregatorInputs(store, selection=selection, classes=MadeUpRun().classes, **both)

    (crops,), (again,) = (list(own.read([video], batch_size=1)) for own in (live, stored))
    assert not isinstance(crops, VideoError)
    for (maps, scores), (stored_maps, stored_scores) in zip(crops, again, strict=True):
        assert all(maps[role].tobytes() == stored_maps[role].tobytes() for role in weights)
        assert scores.tobytes() == stored_scores.tobytes()
    assert len({maps["cheap"].tobytes() for maps, _ in crops}) == 3
    assert store.backbone(NAMES["cheap"]).num_views == 4

    model = build_video_model(AggregatorSpec(name="average", channels=1, num_classes=3), shapes={})
    found = predict(model, stored, [video, video + 1], batch_size=2).softmax(1)
    each = torch.stack([torch.from_numpy(scores).softmax(1).mean(0) for _, scores in again])
    torch.testing.assert_close(found[0], each.mean(0))
    one = replace(sampling, crops=1)
    alone = LiveInputs(weights, videos=videos, pattern=pattern, sampling=one, engine=ENGINE, workers=0, **both)
    assert live.backbone_gmacs == pytest.approx(3 * alone.backbone_gmacs) == pytest.approx(stored.backbone_gmacs)


def test_low_precision_is_the_same_both_ways_and_another_than_float32(world: Path, tmp_path: Path) -> None:
    store = store_of(world, "fast", tmp_path / "s.zarr", engine=replace(ENGINE, precision="bfloat16"))
    stored = scores_of(from_store(world, tmp_path, store, "fast")).runs[0].probabilities
    settings = from_videos(world, tmp_path, "fast")
    live = {name: scores_of(replace(settings, precision=name)).runs[0] for name in ("bfloat16", "float32")}
    assert live["bfloat16"].probabilities.tobytes() == stored.tobytes()
    assert live["float32"].probabilities.tobytes() != stored.tobytes()


@pytest.mark.parametrize("name", ["fast", "concat", "average"])
def test_scores_are_those_of_the_network_that_was_trained(world: Path, tmp_path: Path, name: str) -> None:
    found = scores_of(from_videos(world, tmp_path, name))
    run = RunDirectory.open(world / name)
    weights = {role: load_weights(run.path / backbone_file(role)) for role in backbones_of(run)}
    preprocessing = {role: own.preprocessing for role, own in weights.items()}
    roles = Pattern.parse(run.settings["pattern"]).roles(4)
    network = EndToEnd(
        {role: load_backbone(own) for role, own in weights.items()},
        load_aggregator(run.path / "weights.safetensors")[0],
        preprocessing=preprocessing,
        roles=roles,
        statistics="frozen",
        trained=frozenset(),
    ).eval()
    for place, index in enumerate(found.runs[0].videos):
        _, seen = decode_clips(
            found.manifest.videos[index],
            sampling=ClipSampling(num_clips=4),
            due=dict.fromkeys(preprocessing.values(), np.ones(4, bool)),
        )
        clips = {role: seen[own][:, [r == role for r in roles]] for role, own in preprocessing.items()}
        with torch.no_grad():
            expected = network(clips)[0].softmax(dim=1).numpy()[0]
        np.testing.assert_allclose(found.runs[0].probabilities[place], expected, atol=2e-3)  # maps are float16


def test_costs_are_those_of_the_clips_that_run(world: Path, tmp_path: Path) -> None:
    names = ("fast", "average", "expensive", "cheap")
    found = scores_of(replace(from_videos(world, tmp_path, *names), split="train"))
    gmacs = {scores.subject.path.name: scores.gmacs for scores in found.runs}
    assert gmacs["cheap"] < gmacs["average"] < gmacs["fast"] < gmacs["expensive"]
    each = {role: backbone_macs(name, num_frames=8, size=32, num_classes=3) / 1e9 for role, name in NAMES.items()}
    assert gmacs["average"] == pytest.approx(each["expensive"] + 3 * each["cheap"], rel=1e-12)
    assert gmacs["cheap"] == pytest.approx(4 * each["cheap"], rel=1e-12)


@pytest.mark.parametrize("name", RUNS)
def test_costs_are_what_training_has_counted_to_the_last_bit(world: Path, tmp_path: Path, name: str) -> None:
    (found,) = scores_of(replace(from_videos(world, tmp_path, name), split="train")).runs
    run = RunDirectory.open(found.subject.path)
    roles, own = Pattern.parse(RUNS[name].pattern).roles(4), run.result["backbones"]
    names, crops = ({role: one for role, one in zip(NAMES, of, strict=True) if role in own}
                    for of in (NAMES.values(), RUNS[name].crops))  # fmt: skip
    shapes = {role: feature_shape(names[role], num_frames=8, size=crops[role]) for role in own}
    spec = load_aggregator(run.path / "weights.safetensors")[1].spec
    clips = backbones_gmacs(names, roles=roles, crops=crops, num_frames=8, num_classes=3)
    assert found.gmacs == clips + aggregator_macs(spec, shapes=shapes, roles=roles) / 1e9


def test_only_the_clips_of_a_role_run_through_its_backbone(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidpipe.pipeline.inference import live_inputs

    build, ran = live_inputs.build_engine, []

    class Counting:
        def __init__(self, weights, settings) -> None:
            self.engine, self.name = build(weights, settings), weights.backbone

        def run(self, clips):
            ran.append((self.name, len(clips)))
            return self.engine.run(clips)

    monkeypatch.setattr(live_inputs, "build_engine", Counting)
    scores_of(from_videos(world, tmp_path, "fast"))
    assert sorted(ran) == sorted(7 * [(NAMES["cheap"], 3), (NAMES["expensive"], 1)])
    ran.clear()
    scores_of(from_videos(world, tmp_path, "expensive"))
    assert ran == 7 * [(NAMES["expensive"], 4)]


def test_only_the_clips_of_a_role_are_made_for_it(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen_together, seen = video_clips.seen_together, []

    def counting(pictures):
        for one in pictures:
            seen.append(one[1].crop)
            yield one

    monkeypatch.setattr(video_clips, "seen_together", lambda pictures: seen_together(counting(pictures)))
    scores_of(from_videos(world, tmp_path, "concat"))
    assert Counter(seen) == {32: num_frames_of(world, 1, 2, 3), 40: num_frames_of(world, 0)}
    seen.clear()
    scores_of(from_videos(world, tmp_path, "fast"))  # both of its backbones see the same pixels
    assert Counter(seen) == {32: num_frames_of(world, 0, 1, 2, 3)}


def num_frames_of(world: Path, *clips: int) -> int:
    """Return how many frames these clips hold, of four in each readable test video; a frame that two share is one."""
    count, sampling = 0, ClipSampling(num_clips=4)
    for video in read_manifest(world / "m.csv").videos:
        if video.split == "test" and video.path.stem != BROKEN:
            timeline = read_timeline(video.path)
            starts = view_starts(sampling, timeline, video_id=video.video_id)[0]
            frames = [frame_indices(timeline, starts[clip], sampling) for clip in clips]
            count += len(np.unique(frames))
    return count


def test_clips_stay_zero_where_they_are_not_due(world: Path) -> None:
    first, second = (Preprocessing(crop=crop, short_side=36) for crop in (32, 24))
    masks = {first: np.array([1, 0, 0, 0], bool), second: np.array([0, 1, 0, 1], bool)}
    video = read_manifest(world / "m.csv").videos[0]
    _, some = decode_clips(video, sampling=ClipSampling(num_clips=4), due=masks)
    _, every = decode_clips(video, sampling=ClipSampling(num_clips=4), due=dict.fromkeys(masks, np.ones(4, bool)))
    for own, mask in masks.items():
        assert torch.equal(some[own][:, mask], every[own][:, mask])
        assert not some[own][:, ~mask].any()
        assert every[own].flatten(2).any(dim=2).all()


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (1, 2), (5, 2)])
def test_threads_and_batches_change_nothing(world: Path, tmp_path: Path, workers: int, threads: int) -> None:
    plain = scores_of(from_videos(world, tmp_path, "fast")).runs[0]
    changed = replace(from_videos(world, tmp_path, "fast"), workers=workers, threads=threads, batch=2, videos_at_once=7)
    again = scores_of(changed).runs[0]
    assert again.missing == plain.missing
    np.testing.assert_allclose(again.probabilities, plain.probabilities, atol=1e-5)


def test_the_aggregator_keeps_its_threads(world: Path) -> None:
    torch.set_num_threads(2)
    run = RunDirectory.open(world / "cheap")
    inputs = LiveInputs(
        {"cheap": load_weights(run.path / "cheap.safetensors")},
        videos=read_manifest(world / "m.csv").videos,
        pattern=Pattern.parse("all-cheap"),
        sampling=ClipSampling(num_clips=2),
        engine=ENGINE,
        workers=0,
        needs_features=True,
        needs_scores=False,
    )
    (crops,) = inputs.read([0], batch_size=1)
    assert not isinstance(crops, VideoError)
    ((maps, scores),) = crops
    assert torch.get_num_threads() == 2
    assert {role: own.shape for role, own in maps.items()} == {"cheap": (2, *inputs.shapes["cheap"])}
    assert (maps["cheap"].dtype, scores.shape) == (np.float16, (2, 0))


def test_several_runs_have_networks_and_missing_videos_of_their_own(world: Path, tmp_path: Path) -> None:
    heard = Heard()
    document = evaluate(from_videos(world, tmp_path / "out", "fast", "cheap"), progress=heard)
    assert heard.calls == ["fast: 0 of 8 videos", *8 * ["1"], "end", "cheap: 0 of 8 videos", *8 * ["1"], "end"]
    alone = [evaluate(from_videos(world, tmp_path / name, name))["runs"][0] for name in ("fast", "cheap")]
    assert document["runs"] == alone
    assert (document["store"], document["manifest"]) == (None, str(world / "m.csv"))
    for run in document["runs"]:
        assert run["kind"] == "end-to-end"
        assert run["missing"][BROKEN] == "is text, not a video"
        assert (run["metrics"]["num_scored"], run["metrics"]["num_expected"]) == (7, 8)
        with (tmp_path / "out" / run["name"] / "predictions.csv").open() as file:
            missing = {row["video_id"]: row["missing"] for row in csv.DictReader(file) if row["missing"]}
        assert missing == run["missing"]


def test_other_videos_are_welcome_and_other_classes_are_wrong_or_refused(world: Path, tmp_path: Path) -> None:
    rows = (world / "m.csv").read_text().splitlines()

    def scored(*lines: str) -> EvaluateSettings:
        (world / "other.csv").write_text("\n".join(lines) + "\n")
        return replace(from_videos(world, tmp_path / "out", "fast"), manifest=world / "other.csv", split="new")

    new = [row.replace(",test", ",new").replace(",train", ",new") for row in (*rows[:4], rows[5])]
    assert evaluate(scored(*new))["runs"][0]["metrics"]["num_scored"] == 4
    # A test set need not show every class, and a class that the run does not know is never right.
    (few,) = evaluate(scored(*new[:3]))["runs"]
    assert (few["metrics"]["num_scored"], few["absent_classes"], few["unknown_classes"]) == (2, ["run"], {})
    (other,) = evaluate(scored(*(row.replace(",run", ",sing") for row in new)))["runs"]
    assert (other["absent_classes"], other["unknown_classes"]) == (["run"], {"sing": 1})
    assert [own["name"] for own in other["metrics"]["classes"]][-1] == "sing"
    with pytest.raises(RunError, match=r"other\.csv: classes: .*'run' only there, 'a', 'b', 'c' only here"):
        foreign = (row.replace(",run", ",a").replace(",fall", ",b").replace(",jump", ",c") for row in new)
        evaluate(scored(*foreign))
    with pytest.raises(ManifestError, match="no split 'new'; it has: test"):
        evaluate(scored(*rows))
    with pytest.raises(ManifestError, match="'v0' has 2 labels"):
        evaluate(scored(*(row.replace(",fall", ",fall|run") for row in new)))


def test_a_split_without_a_readable_video_is_an_error(world: Path, tmp_path: Path) -> None:
    text = (world / "m.csv").read_text().replace(f"{BROKEN}.mp4,run,test", f"{BROKEN}.mp4,run,broken")
    (world / "broken.csv").write_text(text)
    settings = replace(from_videos(world, tmp_path / "out", "fast"), manifest=world / "broken.csv", split="broken")
    with pytest.raises(VideoError, match="none of the 1 videos of the split can be scored; the first, 'v5': "):
        evaluate(settings)
    assert not (tmp_path / "out").exists()


def test_stores_of_the_backbones_before_finetuning_are_refused(world: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "before", replace(RUNS["fast"], random=9))
    (tmp_path / "m.csv").write_text((world / "m.csv").read_text())
    store = store_of(tmp_path, "before", tmp_path / "s.zarr", manifest=world / "m.csv", split="train")
    own = world / "fast"
    with pytest.raises(RunError) as caught:
        evaluate(from_store(world, tmp_path / "out", store, "fast"))
    message = caught.value.text(option_name)
    digests = [backbones_of(RunDirectory.open(path))["cheap"]["weights_sha256"] for path in (own, tmp_path / "before")]
    assert f'backbones.cheap.weights_sha256 is "{digests[0][:12]}…" there, "{digests[1][:12]}…" here' in message
    assert "vidpipe extract --manifest MANIFEST --store NEW.zarr --clips 4 --pattern 1:3" in message
    assert f"--expensive r2plus1d_14_w16={own / 'expensive.safetensors'}" in message
    assert f"--cheap r2d_14_w16={own / 'cheap.safetensors'}" in message


@pytest.mark.parametrize(
    ("sampling", "differences", "words"),
    [
        (ClipSampling(num_clips=8), {"num_clips": {"run": 4, "store": 8}}, "(--clips 8, the run 4)"),
        (
            ClipSampling(num_clips=4, placement="dense", short="loop"),
            {"placement": {"run": "uniform", "store": "dense"}, "short": {"run": "repeat_last", "store": "loop"}},
            "(--placement dense, the run uniform; --short loop, the run repeat_last)",
        ),
        (ClipSampling(num_clips=4, views=2, seed=3), {}, ""),
    ],
)
def test_stores_of_other_clips_will_do_and_are_named(
    world: Path, tmp_path: Path, sampling: ClipSampling, differences: dict, words: str
) -> None:
    pattern = Pattern.parse("all-expensive")
    store = store_of(world, "expensive", tmp_path / "s.zarr", sampling=sampling, pattern=pattern, split="train")
    arguments = ["evaluate", "--run", str(world / "expensive"), "--out", str(tmp_path / "out"), "--split", "train"]
    result = CliRunner().invoke(main, [*arguments, "--store", str(store)])
    assert result.exit_code == 0, result.output
    assert ("expensive: the store has other clips than the run " + words in result.stdout) == bool(words)
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert document["runs"][0]["other_clips"] == differences
    stored = scores_of(replace(from_store(world, tmp_path, store, "expensive"), split="train")).runs[0]
    live = scores_of(replace(from_videos(world, tmp_path, "expensive"), split="train")).runs[0]
    assert (stored.probabilities.tobytes() == live.probabilities.tobytes()) == (not words)


def test_a_store_that_was_read_otherwise_is_refused_or_named(world: Path, tmp_path: Path) -> None:
    """A run of an earlier version says nothing of HDR: it took it as it is."""
    sampling = ClipSampling(num_clips=4, reading=Reading(damaged="keep", hdr="as-is"))
    store = FeatureStore.open(store_of(world, "expensive", tmp_path / "s.zarr", sampling=sampling, split="train"))
    run = RunDirectory.open(world / "expensive")
    with assert_refused(RunError, match='sampling.hdr is "tone-map" there, "as-is" here') as caught:
        check_fits(run, store)
    assert "--hdr" not in caught.value.text(option_name)
    shutil.copytree(world / "expensive", tmp_path / "old")
    made = json.loads((tmp_path / "old" / "settings.json").read_text())
    del made["sampling"]["hdr"]
    (tmp_path / "old" / "settings.json").write_text(json.dumps(made))
    old = RunDirectory.open(tmp_path / "old")
    check_fits(old, store)
    assert other_clips(old, store) == {"damaged": {"run": "refuse", "store": "keep"}}
    usual = FeatureStore.open(store_of(world, "expensive", tmp_path / "usual.zarr", split="train"))
    with assert_refused(RunError, match="--clips 4 --hdr as-is"):
        check_fits(old, usual)


def test_what_the_refusal_says_can_be_typed_and_gives_the_same_files(world: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "before", replace(RUNS["concat"], random=9))
    store = store_of(tmp_path, "before", tmp_path / "s.zarr", manifest=world / "m.csv", split="train")
    arguments = ["evaluate", "--run", str(world / "concat"), "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(main, [*arguments, "--store", str(store)])
    assert refused.exit_code == 1
    words = refused.stderr.partition("vidpipe extract ")[2].partition(". Or score")[0].split()
    given = {"MANIFEST": str(world / "m.csv"), "NEW.zarr": str(tmp_path / "new.zarr")}
    done = CliRunner().invoke(main, ["extract", *(given.get(word, word) for word in words), "--threads", "1"])
    assert done.exit_code == 3, done.output  # one video is broken
    found = []
    sources = ["--store", given["NEW.zarr"]], ["--manifest", given["MANIFEST"], "--threads", "1"]
    for source, code in zip(sources, (0, 3), strict=True):
        scored = CliRunner().invoke(main, [*arguments, *source])
        assert scored.exit_code == code, scored.output
        found.append((tmp_path / "out" / "concat" / "predictions.csv").read_bytes())
    assert found[0] == found[1]


def test_runs_without_backbones_of_their_own_cannot_be_scored_on_videos(world: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=8, num_test=2))
    train(TrainAggregatorSettings(store=store, out=tmp_path / "run", aggregator="average"))
    settings = replace(from_videos(world, tmp_path / "out", "fast"), runs=(world / "fast", tmp_path / "run"))
    with assert_refused(RunError, match=r"without its backbones, big \(expensive\), small \(cheap\).* --store STORE"):
        evaluate(settings)


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        ("expensive.safetensors", WeightsError, "there is no weights file"),
        ("weights.safetensors", WeightsError, "cannot be read"),
        ("result.json", RunError, "is not finished"),
    ],
)
def test_runs_that_lack_a_file_are_refused(
    world: Path, tmp_path: Path, file: str, error: type[Exception], message: str
) -> None:
    make_run(tmp_path / "run")
    (tmp_path / "run" / file).unlink()
    settings = replace(from_videos(world, tmp_path / "out", "fast"), runs=(world / "fast", tmp_path / "run"))
    heard = Heard()
    with assert_refused(error, match=message):
        evaluate(settings, progress=heard)
    assert heard.calls == []  # nothing is decoded first
    assert not (tmp_path / "out").exists()


def test_backbones_that_are_not_what_the_run_trained_are_refused(world: Path, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    (path / "cheap.safetensors").write_bytes((world / "average" / "cheap.safetensors").read_bytes())
    settings = replace(from_videos(world, tmp_path / "out", "fast"), runs=(path,))
    with pytest.raises(RunError, match=r"cheap\.safetensors is not what the run has trained"):
        evaluate(settings)
    result = RunDirectory.open(path).result
    del result["backbones"]
    write_json(path / "result.json", result)
    with pytest.raises(RunError, match="does not say which backbones"):
        evaluate(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifest": None}, "give one of --store STORE, .* and --manifest MANIFEST, .*; got neither"),
        ({"store": Path("s.zarr")}, "got both"),
        ({"manifest": None, "store": Path("s.zarr")}, "--precision, --batch, --threads, --workers: with --store"),
        ({"workers": -1}, "--workers must be at least 0; got -1"),
        ({"threads": 0}, "threads must be at least 1; got 0"),
        ({"precision": "int8"}, "--precision must be one of auto, "),
    ],
)
def test_settings_that_cannot_be_are_refused(world: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with assert_refused(SettingsError, match=message):
        replace(from_videos(world, tmp_path, "fast"), **changes)


def groups_of(world: Path, scratch: Path, *wanted: MadeUpRun) -> list[list[str]]:
    """Return the names of the runs that stand together; runs are called 0, 1, and so on."""
    runs = tuple(make_run(scratch / str(number), own) for number, own in enumerate(wanted))
    found = scores_of(replace(from_videos(world, scratch / "out", "fast"), runs=runs, split="train")).runs
    return [[found[place].subject.path.name for place in group.members] for group in group_runs(found)]


def test_seeds_that_began_from_runs_of_their_own_make_one_group(world: Path, tmp_path: Path) -> None:
    cheap = RUNS["cheap"]
    seeds = [replace(cheap, random=n, seed=n, start=f"aggregator {n}") for n in range(3)]
    assert groups_of(world, tmp_path / "seeds", *seeds) == [["0", "1", "2"]]
    others = [*seeds[:2], replace(seeds[0], start="another"), replace(seeds[1], num_clips=3)]
    assert groups_of(world, tmp_path / "others", *others) == [["0"], ["1"], ["2"], ["3"]]
    two_of_one = [*seeds[:2], replace(seeds[2], start=seeds[1].start)]
    assert groups_of(world, tmp_path / "two", *two_of_one) == [["0"], ["1", "2"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"crops": (32, 48)},
        {"from_scratch": True},
        {"start": "an aggregator"},
        {"changes": {"rates": {"cheap": 0.01}}},
        {"changes": {"statistics": "tracked"}},
    ],
)
def test_seeds_of_other_settings_make_groups_of_their_own(world: Path, tmp_path: Path, changes: dict) -> None:
    first = [replace(RUNS["cheap"], random=seed, seed=seed) for seed in (0, 1)]
    second = [replace(own, seed=own.seed + 2, **changes) for own in first]
    assert groups_of(world, tmp_path, *first, *second) == [["0", "1"], ["2", "3"]]


def test_the_command_prints_tables_lists_what_failed_and_exits_with_3(world: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", "--manifest", str(world / "m.csv"), "--run", str(world / "fast"), "--out", str(tmp_path)]
    arguments += ["--precision", "float32", "--threads", "1", "--device", "cpu"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3, result.output
    assert "7/8" in result.stdout.splitlines()[2]
    assert "fast: 1 of the 8 videos of 'test' have no prediction" in result.stdout
    assert "  failed: v5: " in result.stdout
    as_json = CliRunner().invoke(main, [*arguments, "--json"])
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "metrics.json").read_text())
    good = CliRunner().invoke(main, [*arguments, "--split", "train"])
    assert good.exit_code == 0, good.output
    both = CliRunner().invoke(main, [*arguments, "--store", str(tmp_path / "s.zarr")])
    assert (both.exit_code, "got both" in both.stderr) == (2, True)
