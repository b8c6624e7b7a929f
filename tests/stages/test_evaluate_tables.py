"""Tables of an evaluation: columns of one's own pass through, whatever they are called."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from vidpipe.pipeline.files import escaped_cell
from vidpipe.stages.evaluate.tables import prediction_rows


def scores(**changes: Any) -> Any:
    own = {
        "classes": ("a", "b", "unknown"),
        "expected": (0, 1, 2),
        "videos": (0, 2),
        "ranked": np.array([[0, 1], [1, 0]]),
        "targets": np.array([0, 2]),
        "probabilities": np.array([[0.75, 0.25, 0.0], [0.375, 0.625, 0.0]]),
        "missing": {"v1": "no frames"},
        "split": "test",
    }
    return cast(Any, SimpleNamespace(**own | changes))


def manifest(*columns: dict[str, str]) -> Any:
    labels = ("a", "b", "unknown")
    videos = [
        SimpleNamespace(video_id=f"v{i}", written_path=f"{i}.mp4", labels=(labels[i],), columns=own)
        for i, own in enumerate(columns)
    ]
    return cast(Any, SimpleNamespace(videos=videos))


def test_own_columns_come_last_and_keep_their_cells() -> None:
    own = ({"group": "=1+1", "outcome": "mine"}, {"group": "g"}, {"source": "s", "group": ""})
    header, first, second, third = map(list, prediction_rows(manifest(*own), scores()))
    assert header == [
        *("video_id", "path", "split", "label", "true", "predicted", "outcome", "probability"),
        *("class_1", "probability_1", "class_2", "probability_2", "class_3", "probability_3", "missing"),
        *("group", "manifest outcome", "source"),
    ]
    assert first[:8] == ["v0", "0.mp4", "test", "a", "a", "a", "right", "0.750000"]
    assert first[8:] == ["a", "0.750000", "b", "0.250000", "", "", "", "=1+1", "mine", ""]
    assert second == ["v1", "1.mp4", "test", "b", "b", "", "", "", *[""] * 6, "no frames", "g", "", ""]
    assert third[5:8] == ["b", "wrong", "0.625000"]
    assert third[-3:] == ["", "", "s"]
    assert escaped_cell(first[15]) == "'=1+1"


def test_a_manifest_without_own_columns_adds_none() -> None:
    header, *_ = prediction_rows(manifest({}, {}, {}), scores())
    assert list(header)[-1] == "missing"
