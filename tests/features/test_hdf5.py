"""A store carried to HDF5 and back is the same store, file by file; and the file reads as others read such files."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from made_up_features import DUE, SAMPLING, SHAPE, add, clips_of, extract, files, make_manifest, make_store

from vidpipe.pipeline.errors import OutOfSpaceError, StoreError
from vidpipe.pipeline.features.hdf5 import export_hdf5, import_hdf5
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Manifest


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Return a store of two views and two backbones: all states a video can be in."""
    path = make_store(tmp_path / "s.zarr")
    with FeatureStore.open_to_coordinate(path) as store:
        extract(store, add(store, "second", compression="lz4"), [0, 3])
    return FeatureStore.open(path)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_there_and_back_is_the_same_file_by_file(store: FeatureStore, tmp_path: Path, compression: str):
    export_hdf5(store, tmp_path / "s.h5", compression=compression)
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    assert files(tmp_path / "back.zarr") == files(store.path)
    export_hdf5(FeatureStore.open(tmp_path / "back.zarr"), tmp_path / "again.h5", compression=compression)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "s.h5").read_bytes()


def test_the_layout_is_as_documented(store: FeatureStore, tmp_path: Path):
    export_hdf5(store, tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        video = file["jump/ä 1"]
        maps, scores = clips_of(0)
        np.testing.assert_array_equal(video["r2d_26/features"][:], maps)
        np.testing.assert_array_equal(video["r2d_26/scores"][:], scores)
        np.testing.assert_array_equal(video["clip_start"][:], np.arange(8.0).reshape(2, 4))
        assert video["r2d_26/features"].chunks == (1, 1, *SHAPE)
        assert video["r2d_26/features"].id.get_num_chunks() == 2 * sum(DUE)  # the others take no space
        assert list(video.attrs["labels"]) == ["jump", "two feet"]
        assert {name: video.attrs[name] for name in ("video_id", "path", "split", "start")} == {
            "video_id": "jump/ä 1",
            "path": "jump/ä 1.mp4",
            "split": "train",
            "start": 0.0,
        }
        assert "end" not in video.attrs
        assert dict(file["wave/3/r2d_26"].attrs) == {"status": "failed", "error": "no video stream"}
        assert "clip_start" not in file["wave/3"]
        assert dict(file["jump/2/second"].attrs) == {"status": "pending"}
        assert "features" not in file["jump/2/second"]


def test_one_view_has_no_axis_of_its_own(tmp_path: Path):
    sampling = replace(SAMPLING, views=1)
    with FeatureStore.open_or_create(tmp_path / "s.zarr", manifest=make_manifest(), sampling=sampling) as store:
        add(store).write(0, *clips_of(0, views=1))
        store.set_clip_starts({0: np.zeros((1, 4))})
        store.backbone("r2d_26").mark(0, 1)
        export_hdf5(store, tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        np.testing.assert_array_equal(file["jump/ä 1/r2d_26/features"][:], clips_of(0, views=1)[0][0])
        assert file["jump/ä 1/r2d_26/scores"].shape == (4, 3)
        assert file["jump/ä 1/clip_start"].shape == (4,)
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    assert files(tmp_path / "back.zarr") == files(tmp_path / "s.zarr")


def test_ten_thousand_classes_fit_an_attribute(tmp_path: Path):
    with FeatureStore.open_or_create(tmp_path / "s.zarr", manifest=make_manifest(), sampling=SAMPLING) as store:
        add(store, provenance={"classes": [f"class number {i}" for i in range(10_000)]})
    export_hdf5(store, tmp_path / "s.h5")
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    assert files(tmp_path / "back.zarr") == files(tmp_path / "s.zarr")


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [("a", "a/b", True), ("a/b", "a", True), ("a", "a//", False), ("a", "./a", False), ("a", "a/r2d_26", False)],
)
def test_ids_that_are_one_group_in_hdf5_are_refused(tmp_path: Path, first: str, second: str, fits: bool):
    videos = [replace(v, video_id=i) for v, i in zip(make_manifest().videos, (first, second), strict=False)]
    manifest = Manifest(tuple(videos))
    with FeatureStore.open_or_create(tmp_path / "s.zarr", manifest=manifest, sampling=SAMPLING) as store:
        extract(store, add(store), [0, 1])
    if not fits:
        with pytest.raises(StoreError, match=f"Video '{second}' cannot have a group of its own"):
            export_hdf5(store, tmp_path / "s.h5")
        assert [file.name for file in tmp_path.iterdir()] == ["s.zarr"]
        return
    export_hdf5(store, tmp_path / "s.h5")
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    assert files(tmp_path / "back.zarr") == files(tmp_path / "s.zarr")


def test_nothing_is_overwritten(store: FeatureStore, tmp_path: Path):
    export_hdf5(store, tmp_path / "s.h5")
    before = (tmp_path / "s.h5").read_bytes()
    with pytest.raises(StoreError, match=r"s\.h5 exists already"):
        export_hdf5(store, tmp_path / "s.h5")
    with pytest.raises(StoreError, match=r"s\.zarr exists already"):
        import_hdf5(tmp_path / "s.h5", store.path)
    assert (tmp_path / "s.h5").read_bytes() == before


def test_a_damaged_store_leaves_no_file(store: FeatureStore, tmp_path: Path):
    shard = store.path / "r2d_26" / "features" / "c.4.0.0.0.0.0.0"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(StoreError, match="features of video 'wave/4'"):
        export_hdf5(store, tmp_path / "s.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["s.zarr"]


def test_a_full_disk_is_foreseen_since_hdf5_would_crash_on_it(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage, left = shutil.disk_usage, 3

    def shrinking(path: Path) -> SimpleNamespace:
        nonlocal left
        left -= 1
        return SimpleNamespace(free=usage(path).free if left >= 0 else 1000)

    monkeypatch.setattr(shutil, "disk_usage", shrinking)
    with pytest.raises(OutOfSpaceError, match=r"needs up to 0\.016 GB, and 0\.000 GB are free"):
        export_hdf5(store, tmp_path / "s.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["s.zarr"]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _flip(file: Path) -> None:
    with h5py.File(file) as opened:
        place = opened["jump/ä 1/r2d_26/features"].id.get_chunk_info(0).byte_offset
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def _without(name: str) -> Callable[[Path], None]:
    def delete(file: Path) -> None:
        with h5py.File(file, "r+") as opened:
            del opened[name]

    return delete


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "cannot be opened as HDF5"),
        (_flip, "is damaged"),
        (_without("jump/ä 1/r2d_26/scores"), "is damaged, or was changed"),
        (_without("wave/4"), "does not hold the videos that were exported"),
        (lambda file: file.write_text("no HDF5 at all"), "cannot be opened as HDF5"),
        (lambda file: h5py.File(file, "w").close(), "must be an export of `vidpipe store export`"),
        (lambda file: file.unlink(), "cannot be opened as HDF5"),
    ],
)
def test_a_damaged_file_is_refused_and_leaves_no_store(
    store: FeatureStore, tmp_path: Path, damage: Callable[[Path], None], message: str
):
    export_hdf5(store, tmp_path / "s.h5")
    damage(tmp_path / "s.h5")
    with pytest.raises(StoreError, match=message):
        import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    assert {file.name for file in tmp_path.iterdir()} <= {"s.zarr", "s.h5"}
