"""The names of Caffe2's blobs against those that PySlowFast's own converter makes PyTorch's of."""

import pytest
import torch
from checkpoints.peers import golden

from vidpipe.pipeline.checkpoints.dialects import SPELLINGS, recognised
from vidpipe.pipeline.checkpoints.spelling import compare, translate

pytestmark = pytest.mark.parity

GOLDENS = {
    "psf__slow_8x8_r50": "slow_only_50",
    "psf__i3d_8x8_r50": "i3d_50_8x8",
    "psf__slowfast_8x8_r50": "slowfast_50_8x8",
}
# Of parts that the goldens lack. Source: the rules of PySlowFast's converter.
OTHERS = {
    ("slow_only_50_nl_dot", "res3.nonlocal1.theta.weight"): "nonlocal_conv3_1_theta_w",
    ("slow_only_50_nl_dot", "res4.nonlocal5.phi.bias"): "nonlocal_conv4_5_phi_b",
    ("slow_only_50_nl_dot", "res4.nonlocal3.g.weight"): "nonlocal_conv4_3_g_w",
    ("i3d_50_8x8_nl_softmax", "res3.nonlocal3.expand.conv.bias"): "nonlocal_conv3_3_out_b",
    ("i3d_50_8x8_nl_softmax", "res4.nonlocal5.expand.norm.running_var"): "nonlocal_conv4_5_bn_riv",
    ("slowfast_101_16x8", "slow.res4.22.expand.norm.weight"): "res4_22_branch2c_bn_s",
    ("slowfast_101_16x8", "laterals.res4.conv.weight"): "t_res4_22_branch2c_bn_subsample_w",
    ("slowfast_101_16x8", "laterals.res4.norm.bias"): "t_res4_22_branch2c_bn_subsample_bn_b",
    ("slowfast_50_8x8_nl_dot", "laterals.res4.norm.running_mean"): "t_res4_5_branch2c_bn_subsample_bn_rm",
    ("slowfast_101_16x8_nl_dot", "slow.res4.nonlocal20.expand.norm.weight"): "nonlocal_conv4_20_bn_s",
}


def spelling_of(backbone: str, dialect: str):
    return next(own for own in SPELLINGS if own.dialect == dialect and backbone in own.backbones)


@pytest.mark.parametrize("name", GOLDENS)
def test_blobs_are_those_of_the_sources_converter(name):
    own = golden(name)
    shapes = {key: tuple(shape) for key, (shape, _) in own["keys"].items()}
    to_key = own["caffe2"]["blob_to_key"]
    blobs = {blob: shapes[key] for blob, key in to_key.items()}
    blobs |= {f"{blob}_momentum": shape for blob, shape in blobs.items()} | {"lr": (1,), "model_iter": (1,)}
    found = {own.backbone: own for own in recognised(blobs)}
    assert {own.spelling.dialect for own in found.values()} == {"pyslowfast-caffe2"}
    names = compare(spelling_of(GOLDENS[name], "pyslowfast"), GOLDENS[name], shapes).sources
    counted = {key: foreign for key, foreign in names.items() if not key.endswith("num_batches_tracked")}
    assert {key: to_key[blob] for key, blob in found[GOLDENS[name]].sources.items()} == counted


@pytest.mark.parametrize(("place", "blob"), OTHERS.items())
def test_names_of_other_parts(place, blob):
    backbone, key = place
    assert spelling_of(backbone, "pyslowfast-caffe2").name(key) == blob


def test_uncounted_batches_become_zero():
    name = "psf__i3d_8x8_r50"
    own = golden(name)
    blobs = {blob: torch.full(tuple(own["keys"][key][0]), 0.5) for blob, key in own["caffe2"]["blob_to_key"].items()}
    found = {own.backbone: own for own in recognised({blob: tuple(tensor.shape) for blob, tensor in blobs.items()})}
    assert set(found) == {"i3d_50_8x8", "i3d_50"}
    state = translate(found["i3d_50_8x8"], blobs)
    assert state["conv1.0.norm.num_batches_tracked"].item() == 0
    assert (state["conv1.0.norm.running_var"] == 0.5).all()
