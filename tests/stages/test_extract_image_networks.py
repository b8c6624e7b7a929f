"""Features of image networks: a map a frame, or averages in time by --pool-time, from one weights file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, save_weights
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.videos.preprocessing import Preprocessing

NAME = "mobilenet_v2"


@pytest.fixture(scope="module")
def world(tmp_path_factory, make_video) -> Path:
    folder = tmp_path_factory.mktemp("images")
    make_video(folder / "v.mp4", num_frames=20, size=(48, 40), seed=0)
    (folder / "m.csv").write_text("path,label,split\nv.mp4,a,test\n")
    torch.manual_seed(0)
    for name in (NAME, "r2d_14_w16"):
        own = build_backbone(name, num_classes=2)
        pre = Preprocessing(crop=32, short_side=36)
        file = folder / f"{name}.safetensors"
        save_weights(file, collect_weights(own, classes="ab", preprocessing=pre, num_frames=8))
    return folder


def extract(world: Path, store: Path, *more: str, name: str = NAME):
    fixed = ["--clips=2", "--device=cpu", "--precision=float32", "--threads=1"]
    roles = [f"--cheap={name}={world / name}.safetensors"]
    return CliRunner().invoke(main, ["extract", f"--manifest={world}/m.csv", f"--store={store}", *roles, *fixed, *more])


def test_averages_in_time_are_those_of_the_frames_maps(world, tmp_path):
    for store, more in (("frames", ()), ("averages", ("--pool-time=4",))):
        result = extract(world, tmp_path / store, *more)
        assert result.exit_code == 0, result.output
    frames = FeatureStore.open(tmp_path / "frames").backbone(NAME)
    averages = FeatureStore.open(tmp_path / "averages").backbone(f"{NAME}_t4")
    assert (frames.feature_shape, averages.feature_shape) == ((8, 1, 1, 1280), (2, 1, 1, 1280))
    assert averages.provenance["weights_sha256"] == frames.provenance["weights_sha256"]
    every, fewer = (np.asarray(own.features[0], np.float32) for own in (frames, averages))
    expected = every.reshape(*every.shape[:2], 2, 4, 1, 1, 1280).mean(axis=3)
    np.testing.assert_allclose(fewer, expected, atol=2e-3)
    np.testing.assert_allclose(averages.scores[0], frames.scores[0], atol=1e-5)  # linear in the maps
    words = ["store", "verify", str(tmp_path / "averages"), "--recompute=1", f"--manifest={world}/m.csv"]
    result = CliRunner().invoke(main, [*words, f"--weights={world / NAME}.safetensors"])
    assert result.exit_code == 0, result.output


def test_networks_that_mix_frames_are_not_averaged(world, tmp_path):
    result = extract(world, tmp_path / "s", "--pool-time=4", name="r2d_14_w16")
    assert result.exit_code != 0
    assert "--pool-time averages the maps of single frames, and r2d_14_w16 has none" in result.output


def test_clips_must_divide_into_the_groups(world, tmp_path):
    result = extract(world, tmp_path / "s", "--pool-time=3")
    assert result.exit_code != 0
    assert "needs clips of a multiple of 3 frames; got 8" in result.output
