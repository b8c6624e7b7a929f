"""A run remembers which engine made the maps that it was trained on, and is scored on no others'."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_stores import MadeUp, make_store

from vidpipe.pipeline.errors import RunError
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.stages.evaluate.run import run as evaluate
from vidpipe.stages.evaluate.settings import EvaluateSettings
from vidpipe.stages.train_aggregator.run import run as train
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings

ENGINE = {"name": "torch", "device": "cpu", "precision": "bfloat16", "batch": 1, "threads": 2}
RECORD = {"name": "torch", "precision": "bfloat16"}


def store_of(folder: Path, engine: dict[str, Any] | None, *, name: str = "s") -> Path:
    return make_store(folder / f"{name}.zarr", MadeUp(num_training=8, num_test=4, engine=engine))


def trained(folder: Path, store: Path, *, epochs: int = 1, seed: int = 0, name: str = "run") -> TrainAggregatorSettings:
    optimisation = OptimisationSettings(epochs=epochs, seed=seed)
    own = TrainAggregatorSettings(store=store, out=folder / name, optimisation=optimisation)
    train(own)
    return own


def forget_engines(out: Path) -> None:
    """Make the run one of a version that did not record engines."""
    settings = json.loads((out / "settings.json").read_text())
    del settings["engines"]
    (out / "settings.json").write_text(json.dumps(settings))


def score(folder: Path, store: Path, *names: str) -> dict[str, Any]:
    runs = tuple(folder / name for name in names or ("run",))
    return evaluate(EvaluateSettings(store=store, runs=runs, out=folder / "report"))


def test_a_run_records_name_and_precision_of_each_role(tmp_path: Path) -> None:
    own = trained(tmp_path, store_of(tmp_path, ENGINE))
    assert RunDirectory.open(own.out).settings["engines"] == {"expensive": RECORD, "cheap": RECORD}


def test_a_run_on_a_store_that_says_nothing_of_engines_does_not_either(tmp_path: Path) -> None:
    own = trained(tmp_path, store_of(tmp_path, None))
    assert "engines" not in RunDirectory.open(own.out).settings
    assert score(tmp_path, store_of(tmp_path, ENGINE, name="other"))["runs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "float32"}, r'engines\.expensive\.precision is "bfloat16" there, "float32" here'),
        ({"name": "openvino"}, r'engines\.cheap\.name is "torch" there, "openvino" here'),
    ],
)
def test_another_engine_is_refused_by_its_difference(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    trained(tmp_path, store_of(tmp_path, ENGINE))
    other = store_of(tmp_path, ENGINE | change, name="other")
    with pytest.raises(RunError, match=message) as refused:
        score(tmp_path, other)
    assert "Score it on a store that the same engine made in the same precision" in str(refused.value)


def test_threads_batch_and_device_may_differ(tmp_path: Path) -> None:
    trained(tmp_path, store_of(tmp_path, ENGINE))
    other = store_of(tmp_path, ENGINE | {"device": "cuda", "batch": 8, "threads": 1}, name="other")
    assert score(tmp_path, other)["runs"]


def test_a_run_of_an_earlier_version_is_scored_as_ever_and_goes_on(tmp_path: Path) -> None:
    store = store_of(tmp_path, ENGINE)
    own = trained(tmp_path, store)
    forget_engines(own.out)
    assert score(tmp_path, store_of(tmp_path, ENGINE | {"precision": "float32"}, name="other"))["runs"]
    assert train(own).already_done
    (own.out / "weights.safetensors").unlink()
    assert not train(own).already_done


def test_a_run_of_an_earlier_version_is_in_a_group_with_another_seeds(tmp_path: Path) -> None:
    store = store_of(tmp_path, ENGINE)
    forget_engines(trained(tmp_path, store, name="first").out)
    trained(tmp_path, store, seed=1, name="second")
    (group,) = score(tmp_path, store, "first", "second")["groups"]
    assert group["members"] == ["first", "second"]


def test_a_run_does_not_go_on_with_maps_of_another_engine(tmp_path: Path) -> None:
    own = trained(tmp_path, store_of(tmp_path, ENGINE))
    other = store_of(tmp_path, ENGINE | {"precision": "float32"}, name="other")
    with pytest.raises(RunError, match='precision is "bfloat16" there, "float32" here'):
        train(TrainAggregatorSettings(store=other, out=own.out, optimisation=own.optimisation))
