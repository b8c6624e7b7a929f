"""Video transformers of the library transformers: small random ones, saved as the library saves them, read here."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints.made_up_models import (
    CLASSES,
    DEPTH,
    FRAMES,
    GRID,
    JEPA,
    JEPA_ENCODER,
    KINDS,
    MAE,
    MAE_ENCODER,
    NAMES,
    PATCH,
    SIDE,
    WIDTH,
    made,
)
from safetensors.torch import load_file, save_file
from torch import nn

from vidpipe.pipeline.backbones.engine import build_engine
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone, feature_shape, usual_clip
from vidpipe.pipeline.backbones.transformers_hub import sine_positions
from vidpipe.pipeline.backbones.weights import Weights, load_backbone, load_weights, save_weights
from vidpipe.pipeline.checkpoints.transformers_models import is_model_folder, read_model
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.end_to_end.checkpointing import checkpointed
from vidpipe.pipeline.errors import SettingsError, WeightsError

pytestmark = pytest.mark.parity("transformers")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return kind -> a folder as the library saves it."""
    root = tmp_path_factory.mktemp("models")
    places = {kind: root / kind.replace(" ", "_") for kind in KINDS}
    for kind, place in places.items():
        made(kind).save_pretrained(place)
    return places


@pytest.fixture(scope="module")
def read(folders: dict[str, Path]) -> dict[str, Weights]:
    return {kind: read_model(f"hf:{folder}") for kind, folder in folders.items()}


def source_outputs(kind: str, network: Any, clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the tokens (B, N, C) and the scores that the library computes of a clip (B, 3, L, H, W)."""
    frames = clip.transpose(1, 2)
    with torch.no_grad():
        if kind == MAE:
            return network.videomae(frames).last_hidden_state, network(frames).logits
        if kind == MAE_ENCODER:
            return network.videomae(frames).last_hidden_state, None
        if kind == JEPA_ENCODER:
            return network.get_vision_features(frames), None
        return network.vjepa2.get_vision_features(frames), network(frames).logits


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-4)])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_and_scores_are_the_librarys(kind, dtype, tolerance, read):
    network, backbone = made(kind).to(dtype), load_backbone(read[kind]).to(dtype)
    clip = torch.randn(2, 3, FRAMES, SIDE, SIDE, dtype=dtype)
    tokens, logits = source_outputs(kind, network, clip)
    with torch.no_grad():
        features, scores = backbone(clip)
    assert features.shape == (2, WIDTH, *GRID)
    assert tokens.std() > 0.1
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens, rtol=0, atol=tolerance)
    if logits is None:
        assert scores.shape == (2, 1) and (scores == 0).all()
    else:
        assert logits.std() > 0.01
        torch.testing.assert_close(scores, logits, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_names_say_all(kind, folders, read):
    name = NAMES[kind]
    assert read[kind].backbone == name == BACKBONES[f"hf:{folders[kind]}"].name
    assert name in BACKBONES and name not in BACKBONES.names()
    assert usual_clip(name) == ((16 if kind == JEPA_ENCODER else FRAMES), 4)
    assert feature_shape(name, num_frames=FRAMES, size=SIDE) == (*GRID, WIDTH)
    assert is_model_folder(folders[kind])
    with torch.device("meta"):
        keys = build_backbone(name, num_classes=len(read[kind].classes)).state_dict()
    assert {key: own.shape for key, own in keys.items()} == {key: own.shape for key, own in read[kind].state.items()}


# Source: VideoMAE's model zoo: 57, 180, 597 G and 22, 87, 305 M. V-JEPA 2's paper: 300 M and 1 B.
@pytest.mark.parametrize(
    ("name", "gmacs", "millions"),
    [
        ("hf:videomae_small", 57, 22),
        ("hf:videomae_base", 180, 87),
        ("hf:videomae_large", 597, 305),
        ("hf:vjepa2_large_encoder", None, 300),
        ("hf:vjepa2_giant_s384_encoder", None, 1000),
    ],
)
def test_published_sizes_have_their_costs(name, gmacs, millions):
    with torch.device("meta"):
        network = build_backbone(name, num_classes=400)
    count = sum(own.numel() for key, own in network.named_parameters() if gmacs or not key.startswith("fc."))
    assert abs(count / 1e6 / millions - 1) < 0.015
    if gmacs:
        assert abs(backbone_macs(name, num_frames=16, size=224) / 1e9 - gmacs) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_counted(kind):
    tokens, hidden = math.prod(GRID), 64
    layer = tokens * (4 * WIDTH * WIDTH + 2 * WIDTH * hidden) + 2 * tokens * tokens * WIDTH
    expected = tokens * 2 * PATCH**2 * 3 * WIDTH + DEPTH * layer + 7 * WIDTH
    if kind == JEPA:  # a layer of self-attention, and one query that looks at all tokens
        expected += tokens * (4 * WIDTH * WIDTH + 8 * WIDTH * WIDTH) + 2 * tokens * tokens * WIDTH
        expected += (2 * tokens + 1) * WIDTH * WIDTH + 2 * tokens * WIDTH + 8 * WIDTH * WIDTH
    assert backbone_macs(NAMES[kind], num_frames=FRAMES, size=SIDE, num_classes=7) == expected


@pytest.mark.parametrize("kind", [MAE, JEPA])
def test_an_engine_runs_them(kind, read, tmp_path):
    save_weights(tmp_path / "w.safetensors", read[kind])
    weights = load_weights(tmp_path / "w.safetensors")
    assert weights.digest == read[kind].digest
    clips = torch.randint(0, 256, (3, FRAMES, SIDE, SIDE, 3), dtype=torch.uint8)
    engines = {
        precision: build_engine(weights, EngineSettings(device="cpu", precision=precision))
        for precision in ("float32", "bfloat16")
    }
    maps, scores = engines["float32"].run(clips)
    assert (maps.shape, scores.shape) == ((3, *GRID, WIDTH), (3, CLASSES))
    own = weights.preprocessing
    pixels = (clips.float() / 255 - torch.tensor(own.mean)) / torch.tensor(own.std)  # (B, L, H, W, 3)
    tokens, logits = source_outputs(kind, made(kind), pixels.permute(0, 4, 1, 2, 3))
    np.testing.assert_allclose(maps.reshape(3, -1, WIDTH), tokens.numpy(), rtol=1e-3, atol=0.01)  # maps are float16
    np.testing.assert_allclose(scores, logits.numpy(), atol=1e-4)
    rough, rough_scores = engines["bfloat16"].run(clips)
    rough, maps = rough.astype(np.float32), maps.astype(np.float32)
    assert np.abs(rough - maps).mean() < 0.05 * maps.std()
    assert np.abs(rough_scores - scores).mean() < 0.1 * np.abs(scores).max()


@pytest.mark.parametrize("granularity", ["backbone", "stage", "block"])
@pytest.mark.parametrize("kind", [MAE, JEPA])
def test_gradients_reach_everything_and_checkpointing_keeps_them(kind, granularity):
    torch.manual_seed(0)
    backbone, clip = build_backbone(NAMES[kind], num_classes=3), torch.randn(2, 3, FRAMES, SIDE, SIDE)

    def gradients() -> list[torch.Tensor]:
        backbone.zero_grad()
        nn.functional.cross_entropy(backbone(clip)[1], torch.tensor([0, 2])).backward()
        return [own.grad.clone() for own in backbone.parameters() if own.grad is not None]

    plain = gradients()
    assert len(plain) == len(list(backbone.parameters())) and all(own.isfinite().all() for own in plain)
    with checkpointed(backbone, granularity=granularity):
        torch.testing.assert_close(gradients(), plain)


def test_positions_are_the_librarys():
    from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

    assert torch.equal(torch.from_numpy(sine_positions(40, 48)), get_sinusoid_encoding_table(40, 48)[0])


@pytest.mark.parametrize("kind", [MAE_ENCODER, JEPA_ENCODER])
def test_an_encoder_saved_by_itself_is_the_same(kind, folders, read, tmp_path):
    network: Any = made(kind)
    (network.videomae if kind == MAE_ENCODER else network).save_pretrained(tmp_path)
    again = read_model(f"hf:{tmp_path}")
    assert again.digest == read[kind].digest


def test_biases_have_their_old_names_or_their_new_ones(folders, read, tmp_path):
    """Published files have those of before transformers 5, which the library still writes."""
    state = load_file(folders[MAE] / "model.safetensors")
    ends = {"attention.q_bias": "attention.query.bias", "attention.v_bias": "attention.value.bias"}
    assert sum(key.endswith("q_bias") for key in state) == DEPTH
    renamed = {}
    for key, value in state.items():
        end = next((own for own in ends if key.endswith(own)), "")
        renamed[key.removesuffix(end) + ends.get(end, "")] = value
    save_file(renamed, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folders[MAE] / "config.json").read_bytes())
    assert read_model(f"hf:{tmp_path}").digest == read[MAE].digest


def edited(folder: Path, place: Path, **changes: Any) -> Path:
    """Return a copy of a model's folder whose configuration has other values."""
    place.mkdir()
    (place / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (place / "config.json").write_text(json.dumps({**json.loads((folder / "config.json").read_text()), **changes}))
    return place


def test_preprocessing_is_the_papers_unless_the_folder_says_otherwise(folders, read, tmp_path):
    own = read[JEPA].preprocessing
    assert (own.crop, own.short_side, own.mean) == (SIDE, 36, (0.485, 0.456, 0.406))
    assert read[MAE].preprocessing.short_side == SIDE
    assert (read[MAE].num_frames, read[MAE].sampling_rate, read[MAE].fps) == (FRAMES, 4, None)
    folder = edited(folders[MAE], tmp_path / "a", id2label={str(index): name for index, name in enumerate("abcde")})
    said = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"shortest_edge": 40}, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    weights = read_model(f"hf:{folder}")
    assert weights.classes == tuple("abcde")
    own = weights.preprocessing
    assert (own.mean, own.std, own.short_side, own.interpolation) == ((0.5,) * 3, (0.25,) * 3, 40, "bicubic")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    yield tmp_path / "home" / "hub"


def test_models_are_found_in_the_cache(cache, folders, read):
    snapshots = cache / "models--org--clips" / "snapshots"
    with pytest.raises(SettingsError, match=r"hf:org/clips is neither a folder here nor in .*/home/hub, and vidpipe"):
        read_model("hf:org/clips")
    edited(folders[MAE], (snapshots.mkdir(parents=True), snapshots / "1f")[1])
    assert BACKBONES["hf:org/clips"].name == NAMES[MAE]
    assert read_model("hf:org/clips").digest == read[MAE].digest
    edited(folders[JEPA], snapshots / "2e")
    with pytest.raises(SettingsError, match=r"several snapshots \(1f, 2e\)"):
        read_model("hf:org/clips")
    (cache / "models--org--clips" / "refs").mkdir()
    (cache / "models--org--clips" / "refs" / "main").write_text("2e")
    assert read_model("hf:org/clips").digest == read[JEPA].digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "vit"}, "is of the family 'vit'; of transformers vidpipe takes videomae and vjepa2 alone"),
        ({"hidden_act": "relu"}, "sets hidden_act to 'relu'; vidpipe builds videomae with 'gelu' alone"),
        ({"use_mean_pooling": False}, "use_mean_pooling otherwise, to false"),
        ({"image_size": [32, 64]}, r"sets image_size to \[32, 64\]; vidpipe takes one number"),
        ({"num_attention_heads": 3}, "its channels must divide into its heads"),
        ({"num_hidden_layers": 3}, r"15 missing: videomae\.encoder\.layer\.2\."),
        ({"num_hidden_layers": 1}, r"15 left over: videomae\.encoder\.layer\.1\."),
        ({"intermediate_size": 48}, r"is \(64,\), not \(48,\)"),
        ({"id2label": {"0": "a", "1": "b"}}, "names 2 classes in id2label, but the classifier scores 5"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words, folders, tmp_path):
    with pytest.raises((SettingsError, WeightsError), match=words):
        read_model(f"hf:{edited(folders[MAE], tmp_path / 'a', **changes)}")


def test_folders_without_weights_are_refused(folders, tmp_path):
    with pytest.raises(SettingsError, match=r"holds no config\.json"):
        read_model(f"hf:{tmp_path}")
    folder = edited(folders[MAE], tmp_path / "a")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:1000])
    with pytest.raises(WeightsError, match="is a damaged safetensors file"):
        read_model(f"hf:{folder}")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match="is no safetensors file: it is a Git LFS pointer"):
        read_model(f"hf:{folder}")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors, but pytorch_model\.bin, a pickle"):
        read_model(f"hf:{folder}")
    (folder / "config.json").write_text("[]")
    with pytest.raises(SettingsError, match="holds no mapping"):
        read_model(f"hf:{folder}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:videomae_tiny", "After hf: stand videomae_ and one of small, base, large, huge; vjepa2_ and one of"),
        ("hf:videomae_w32_d2_h5_m64", "its channels must divide into its heads"),
        ("hf:", "names nothing"),
        ("hf:nothing", "is neither a folder here nor in"),
    ],
)
def test_names_of_nothing_are_refused(name, words, cache):
    with pytest.raises(SettingsError, match=words):
        _ = BACKBONES[name]


def test_clips_that_do_not_suit_the_positions_are_refused():
    with pytest.raises(SettingsError, match="positions for clips of 4 frames alone; got 8"):
        feature_shape(NAMES[MAE], num_frames=8, size=SIDE)
    assert feature_shape(NAMES[JEPA], num_frames=8, size=SIDE) == (4, *GRID[1:], WIDTH)
    for kind in (MAE, JEPA):
        with pytest.raises(SettingsError, match="pictures of 32×32 pixels alone; got size=64"):
            feature_shape(NAMES[kind], num_frames=FRAMES, size=64)


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.models.videomae.modeling_videomae", None)
    with pytest.raises(SettingsError, match=r"needs the library .*: pip install 'vidpipe\[transformers\]'"):
        build_backbone(NAMES[MAE], num_classes=2)
