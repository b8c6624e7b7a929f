"""The dialects of X3D and CSN against one another, and names of published forms for which there is no golden."""

import pytest
import torch
from checkpoints.peers import golden, state_of

from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import follow_recipe
from vidpipe.pipeline.checkpoints.dialects import SPELLINGS, read_as, recognised
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.checkpoints.spelling import Spelling, translate

X3D_GOLDENS = {
    "pyslowfast": "psf__x3d_s",
    "mmaction2": "mm__x3d_s",
    "pytorchvideo-efficient": "ptv__efficient_x3d_s",
    "pytorchvideo": "ptv__x3d_s",
}


def spelling(dialect: str, backbone: str) -> Spelling:
    (found,) = (own for own in SPELLINGS if own.dialect == dialect and backbone in own.backbones)
    return found


def read(state: dict[str, torch.Tensor], backbone: str) -> dict[str, torch.Tensor]:
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    return translate(read_as(shapes, backbone), state)


def one_set_of_weights() -> dict[str, torch.Tensor]:
    """Return weights of X3D-S that every dialect can hold: its first shortcut's norm changes nothing."""
    ours = read(state_of("psf__x3d_s"), "x3d_s")
    fill = spelling("pytorchvideo", "x3d_s").fill
    return {key: own if (filled := fill(key, tuple(own.shape))) is None else filled for key, own in ours.items()}


def test_the_same_weights_in_every_dialect_of_x3d_give_the_same_scores():
    ours, clip, scores = one_set_of_weights(), torch.randn(1, 3, 2, 48, 48), {}
    for dialect, name in X3D_GOLDENS.items():
        own = spelling(dialect, "x3d_s")
        spelled = {own.name(key): tensor for key, tensor in ours.items() if own.fill(key, ()) is None}
        # The source's own keys and shapes, in its order.
        file = {key: spelled[key].reshape(shape) for key, (shape, _) in golden(name)["keys"].items()}
        assert len(file) == len(spelled)
        with torch.device("meta"):
            backbone = build_backbone("x3d_s", num_classes=400)
        backbone.load_state_dict(read(file, "x3d_s"), assign=True)
        follow_recipe(backbone, RECIPES[own.recipe].preprocessing)
        with torch.inference_mode():
            scores[dialect] = backbone.eval()(clip)[1].softmax(dim=-1)  # one position: heads average alike
    for found in scores.values():
        torch.testing.assert_close(found, scores["pyslowfast"], rtol=1e-5, atol=1e-7)


def test_blobs_of_x3d_are_those_that_pyslowfast_converts():
    state, table = state_of("psf__x3d_s"), golden("psf__x3d_s")["caffe2"]["blob_to_key"]
    blobs = {blob: state[key] for blob, key in table.items()} | {"lr": torch.zeros(1), "pred_w_momentum": torch.ones(1)}
    expected, found = read(state, "x3d_s"), read(blobs, "x3d_s")
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_file_tells_depths_and_forms_apart_but_not_the_clips_of_x3d():
    for name, networks in {
        "mm__x3d_s": {"x3d_xs", "x3d_s", "x3d_m"},
        "mm__ircsn_r50": {"ircsn_50"},
        "ptv__csn_r101": {"ircsn_101"},
        "vmz__ir_csn_152": {"ircsn_152"},
    }.items():
        shapes = {key: tuple(shape) for key, (shape, _) in golden(name)["keys"].items()}
        assert {found.backbone for found in recognised(shapes)} == networks


@pytest.mark.parametrize(
    ("dialect", "backbone", "ours", "theirs"),
    [
        ("vmz", "ipcsn_152", "res2.0.middle.0.conv.weight", "layer1.0.conv2.0.0.weight"),
        ("vmz", "ipcsn_152", "res2.0.middle.0.norm.bias", "layer1.0.conv2.0.1.bias"),
        ("vmz", "ipcsn_152", "res5.2.middle.1.conv.weight", "layer4.2.conv2.0.2.weight"),
        ("vmz", "ipcsn_152", "res5.2.middle.1.norm.running_var", "layer4.2.conv2.1.running_var"),
        ("mmaction2", "ipcsn_152", "res4.35.middle.0.norm.weight", "backbone.layer3.35.conv2.0.bn.weight"),
        ("mmaction2", "ipcsn_152", "res4.35.middle.1.conv.weight", "backbone.layer3.35.conv2.1.conv.weight"),
        ("vmz caffe2", "ircsn_50", "conv1.0.norm.running_var", "conv1_spatbn_relu_riv"),
        ("vmz caffe2", "ircsn_50", "res3.0.shortcut.norm.weight", "shortcut_projection_3_spatbn_s"),
        ("vmz caffe2", "ircsn_50", "res3.0.shortcut.conv.weight", "shortcut_projection_3_w"),
        ("vmz caffe2", "ircsn_152", "res4.1.middle.0.conv.weight", "comp_12_conv_3_w"),
        ("vmz caffe2", "ircsn_152", "res4.1.expand.norm.bias", "comp_12_spatbn_4_b"),
        ("vmz caffe2", "ipcsn_152", "res2.1.middle.0.norm.running_mean", "comp_1_spatbn_2_middle_rm"),
        ("vmz caffe2", "ipcsn_152", "res2.1.middle.1.conv.weight", "comp_1_conv_2_w"),
        ("vmz caffe2", "ipcsn_152", "res2.1.expand.conv.weight", "comp_1_conv_3_w"),
    ],
)
def test_names_of_csn_in_forms_without_a_golden(dialect, backbone, ours, theirs):
    assert spelling(dialect, backbone).name(ours) == theirs


@pytest.mark.parametrize("backbone", ["ircsn_50", "ipcsn_50"])
def test_blobs_of_csn_are_read_whatever_the_number_of_classes(backbone):
    own = spelling("vmz caffe2", backbone)
    with torch.device("meta"):
        network = build_backbone(backbone, num_classes=7)
    blobs = {
        own.name(key).replace("*", "7"): tuple(value.shape)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert {"last_out_L7_w", "last_out_L7_b"} < blobs.keys()
    (found,) = recognised(blobs)
    assert (found.backbone, found.num_classes) == (backbone, 7)
