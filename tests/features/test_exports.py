"""Exports: what others read of a store, read back with their own tools."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from click.testing import CliRunner
from made_up_features import DUE, SHAPE, add, clips_of, extract, make_manifest, make_store

from vidpipe.cli.main import main
from vidpipe.pipeline.errors import ManifestError, OutOfSpaceError, SettingsError, StoreError
from vidpipe.pipeline.features.export_selection import select
from vidpipe.pipeline.features.file_names import file_name
from vidpipe.pipeline.features.hdf5 import export_hdf5, import_hdf5
from vidpipe.pipeline.features.npy_folder import export_npy
from vidpipe.pipeline.features.parquet import export_parquet
from vidpipe.pipeline.features.store import EXTENDING, FeatureStore, open_store
from vidpipe.pipeline.manifests.manifest import Manifest
from vidpipe.stages.store.settings import ExportSettings

DONE = [0, 1, 2, 4]  # of the made-up store; 3 has failed


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Return a store of two views, with a second backbone that has seen two of the videos."""
    path = make_store(tmp_path / "s.zarr")
    with FeatureStore.open_to_coordinate(path) as store:
        extract(store, add(store, "second"), [0, 4])
    return open_store(path)


def export(*words: str | Path) -> str:
    result = CliRunner().invoke(main, ["store", "export", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def ids(indices: list[int]) -> list[str]:
    return [make_manifest().videos[i].video_id for i in indices]


def test_a_parquet_has_a_row_a_clip_with_pooled_maps(store: FeatureStore, tmp_path: Path):
    said = export(store.path, tmp_path / "out" / "s.parquet")
    assert "; 4 of 5 videos of r2d_26, 2 of 5 videos of second." in said
    table = pq.read_table(tmp_path / "out" / "s.parquet")
    assert table.column_names == [
        "video_id", "path", "labels", "split", "backbone", "view", "clip", "start", "features", "scores",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert len(rows) == (4 + 2) * 2 * sum(DUE)
    first = [row for row in rows if row["video_id"] == "jump/ä 1" and row["backbone"] == "r2d_26"]
    assert [(row["view"], row["clip"], row["start"]) for row in first] == [(0, 0, 0), (0, 3, 3), (1, 0, 4), (1, 3, 7)]
    maps, scores = clips_of(0)
    for row in first:
        assert (row["labels"], row["split"], row["path"]) == (["jump", "two feet"], "train", "jump/ä 1.mp4")
        pooled = maps[row["view"], row["clip"]].mean(axis=(0, 1, 2), dtype=np.float32)
        np.testing.assert_array_equal(np.array(row["features"], np.float32), pooled)
        np.testing.assert_array_equal(np.array(row["scores"], np.float32), scores[row["view"], row["clip"]])
    about = json.loads((table.schema.metadata or {})[b"vidpipe"])
    assert about["backbones"]["r2d_26"]["provenance"]["weights_sha256"] == "ab12"
    assert about["manifest_digest"] == store.manifest.digest


def test_split_and_backbone_choose_what_is_exported(store: FeatureStore, tmp_path: Path):
    export(store.path, tmp_path / "s.parquet", "--split", "train", "--backbone", "second", "--compression", "gzip")
    rows = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert {(row["video_id"], row["backbone"], row["split"]) for row in rows} == {
        (video_id, "second", "train") for video_id in ids([0, 4])
    }
    export(store.path, tmp_path / "npy", "--split", "test")
    lines = [json.loads(line) for line in (tmp_path / "npy" / "videos.jsonl").read_text("utf-8").splitlines()]
    assert [line["video_id"] for line in lines] == ids([1, 3])
    export(store.path, tmp_path / "s.h5", "--split", "train", "--backbone", "r2d_26", "--json")
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    back = open_store(tmp_path / "back.zarr")
    assert (list(back.backbones()), list(back.ids)) == (["r2d_26"], ids([0, 2, 4]))
    assert back.manifest == store.manifest.subset("train")
    np.testing.assert_array_equal(back.backbone("r2d_26").read("wave/4"), clips_of(4)[0][0])
    np.testing.assert_array_equal(back.clip_starts("wave/4"), store.clip_starts(4))


def test_a_folder_has_an_array_a_video(store: FeatureStore, tmp_path: Path):
    export_npy(select(store), tmp_path / "npy")
    lines = [json.loads(line) for line in (tmp_path / "npy" / "videos.jsonl").read_text("utf-8").splitlines()]
    assert [line["video_id"] for line in lines] == list(store.ids)
    assert lines[0] == {
        "video_id": "jump/ä 1",
        "path": "jump/ä 1.mp4",
        "labels": ["jump", "two feet"],
        "split": "train",
        "start": 0.0,
        "end": None,
        "columns": {},
        "file": "jump/ä 1.npy",
        "clip_start": [[0, 1, 2, 3], [4, 5, 6, 7]],
        "status": {"r2d_26": "done", "second": "done"},
    }
    assert lines[3]["status"] == {"r2d_26": "failed", "second": "pending"}
    assert lines[3]["clip_start"] is None
    for place in DONE:
        maps, scores = clips_of(place)
        file = lines[place]["file"]
        np.testing.assert_array_equal(np.load(tmp_path / "npy" / "r2d_26" / "features" / file), maps)
        np.testing.assert_array_equal(np.load(tmp_path / "npy" / "r2d_26" / "scores" / file), scores)
    assert len(list((tmp_path / "npy").rglob("*.npy"))) == 2 * (4 + 2)
    about = json.loads((tmp_path / "npy" / "store.json").read_text("utf-8"))
    assert about["sampling"]["num_clips"] == 4
    assert list(about["backbones"]) == ["r2d_26", "second"]


def test_videos_that_are_not_listed_any_more_are_left_out(store: FeatureStore, tmp_path: Path):
    shorter = Manifest(make_manifest().videos[i] for i in (4, 0))
    with FeatureStore.open_to_coordinate(store.path) as changed:
        changed.take_over(shorter, rules=EXTENDING)
    for name in ("s.parquet", "s.h5", "npy"):
        export(store.path, tmp_path / name)
    rows = pq.read_table(tmp_path / "s.parquet", columns=["video_id"]).column("video_id").to_pylist()
    assert list(dict.fromkeys(rows)) == ids([4, 0])
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    back = open_store(tmp_path / "back.zarr")
    assert list(back.ids) == ids([4, 0])
    np.testing.assert_array_equal(back.backbone("second").read("wave/4"), clips_of(4)[0][0])
    lines = (tmp_path / "npy" / "videos.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["video_id"] for line in lines] == ids([4, 0])


def test_columns_of_ones_own_come_along(tmp_path: Path):
    from dataclasses import replace

    own = {"source": "a, b", "clip": "x"}
    manifest = Manifest(replace(video, columns=own) for video in make_manifest(2).videos)
    with FeatureStore.open_or_create(tmp_path / "s.zarr", manifest=manifest, sampling=open_sampling()) as store:
        extract(store, add(store), [0, 1])
    export(tmp_path / "s.zarr", tmp_path / "s.parquet")
    row = pq.read_table(tmp_path / "s.parquet").to_pylist()[0]
    assert (row["source"], row["column clip"], row["clip"]) == ("a, b", "x", 0)
    export(tmp_path / "s.zarr", tmp_path / "npy")
    line = (tmp_path / "npy" / "videos.jsonl").read_text("utf-8").splitlines()[1]
    assert json.loads(line)["columns"] == own


def open_sampling():
    from made_up_features import SAMPLING

    return SAMPLING


@pytest.mark.parametrize("name", ["s.csv", "s.npz", "s.npy", "s.zarr", "s.h5.gz", "v1.2"])
def test_other_suffixes_are_refused_naming_those_that_are_known(name: str):
    with pytest.raises(SettingsError, match=r"must be \.h5 .*, \.parquet .* or a folder, without a suffix"):
        ExportSettings(store=Path("s.zarr"), output=Path(name))


def test_what_cannot_be_is_refused_and_nothing_is_left(store: FeatureStore, tmp_path: Path):
    with pytest.raises(StoreError, match="no features of 'secand'; did you mean second. It has r2d_26, second"):
        select(store, backbones=["secand"])
    with pytest.raises(StoreError, match="give each backbone once"):
        select(store, backbones=["second", "second"])
    with pytest.raises(ManifestError, match="no split 'val'|split"):
        select(store, split="val")
    with pytest.raises(SettingsError, match="compression gzip is for .h5 and .parquet"):
        ExportSettings(store=store.path, output=tmp_path / "npy", compression="gzip")
    with pytest.raises(SettingsError, match="lies in the feature store"):
        ExportSettings(store=store.path, output=store.path / "npy")
    for name in ("s.parquet", "npy"):
        (tmp_path / name).touch()
        result = CliRunner().invoke(main, ["store", "export", str(store.path), str(tmp_path / name)])
        assert result.exit_code == 1
        assert "exists already" in result.stderr


@pytest.mark.parametrize("write", [export_parquet, export_npy, export_hdf5])
def test_a_damaged_map_or_a_full_disk_leaves_nothing(write, store: FeatureStore, tmp_path: Path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("vidpipe.pipeline.files.free_bytes", lambda path: 1)
        with pytest.raises(OutOfSpaceError):
            write(select(store), out / "made")
    shard = next((store.path / "r2d_26" / "features").glob("c*.4.*"))
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(StoreError, match=r"r2d_26 features of video 'wave/4'"):
        write(select(store), out / "made")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("video_id", "name"),
    [
        ("a", "a.npy"),
        ("jump/a b-1_2+(3)", "jump/a b-1_2+(3).npy"),
        ("漢字/ä", "漢字/ä.npy"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd.npy"),
        ("/absolute", "%/absolute.npy"),
        ("a//b", "a/%/b.npy"),
        ("a/", "a/%.npy"),
        (".hidden", "%2Ehidden.npy"),
        ("dot.", "dot%2E.npy"),
        ("a.npy/b", "a%2Enpy/b.npy"),
        ("a.NPY/b", "a%2ENPY/b.npy"),
        ("c:\\d*?<>|", "c%3A%5Cd%2A%3F%3C%3E%7C.npy"),
        ("50%", "50%25.npy"),
        ("~me", "%7Eme.npy"),
        ("a\nb", "a%0Ab.npy"),
    ],
)
def test_names_of_files_are_legible_and_stay_in_their_folder(video_id: str, name: str):
    assert str(file_name(video_id)) == name


def test_different_ids_have_different_names_that_a_file_system_takes():
    odd = [
        "x" * 300,
        "x" * 299 + "y",
        "漢" * 100,
        "漢" * 99 + "字",
        "a",
        "a/",
        "/a",
        "a.npy",
        "a.npy/b",
        "a%",
        "a%25",
        ".",
    ]
    odd += ["..", "../..", "", "a.", "a%2E", "A", "~", "%", "a ", "a%20"]
    names = [str(file_name(video_id)) for video_id in odd]
    assert len(set(names)) == len(odd)
    assert all(len(part.encode()) <= 255 for name in names for part in name.split("/"))


def test_arrays_have_names_of_their_axes(store: FeatureStore):
    group = zarr.open_group(store.path, mode="r")
    clips = ("video", "view", "clip")
    maps = ("time", "height", "width", "channel")
    found = {name: array.metadata.dimension_names for name, array in group.members(max_depth=None)
             if isinstance(array, zarr.Array)}  # fmt: skip
    of_backbone = {"features": (*clips, *maps), "scores": (*clips, "class"), "status": clips[:1], "error": clips[:1]}
    assert found == {
        **dict.fromkeys(("video_id", "path", "labels", "split", "place"), clips[:1]),
        "interval": ("video", "edge"),
        "clip_start": clips,
        **{f"{name}/{own}": dims for name in ("r2d_26", "second") for own, dims in of_backbone.items()},
    }


def test_xarray_opens_a_store_and_a_backbone(store: FeatureStore):
    xarray = pytest.importorskip("xarray", reason="xarray is a tool of others: pip install vidpipe[dev] brings it")
    videos = xarray.open_zarr(store.path, consolidated=False, chunks=None)
    backbone = xarray.open_zarr(store.path, group="r2d_26", consolidated=False, chunks=None)
    assert backbone.features.dims == ("video", "view", "clip", "time", "height", "width", "channel")
    assert backbone.attrs["feature_shape"] == list(SHAPE)
    both = xarray.merge([videos, backbone]).set_index(video="video_id")
    own = both.features.sel(video="wave/4").isel(view=1, clip=3)
    np.testing.assert_array_equal(own, clips_of(4)[0][1, 3])
    pooled = backbone.features.isel(view=0, clip=0).astype("float32").mean(("time", "height", "width"))
    assert pooled.dims == ("video", "channel")
    assert np.isnan(pooled.values[3]).all()


def test_videos_are_found_by_their_ids(store: FeatureStore):
    import vidpipe

    group = store.backbone("r2d_26")
    assert list(store.ids) == [video.video_id for video in make_manifest().videos]
    assert (store.index("wave/4"), store.index(4)) == (4, 4)
    np.testing.assert_array_equal(group.read("wave/4", clips=[0]), group.read(4, clips=[0]))
    np.testing.assert_array_equal(group.read_scores("jump/2"), clips_of(1)[1][0])
    np.testing.assert_array_equal(store.clip_starts("jump/2"), store.clip_starts(1))
    some = ["wave/4", "jump/2"]
    pooled = vidpipe.pooled_features(group, some, clips=[0, 3])
    np.testing.assert_array_equal(pooled, vidpipe.pooled_features(group, [4, 1], clips=[0, 3]))
    assert vidpipe.stored_maps(group, some, clips=[0]).shape == (2, 1, *SHAPE)
    with pytest.raises(StoreError, match=r"lists no video 'wave/44'; did you mean wave/4\?"):
        group.read("wave/44")
    with pytest.raises(StoreError, match="lists no video 'nothing'$"):
        store.index("nothing")
