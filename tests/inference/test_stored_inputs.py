"""What an aggregator reads: exactly the stored clips that the pattern asks for, cached or not, and nothing NaN."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_stores import GMACS, NAMES, SHAPE, MadeUp, make_store
from refusals import assert_refused

from vidpipe.pipeline.costs.gmacs import stored_gmacs
from vidpipe.pipeline.errors import ManifestError, SettingsError, StoreError
from vidpipe.pipeline.features.clip_selection import select
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.inference.inputs import batch_of
from vidpipe.pipeline.inference.stored_inputs import AggregatorInputs
from vidpipe.pipeline.training.tasks import task_of

SMALL = MadeUp(num_training=4, num_test=2, views=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return FeatureStore.open(make_store(tmp_path_factory.mktemp("store") / "s.zarr", SMALL))


def inputs(
    store: FeatureStore, pattern: str, num_clips: int | None = None, *, cached: bool = False
) -> AggregatorInputs:
    return AggregatorInputs(
        store,
        selection=select(store, pattern=Pattern.parse(pattern), num_clips=num_clips),
        classes=store.manifest.classes,
        needs_features=True,
        needs_scores=True,
        cache_bytes=2**30 if cached else 0,
        cached_videos=6,
    )


@pytest.mark.parametrize(
    ("pattern", "num_clips", "expected"),
    [
        ("1:3", 8, "E0 c1 c2 c3 E4 c5 c6 c7"),
        ("first", 8, "E0 c1 c2 c3 c4 c5 c6 c7"),
        ("all-cheap", 4, "c0 c2 c4 c6"),
        ("all-expensive", 2, "E0 E4"),
        ("1:1", 4, "E0 c2 E4 c6"),
    ],
)
def test_spread_clips_are_those_of_the_pattern(
    store: FeatureStore, pattern: str, num_clips: int, expected: str
) -> None:
    maps, scores = inputs(store, pattern, num_clips).spread_clips(3)
    groups = {"expensive": store.backbone("big"), "cheap": store.backbone("small")}
    words = [("expensive" if word[0] == "E" else "cheap", int(word[1:])) for word in expected.split()]
    assert set(maps) == {role for role, _ in words}
    for role, own in maps.items():
        np.testing.assert_array_equal(own, groups[role].read(3, view=0, clips=[c for r, c in words if r == role]))
    for place, (role, clip) in enumerate(words):
        np.testing.assert_array_equal(scores[place], groups[role].read_scores(3, view=0)[clip])


def test_draws_depend_on_seed_epoch_and_video_alone_and_vary_views_and_clips(store: FeatureStore) -> None:
    reader, again = inputs(store, "1:1", 4), inputs(store, "1:1", 4, cached=True)
    draws = [reader.drawn_clips(video, seed=0, epoch=epoch)[0] for epoch in range(12) for video in (0, 1)]
    repeated = [again.drawn_clips(video, seed=0, epoch=epoch)[0] for epoch in range(12) for video in (0, 1)]
    for first, second in zip(draws, repeated, strict=True):
        assert set(first) == set(second) == {"expensive", "cheap"}
        for role, own in first.items():
            np.testing.assert_array_equal(own, second[role])
            assert not np.isnan(own).any()
    assert len({draw["cheap"].tobytes() for draw in draws[::2]}) > 4
    other = [reader.drawn_clips(0, seed=1, epoch=epoch)[0] for epoch in range(12)]
    assert {draw["cheap"].tobytes() for draw in other} != {draw["cheap"].tobytes() for draw in draws[::2]}


def test_maps_that_do_not_fit_into_memory_are_read_each_time(store: FeatureStore) -> None:
    assert inputs(store, "1:3", cached=True).keeps_maps
    assert not inputs(store, "1:3").keeps_maps
    exactly = 6 * 2 * 8 * int(np.prod(SHAPE)) * 2  # videos, views, clips, numbers, bytes
    for size, keeps in ((exactly, True), (exactly - 1, False)):
        reader = AggregatorInputs(
            store,
            selection=select(store),
            classes=store.manifest.classes,
            needs_features=True,
            needs_scores=False,
            cache_bytes=size,
            cached_videos=6,
        )
        assert reader.keeps_maps is keeps


def test_what_is_not_needed_is_empty(store: FeatureStore) -> None:
    reader = AggregatorInputs(
        store, selection=select(store), classes=store.manifest.classes, needs_features=False, needs_scores=True
    )
    maps, scores = batch_of([reader.spread_clips(0), reader.spread_clips(1)], device=torch.device("cpu"))
    assert (maps, tuple(scores.shape), scores.dtype) == ({}, (2, 8, 2), torch.float32)


def test_maps_of_unequal_backbones_come_side_by_side(tmp_path: Path) -> None:
    shapes = {"expensive": (2, 3, 3, 16), "cheap": (1, 2, 2, 8)}
    store = FeatureStore.open(make_store(tmp_path / "s.zarr", MadeUp(num_training=2, num_test=0, shapes=shapes)))
    reader = inputs(store, "1:3")
    maps, scores = batch_of([reader.spread_clips(0), reader.spread_clips(1)], device=torch.device("cpu"))
    assert {role: tuple(own.shape) for role, own in maps.items()} == {
        "expensive": (2, 2, 2, 3, 3, 16),
        "cheap": (2, 6, 1, 2, 2, 8),
    }
    assert reader.keeps_maps is False
    assert {own.dtype for own in (*maps.values(), scores)} == {torch.float32}


def test_defaults_follow_the_store(store: FeatureStore) -> None:
    selection = select(store)
    assert (str(selection.pattern), selection.num_clips, selection.backbones) == ("1:3", 8, NAMES)
    assert stored_gmacs(store, selection) == 2 * GMACS["expensive"] + 6 * GMACS["cheap"]


def test_scores_follow_class_names_not_places(tmp_path: Path) -> None:
    names = ("other", "low then high", "high then low")
    wanted = MadeUp(num_training=2, num_test=0, pattern=None, backbone_classes=names)
    store = FeatureStore.open(make_store(tmp_path / "s.zarr", wanted))
    _, scores = inputs(store, "all-cheap").spread_clips(0)
    np.testing.assert_array_equal(scores, store.backbone("small").read_scores(0)[:, [2, 1]])
    with pytest.raises(StoreError, match="trained without 'novel'"):
        AggregatorInputs(store, selection=select(store), classes=["novel"], needs_features=False, needs_scores=True)


@pytest.mark.parametrize(
    ("wanted", "pattern", "num_clips", "message"),
    [
        ({}, "1:3", 9, r"--clips must be from 1 to 8.*got 9\. For more, extract into a new store with --clips 9"),
        ({}, "1:3", 0, "--clips must be from 1 to 8"),
        ({}, "1:1", 8, r"makes clip 3 of 8 expensive.*\(--pattern 1:3, 2 of 8 clips\).*such as 1:3, or extract"),
        ({"pattern": None}, "1:3", 8, r"has no expensive backbone; it has small \(cheap\)\. Type --pattern all-cheap"),
        ({"cheap": False}, "first", 8, "has no cheap backbone.*Type --pattern all-expensive"),
    ],
)
def test_what_a_store_lacks_is_told(tmp_path: Path, wanted: dict, pattern: str, num_clips: int, message: str) -> None:
    store = FeatureStore.open(make_store(tmp_path / "s.zarr", MadeUp(num_training=2, num_test=0, **wanted)))
    with assert_refused(SettingsError, match=message):
        select(store, pattern=Pattern.parse(pattern), num_clips=num_clips)


def test_named_backbones_are_taken_in_the_role_asked_for(store: FeatureStore) -> None:
    selection = select(store, pattern=Pattern.parse("all-expensive"), names={"expensive": "small", "cheap": None})
    assert selection.backbones == {"expensive": "small"}
    with assert_refused(SettingsError, match=r"--cheap huge: .* has no such backbone; it has big \(expensive\), small"):
        select(store, names={"cheap": "huge"})


def test_several_labels_are_refused(tmp_path: Path) -> None:
    wanted = MadeUp(num_training=3, num_test=0, labels={1: ("low then high", "high then low")})
    manifest = FeatureStore.open(make_store(tmp_path / "s.zarr", wanted)).manifest
    with pytest.raises(ManifestError, match="video 'v001' has 2 labels"):
        task_of(manifest).targets(manifest)
