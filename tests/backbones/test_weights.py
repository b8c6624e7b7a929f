"""Weights files: what is written comes back, and what is wrong is named."""

import dataclasses
import errno
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import collect_weights, load_backbone, load_weights, save_weights
from vidpipe.pipeline.errors import FileError, OutOfSpaceError, SettingsError, WeightsError
from vidpipe.pipeline.videos.preprocessing import Preprocessing

CLASSES = ("run", "skip", "überholen")


def make(seed=0, **changes):
    torch.manual_seed(seed)
    backbone = build_backbone("r2d_14_w16", num_classes=3)
    settings = {
        "classes": CLASSES,
        "preprocessing": Preprocessing(short_side=110, crop=96),
        "num_frames": 8,
        "sampling_rate": 2,
        "fps": 12.5,
    }
    return collect_weights(backbone, **{**settings, **changes})


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, make())
    return path


def test_a_file_gives_back_what_was_saved(saved):
    weights, expected = load_weights(saved), make()
    for field in dataclasses.fields(weights):
        if field.name != "state":
            assert getattr(weights, field.name) == getattr(expected, field.name), field.name
    assert list(weights.state) and set(weights.state) == set(expected.state)
    for key, value in expected.state.items():
        assert weights.state[key].dtype == value.dtype
        assert torch.equal(weights.state[key], value)


def test_the_same_weights_give_the_same_bytes(tmp_path, saved):
    again = tmp_path / "again.safetensors"
    save_weights(again, load_weights(saved))
    assert again.read_bytes() == saved.read_bytes()


def test_the_loaded_backbone_computes_the_same_and_owns_its_memory(saved):
    torch.manual_seed(0)
    original = build_backbone("r2d_14_w16", num_classes=3).eval()
    weights = load_weights(saved)
    loaded = load_backbone(weights)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(original(clip), loaded(clip), strict=True))
        loaded.fc.weight.zero_()
    assert not loaded.training
    assert weights.state["fc.weight"].any()


def test_loading_leaves_the_random_state_alone(saved):
    weights = load_weights(saved)
    before = torch.get_rng_state()
    load_backbone(weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_a_snapshot():
    backbone = build_backbone("r2d_14_w16", num_classes=1)
    weights = collect_weights(backbone, classes=["a"], preprocessing=Preprocessing(), num_frames=8)
    with torch.no_grad():
        backbone.fc.weight.zero_()
    assert weights.state["fc.weight"].any()


def test_the_digest_tells_what_changes_results_and_nothing_else():
    digest = make().digest
    assert make(num_frames=16, sampling_rate=1, fps=None).digest == digest
    others = [
        make(seed=1).digest,
        make(classes=CLASSES[::-1]).digest,
        make(preprocessing=Preprocessing(short_side=111, crop=96)).digest,
    ]
    assert len({digest, *others}) == 4


def test_channels_last_memory_changes_neither_digest_nor_content():
    torch.manual_seed(0)
    backbone = build_backbone("r2d_14_w16", num_classes=3).to(memory_format=torch.channels_last_3d)
    weights = collect_weights(
        backbone, classes=CLASSES, preprocessing=Preprocessing(short_side=110, crop=96), num_frames=8
    )
    assert weights.digest == make().digest


def rewrite(path, *, metadata=None, state=None):
    """Write the file anew with a changed copy of its metadata or tensors."""
    with safe_open(str(path), framework="pt") as file:
        old = json.loads(file.metadata()["vidpipe"])
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    save_file((state or (lambda s: s))(tensors), path, {"vidpipe": json.dumps((metadata or (lambda m: m))(old))})


def without(key):
    return lambda mapping: {name: value for name, value in mapping.items() if name != key}


def with_(key, value):
    return lambda mapping: {**mapping, key: value}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": with_("format_version", 2)}, "format version 2, this vidpipe reads 1"),
        ({"metadata": without("classes")}, "lacks 'classes' in its metadata"),
        ({"metadata": with_("preprocessing", {"crop": 96})}, "lacks 'short_side'"),
        ({"metadata": with_("classes", 3)}, "make no sense"),
        ({"metadata": with_("backbone", "resnet_9000")}, "'resnet_9000', which this vidpipe lacks; known: .*r2d_26"),
        ({"metadata": with_("classes", ["a", "b"])}, "names 2 classes but its classifier scores 3"),
        ({"metadata": with_("backbone", "r2plus1d_14_w16")}, "does not fit r2plus1d_14_w16: it lacks"),
        ({"metadata": with_("classes", ["a", "b", "c"])}, "damaged or was edited"),
        ({"state": without("res4.0.reduce.norm.running_var")}, "lacks res4.0.reduce.norm.running_var"),
        ({"state": with_("extra", torch.zeros(2))}, "has unknown extra"),
        ({"state": with_("fc.bias", torch.zeros(4))}, r"fc.bias is torch.float32 \(4,\), not torch.float32 \(3,\)"),
        ({"state": with_("fc.bias", torch.zeros(3).half())}, "fc.bias is torch.float16"),
        ({"state": with_("fc.bias", torch.ones(3))}, "damaged or was edited"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(saved)
    assert str(saved) in str(caught.value)


def test_the_file_itself_may_be_wrong(tmp_path, saved):
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_weights(tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match=r"holds no weights of a backbone, but there is .*w\.safetensors"):
        load_weights(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(WeightsError, match="without vidpipe's metadata"):
        load_weights(foreign)
    save_file({"a": torch.zeros(1)}, foreign, {"vidpipe": "{"})
    with pytest.raises(WeightsError, match="damaged metadata"):
        load_weights(foreign)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_truncated_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="cannot be read as a safetensors file" if keep else "it is empty"):
        load_weights(saved)


def test_a_flipped_bit_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[-1000] ^= 1
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or was edited"):
        load_weights(saved)


def test_a_full_disk_keeps_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpaceError, match="No space left for"):
        save_weights(saved, make(seed=1))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        save_weights(tmp_path / "no" / "w.safetensors", make())


def test_class_names_must_match_the_scores():
    with pytest.raises(WeightsError, match="scores 3 classes, but 2 are named"):
        make(classes=["a", "b"])


def test_a_state_that_does_not_fit_is_not_loaded():
    weights = make()
    state = {**weights.state, "fc.bias": torch.zeros(9)}
    with pytest.raises(WeightsError, match="do not fit r2d_14_w16"):
        load_backbone(dataclasses.replace(weights, state=state))


@pytest.mark.parametrize(
    "settings", [{"crop": 0}, {"crop": 300}, {"std": (1.0, 0.0, 1.0)}, {"mean": (0.5, 0.5)}], ids=str
)
def test_preprocessing_out_of_range_is_refused(settings):
    with pytest.raises(SettingsError, match=r"must lie between|need three"):
        Preprocessing(**settings)
