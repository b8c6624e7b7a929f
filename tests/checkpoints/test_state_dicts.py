"""Which tensors of a file are its state dict, and which kinds of tensors are refused by name."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vidpipe.pipeline.checkpoints.containers import read_checkpoint
from vidpipe.pipeline.checkpoints.state_dicts import state_of
from vidpipe.pipeline.errors import WeightsError

ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"state_dict": {"module.a": ONE}, "optimizer": {"state": {0: {"exp_avg": ONE}}}, "epoch": 3}, "a"),
        ({"model_state": {"a": ONE}, "cfg": "text", "step": torch.tensor(3)}, "a"),
        ({"encoder": {"module.a": ONE}, "predictor": {"module.b": ONE}}, "a"),
        ({"state_dict": {"model": {"a": ONE}}}, "a"),
        ({"a": ONE, "note": "text", "shape": (1, 2)}, "a"),
        ({"body": {"a": ONE, "b": {"c": ONE}}, "fc.weight": ONE}, "body.a body.b.c fc.weight"),
        ({"encoder": {"a": ONE}, "fc.weight": ONE}, "encoder.a fc.weight"),
        ({"layers": [{"a": ONE}, ONE], 7: ONE}, "layers.0.a layers.1 7"),
        ({"state_dict": {}, "a": 1}, ""),
        ([ONE], ""),
    ],
)
def test_no_tensor_is_dropped_but_those_beside_a_state_dict(content: object, keys: str):
    assert list(state_of(content, num_bytes=100)) == keys.split()


def test_mappings_that_have_no_keys_of_their_own_are_refused():
    within: dict = {"a": ONE}
    within["b"] = within
    shared = {"a": ONE}
    deep: dict = {"a": ONE}
    for _ in range(40):
        deep = {"b": deep}
    many: tuple = ()
    for _ in range(30):
        many = (many, many)
    for content, said in (
        (within, "b stands in several places"),
        ({"b": shared, "c": shared}, "c stands in several places"),
        ({"a": {"b": ONE}, "a.b": ONE}, "two tensors are called a.b"),
        (deep, "mappings deep"),
    ):
        with pytest.raises(WeightsError, match=said):
            state_of(content, num_bytes=100)
    assert list(state_of({"a": ONE, "many": many}, num_bytes=100)) == ["a"]  # 2³⁰ ways to walk


STRANGE: dict[str, Callable[[], Tensor]] = {
    "a sparse tensor (sparse_coo)": lambda: torch.eye(2).to_sparse(),
    "a tensor without values (meta)": lambda: torch.zeros(2, device="meta"),
    "a quantised tensor (qint8)": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "a tensor of complex64": lambda: torch.zeros(2, dtype=torch.complex64),
    "a tensor of float8_e4m3fn": lambda: torch.zeros(2).to(torch.float8_e4m3fn),
}


@pytest.mark.filterwarnings("ignore")  # torch's own, of kinds that it will drop
@pytest.mark.parametrize("told", STRANGE)
def test_tensors_of_no_plain_numbers_are_refused_by_name(told: str, tmp_path: Path):
    path = tmp_path / "w.pth"
    torch.save({"fc.weight": STRANGE[told]()}, path)
    with pytest.raises(WeightsError, match=re.escape(f"{path}: fc.weight is {told}")):
        read_checkpoint(path)
