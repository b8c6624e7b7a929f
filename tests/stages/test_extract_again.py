"""A store is extended only from the files that it was made of, by one command at a time."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch

from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, save_weights
from vidpipe.pipeline.errors import StoreError
from vidpipe.pipeline.features.format import Status
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.stages.extract import plan, task
from vidpipe.stages.extract.run import run
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.extract.task import prepare

EXPENSIVE = "r2plus1d_14_w16"
ALL = Pattern.parse("all-expensive")


@pytest.fixture
def own(tmp_path: Path, make_video: Callable[..., Path]) -> ExtractSettings:
    """Return the settings of a run over one video, whose first clip alone is expensive; it is done."""
    make_video(tmp_path / "v.mp4", num_frames=30, size=(80, 64), seed=0)
    (tmp_path / "m.csv").write_text("path,label,split\nv.mp4,a,train\n")
    torch.manual_seed(0)
    weights = collect_weights(
        build_backbone(EXPENSIVE, num_classes=2),
        classes=("a", "b"),
        preprocessing=Preprocessing(crop=32, short_side=36),
        num_frames=8,
    )
    save_weights(tmp_path / "w.safetensors", weights)
    settings = ExtractSettings(
        manifest=tmp_path / "m.csv",
        store=tmp_path / "s.zarr",
        expensive=RoleWeights(backbone=EXPENSIVE, path=tmp_path / "w.safetensors"),
        sampling=ClipSampling(num_clips=2),
        pattern=Pattern.parse("first"),
        engine=EngineSettings(device="cpu", precision="float32", threads=1),
        record_content=True,
    )
    run(settings)
    return settings


def shard(own: ExtractSettings) -> bytes:
    (path,) = (own.store / EXPENSIVE / "features").glob("c.*")
    return path.read_bytes()


def test_a_file_that_has_changed_never_becomes_done(
    own: ExtractSettings, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    shutil.rmtree(own.store)
    own = replace(own, record_content=False)
    run(own)
    before = shard(own)
    make_video(tmp_path / "v.mp4", num_frames=60, size=(80, 64), seed=1)
    more = replace(own, pattern=ALL, retry_failed=True)
    for _ in range(2):
        assert "has changed since it was extracted" in run(more).failed["v"]
        assert FeatureStore.open(own.store).backbone(EXPENSIVE).status().tolist() == [Status.PARTLY_FAILED]
        assert shard(own) == before


def test_clips_that_a_kill_left_there_are_compared_and_recorded_like_others(own: ExtractSettings) -> None:
    more = replace(own, pattern=ALL, retry_failed=True)
    run(more)
    whole = {path: path.read_bytes() for path in sorted(own.store.rglob("*")) if path.is_file()}
    # As a kill leaves it between the shard and the records.
    with FeatureStore.open_to_coordinate(own.store) as store:
        group = store.backbone(EXPENSIVE)
        group.mark(0, Status.PARTLY_FAILED, "no memory")
        store.set_contents({0: ""})
    assert run(more).left_out == {}
    assert {path: path.read_bytes() for path in sorted(own.store.rglob("*")) if path.is_file()} == whole


def test_clips_that_a_kill_left_there_do_not_make_a_changed_file_done(
    own: ExtractSettings, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    run(replace(own, pattern=ALL))
    with FeatureStore.open_to_coordinate(own.store) as store:
        store.backbone(EXPENSIVE).mark(0, Status.PARTLY_FAILED, "no memory")
    make_video(tmp_path / "v.mp4", num_frames=60, size=(80, 64), seed=1)
    assert "has changed" in run(replace(own, pattern=ALL, retry_failed=True)).failed["v"]


def test_the_plan_is_made_under_the_lock(own: ExtractSettings) -> None:
    def another(_: object) -> None:
        with pytest.raises(StoreError, match="writ"):
            FeatureStore.open_to_coordinate(own.store)

    assert np.isfinite(FeatureStore.open(own.store).clip_starts()).all()
    assert run(own, planned=another).done == 0


def test_two_that_begin_a_store_together(own: ExtractSettings) -> None:
    shutil.rmtree(own.store)
    with pytest.raises(StoreError):
        run(own, planned=lambda _: run(own))
    assert run(own).already_done == 1


def test_nothing_is_built_or_counted_when_nothing_is_due(own: ExtractSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def heavy(*_: object, **__: object) -> None:
        raise AssertionError("a finished store takes no network")

    prepare.cache_clear()
    for module, name in ((task, "build_engine"), (plan, "backbone_macs")):
        monkeypatch.setattr(module, name, heavy)
    assert run(own).nothing_to_do
    with pytest.raises(AssertionError):
        run(replace(own, pattern=ALL))


@pytest.mark.parametrize("attribute", [("provenance", "gmacs_per_clip"), ("provenance", "engine", "precision")])
def test_what_a_store_records_is_compared_before_anything_is_added(
    own: ExtractSettings, attribute: tuple[str, ...]
) -> None:
    path = own.store / EXPENSIVE / "zarr.json"
    document = json.loads(path.read_text())
    *parts, last = attribute
    reduce(dict.__getitem__, parts, document["attributes"])[last] = "other"
    path.write_text(json.dumps(document))
    before = {file: file.read_bytes() for file in own.store.rglob("*") if file.is_file()}
    with pytest.raises(StoreError, match=f"{last}.*other"):
        run(replace(own, pattern=ALL))
    assert {file: file.read_bytes() for file in own.store.rglob("*") if file.is_file()} == before


def test_another_engine_is_refused_though_nothing_is_due(own: ExtractSettings) -> None:
    with pytest.raises(StoreError, match="batch"):
        run(replace(own, engine=replace(own.engine, batch=2)))
