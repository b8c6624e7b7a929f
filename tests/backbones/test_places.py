"""Where weights are: a file, a run, either with a name before it; and what people give in their place."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from vidpipe.pipeline.backbones.places import near_by, read_place, weights_file, what_it_is
from vidpipe.pipeline.errors import WeightsError


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("cheap.safetensors", "", "cheap.safetensors"),
        ("runs/cheap", "", "runs/cheap"),
        ("r2d_26=cheap.safetensors", "r2d_26", "cheap.safetensors"),
        ("r2d_26=runs/lr=0.1", "r2d_26", "runs/lr=0.1"),
        ("runs/lr=0.1/weights.safetensors", "", "runs/lr=0.1/weights.safetensors"),
        ("lr=0.1", "", "lr=0.1"),  # a run that is there
        ("lr=0.2", "lr", "0.2"),
        ("hf:org/clips=models/clips", "hf:org/clips", "models/clips"),
    ],
)
def test_a_place_may_have_a_name_before_it(text: str, name: str, place: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1").mkdir()
    assert read_place(text) == (name, Path(place))


@pytest.mark.parametrize("text", ["", "=", "r2d_26=", "=cheap.safetensors"])
def test_a_place_without_its_name_or_a_name_without_its_place_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a weights file, a run, or NAME= before either"):
        read_place(text)


def test_a_run_is_as_good_as_its_file(tmp_path: Path):
    (tmp_path / "weights.safetensors").touch()
    assert weights_file(tmp_path) == weights_file(tmp_path, role="cheap") == tmp_path / "weights.safetensors"
    assert weights_file(tmp_path / "weights.safetensors") == tmp_path / "weights.safetensors"
    (tmp_path / "cheap.safetensors").touch()  # a run of finetune, whose weights.safetensors are the aggregator's
    assert weights_file(tmp_path) == weights_file(tmp_path, role="cheap") == tmp_path / "cheap.safetensors"
    (tmp_path / "expensive.safetensors").touch()
    assert weights_file(tmp_path, role="expensive") == tmp_path / "expensive.safetensors"
    with pytest.raises(WeightsError, match=r"several backbones; give one: .*expensive.safetensors, .*cheap.saf"):
        weights_file(tmp_path)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("zarr.json", "it is a feature store"),
        ("probe.npz", "it is a run of vidpipe probe"),
        ("big/probe.npz", "it is a run of vidpipe probe"),
        ("settings.json", "the run is not finished; the command that began it goes on"),
        ("best.safetensors", r"but there is .*best\.safetensors"),
        ("cheap/weights.safetensors", r"but there is .*/cheap\. Give"),
        ("notes.txt", "holds no weights of a backbone. Give the .safetensors file"),
    ],
)
def test_a_folder_without_weights_is_named(there: str, said: str, tmp_path: Path):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    with pytest.raises(WeightsError, match=said):
        weights_file(tmp_path)


def test_what_is_given_for_weights_is_named(tmp_path: Path):
    made = tmp_path / "made"
    np.savez(tmp_path / "probe.npz", classes=["a"], coefficients=np.zeros((1, 2)))
    assert what_it_is(tmp_path / "probe.npz").startswith("a linear probe of vidpipe probe")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(2))
    assert what_it_is(tmp_path / "arrays.npz") == "a NumPy archive"
    for content, said in (
        (b"", "empty"),
        (pickle.dumps({"a": 1}), "a Python pickle, as torch.save once wrote"),
        (pickle.dumps({"a": 1}, protocol=0), "a Python pickle of protocol 0"),
        (pickle.dumps({"a": 1, "b": 2}, protocol=1), "a Python pickle of protocol 1"),
        (b"class\nname\n", "a text file"),
        (b"PK\x03\x04 and no more", "a damaged zip archive"),
        (b"\x89HDF\r\n", "an HDF5 file, such as vidpipe store export writes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\n<!DOCTYPE html>", "a page of HTML or XML"),
        (b"path,label\na.mp4,x\n", "a text file"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{", ""),
    ):
        made.write_bytes(content)
        assert what_it_is(made).startswith(said)
        assert bool(what_it_is(made)) == bool(said)
    assert what_it_is(tmp_path / "absent") == ""


def test_a_checkpoint_of_torch_is_named(tmp_path: Path):
    import torch

    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pt")
    assert what_it_is(tmp_path / "model.pt") == "a PyTorch checkpoint"


def test_a_missing_place_has_its_neighbour_named(tmp_path: Path):
    (tmp_path / "runs" / "cheap").mkdir(parents=True)
    (tmp_path / "other.safetensors").touch()
    assert near_by(tmp_path / "runs" / "chaep") == f"; did you mean {tmp_path / 'runs' / 'cheap'}?"
    assert near_by(tmp_path / "rums" / "cheap" / "weights.safetensors") == f"; did you mean {tmp_path / 'runs'}?"
    assert near_by(tmp_path / "nowhere.safetensors") == ""
