"""Every awkward or broken file goes through `extract`: it gives features, or a recorded reason, and never a crash."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, save_weights
from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.videos.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def about(media: Path) -> list[dict[str, str]]:
    """Return what is known of each file."""
    with (media / "hard" / "about.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_decodes_gives_features_and_what_is_broken_a_reason(
    media: Path, about: list[dict[str, str]], tmp_path: Path
):
    manifest = tmp_path / "m.csv"
    rows = [f"{row['path']},{media / 'hard' / row['path']},some,all" for row in about]
    manifest.write_text("\n".join(["video_id,path,label,split", *rows]) + "\n")
    torch.manual_seed(0)
    backbone = build_backbone("r2d_14_w16", num_classes=2)
    own = collect_weights(
        backbone, classes=("a", "b"), preprocessing=Preprocessing(crop=32, short_side=36), num_frames=8
    )
    save_weights(tmp_path / "w.safetensors", own)
    words = ["extract", f"--manifest={manifest}", f"--store={tmp_path}/s.zarr", "--clips=3", "--threads=1", "--json"]
    result = CliRunner().invoke(main, [*words, f"--cheap=r2d_14_w16={tmp_path}/w.safetensors"], catch_exceptions=False)
    assert result.exit_code == 3
    broken = {row["path"] for row in about if row["error"]}
    failed = json.loads(result.stdout)["failed"]
    assert failed.keys() == broken
    assert all(str(media) not in reason and len(reason) > 5 for reason in failed.values())
    group = FeatureStore.open(tmp_path / "s.zarr").backbone("r2d_14_w16")
    for index, row in enumerate(about):
        assert group.status()[index] == (Status.FAILED if row["path"] in broken else Status.DONE)
        if row["path"] not in broken:
            assert np.isfinite(group.read(index)).all()
