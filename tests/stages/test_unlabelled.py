"""Videos without labels are checked, extracted, exported and predicted; what needs labels leaves them out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from heard_progress import Heard
from made_up_runs import NAMES, MadeUpRun, make_run

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.errors import ManifestError
from vidpipe.pipeline.features.hdf5 import export_hdf5
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.inference.runs import predict_videos
from vidpipe.pipeline.manifests.manifest import read_manifest
from vidpipe.pipeline.training.learning_split import labelled
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.pipeline.training.tasks import targets_by_place, task_of
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.stages.evaluate.run import run as evaluate
from vidpipe.stages.evaluate.scores import evaluate as scores_of
from vidpipe.stages.evaluate.settings import EvaluateSettings
from vidpipe.stages.extract.run import run as extract
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.finetune.plan import prepare as prepare_finetuning
from vidpipe.stages.finetune.run import run as finetune
from vidpipe.stages.finetune.settings import FinetuneSettings, RoleBackbone
from vidpipe.stages.probe.run import run as probe
from vidpipe.stages.probe.settings import ProbeSettings
from vidpipe.stages.train_aggregator.run import run as train_aggregator
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings
from vidpipe.stages.train_backbone.plan import prepare as prepare_backbone
from vidpipe.stages.train_backbone.run import run as train_backbone
from vidpipe.stages.train_backbone.settings import TrainBackboneSettings

NUM_VIDEOS = 4
ENGINE = EngineSettings(device="cpu", precision="float32", threads=1)
NO_LABEL = r"video 'v0' has no label \(4 of 4 have none\); training and scoring need one of each video"


def store_of(world: Path, manifest: str) -> Path:
    path = world / f"{manifest}.zarr"
    roles = {role: RoleWeights(backbone=name, path=world / f"run/{role}.safetensors") for role, name in NAMES.items()}
    sampling, pattern = ClipSampling(num_clips=4), Pattern.parse("1:3")
    own = {"manifest": world / f"{manifest}.csv", "store": path, "sampling": sampling, "pattern": pattern}
    extract(ExtractSettings(**own, **roles, engine=ENGINE))
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, make_video: Callable) -> Path:
    """Return a folder with videos, two manifests of them (without and with labels), a run, and a store of each."""
    folder = tmp_path_factory.mktemp("unlabelled")
    names = [f"v{index}" for index in range(NUM_VIDEOS)]
    for index, name in enumerate(names):
        make_video(folder / f"{name}.mp4", num_frames=20 + 7 * index, size=(64, 48), seed=index)
    classes = MadeUpRun().classes
    bare = [f"{name}.mp4,test" for name in names]
    labelled = [f"{name}.mp4,{classes[index % len(classes)]},test" for index, name in enumerate(names)]
    (folder / "bare.csv").write_text("\n".join(["path,split", *bare]) + "\n")
    (folder / "labelled.csv").write_text("\n".join(["path,label,split", *labelled]) + "\n")
    make_run(folder / "run", MadeUpRun())
    for manifest in ("bare", "labelled"):
        store_of(folder, manifest)
    return folder


def test_manifest_check_finds_nothing_wrong(world: Path) -> None:
    found = CliRunner().invoke(main, ["manifest", "check", str(world / "bare.csv"), "--json"])
    assert found.exit_code == 0, found.output
    assert [entry["labels"] for entry in json.loads(found.stdout)["videos"]] == [[]] * NUM_VIDEOS


def test_the_store_holds_the_same_maps_and_no_labels(world: Path) -> None:
    bare, labelled = (FeatureStore.open(world / f"{name}.zarr") for name in ("bare", "labelled"))
    assert [video.labels for video in bare.manifest.videos] == [()] * NUM_VIDEOS
    assert bare.manifest.classes == ()
    assert bare.manifest.digest == read_manifest(world / "bare.csv").digest
    for name in NAMES.values():
        for index in range(NUM_VIDEOS):
            clips = np.flatnonzero(bare.backbone(name).due).tolist()
            first, second = (store.backbone(name).read(index, view=0, clips=clips) for store in (bare, labelled))
            assert first.tobytes() == second.tobytes()


def test_it_can_be_extracted_again_and_exported(world: Path, tmp_path: Path) -> None:
    assert store_of(world, "bare") == world / "bare.zarr"  # it matches its manifest
    export_hdf5(FeatureStore.open(world / "bare.zarr"), tmp_path / "s.h5")
    assert (tmp_path / "s.h5").is_file()


def test_videos_are_predicted_as_those_with_labels_are_scored(world: Path, tmp_path: Path) -> None:
    advanced = []
    videos = read_manifest(world / "bare.csv").videos
    run = RunDirectory.open(world / "run")
    found = predict_videos(run, videos, engine=ENGINE, workers=2, batch_size=3, advance=lambda: advanced.append(1))
    assert (found.videos, found.missing, len(advanced)) == ((0, 1, 2, 3), {}, NUM_VIDEOS)
    own = {name: getattr(ENGINE, name) for name in ("device", "precision", "batch", "threads")}
    labelled = EvaluateSettings(
        manifest=world / "labelled.csv", runs=(world / "run",), out=tmp_path, workers=2, videos_at_once=3, **own
    )
    (scored,) = scores_of(labelled).runs
    assert torch.equal(found.scores.softmax(dim=1), torch.from_numpy(scored.probabilities))
    assert found.gmacs == scored.gmacs


def test_videos_that_cannot_be_read_are_told_apart(world: Path) -> None:
    (world / "broken.mp4").write_bytes(b"not a video at all")
    (world / "broken.csv").write_text("path,split\nbroken.mp4,test\nv1.mp4,test\n")
    videos = read_manifest(world / "broken.csv").videos
    run = RunDirectory.open(world / "run")
    found = predict_videos(run, videos, engine=ENGINE, workers=0)
    assert (found.videos, list(found.missing), found.scores.shape) == ((1,), ["broken"], (1, 3))
    none = predict_videos(run, videos[:1], engine=ENGINE, workers=0)
    assert (none.videos, list(none.missing), len(none.scores)) == ((), ["broken"], 0)


def asked(world: Path, out: Path) -> dict[str, Callable[[], object]]:
    """Return what needs labels, by name."""
    store, manifest = world / "bare.zarr", world / "bare.csv"
    once = OptimisationSettings(epochs=1)
    backbone = RoleBackbone(backbone="r2d_14_w16")
    return {
        "train-backbone": lambda: train_backbone(
            TrainBackboneSettings(manifest=manifest, out=out, backbone="r2d_14_w16", split="test")
        ),
        "train-aggregator": lambda: train_aggregator(
            TrainAggregatorSettings(store=store, out=out, split="test", optimisation=once)
        ),
        "finetune": lambda: finetune(FinetuneSettings(manifest=manifest, out=out, cheap=backbone, split="test")),
        "probe": lambda: probe(ProbeSettings(store=store, out=out)),
        "evaluate on a store": lambda: evaluate(EvaluateSettings(store=store, runs=(world / "run",), out=out)),
        "evaluate on videos": lambda: evaluate(EvaluateSettings(manifest=manifest, runs=(world / "run",), out=out)),
    }


@pytest.mark.parametrize("what", list(asked(Path(), Path())))
def test_what_needs_labels_says_so(world: Path, tmp_path: Path, what: str) -> None:
    with pytest.raises(ManifestError, match=NO_LABEL):
        asked(world, tmp_path / "out")[what]()
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def mixed(world: Path) -> Path:
    """Return the folder, with a manifest and a store of it: each split has a video of each class, and one of none."""
    rows = [f"v1.mp4,{own},{split},{split}{own}" for split in ("train", "test") for own in ("", *MadeUpRun().classes)]
    (world / "mixed.csv").write_text("\n".join(["path,label,split,video_id", *rows]) + "\n")
    store_of(world, "mixed")
    return world


def test_a_manifest_may_lack_some_labels(mixed: Path) -> None:
    manifest = FeatureStore.open(mixed / "mixed.zarr").manifest
    assert [video.video_id for video in manifest.videos if not video.labels] == ["train", "test"]
    assert manifest.digest == read_manifest(mixed / "mixed.csv").digest
    checked = CliRunner().invoke(main, ["manifest", "check", str(mixed / "mixed.csv")])
    assert checked.exit_code == 3
    assert checked.stdout.splitlines()[-1] == "2 with problems: 2 empty label"
    assert "training and scoring leave this video out; extract takes it" in checked.stdout


def said_of_labels(heard: Heard) -> list[str]:
    """Return what was said about videos without a label."""
    return [call for call in heard.calls if "without a label" in call]


def test_an_aggregator_is_trained_and_scored_without_the_bare_ones(mixed: Path, tmp_path: Path) -> None:
    store, once, heard = mixed / "mixed.zarr", OptimisationSettings(epochs=1), Heard()
    own = {"aggregator": "gru", "val_fraction": 0, "optimisation": once, "device": "cpu"}
    trained = train_aggregator(TrainAggregatorSettings(store=store, out=tmp_path / "run", **own), progress=heard)
    assert (trained.num_training, trained.missing) == (3, {})
    assert said_of_labels(heard) == [
        "1 video without a label is left out: training and scoring need one of each video."
    ]
    scored_by = EvaluateSettings(store=store, runs=(tmp_path / "run",), out=tmp_path / "e", device="cpu")
    (run,) = evaluate(scored_by, progress=(heard := Heard()))["runs"]
    assert (run["metrics"]["num_scored"], run["metrics"]["num_expected"], run["num_unlabelled"]) == (3, 3, 1)
    assert len(said_of_labels(heard)) == 1


def test_a_probe_is_fitted_without_the_bare_ones(mixed: Path, tmp_path: Path) -> None:
    found = probe(ProbeSettings(store=mixed / "mixed.zarr", out=tmp_path / "probe"), progress=(heard := Heard()))
    assert found["probes"][0]["num_training"] == found["probes"][0]["metrics"]["num_expected"] == 3
    assert said_of_labels(heard) == [
        "2 videos without a label are left out: training and scoring need one of each video."
    ]


def test_backbones_are_trained_without_the_bare_ones(mixed: Path, tmp_path: Path) -> None:
    manifest = mixed / "mixed.csv"
    alone = prepare_backbone(
        TrainBackboneSettings(manifest=manifest, out=tmp_path / "b", backbone="r2d_14_w16", val_split="test")
    )
    assert ([len(clips.labels) for clips in alone.clips], alone.unlabelled) == ([3, 3], 2)
    backbone = RoleBackbone(backbone="r2d_14_w16")
    tuned = prepare_finetuning(FinetuneSettings(manifest=manifest, out=tmp_path / "f", cheap=backbone, val_fraction=0))
    assert (len(tuned.training), tuned.unlabelled) == (3, 1)


def test_a_split_without_any_label_is_refused(mixed: Path) -> None:
    manifest = read_manifest(mixed / "mixed.csv")
    bare = [place for place, video in enumerate(manifest.videos) if not video.labels]
    with pytest.raises(ManifestError, match=r"none of the 2 videos of the split 'x' has a label; training and scoring"):
        labelled(manifest, bare, split="x")
    assert labelled(manifest, [], split="x") == ()
    of_class = [place for place, _ in enumerate(manifest.videos) if place not in bare]
    found = targets_by_place(task_of(manifest), manifest)
    assert (found[bare].tolist(), sorted(found[of_class].tolist())) == ([-1, -1], [0, 0, 1, 1, 2, 2])
