"""A damaged record of a change that is under way is told, with what to do; nothing else stops the store from use."""

import json
from pathlib import Path

import pytest
from made_up_stores import MadeUp, make_store, take_over

from vidpipe.pipeline.errors import StoreError
from vidpipe.pipeline.features.store import FeatureStore


@pytest.mark.parametrize("content", ["", '{"attributes": {', "[]", "{}", "null", '{"attributes": {}, "texts": {}}'])
def test_a_damaged_change_says_what_to_do(tmp_path: Path, content: str) -> None:
    path = make_store(tmp_path / "s.zarr", MadeUp(num_training=2, num_test=1))
    (path / "changing.json").write_text(content)
    with pytest.raises(StoreError, match="is damaged .*remove it, and give the command"):
        FeatureStore.open(path)
    (path / "changing.json").unlink()
    take_over(path, lambda videos: videos.pop())
    assert len(FeatureStore.open(path).manifest.videos) == 2


def test_a_change_of_another_length_is_damaged(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s.zarr", MadeUp(num_training=2, num_test=1))
    change = {"attributes": {"num_videos": 3}, "texts": {"video_id": ["a"]}, "intervals": [], "places": [0]}
    (path / "changing.json").write_text(json.dumps(change))
    with pytest.raises(StoreError, match="should have 3 rows"):
        FeatureStore.open(path)
