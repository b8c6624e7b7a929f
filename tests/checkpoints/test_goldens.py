"""Every dialect against what its source's own code computes: the same scores from the same tensors."""

import numpy as np
import pytest
import torch
from checkpoints.peers import FOLDER, clip, golden, state_of

from vidpipe.pipeline.backbones.interface import HeadRule
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import follow_recipe
from vidpipe.pipeline.checkpoints.dialects import read_as, recognised
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.checkpoints.spelling import Comparison, translate

pytestmark = pytest.mark.parity

# golden -> our network. Whoever spells a network adds its lines here.
NETWORKS = {
    "ptv__slow_r50": "slow_only_50",
    "tv__r2plus1d_18": "r2plus1d_18",
    "tv__r3d_18": "r3d_18",
    "tv__s3d": "s3d",
    "vmz__r2plus1d_34": "r2plus1d_34_vmz",
    "mm__r2plus1d_r34": "r2plus1d_34_mm",
    "psf__slow_8x8_r50": "slow_only_50",
    "mm__slowonly_8x8_r50": "slow_only_50",
    "psf__slow_nln_8x8_r50": "slow_only_50_nl_dot",
    "ptv__slowfast_r50": "slowfast_50_8x8",
    "psf__slowfast_8x8_r50": "slowfast_50_8x8",
    "mm__slowfast_4x16_r50": "slowfast_50_4x16_mm",
    "xt__slowfast_resnet50": "slowfast_50_4x16_xt",
    "ptv__i3d_r50": "i3d_50_8x8",
    "psf__i3d_8x8_r50": "i3d_50_8x8",
    "mm__i3d_r50_32x2": "i3d_50",
    "mm__i3d_nl_dot_r50_32x2": "i3d_50_nl",
    "mm__i3d_nl_gaussian_r50_32x2": "i3d_50_nl_gaussian",
    "psf__c2d_8x8_r50": "c2d_50_8x8",
    "mm__c2d_r50": "c2d_50_mm",
    "ptv__r2plus1d_r50": "r2plus1d_50_ptv",
    "ptv__x3d_s": "x3d_s",
    "ptv__efficient_x3d_s": "x3d_s",
    "psf__x3d_s": "x3d_s",
    "mm__x3d_s": "x3d_s",
    "ptv__csn_r101": "ircsn_101",
    "mm__ircsn_r50": "ircsn_50",
    "mm__ircsn_r152": "ircsn_152",
    "vmz__ir_csn_152": "ircsn_152",
    "mm__tsn_r50": "resnet_50",
    "tsm__tsn_resnet50": "resnet_50",
    "mm__tsm_r50": "tsm_resnet_50",
    "tsm__resnet50_shift8_blockres": "tsm_resnet_50",
    "tsm__mobilenetv2_shift8_blockres": "tsm_mobilenet_v2",
    "mm__tin_r50": "tin_resnet_50",
    "xt__tin_resnet50": "tin_resnet_50",
}


LEFT_OUT = "mm__trn_r50"  # its head is no backbone's; `weights inspect` says why
TWINS = {"ig65m__r2plus1d_34": "vmz__r2plus1d_34"}  # of the same keys, and so of the same tensors


def is_filled(found: Comparison, key: str) -> bool:
    return found.spelling.fill(key, ()) is not None


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_tensors_give_the_sources_scores(name):
    own, state = golden(name), state_of(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    assert NETWORKS[name] in [found.backbone for found in recognised(shapes)]

    found = read_as(shapes, NETWORKS[name])
    with torch.device("meta"):
        backbone = build_backbone(NETWORKS[name], num_classes=len(own["scores"]))
    backbone.load_state_dict(translate(found, state), strict=True, assign=True)
    parameters = {key: part for key, part in backbone.named_parameters() if not is_filled(found, key)}
    assert sum(part.numel() for part in parameters.values()) == own["param_count"]

    follow_recipe(backbone, RECIPES[found.spelling.recipe].preprocessing)
    with torch.inference_mode():
        features = backbone.double().eval().features(clip(own["T"], own["S"]).double())
        as_the_source = backbone.scores(features)[0].numpy()
        backbone.head_rule = HeadRule()
        scores = backbone.scores(features)[0].numpy()
    tolerance = 1e-8 * np.std(own["scores"])
    np.testing.assert_allclose(scores, own["scores"], rtol=0, atol=tolerance)
    # Some sources return probabilities; the logarithms of theirs are our scores.
    after = np.array(own.get("scores_after") or own["scores"])
    if np.isclose(after.sum(), 1.0) and (after >= 0).all():
        np.testing.assert_allclose(np.exp(as_the_source - np.logaddexp.reduce(as_the_source)), after, rtol=0, atol=1e-8)


def test_every_golden_is_of_one_of_our_networks_or_left_out():
    assert {path.name.removesuffix(".json.gz") for path in FOLDER.iterdir()} == {*NETWORKS, *TWINS, LEFT_OUT}
    for twin, other in TWINS.items():
        assert golden(twin)["keys"] == golden(other)["keys"]
        np.testing.assert_allclose(golden(twin)["scores"], golden(other)["scores"], rtol=0, atol=1e-12)


def test_the_maps_of_what_is_left_out_are_a_resnets():
    own, state = golden(LEFT_OUT), state_of(LEFT_OUT)
    state = {key: tensor for key, tensor in state.items() if not key.startswith("cls_head")}
    state |= {"cls_head.fc_cls.weight": torch.zeros(1, 2048), "cls_head.fc_cls.bias": torch.zeros(1)}
    found = read_as({key: tuple(tensor.shape) for key, tensor in state.items()}, "resnet_50")
    with torch.device("meta"):
        backbone = build_backbone("resnet_50", num_classes=1)
    backbone.load_state_dict(translate(found, state), strict=True, assign=True)
    with torch.inference_mode():
        features = backbone.double().eval().features(clip(own["T"], own["S"]).double())
    expected = np.array(own["maps"]["last"]["mean_over_THW"])
    np.testing.assert_allclose(features[0].mean(dim=(1, 2, 3)), expected, rtol=0, atol=1e-8 * expected.max())
