"""The engine: equal to the plain network, bit for bit the same in any company, and loud when it cannot be."""

import json

import numpy as np
import pytest
import torch
from made_up_backbones import lived_in
from torch import nn

from vidpipe.pipeline.backbones import devices
from vidpipe.pipeline.backbones.devices import cpu_has_bfloat16, resolve_device, resolve_precision
from vidpipe.pipeline.backbones.engine import ENGINES, EngineEntry, build_engine, engine_provenance
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.torch_engine import TorchEngine, fold_batch_norm
from vidpipe.pipeline.backbones.weights import collect_weights, load_backbone
from vidpipe.pipeline.errors import SettingsError, VideoError
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.transforms import normalise

SMALL = ["r2d_14_w16", "r2plus1d_14_w16"]
PRECISIONS = ["float32", "bfloat16"]
SIZE = 48


@pytest.fixture(scope="module")
def weights():
    preprocessing = Preprocessing(short_side=SIZE, crop=SIZE)
    classes = [str(index) for index in range(5)]
    return {
        name: collect_weights(lived_in(name), classes=classes, preprocessing=preprocessing, num_frames=8)
        for name in (*SMALL, "r3d_14_w16")
    }


@pytest.fixture(autouse=True)
def threads_are_put_back():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def random_clips(count: int, seed: int = 0, frames: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, frames, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)


def on_cpu(weights, **settings):
    return build_engine(weights, EngineSettings(device="cpu", **settings))


@pytest.mark.parametrize("name", ["r2d_26_w16", "r2plus1d_14_w16", "r3d_14_w16"])
def test_folding_batch_norm_changes_nothing_but_rounding(name):
    backbone = lived_in(name).double()
    clip = torch.randn(2, 3, 8, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        expected = backbone(clip)
        folded = fold_batch_norm(backbone)
        found = folded(clip)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_training_network_is_not_folded():
    with pytest.raises(ValueError, match="evaluation mode only"):
        fold_batch_norm(build_backbone("r2d_14_w16", num_classes=2))


@pytest.mark.parametrize("name", [*SMALL, "r3d_14_w16"])
def test_float32_equals_the_plain_network(weights, name):
    clips = random_clips(3)
    features, scores = on_cpu(weights[name], precision="float32", batch=2).run(clips)
    with torch.no_grad():
        maps, logits = load_backbone(weights[name])(normalise(clips, weights[name].preprocessing).contiguous())
    assert features.dtype == np.float16 and scores.dtype == np.float32
    expected = maps.permute(0, 2, 3, 4, 1).numpy()
    np.testing.assert_allclose(features, expected, rtol=2e-3, atol=1e-3)  # float16 has 11 bits
    np.testing.assert_allclose(scores, logits.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*SMALL, "r3d_14_w16"])
def test_bfloat16_points_where_float32_does(weights, name):
    clips = random_clips(2)
    (full, full_scores), (low, low_scores) = (on_cpu(weights[name], precision=p).run(clips) for p in PRECISIONS)
    for a, b in zip(full.reshape(2, -1).astype(np.float64), low.reshape(2, -1).astype(np.float64), strict=True):
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999
    assert np.abs(full_scores - low_scores).max() < 0.05 * np.abs(full_scores).max()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", SMALL)
def test_a_clip_has_the_same_bits_in_any_company(weights, name, batch, precision):
    engine = on_cpu(weights[name], precision=precision, batch=batch)
    clips = random_clips(6)
    features, scores = engine.run(clips)
    for index in range(6):  # alone, so in the first slot of a batch filled up
        alone, alone_scores = engine.run(clips[index : index + 1])
        assert np.array_equal(alone[0], features[index])
        assert np.array_equal(alone_scores[0], scores[index])
    others = random_clips(4, seed=9)
    for slot in range(4):  # in every slot, among strangers
        mixed = others.clone()
        mixed[slot] = clips[5]
        found, found_scores = engine.run(mixed)
        assert np.array_equal(found[slot], features[5])
        assert np.array_equal(found_scores[slot], scores[5])


def test_bfloat16_features_do_not_depend_on_the_threads(weights):
    clips = random_clips(1)
    one, two = (on_cpu(weights["r2plus1d_14_w16"], precision="bfloat16", threads=n).run(clips) for n in (1, 2))
    np.testing.assert_array_equal(one[0], two[0])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_there_is_a_result_for_each_clip(weights, count):
    features, scores = on_cpu(weights["r2plus1d_14_w16"], precision="float32", batch=3).run(random_clips(count))
    assert features.shape == (count, 1, 2, 2, 512)
    assert scores.shape == (count, 5)


def test_every_pass_has_the_full_batch(weights, monkeypatch):
    engine = on_cpu(weights["r2d_14_w16"], precision="float32", batch=3)
    sizes = []
    plain = engine._backbone.forward
    monkeypatch.setattr(engine._backbone, "forward", lambda clip: sizes.append(len(clip)) or plain(clip))
    engine.run(random_clips(7))
    assert sizes == [3, 3, 3]


def test_running_needs_no_gradients_and_leaves_the_weights(weights):
    engine = on_cpu(weights["r2d_14_w16"], precision="bfloat16")
    before = weights["r2d_14_w16"].state["fc.weight"].clone()
    features, _ = engine.run(random_clips(1))
    assert features.flags.writeable
    assert torch.equal(weights["r2d_14_w16"].state["fc.weight"], before)
    assert weights["r2d_14_w16"].state["conv1.0.conv.weight"].dtype == torch.float32


def test_what_float16_cannot_hold_is_an_error(weights):
    loud = weights["r2d_14_w16"]
    state = dict(loud.state)
    state["res5.0.expand.norm.weight"] = state["res5.0.expand.norm.weight"] * 1e7
    backbone = build_backbone("r2d_14_w16", num_classes=5)
    backbone.load_state_dict(state)
    loud = collect_weights(backbone, classes=loud.classes, preprocessing=loud.preprocessing, num_frames=8)
    for precision in PRECISIONS:
        with pytest.raises(VideoError, match=r"beyond 65504, the most that float16 holds"):
            on_cpu(loud, precision=precision).run(random_clips(1))


def test_not_a_number_is_an_error(weights):
    backbone = load_backbone(weights["r2d_14_w16"])
    with torch.no_grad():
        backbone.fc.bias[2] = float("nan")
    broken = collect_weights(backbone, classes="abcde", preprocessing=Preprocessing(), num_frames=8)
    with pytest.raises(VideoError, match="not finite"):
        on_cpu(broken, precision="float32").run(random_clips(1))


@pytest.mark.parametrize(
    "clips",
    [
        torch.zeros(1, 8, SIZE, SIZE, 3),
        torch.zeros(8, SIZE, SIZE, 3, dtype=torch.uint8),
        torch.zeros(1, 8, SIZE, SIZE + 1, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 8, SIZE, SIZE, dtype=torch.uint8),
    ],
    ids=["float", "no batch", "not square", "channels first"],
)
def test_other_inputs_are_refused(weights, clips):
    with pytest.raises(SettingsError, match=r"takes uint8 clips \(n, L, S, S, 3\)"):
        on_cpu(weights["r2d_14_w16"], precision="float32").run(clips)


def test_frames_the_backbone_cannot_take_are_refused(weights):
    with pytest.raises(SettingsError, match="multiple of 8 frames; got 6"):
        on_cpu(weights["r2d_14_w16"], precision="float32").run(random_clips(1, frames=6))


def test_provenance_says_what_determines_the_bits(weights):
    engine = on_cpu(weights["r2d_14_w16"], precision="bfloat16", batch=4, threads=2)
    assert json.loads(json.dumps(engine.provenance)) == {
        "name": "torch",
        "device": "cpu",
        "precision": "bfloat16",
        "batch": 4,
        "threads": 2,
    }
    engine.run(random_clips(1))
    assert torch.get_num_threads() == 2


def test_automatic_choices_fit_the_device(weights, monkeypatch):
    assert on_cpu(weights["r2d_14_w16"]).provenance["batch"] == 1
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert resolve_precision("auto", cpu) == ("bfloat16" if cpu_has_bfloat16() else "float32")
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: False)
    assert resolve_precision("auto", cpu) == "float32"
    for capability, expected in (((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert resolve_precision("auto", cuda) == expected


def test_automatic_device_is_the_gpu_where_there_is_one(monkeypatch):
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["gpu", "mps", "meta", ""])
def test_unknown_devices_are_refused(name):
    with pytest.raises(SettingsError, match="device must be auto, cpu, cuda or cuda:N"):
        resolve_device(name)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(SettingsError, match="no device 'cuda:1': torch sees 1"):
        resolve_device("cuda:1")


@pytest.mark.parametrize(
    "settings", [{"precision": "int8"}, {"batch": -1}, {"threads": 0}], ids=["precision", "batch", "threads"]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        EngineSettings(**settings)


def test_float16_is_for_gpus(weights):
    with pytest.raises(SettingsError, match="needs a CUDA device"):
        on_cpu(weights["r2d_14_w16"], precision="float16")


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", SMALL)
def test_cuda_agrees_with_the_cpu_and_with_itself(weights, name, precision):
    clips = random_clips(9)
    engine = build_engine(weights[name], EngineSettings(device="cuda", precision=precision, batch=4))
    features, scores = engine.run(clips)
    expected, _ = on_cpu(weights[name], precision="float32").run(clips)
    for a, b in zip(features.reshape(9, -1).astype(float), expected.reshape(9, -1).astype(float), strict=True):
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999
    for index in range(9):
        alone, alone_scores = engine.run(clips[index : index + 1])
        assert np.array_equal(alone[0], features[index])
        assert np.array_equal(alone_scores[0], scores[index])


def test_engines_are_found_by_name(weights, monkeypatch):
    class Zeros:
        """An engine that computes nothing."""

        def __init__(self, own, settings) -> None:
            self.provenance = {"name": "zeros", "device": settings.device, "precision": "float32"}

        def run(self, clips):
            return np.zeros((len(clips), 1, 2, 2, 512), np.float16), np.zeros((len(clips), 5), np.float32)

    entry = EngineEntry(build=Zeros, provenance=lambda settings: {"name": "zeros"}, summary="zeros")
    monkeypatch.setitem(ENGINES._entries, "zeros", entry)
    own, settings = weights["r2d_14_w16"], EngineSettings(device="cpu")
    assert build_engine(own, settings, name="zeros").provenance["name"] == "zeros"
    assert engine_provenance(settings, name="zeros") == {"name": "zeros"}
    built = build_engine(own, settings)
    assert isinstance(built, TorchEngine)
    assert built.provenance["name"] == "torch"
    with pytest.raises(SettingsError, match="there is no engine 'openvino'; known: torch, zeros"):
        build_engine(own, settings, name="openvino")
