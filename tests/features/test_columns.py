"""Columns of one's own in a store: kept, changed with the manifest, and in its HDF5 export."""

from dataclasses import replace
from pathlib import Path

import pytest

from vidpipe.pipeline.features.hdf5 import export_hdf5, import_hdf5
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import Manifest, Video
from vidpipe.pipeline.videos.clips import ClipSampling

OWN = {"group": "g1", "labels": "mine", "columns/labels": "x", "a/b.c": "two\nlines", "Unnamed: 0": ""}
SAMPLING = ClipSampling(num_frames=8, num_clips=2)


def _manifest(*columns: dict[str, str]) -> Manifest:
    return Manifest(
        Video(video_id=str(i), path=Path(f"{i}.mp4"), labels=("a",), split="t", written_path=f"{i}.mp4", columns=own)
        for i, own in enumerate(columns)
    )


def _columns(path: Path) -> list[dict[str, str]]:
    return [dict(video.columns) for video in FeatureStore.open(path).manifest.videos]


def test_a_store_keeps_columns_of_any_name(tmp_path):
    manifest = _manifest(OWN, {**OWN, "group": "g2"})
    FeatureStore.create(tmp_path / "s.zarr", manifest=manifest, sampling=SAMPLING)
    assert FeatureStore.open(tmp_path / "s.zarr").manifest == manifest
    assert _columns(tmp_path / "s.zarr") == [OWN, {**OWN, "group": "g2"}]


def test_other_manifests_change_and_add_columns(tmp_path):
    path = tmp_path / "s.zarr"
    FeatureStore.create(path, manifest=_manifest({"n": "1"}, {"n": "2"}), sampling=SAMPLING)
    now = _manifest({"n": "1", "group": "g"}, {"n": "3", "group": "h"}, {"n": "4", "group": "h"})
    with FeatureStore.open_or_create(path, manifest=now, sampling=SAMPLING):
        pass
    assert _columns(path) == [{"n": n, "group": g} for n, g in (("1", "g"), ("3", "h"), ("4", "h"))]
    bare = Manifest(replace(video, columns={}) for video in now.videos)
    with FeatureStore.open_or_create(path, manifest=bare, sampling=SAMPLING):
        pass
    assert _columns(path) == [{"n": n, "group": g} for n, g in (("1", "g"), ("3", "h"), ("4", "h"))]  # nothing is lost


@pytest.mark.parametrize("own", [OWN, {}])
def test_the_export_has_them(tmp_path, own):
    FeatureStore.create(tmp_path / "s.zarr", manifest=_manifest(own, own), sampling=SAMPLING)
    export_hdf5(FeatureStore.open(tmp_path / "s.zarr"), tmp_path / "s.h5")
    import_hdf5(tmp_path / "s.h5", tmp_path / "back.zarr")
    assert _columns(tmp_path / "back.zarr") == [own, own]
