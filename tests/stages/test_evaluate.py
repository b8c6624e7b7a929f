"""Evaluation: its figures are those of its own predictions, missing videos count, and foreign runs are refused."""

import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from made_up_stores import MadeUp, make_store, take_over
from matplotlib.image import imread
from refusals import assert_refused
from sketched_pictures import rendered

from vidpipe.cli.evaluate import document_text
from vidpipe.cli.main import main
from vidpipe.pipeline.errors import ManifestError, RunError, SettingsError
from vidpipe.pipeline.evaluation.confidence import mean_interval, wilson_interval
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.pipeline.videos.reading import Reading
from vidpipe.stages.evaluate import pictures
from vidpipe.stages.evaluate.grouping import unique_names
from vidpipe.stages.evaluate.run import run as evaluate
from vidpipe.stages.evaluate.scores import EvaluateSettings
from vidpipe.stages.probe.run import run as probe
from vidpipe.stages.probe.settings import ProbeSettings
from vidpipe.stages.train_aggregator.run import run as train
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings

LEARN = OptimisationSettings(
    epochs=12, batch_size=8, optimizer="adamw", learning_rate=0.01, weight_decay=0.01, warmup_epochs=1, clip_norm=1.0
)
WANTED = MadeUp(num_training=40, num_test=30, failed=(41,), pending=(44,))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a store and the runs `fast0`, `fast1` (another seed), `cheap` and `mixed` (averages)."""
    directory = tmp_path_factory.mktemp("evaluate")
    store = make_store(directory / "s.zarr", WANTED)
    for seed in (0, 1):
        settings = TrainAggregatorSettings(store=store, out=directory / f"fast{seed}", optimisation=LEARN)
        train(replace(settings, optimisation=replace(LEARN, seed=seed)))
    for name, pattern in (("cheap", "all-cheap"), ("mixed", "1:3")):
        own = {"aggregator": "average", "pattern": Pattern.parse(pattern)}
        train(TrainAggregatorSettings(store=store, out=directory / name, **own))
    return directory


def settings(place: Path, out: Path, *names: str, split: str = "test") -> EvaluateSettings:
    return EvaluateSettings(store=place / "s.zarr", runs=tuple(place / name for name in names), out=out, split=split)


@pytest.fixture(scope="module")
def document(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    with rendered():
        return evaluate(settings(place, tmp_path_factory.mktemp("out"), "fast0", "fast1", "cheap", "mixed"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_fast_gru_tells_the_order_that_averaging_cannot(document: dict) -> None:
    top1 = {run["name"]: run["metrics"]["top1"] for run in document["runs"]}
    assert min(top1["fast0"], top1["fast1"]) > 0.9
    assert 0.2 < top1["cheap"] < 0.8
    assert 0.2 < top1["mixed"] < 0.8


def test_costs_add_up(document: dict) -> None:
    gmacs = {run["name"]: run["gmacs"] for run in document["runs"]}
    assert (gmacs["cheap"], gmacs["mixed"]) == (8.0, 26.0)
    steps = 7 * 4 * 3.5 * 8**2 + 8 * 2  # clips but one, positions, weights at r = 4, and the classifier
    assert gmacs["fast0"] == pytest.approx(26 + steps / 1e9, rel=1e-12)


def test_missing_videos_are_counted_and_explained(document: dict) -> None:
    for run in document["runs"]:
        metrics = run["metrics"]
        assert (metrics["num_expected"], metrics["num_scored"]) == (30, 28)
        assert run["missing"] == {"v041": "no video stream", "v044": "not extracted yet"}
        assert metrics["top1_missing_wrong"] == pytest.approx(metrics["top1"] * 28 / 30)


def test_predictions_give_the_figures_again(document: dict) -> None:
    for run in document["runs"]:
        folder = Path(document["out"]) / run["name"]
        predictions = rows(folder / "predictions.csv")
        assert [row["video_id"] for row in predictions] == [f"v{i:03}" for i in range(40, 70)]
        missing = {row["video_id"]: row["missing"] for row in predictions if row["missing"]}
        assert missing == run["missing"]
        scored = [row for row in predictions if not row["missing"]]
        assert np.mean([row["label"] == row["predicted"] for row in scored]) == run["metrics"]["top1"]
        for row in scored:
            assert row["predicted"] == row["class_1"]
            assert float(row["probability_1"]) + float(row["probability_2"]) == pytest.approx(1, abs=2e-6)
            assert float(row["probability_1"]) >= float(row["probability_2"])
        confusion = [[int(row[name]) for name in WANTED.classes] for row in rows(folder / "confusion.csv")]
        assert confusion == run["metrics"]["confusion"]
        assert sum(map(sum, confusion)) == 28
        report = rows(folder / "classes.csv")
        assert [int(row["support"]) for row in report] == [sum(row) for row in confusion]


def test_averages_are_those_of_the_stored_scores(place: Path, document: dict) -> None:
    store = FeatureStore.open(place / "s.zarr")
    for row in rows(Path(document["out"]) / "cheap" / "predictions.csv"):
        if not row["missing"]:
            scores = store.backbone("small").read_scores(int(row["video_id"][1:]))
            odds = np.exp(scores.astype(float))
            mean = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)
            assert row["predicted"] == store.manifest.classes[mean.argmax()]
            assert float(row["probability_1"]) == pytest.approx(mean.max(), abs=1e-5)


def test_seeds_make_one_group_with_a_spread(document: dict) -> None:
    groups = {group["label"]: group for group in document["groups"]}
    assert {label: group["members"] for label, group in groups.items()} == {
        "fast-gru 1:3": ["fast0", "fast1"],
        "average all-cheap": ["cheap"],
        "average 1:3": ["mixed"],
    }
    top1 = [run["metrics"]["top1"] for run in document["runs"][:2]]
    assert groups["fast-gru 1:3"]["top1_mean"] == pytest.approx(np.mean(top1))
    assert groups["fast-gru 1:3"]["top1_deviation"] == pytest.approx(np.std(top1, ddof=1))
    assert groups["average 1:3"]["top1_deviation"] is None


def test_everything_is_left_as_files(document: dict) -> None:
    out = Path(document["out"])
    assert json.loads((out / "metrics.json").read_text()) == document
    assert imread(out / "accuracy_vs_gmacs.png").std() > 0.05
    for run in document["runs"]:
        names = {path.name for path in (out / run["name"]).iterdir()}
        assert names == {"predictions.csv", "classes.csv", "confusion.csv", "confusion.png"}
        assert imread(out / run["name"] / "confusion.png").std() > 0.05


def test_batches_change_nothing(place: Path, document: dict, tmp_path: Path) -> None:
    again = evaluate(replace(settings(place, tmp_path, "fast0"), videos_at_once=1))
    assert again["runs"][0]["metrics"] == document["runs"][0]["metrics"]


def test_another_store_of_the_same_backbones_will_do(place: Path, tmp_path: Path) -> None:
    store = make_store(
        tmp_path / "other.zarr", replace(WANTED, seed=9, num_training=0, num_test=10, failed=(), pending=())
    )
    result = evaluate(replace(settings(place, tmp_path / "out", "fast0"), store=store))
    assert result["runs"][0]["metrics"]["num_scored"] == 10
    assert result["runs"][0]["metrics"]["top1"] > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "new"}, r'backbones\.expensive\.weights_sha256 is "w of big" there, "new of big" here'),
        ({"classes": ("a", "b")}, "classes: 'high then low', 'low then high' only there, 'a', 'b' only here"),
        ({"reading": Reading(hdr="as-is")}, r'sampling\.hdr is "tone-map" there, "as-is" here'),
        ({"pattern": None}, r'backbones\.expensive\.name is "big" there, null here'),
    ],
)
def test_runs_of_other_backbones_or_classes_are_refused(
    place: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    wanted = replace(WANTED, num_training=2, num_test=2, failed=(), pending=(), **changes)
    store = make_store(tmp_path / "other.zarr", wanted)
    with assert_refused(RunError, match=message):
        evaluate(replace(settings(place, tmp_path / "out", "fast0"), store=store))
    assert not (tmp_path / "out").exists()


def test_runs_that_are_none_or_unfinished_are_refused(place: Path, tmp_path: Path) -> None:
    made = RunDirectory.open(place / "fast0").settings
    unfinished = RunDirectory.open_or_create(tmp_path / "unfinished", settings=made)
    backbone = RunDirectory.open_or_create(tmp_path / "backbone", settings={"stage": "train-backbone"})
    for path, message in (
        (unfinished.path, "is not finished"),
        (backbone.path, "is no run of vidpipe train-aggregator"),
        (tmp_path / "nothing", "is not a run directory"),
    ):
        with assert_refused(RunError, match=message):
            evaluate(replace(settings(place, tmp_path / "out", "fast0"), runs=(path,)))


def test_splits_without_videos_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no split 'val'; it has: test \(30\), train \(40\)"):
        evaluate(settings(place, tmp_path, "fast0", split="val"))
    store = make_store(tmp_path / "s.zarr", replace(WANTED, num_training=2, num_test=2, failed=(), pending=(2, 3)))
    with pytest.raises(SettingsError, match="none of the 2 videos of the split 'test' is extracted"):
        evaluate(replace(settings(place, tmp_path / "out", "fast0"), store=store))
    with pytest.raises(SettingsError, match="give each run once"):
        settings(place, tmp_path, "fast0", "fast0")


def test_directories_that_cannot_be_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "report" / "deep"):
        with assert_refused(SettingsError, match=rf"--out {out} cannot be a directory: .*/file is a file"):
            evaluate(settings(tmp_path, out, "nowhere"))
    assert (tmp_path / "file").read_text() == "in the way"


def test_names_are_as_short_as_can_be() -> None:
    assert unique_names([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert unique_names([Path("/a/x"), Path("/b/x")]) == ["a-x", "b-x"]


def test_the_command_prints_aligned_tables_or_one_json_document(place: Path, document: dict, tmp_path: Path) -> None:
    arguments = ["evaluate", "--store", str(place / "s.zarr"), "--out", str(tmp_path)]
    arguments += [word for name in ("fast0", "fast1", "cheap", "mixed") for word in ("--run", str(place / name))]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    header = lines[0]
    assert all(line[header.index("scored") :].strip() == "28/30" for line in lines[2:6])
    assert "2 of the 30 videos of 'test' have no features" in result.stdout
    assert "fast-gru 1:3" in result.stdout
    as_json = CliRunner().invoke(main, [*arguments, "--json"])
    assert json.loads(as_json.stdout) == document | {"out": str(tmp_path), "store": str(place / "s.zarr")}


def test_the_table_has_intervals_blind_answers_and_a_paired_test(place: Path, document: dict, tmp_path: Path) -> None:
    for run in document["runs"]:
        metrics = run["metrics"]
        right = round(metrics["top1"] * 28)
        assert metrics["top1_interval"] == asdict(wilson_interval(right, 28))
        assert metrics["mean_class_accuracy_interval"]["method"] == "mover-wilson"
    chance, majority = document["baselines"]
    assert (chance["name"], chance["top1"], majority["name"]) == ("chance", 0.5, "majority class")
    counts = [own["support"] for own in document["runs"][0]["metrics"]["classes"]]
    assert majority["top1"] == max(counts) / 28
    assert chance["runs"] == [run["name"] for run in document["runs"]]
    fast = next(group for group in document["groups"] if group["family"] == "fast-gru")
    ends = mean_interval([run["metrics"]["top1"] for run in document["runs"][:2]]).share_interval
    if fast["top1_deviation"]:
        assert (fast["top1_interval"], fast["interval_over"]) == (asdict(ends), "seeds")
    else:
        assert (fast["top1_interval"], fast["interval_over"]) == (
            document["runs"][0]["metrics"]["top1_interval"],
            "videos",
        )
    # Two seeds of one setting are not compared; everything else is.
    pairs = [(own["first"], own["second"]) for own in document["comparisons"]]
    assert pairs == [(a, b) for a in ("fast0", "fast1") for b in ("cheap", "mixed")] + [("cheap", "mixed")]
    right = {
        name: {
            row["video_id"]: row["outcome"] == "right" for row in rows(Path(document["out"]) / name / "predictions.csv")
        }
        for name in ("fast0", "cheap")
    }
    only = sum(right["fast0"][name] and not right["cheap"][name] for name in right["cheap"])
    assert (document["comparisons"][0]["only_first_right"], document["comparisons"][0]["num_videos"]) == (only, 28)
    assert document["comparisons"][0]["p_value_holm"] < 0.05

    text = document_text(document).splitlines()
    assert "top-5" not in text[0]
    assert [line.split("  ")[0] for line in text[6:8]] == ["chance", "majority class"]
    assert text[2].count("[") == 2
    (line,) = [line for line in text if "McNemar" in line]
    assert "it is better than cheap, mixed (p = 0.00" in line and "Holm over 5 pairs" in line


def test_backbones_and_probes_stand_in_the_same_table(place: Path, tmp_path: Path) -> None:
    probe(ProbeSettings(store=place / "s.zarr", out=tmp_path / "probe"))
    mixture = ProbeSettings(store=place / "s.zarr", out=tmp_path / "mixture", pattern=Pattern.parse("1:3"))
    probe(mixture)
    wanted = replace(
        settings(place, tmp_path / "out", "fast0", "cheap"),
        runs=(place / "fast0", place / "cheap", tmp_path / "probe", tmp_path / "mixture"),
        backbones=("small", "big"),
    )
    found = {run["name"]: run for run in evaluate(wanted)["runs"]}
    assert list(found) == ["fast0", "cheap", "probe-big", "probe-small", "mixture", "small", "big"]
    # The average of all of a backbone's clips is the aggregator of that name, and a probe is what its own stage scored.
    same = ("top1", "mean_class_accuracy", "confusion", "num_scored")
    for name in same:
        assert found["small"]["metrics"][name] == found["cheap"]["metrics"][name]
    assert (found["small"]["gmacs"], found["small"]["run"], found["big"]["num_clips"]) == (8.0, None, 2)
    for folder, names in ((tmp_path / "probe", ("big", "small")), (tmp_path / "mixture", ("big+small",))):
        for own in json.loads((folder / "metrics.json").read_text())["probes"]:
            name = f"probe-{own['name']}" if len(names) > 1 else "mixture"
            assert all(found[name]["metrics"][figure] == own["metrics"][figure] for figure in same)
            assert (found[name]["gmacs"], found[name]["missing"]) == (own["gmacs"], own["missing"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": ("huge",)}, "--backbone huge: .* has no such backbone; it has big, small"),
        ({"backbones": ("small", "small")}, "give each --backbone once"),
        ({"store": None, "manifest": Path("m.csv"), "backbones": ("small",)}, "only a store holds the scores"),
    ],
)
def test_backbones_that_cannot_be_scored_are_refused(place: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with assert_refused(SettingsError, match=message):
        evaluate(replace(settings(place, tmp_path / "out", "fast0"), **changes))
    assert not (tmp_path / "out").exists()


def test_probes_on_other_stores_or_other_clips_are_refused(place: Path, tmp_path: Path) -> None:
    probe(ProbeSettings(store=place / "s.zarr", out=tmp_path / "probe"))
    few = replace(WANTED, num_training=0, num_test=4, failed=(), pending=())
    for changes, message in (
        ({"weights": "new"}, r'backbones\.big\.weights_sha256 is "w of big" there, "new of big" here'),
        ({"num_clips": 4}, r"sampling\.num_clips is 8 there, 4 here"),
        ({"classes": ("a", "b")}, "'high then low', 'low then high' only there, 'a', 'b' only here"),
    ):
        store = make_store(tmp_path / f"{message[-3]}{len(message)}.zarr", replace(few, **changes))
        with assert_refused(RunError, match=message):
            evaluate(EvaluateSettings(store=store, runs=(tmp_path / "probe",), out=tmp_path / "out"))
    with assert_refused(RunError, match="is a run of vidpipe probe, which reads stored maps"):
        evaluate(EvaluateSettings(manifest=tmp_path / "m.csv", runs=(tmp_path / "probe",), out=tmp_path / "out"))


def test_a_test_set_need_not_show_every_class_and_unknown_ones_are_wrong(place: Path, tmp_path: Path) -> None:
    known = WANTED.classes
    base = replace(WANTED, seed=5, num_training=0, num_test=12, failed=(), pending=(), backbone_classes=known)
    labels = dict.fromkeys(range(12), (known[0],))
    one = make_store(tmp_path / "one.zarr", replace(base, labels=labels))
    document = evaluate(replace(settings(place, tmp_path / "a", "fast0", "cheap"), store=one, backbones=("small",)))
    for run in document["runs"]:
        assert run["absent_classes"] == [known[1]]
        assert run["metrics"]["mean_class_accuracy"] == run["metrics"]["top1"]
        assert run["metrics"]["num_occurring"] == 1
    said = document_text(document)
    assert "'test' shows 1 of the 2 classes, without 'low then high'; class mean % is over the 1 that occur." in said

    labels = {i: ("of another kind" if i < 3 else known[i % 2],) for i in range(12)}
    other = make_store(tmp_path / "other.zarr", replace(base, classes=(*known, "of another kind"), labels=labels))
    document = evaluate(replace(settings(place, tmp_path / "b", "fast0", "cheap"), store=other))
    for run in document["runs"]:
        assert run["unknown_classes"] == {"of another kind": 3}
        assert run["metrics"]["confusion"][2][2] == 0
        answers = rows(tmp_path / "b" / run["name"] / "predictions.csv")
        assert [row["outcome"] for row in answers[:3]] == ["wrong"] * 3
        assert run["metrics"]["top1"] == sum(row["outcome"] == "right" for row in answers) / 12
    assert document["baselines"][0]["top1"] == pytest.approx(9 / 12 / 2)
    said = "fast0, cheap: 3 of the 12 scored videos are of classes that training did not show ('of another kind')"
    assert said in document_text(document)


def test_predictions_say_what_the_manifest_says_and_whether_they_are_right(document: dict) -> None:
    run = document["runs"][0]
    found = rows(Path(document["out"]) / run["name"] / "predictions.csv")
    assert list(found[0])[:8] == ["video_id", "path", "split", "label", "true", "predicted", "outcome", "probability"]
    for row in found:
        assert (row["path"], row["split"], row["true"]) == (f"{row['video_id']}.mp4", "test", row["label"])
        if row["missing"]:
            assert (row["outcome"], row["probability"], row["predicted"]) == ("", "", "")
        else:
            assert row["outcome"] == ("right" if row["true"] == row["predicted"] else "wrong")
            assert row["probability"] == row["probability_1"]
    assert sum(row["outcome"] == "right" for row in found) / 28 == run["metrics"]["top1"]


def test_a_picture_that_fails_costs_no_figure(
    place: Path, document: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        assert (tmp_path / "metrics.json").is_file()
        raise RuntimeError("a glyph\nis missing")

    monkeypatch.setattr(pictures, "save_confusion_matrix", fail)
    (tmp_path / "fast0").mkdir()
    (tmp_path / "fast0" / "confusion.png").write_bytes(b"of earlier figures")
    words = ["evaluate", "--store", str(place / "s.zarr"), "--run", str(place / "fast0"), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    path = tmp_path / "fast0" / "confusion.png"
    assert result.exit_code == 0, result.output
    assert f"Warning: {path} could not be drawn (RuntimeError: a glyph). No figure is lost." in result.stderr
    assert not path.exists()
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["failed_pictures"] == {str(path): "RuntimeError: a glyph"}
    assert written["runs"][0]["metrics"] == document["runs"][0]["metrics"]
    assert (tmp_path / "accuracy_vs_gmacs.png").is_file()


def write_splits(path: Path, test: range) -> Path:
    """Write a manifest of the made-up videos in which those of ``test`` are the test split."""
    rows = [
        f"v{index:03},v{index:03}.mp4,{WANTED.classes[index % 2]},{'test' if index in test else 'train'}"
        for index in range(WANTED.num_training + WANTED.num_test)
    ]
    path.write_text("video_id,path,label,split\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_runs_on_other_splits_of_one_store_are_scored_on_their_own_and_averaged(place: Path, tmp_path: Path) -> None:
    short = replace(LEARN, epochs=2)
    own = TrainAggregatorSettings(store=place / "s.zarr", out=tmp_path / "run", optimisation=short)
    for number, test in enumerate((range(10), range(10, 30)), start=1):
        train(replace(own, out=tmp_path / f"split{number}", splits=write_splits(tmp_path / f"{number}.csv", test)))
    found = evaluate(
        EvaluateSettings(
            store=place / "s.zarr", runs=(tmp_path / "split1", tmp_path / "split2"), out=tmp_path / "report"
        )
    )
    assert [run["metrics"]["num_expected"] for run in found["runs"]] == [10, 20]
    scored = [[row["video_id"] for row in rows(tmp_path / "report" / f"split{n}" / "predictions.csv")] for n in (1, 2)]
    assert scored == [[f"v{index:03}" for index in test] for test in (range(10), range(10, 30))]
    (group,) = found["groups"]
    top1 = [run["metrics"]["top1"] for run in found["runs"]]
    assert group["members"] == ["split1", "split2"]
    assert group["top1_mean"] == pytest.approx(sum(top1) / 2)

    again = replace(own, out=tmp_path / "split2b", splits=tmp_path / "2.csv", optimisation=replace(short, seed=1))
    train(again)
    runs = tuple(tmp_path / name for name in ("split1", "split2", "split2b"))
    found = evaluate(EvaluateSettings(store=place / "s.zarr", runs=runs, out=tmp_path / "report"))
    first, second, third = (run["metrics"]["top1"] for run in found["runs"])
    (group,) = found["groups"]
    assert group["top1_mean"] == pytest.approx((first + (second + third) / 2) / 2)  # splits weigh the same

    # The run's splits hold in a store that has changed since: it must not be scored on what it was trained on.
    grown = shutil.copytree(place / "s.zarr", tmp_path / "grown.zarr")
    take_over(grown, lambda videos: (videos.pop(5), videos.append(replace(videos[-1], video_id="new"))))
    found = evaluate(EvaluateSettings(store=grown, runs=runs[:1], out=tmp_path / "report"))
    assert found["runs"][0]["metrics"]["num_expected"] == 9

    path = tmp_path / "split1" / "splits.json"
    path.write_text(path.read_text().replace('"train"', '"test"', 1))
    with pytest.raises(RunError, match=r"splits\.json is not what the run was trained with"):
        evaluate(EvaluateSettings(store=place / "s.zarr", runs=runs, out=tmp_path / "report"))


def test_splits_that_do_not_fit_the_store_are_refused(place: Path, tmp_path: Path) -> None:
    own = TrainAggregatorSettings(store=place / "s.zarr", out=tmp_path / "run", optimisation=LEARN)
    good = write_splits(tmp_path / "good.csv", range(10)).read_text()
    for text, message in (
        (good + "other,o.mp4,high then low,test\n", "lists 1 videos that the store does not hold, such as 'other'"),
        (
            good.replace("v001.mp4,low then high", "v001.mp4,high then low"),
            "labels 'v001' 'high then low', but the store",
        ),
        (good.replace(",train", ",fit"), r"no split 'train'; it has: fit \(\d+\), test \(10\)"),
    ):
        (tmp_path / "m.csv").write_text(text)
        with assert_refused(ManifestError, match=message):
            train(replace(own, splits=tmp_path / "m.csv"))
    assert not (tmp_path / "run").exists()
