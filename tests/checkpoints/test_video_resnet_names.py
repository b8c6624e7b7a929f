"""How torchvision's, VMZ's and Caffe2's files of video ResNets are told apart, by names and shapes alone."""

import pytest
import torch
from checkpoints.peers import golden

from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.checkpoints.dialects import SPELLINGS, read_as, recognised
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.checkpoints.spelling import Shape, compare
from vidpipe.pipeline.errors import WeightsError

# What VMZ's converter of Caffe2 files copies where, written out: part of a torchvision key -> blob.
IN_PAIRS = {"0.0": "conv_{j}_middle", "0.1": "spatbn_{j}_middle", "0.3": "conv_{j}", "1": "spatbn_{j}"}
IN_WHOLE = {"0": "conv_{j}", "1": "spatbn_{j}"}
STEM = {"0": "conv1_middle", "1": "conv1_middle_spatbn_relu", "3": "conv1", "4": "conv1_spatbn_relu"}
WHOLE_STEM = {"0": "conv1", "1": "conv1_spatbn_relu"}
NORM = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}


def shapes_of_golden(name: str) -> dict[str, Shape]:
    return {key: tuple(shape) for key, (shape, _) in golden(name)["keys"].items()}


def blob_of(key: str, blocks: list[str], *, num_classes: int, pairs: bool) -> str:
    """Return the blob that the converter copies to a key of torchvision's."""
    *path, own = key.split(".")
    if path[0] == "fc":
        return f"last_out_L{num_classes}_{own[0]}"
    if path[0] == "stem":
        place = (STEM if pairs else WHOLE_STEM)[path[1]]
        return f"{place}_{NORM[own] if 'spatbn' in place else 'w'}"
    number, part, rest = blocks.index(".".join(path[:2])), path[2], ".".join(path[3:])
    if part == "downsample":
        return f"shortcut_projection_{number}" + ("_w" if rest == "0" else f"_spatbn_{NORM[own]}")
    place = (IN_PAIRS if pairs else IN_WHOLE)[rest].format(j=part[-1])
    return f"comp_{number}_{place}_{NORM[own] if 'spatbn' in place else 'w'}"


def caffe2_of(shapes: dict[str, Shape], *, num_classes: int, pairs: bool) -> dict[str, str]:
    """Return blob -> key, for the tensors that Caffe2 has."""
    blocks = list(dict.fromkeys(".".join(key.split(".")[:2]) for key in shapes if key.startswith("layer")))
    keys = [key for key in shapes if not key.endswith("num_batches_tracked")]
    return {blob_of(key, blocks, num_classes=num_classes, pairs=pairs): key for key in keys}


@pytest.mark.parametrize(
    ("name", "backbone", "pairs"),
    [("vmz__r2plus1d_34", "r2plus1d_34_vmz", True), ("tv__r3d_18", "r3d_18", False)],
)
def test_caffe2s_blobs_go_where_vmzs_converter_puts_them(name, backbone, pairs):
    shapes = shapes_of_golden(name)
    blobs = caffe2_of(shapes, num_classes=400, pairs=pairs)
    ours = read_as(shapes, backbone).sources
    others = {"lr": (1,), "model_iter": (1,), "conv1_w_momentum": (64, 45, 3, 1, 1)}
    in_file = {blob: shapes[key] for blob, key in blobs.items()} | others
    (found,) = recognised(in_file)
    assert (found.spelling.dialect, found.backbone, found.num_classes) == ("vmz caffe2", backbone, 400)
    assert {own: blobs[blob] for own, blob in found.sources.items()} == {
        own: key for own, key in ours.items() if not key.endswith("num_batches_tracked")
    }
    preprocessing = RECIPES[found.spelling.recipe].preprocessing
    assert (preprocessing.bn_eps, preprocessing.squash, preprocessing.crop) == (1e-3, (128, 171), 112)


def test_the_number_of_classes_in_a_blobs_name_may_be_any_but_only_one():
    shapes = shapes_of_golden("vmz__r2plus1d_34")
    blobs = {blob: shapes[key] for blob, key in caffe2_of(shapes, num_classes=487, pairs=True).items()}
    blobs |= {"last_out_L487_w": (487, 512), "last_out_L487_b": (487,)}
    assert [found.num_classes for found in recognised(blobs)] == [487]
    blobs["last_out_L400_w"] = (400, 512)
    with pytest.raises(WeightsError, match=r"1 missing: last_out_L\*_w; 2 left over: last_out_L487_w, last_out_L400_w"):
        read_as(blobs, "r2plus1d_34_vmz")


# Written out from VMZ's converter: blocks are counted through, and a bottleneck's convolutions from 1 to 3.
CAFFE2_152 = {
    "conv1.0.conv.weight": "conv1_middle_w",
    "conv1.1.norm.running_var": "conv1_spatbn_relu_riv",
    "res2.2.reduce.conv.weight": "comp_2_conv_1_w",
    "res3.0.middle.0.conv.weight": "comp_3_conv_2_middle_w",
    "res3.7.middle.0.norm.bias": "comp_10_spatbn_2_middle_b",
    "res4.0.middle.1.conv.weight": "comp_11_conv_2_w",
    "res4.35.middle.1.norm.running_mean": "comp_46_spatbn_2_rm",
    "res5.2.expand.norm.weight": "comp_49_spatbn_3_s",
    "res5.0.shortcut.conv.weight": "shortcut_projection_47_w",
    "res2.0.shortcut.norm.bias": "shortcut_projection_0_spatbn_b",
}


def own_shapes(backbone: str, *, num_classes: int = 400) -> dict[str, Shape]:
    with torch.device("meta"):
        state = build_backbone(backbone, num_classes=num_classes).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def spelled(backbone: str, dialect: str, *, num_classes: int = 400) -> dict[str, Shape]:
    """Return a network's shapes by the names that a dialect gives them."""
    (own,) = [each for each in SPELLINGS if backbone in each.backbones and each.dialect == dialect]
    return {own.name(key): shape for key, shape in own_shapes(backbone, num_classes=num_classes).items()}


def test_caffe2s_152_layers():
    blobs = {
        blob.replace("*", "359"): shape
        for blob, shape in spelled("r2plus1d_152_vmz_nopool", "vmz caffe2", num_classes=359).items()
        if not blob.endswith("_not_counted")
    }
    (found,) = recognised(blobs)  # Caffe2's has no pool after conv1
    assert (found.backbone, found.num_classes) == ("r2plus1d_152_vmz_nopool", 359)
    assert {key: found.sources[key] for key in CAFFE2_152} == CAFFE2_152


@pytest.mark.parametrize("backbone", ["r2plus1d_18_vmz", "mc3_18"])
def test_caffe2s_18_layers(backbone):
    blobs = {
        blob.replace("*", "400"): shape
        for blob, shape in spelled(backbone, "vmz caffe2").items()
        if not blob.endswith("_not_counted")
    }
    (found,) = recognised(blobs)
    assert (found.backbone, found.sources["res5.1.second.0.conv.weight"]) == (
        backbone,
        "comp_7_conv_2_middle_w" if backbone == "r2plus1d_18_vmz" else "comp_7_conv_2_w",
    )


def test_the_152_layers_do_not_tell_whether_there_is_a_pool():
    found = recognised(spelled("r2plus1d_152_vmz", "vmz", num_classes=359))
    assert [own.backbone for own in found] == ["r2plus1d_152_vmz", "r2plus1d_152_vmz_nopool"]
    assert {own.num_classes for own in found} == {359}


def test_shapes_tell_torchvisions_networks_from_vmzs():
    tv = spelled("r2plus1d_18", "torchvision")
    names = dict(zip(own_shapes("r2plus1d_18"), tv, strict=True))
    vmz = {names[key]: shape for key, shape in own_shapes("r2plus1d_18_vmz").items()}
    assert [own.backbone for own in recognised(tv)] == ["r2plus1d_18"]
    assert recognised(vmz) == []
    with pytest.raises(WeightsError, match=r"of another shape: layer2.0.conv2.0.0.weight is \(288, 128, 1, 3, 3\)"):
        read_as(vmz, "r2plus1d_18")


@pytest.mark.parametrize("num_classes", [359, 487])
def test_heads_of_ig65m_load_with_as_many_classes(num_classes):
    (found,) = recognised(spelled("r2plus1d_34_vmz", "vmz", num_classes=num_classes))
    assert (found.backbone, found.num_classes) == ("r2plus1d_34_vmz", num_classes)


def test_ig65ms_network_is_vmzs_to_the_last_score():
    ig65m, vmz = golden("ig65m__r2plus1d_34"), golden("vmz__r2plus1d_34")
    for name in ("keys", "scores", "rescale", "T", "S", "bn_eps"):  # so one run speaks for both
        assert ig65m[name] == vmz[name]


def test_mc3_is_spelled_as_torchvision_does():
    names = spelled("mc3_18", "torchvision")
    assert names.keys() == shapes_of_golden("tv__r3d_18").keys()  # one class of torchvision's, other kernels
    assert names["layer1.1.conv2.0.weight"] == (64, 64, 3, 3, 3)
    assert names["layer2.0.conv1.0.weight"] == (128, 64, 1, 3, 3)
    (found,) = recognised(names)
    assert found.backbone == "mc3_18"


def test_s3ds_classifier_is_a_convolution_there():
    shapes = shapes_of_golden("tv__s3d")
    found = read_as(shapes, "s3d")
    assert shapes[found.sources["fc.weight"]] == (400, 1024, 1, 1, 1)
    shapes["classifier.1.weight"] = (400, 1024)
    assert compare(found.spelling, "s3d", shapes).differing == (
        ("classifier.1.weight", (400, 1024), (400, 1024, 1, 1, 1)),
    )
