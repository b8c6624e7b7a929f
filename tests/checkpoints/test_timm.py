"""Networks of timm as clip backbones, against timm's own forward on every frame."""

import numpy as np
import pytest
import torch
from foreign_packages import brought

from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone, feature_shape
from vidpipe.pipeline.backbones.torch_engine import TorchEngine
from vidpipe.pipeline.backbones.weights import collect_weights, load_backbone, load_weights, save_weights
from vidpipe.pipeline.checkpoints.dialects import read_as
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.checkpoints.spelling import translate
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.errors import SettingsError, WeightsError
from vidpipe.pipeline.videos.preprocessing import Preprocessing

pytestmark = pytest.mark.parity("timm", "torchvision")

# Maps with channels first and last, tokens with and without others before them, scores from a class token or not,
# buffers that are in no state dict. Name -> (side of a picture, of its grid).
NETWORKS = {
    "resnet18": (45, 2),
    "convnext_atto": (64, 2),
    "vit_tiny_patch16_224": (48, 3),
    "vit_small_patch14_dinov2": (42, 3),
    "vit_small_patch16_dinov3": (48, 3),
    "mobilenetv3_small_050": (64, 2),
    "swin_tiny_patch4_window7_224": (224, 7),
}


@pytest.fixture(scope="module")
def timm():
    return brought("timm")


def theirs(timm, name):
    torch.manual_seed(0)
    try:
        own = timm.create_model(name, num_classes=5, dynamic_img_size=True)
    except TypeError:
        own = timm.create_model(name, num_classes=5)
    for module in own.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return own.double().eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_and_scores_are_timms(timm, name):
    side, grid = NETWORKS[name]
    own = theirs(timm, name)
    state = own.state_dict()
    found = read_as({key: tuple(value.shape) for key, value in state.items()}, f"timm:{name}")
    weights_of = build_backbone(f"timm:{name}", num_classes=found.num_classes).double().eval()
    weights_of.load_state_dict({key: value.double() for key, value in translate(found, state).items()})
    own.load_state_dict({key: value.float().double() for key, value in state.items()})
    clip = torch.randn(1, 3, 2, side, side, dtype=torch.float64)
    frames = clip[0].transpose(0, 1)
    with torch.inference_mode():
        features, scores = weights_of(clip)
        outputs, expected = own.forward_features(frames), own(frames).mean(dim=0)
    torch.testing.assert_close(scores[0], expected, rtol=0, atol=1e-8)
    assert features.shape == (1, own.num_features, 2, grid, grid)
    assert feature_shape(f"timm:{name}_t2", num_frames=2, size=side) == (1, grid, grid, own.num_features)
    flat = features[0].permute(1, 2, 3, 0).flatten(1, 2)  # (L, H' · W', C)
    if outputs.ndim == 4:
        outputs = (outputs if outputs.shape[-1] == own.num_features else outputs.permute(0, 2, 3, 1)).flatten(1, 2)
    torch.testing.assert_close(flat, outputs[:, -grid * grid :], rtol=0, atol=0)


def test_a_weights_file_runs_in_the_engine(timm, tmp_path):
    torch.manual_seed(1)
    for name, side in (("timm:resnet18_t2", 33), ("timm:eva02_tiny_patch14_224", 42)):  # the latter has positions
        backbone = build_backbone(name, num_classes=3).eval()
        crop = Preprocessing(crop=side, short_side=side)
        save_weights(
            tmp_path / "w.safetensors", collect_weights(backbone, classes="abc", preprocessing=crop, num_frames=4)
        )
        weights = load_weights(tmp_path / "w.safetensors")
        clip = torch.randn(1, 3, 4, side, side)
        with torch.inference_mode():
            torch.testing.assert_close(load_backbone(weights)(clip), backbone(clip), rtol=0, atol=0)
        engine = TorchEngine(weights, EngineSettings(device="cpu", precision="float32"))
        features, scores = engine.run(torch.zeros(1, 4, side, side, 3, dtype=torch.uint8))
        assert features.shape[1:] == backbone.feature_shape(4, side)
        assert np.isfinite(scores).all()


def test_it_trains(timm):
    backbone = build_backbone("timm:convnext_atto", num_classes=3)
    _, scores = backbone(torch.randn(2, 3, 2, 32, 32))
    scores.sum().backward()
    assert all(own.grad is not None for own in backbone.parameters())


def test_preprocessing_is_timms_record(timm):
    data = timm.data.resolve_data_config({}, model=timm.create_model("convnext_atto.d2_in1k"))
    own = RECIPES["timm:convnext_atto.d2_in1k"].preprocessing
    assert (own.mean, own.std, own.interpolation) == (data["mean"], data["std"], data["interpolation"])
    assert (own.crop, own.short_side) == (224, int(224 / data["crop_pct"]))
    assert RECIPES["timm:vit_tiny_patch16_224.augreg_in21k"].preprocessing.mean == (0.5, 0.5, 0.5)


def test_costs_are_known(timm):
    # Source: timm's record of its ResNets' costs, which are torchvision's.
    assert backbone_macs("timm:resnet18", num_frames=1, size=224, num_classes=1000) / 1e9 == pytest.approx(
        1.814, abs=1e-3
    )


def test_what_does_not_fit_is_refused(timm):
    with pytest.raises(SettingsError, match="timm has no network 'resnet19'.*did you mean resnet"):
        BACKBONES["timm:resnet19"]
    with pytest.raises(SettingsError, match=r"no weights 'b' of resnet18; it has resnet18\.a1_in1k, "):
        BACKBONES["timm:resnet18.b_t2"]
    with pytest.raises(SettingsError, match="cannot take pictures of 64 pixels .*; its own size is 224"):
        feature_shape("timm:maxvit_tiny_rw_224", num_frames=1, size=64)
    with pytest.raises(SettingsError, match="neither a map nor a square of tokens"):
        feature_shape("timm:volo_d1_224", num_frames=1, size=224)
    with pytest.raises(WeightsError, match="as timm spells it, .* missing"):
        read_as({"conv1.weight": (64, 3, 7, 7)}, "timm:resnet18")


def test_a_name_of_timms_that_looks_averaged_is_timms(timm):
    assert BACKBONES["timm:fastvit_t8"].pool_time == 1
    assert BACKBONES["timm:fastvit_t8_t4"].pool_time == 4
    assert BACKBONES["timm:resnet18.a1_in1k_t4"].pool_time == 4
