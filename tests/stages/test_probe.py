"""The linear probe: equal to plain numpy and scikit-learn, in bounded memory, and honest about what is not there."""

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from heard_progress import Heard
from made_up_stores import GMACS, MadeUp, make_store
from refusals import assert_refused
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vidpipe.cli.probe import command
from vidpipe.pipeline.errors import ManifestError, RunError, SettingsError, StoreError
from vidpipe.pipeline.evaluation.linear_probe import LinearProbe, fit_probe
from vidpipe.pipeline.features.arrays import pooled_features, stored_maps
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Manifest, write_manifest
from vidpipe.stages.probe.run import run
from vidpipe.stages.probe.settings import ProbeSettings

CLASSES = ("a", "b", "c")
WANTED = MadeUp(num_training=45, num_test=30, classes=CLASSES, failed=(1, 46), pending=(49,))
LEFT = [i for i in range(75) if i not in (1, 46, 49)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of which videos 1, 46 and 49 are missing; `big` has clips 0 and 4 of 8, `small` has all."""
    return make_store(tmp_path_factory.mktemp("probe") / "s.zarr", WANTED)


@pytest.fixture(scope="module")
def document(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run(ProbeSettings(store=store, out=tmp_path_factory.mktemp("out")))


def plain_features(store: Path, name: str, clips: list[int], videos: list[int]) -> np.ndarray:
    """Return (V, C) float64 means of what Zarr's own reader gives."""
    maps = np.asarray(FeatureStore.open(store).backbone(name).features[:])[videos, 0][:, clips]
    return maps.astype(np.float64).mean(axis=(1, 2, 3, 4))


def plain_probabilities(train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, targets).predict_proba(test)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("name", "clips"), [("big", [0, 4]), ("small", list(range(8)))])
def test_figures_are_those_of_numpy_and_scikit_learn(store: Path, document: dict, name: str, clips: list[int]) -> None:
    train, test = [i for i in LEFT if i < 45], [i for i in LEFT if i >= 45]
    probabilities = plain_probabilities(
        plain_features(store, name, clips, train), plain_features(store, name, clips, test), np.array(train) % 3
    )
    probe = next(own for own in document["probes"] if own["name"] == name)
    predictions = [row for row in rows(Path(document["out"]) / name / "predictions.csv") if not row["missing"]]
    assert [row["video_id"] for row in predictions] == [f"v{i:03}" for i in test]
    assert [row["predicted"] for row in predictions] == [CLASSES[best] for best in probabilities.argmax(axis=1)]
    found = [float(row["probability_1"]) for row in predictions]
    np.testing.assert_allclose(found, probabilities.max(axis=1), atol=2e-3)  # the solver stops at a tolerance of 1e-4
    assert probe["metrics"]["top1"] == np.mean(probabilities.argmax(axis=1) == np.array(test) % 3)
    assert probe["num_clips"] == len(clips)


def test_a_pattern_puts_both_backbones_side_by_side(store: Path, tmp_path: Path) -> None:
    (probe,) = run(ProbeSettings(store=store, out=tmp_path, pattern=Pattern.parse("1:3")))["probes"]
    train, test = [i for i in LEFT if i < 45], [i for i in LEFT if i >= 45]
    clips = {"big": [0, 4], "small": [1, 2, 3, 5, 6, 7]}
    assert {own["backbone"]: own["clips"] for own in probe["sources"]} == clips
    assert (probe["name"], probe["num_features"]) == ("big+small", 16)
    assert probe["gmacs"] == pytest.approx(2 * GMACS["expensive"] + 6 * GMACS["cheap"], abs=1e-6)
    features = [
        np.concatenate([plain_features(store, name, own, videos) for name, own in clips.items()], axis=1)
        for videos in (train, test)
    ]
    probabilities = plain_probabilities(*features, np.array(train) % 3)
    predicted = [row["predicted"] for row in rows(tmp_path / "big+small" / "predictions.csv") if not row["missing"]]
    assert predicted == [CLASSES[best] for best in probabilities.argmax(axis=1)]


def test_maps_of_other_widths_and_grids_are_pooled_as_they_are(tmp_path: Path) -> None:
    shapes = {"expensive": (2, 3, 3, 8), "cheap": (1, 2, 2, 4)}
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=8, num_test=4, shapes=shapes))
    (probe,) = run(ProbeSettings(store=store, out=tmp_path / "out", pattern=Pattern.parse("1:3")))["probes"]
    assert probe["num_features"] == 12


def test_two_classes_score_like_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(50, 4)).astype(np.float32), np.arange(50) % 2
    features[:, 1] += targets
    probe = fit_probe(features, targets=targets, classes=("a", "b"), strength=1.0, max_iter=100).probe
    scores = probe.scores(features)
    odds = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(odds, plain_probabilities(features, features, targets), atol=1e-6)
    probe.save(tmp_path / "p.npz")
    again = LinearProbe.load(tmp_path / "p.npz")
    assert again.classes == ("a", "b")
    np.testing.assert_array_equal(again.scores(features), scores)


def test_the_saved_probe_gives_the_predictions_again(store: Path, document: dict) -> None:
    folder = Path(document["out"]) / "small"
    probe = LinearProbe.load(folder / "probe.npz")
    features = pooled_features(FeatureStore.open(store).backbone("small"), range(50, 75), clips=range(8))
    predicted = [probe.classes[best] for best in probe.scores(features).argmax(axis=1)]
    assert predicted == [row["predicted"] for row in rows(folder / "predictions.csv")[5:]]


def test_missing_videos_are_left_out_and_counted(document: dict) -> None:
    for probe in document["probes"]:
        metrics = probe["metrics"]
        assert (probe["num_training"], metrics["num_scored"], metrics["num_expected"]) == (44, 28, 30)
        assert probe["missing_training"] == {"v001": "no video stream"}
        assert probe["missing"] == {"v046": "no video stream", "v049": "not extracted yet"}
        assert metrics["top1_missing_wrong"] == pytest.approx(metrics["top1"] * 28 / 30)
    assert json.loads((Path(document["out"]) / "metrics.json").read_text()) == document


def test_clips_that_are_not_due_are_never_read(store: Path) -> None:
    group = FeatureStore.open(store).backbone("big")
    assert np.isnan(np.asarray(group.features[0, 0, 1])).all()
    maps = stored_maps(group, [0, 2], clips=np.flatnonzero(group.due).tolist())
    assert maps.shape == (2, 2, *group.feature_shape)
    assert np.isfinite(maps.compute(scheduler="sync")).all()


@pytest.mark.parametrize("block_bytes", [1, 3000, 10**9])
def test_blocks_change_nothing(store: Path, block_bytes: int) -> None:
    group, heard = FeatureStore.open(store).backbone("small"), Heard()
    videos = [74, 3, 0, 20, 5]
    features = pooled_features(group, videos, clips=[0, 7], block_bytes=block_bytes, progress=heard)
    np.testing.assert_allclose(features, plain_features(store, "small", [0, 7], videos), atol=1e-6)
    assert (features.dtype, heard.done) == (np.float32, 5)


def test_memory_holds_a_few_blocks_of_a_store(tmp_path: Path) -> None:
    wanted = MadeUp(num_training=80, num_test=1, pattern=None, shapes={"cheap": (1, 8, 8, 64)})
    group = FeatureStore.open(make_store(tmp_path / "s.zarr", wanted)).backbone("small")
    clips, two_videos = range(group.scores.shape[2]), 2 * group.raw_bytes_per_video
    pooled_features(group, range(4), clips=clips)  # what is imported and cached once
    tracemalloc.start()
    try:
        pooled_features(group, range(80), clips=clips, block_bytes=two_videos)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 80 * group.raw_bytes_per_video / 2  # a block in each of 4 threads, and Dask's 40 tasks


def test_of_several_strengths_the_best_on_held_out_videos_is_taken(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", replace(WANTED, failed=(), pending=()))
    document = run(ProbeSettings(store=store, out=tmp_path / "out", role="cheap", strengths=(1e-6, 1.0, 100.0)))
    (probe,) = document["probes"]
    accuracies = {own["strength"]: own["accuracy"] for own in probe["held_out"]}
    best = max(accuracies.values())
    assert probe["strength"] == min(strength for strength, accuracy in accuracies.items() if accuracy == best)
    assert all(accuracy * 9 == pytest.approx(round(accuracy * 9)) for accuracy in accuracies.values())  # 3 a class


def test_a_fit_that_does_not_converge_says_what_to_type(store: Path, tmp_path: Path) -> None:
    words = ["--store", str(store), "--out", str(tmp_path), "--backbone", "big", "--max-iter", "1", "--C", "1000"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert "the fit stopped after 1 iterations and had not converged; type --max-iter 10" in result.stdout
    assert json.loads((tmp_path / "metrics.json").read_text())["probes"][0]["converged"] is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": ("huge",)}, "--backbone huge: .* has no such backbone; it has big .expensive., small .cheap."),
        ({"backbones": ("big", "big")}, "give each --backbone once"),
        ({"backbones": ("big",), "role": "cheap"}, "give --role cheap or --backbone big, not both"),
        ({"role": "dear"}, "--role must be one of expensive, cheap"),
        ({"role": "cheap", "pattern": Pattern.parse("1:3")}, "leave --role cheap out"),
        ({"num_clips": 3}, "--clips must be from 1 to 2, .* of big; got 3"),
        ({"num_clips": 9, "role": "cheap"}, "--clips must be from 1 to 8"),
        ({"pattern": Pattern.parse("1:1")}, "--pattern 1:1 makes clip 3 of 8 expensive"),
        ({"pattern": Pattern.parse("all-cheap"), "backbones": ("big",)}, "leaves --backbone big nothing to do"),
        ({"test_split": "train"}, "--split and --test-split must differ"),
        ({"strengths": ()}, "--C must be a positive number; got none"),
        ({"strengths": (1.0, 0.0)}, "--C must be a positive number; got 1.0, 0.0"),
        ({"max_iter": 0}, "--max-iter must be at least 1"),
    ],
)
def test_settings_that_cannot_be_run_are_refused(store: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with assert_refused(SettingsError, match=message):
        run(ProbeSettings(store=store, out=tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": dict.fromkeys(range(30), ("a",))}, "two classes or more to tell apart; .* show only 'a'"),
        ({"num_training": 2}, "'train' show nothing of 1 of the classes of 'test' in .*: 'c'"),
        ({"failed": tuple(range(30))}, "--split train: none of its 30 videos is extracted with"),
        ({"pending": tuple(range(30, 40))}, "--test-split test: none of its 10 videos is extracted with"),
        ({"cheap": False, "pattern": None}, "has no backbone's features yet"),
    ],
)
def test_stores_that_cannot_teach_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    wanted = MadeUp(**{"num_training": 30, "num_test": 10, "classes": CLASSES} | changes)
    settings = ProbeSettings(store=make_store(tmp_path / "s.zarr", wanted), out=tmp_path / "out")
    with assert_refused(SettingsError, match=message):
        run(settings)
    assert not (tmp_path / "out").exists()


def test_splits_and_labels_that_are_not_one_are_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no split 'val'"):
        run(ProbeSettings(store=store, out=tmp_path / "out", test_split="val"))
    several = make_store(
        tmp_path / "s.zarr", MadeUp(num_training=6, num_test=2, labels={4: CLASSES[:2]}, classes=CLASSES)
    )
    with pytest.raises(ManifestError, match="'v004' has 2 labels"):
        run(ProbeSettings(store=several, out=tmp_path / "out"))


def test_other_splits_of_the_same_videos_count_if_given(store: Path, tmp_path: Path) -> None:
    videos = FeatureStore.open(store).manifest.videos
    swapped = [replace(video, split="test" if video.split == "train" else "train") for video in videos]
    write_manifest(Manifest(tuple(swapped)).relative_to(tmp_path), tmp_path / "m.csv")
    document = run(ProbeSettings(store=store, out=tmp_path / "out", role="cheap", splits=tmp_path / "m.csv"))
    assert (document["probes"][0]["num_training"], document["probes"][0]["metrics"]["num_scored"]) == (28, 44)


def test_damaged_features_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=6, num_test=2, pattern=None))
    path = store / "small" / "features" / "c.3.0.0.0.0.0.0"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match="features of video 'v003'.*vidpipe store verify"):
        run(ProbeSettings(store=store, out=tmp_path / "out"))


def test_what_is_not_this_probe_is_never_overwritten(store: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("mine")
    with pytest.raises(RunError, match="has files in it but no run"):
        run(ProbeSettings(store=store, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    first = run(ProbeSettings(store=store, out=tmp_path / "out"))
    assert run(ProbeSettings(store=store, out=tmp_path / "out")) == first
    with pytest.raises(RunError, match="holds a run with other settings: .*max_iter is 1000 there, 7 here"):
        run(ProbeSettings(store=store, out=tmp_path / "out", max_iter=7))
    with pytest.raises(SettingsError, match="lies in the feature store"):
        run(ProbeSettings(store=store, out=store / "out"))


def test_a_class_without_training_videos_is_never_predicted(tmp_path: Path) -> None:
    labels = {i: ("c" if i >= 40 else "ab"[i % 2],) for i in range(60)}
    wanted = MadeUp(num_training=30, num_test=30, classes=CLASSES, labels=labels)
    store = make_store(tmp_path / "s.zarr", wanted)
    videos = FeatureStore.open(store).manifest.videos
    splits = [replace(video, split="val" if video.labels == ("c",) else video.split) for video in videos]
    write_manifest(Manifest(tuple(splits)).relative_to(tmp_path), tmp_path / "m.csv")
    settings = ProbeSettings(store=store, out=tmp_path / "out", role="cheap", splits=tmp_path / "m.csv")
    (probe,) = run(settings)["probes"]
    assert [row["predicted"] for row in rows(tmp_path / "out" / "small" / "predictions.csv")].count("c") == 0
    assert probe["metrics"]["classes"][2]["support"] == 0
    with pytest.raises(SettingsError, match="show nothing of 1 of the classes of 'test'"):
        run(ProbeSettings(store=store, out=tmp_path / "other"))


def test_the_command_prints_a_row_a_backbone_or_one_json_document(store: Path, document: dict, tmp_path: Path) -> None:
    words = ["--store", str(store), "--out", str(tmp_path)]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    header, _, big, small = result.stdout.splitlines()[:4]
    assert header.split()[:2] == ["backbone", "clips"]
    assert big.split()[:3] == ["big", "2", "20"]
    assert small.split()[:3] == ["small", "8", "8"]
    assert small.split()[-1] == "28/30"
    assert "small: 1 of the 45 videos of 'train' have no features and were left out of the fit." in result.stdout
    assert "small: 2 of the 30 videos of 'test' have no features; with them counted wrong" in result.stdout
    as_json = CliRunner().invoke(command, [*words, "--json"])
    assert json.loads(as_json.stdout) == document | {"out": str(tmp_path)}


def test_reading_and_fitting_are_progress_each(store: Path, tmp_path: Path):
    heard = Heard()
    run(ProbeSettings(store=store, out=tmp_path / "out", strengths=(0.1, 1.0)), progress=heard)
    begun = [call for call in heard.calls if ": 0 of " in call]
    assert begun[:3] == ["read big: 0 of 44 videos", "fit big: 0 of 3 fits", "read big: 0 of 28 videos"]
    assert len(begun) == heard.calls.count("end") == 6  # big and small
    assert heard.done == 2 * (44 + 28) + 2 * 3
