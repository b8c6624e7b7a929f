"""`vidpipe backbones` and `vidpipe aggregators`: what there is, with its costs, as `vidpipe flops` counts them."""

import json

import pytest
from click.testing import CliRunner
from foreign_packages import brought

from vidpipe.cli.main import main
from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.registry import AGGREGATORS, build_aggregator
from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone
from vidpipe.pipeline.costs.flops import aggregator_macs, backbone_macs
from vidpipe.stages.listing.run import _asked_for, list_backbones
from vidpipe.stages.listing.settings import BackbonesSettings


def invoke(*words: str) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_backbones_come_with_weights_and_costs():
    found = json.loads(invoke("backbones", "r2d_14", "--narrow", "--size", "64", "--classes", "10", "--json"))
    assert [own["name"] for own in found] == ["r2d_14", "r2d_14_w32", "r2d_14_w16", "r2d_14_w8"]
    for own in found:
        parameters = sum(each.numel() for each in build_backbone(own["name"], num_classes=10).parameters())
        assert own["parameters"] == parameters
        assert own["gmacs"] == backbone_macs(own["name"], num_frames=8, size=64, num_classes=10) / 1e9
        assert own["feature_shape"][:3] == [1, 2, 2]
        assert own["refused"] is None
    assert found[0]["narrower"] == ["r2d_14_w32", "r2d_14_w16", "r2d_14_w8"]


def test_the_table_says_which_variants_there_are_and_what_cannot_be_counted():
    assert invoke("backbones", "slow_only_14").splitlines() == [
        "backbone      frames  stride  weights   GMACs  map         narrower",
        "------------  ------  ------  -------  ------  ----------  ---------",
        "slow_only_14       8       8  10.15 M  15.023  8×7×7×2048  _w32 _w16",
        "",
        "Weights with 400 classes, GMACs a clip of 224×224 pixels.",
    ]
    table = invoke("backbones", "r2d_14_w8", "slowfast_14_8x8", "--frames", "6")
    assert "r2d_14_w8" in table  # whoever names a width gets it
    assert "slowfast_14_8x8: " in table.split("\n\n")[1]


def test_without_names_all_of_full_width_are_listed_and_none_twice():
    everything = _asked_for(BackbonesSettings(narrow=True))
    assert everything == BACKBONES.in_order()
    full = _asked_for(BackbonesSettings())
    assert full == [name for name in BACKBONES.in_order() if "_w" not in name]
    assert _asked_for(BackbonesSettings(names=("_w8",))) == ["r2d_14_w8", "r2d_26_w8", "r2d_50_w8", "r2d_101_w8"]


def test_a_name_of_none_is_refused_with_the_nearest():
    result = CliRunner().invoke(main, ["backbones", "r2d26"])
    assert result.exit_code == 2
    assert "there is no backbone 'r2d26'; did you mean r2d_26?" in result.stderr


def test_aggregators_come_with_weights_and_costs():
    words = ("--channels", "64", "--grid", "1x2x2", "--clips", "4", "--classes", "5")
    found = json.loads(invoke("aggregators", *words, "--json"))
    assert [own["name"] for own in found] == AGGREGATORS.in_order()
    for own in found:
        spec = AggregatorSpec(name=own["name"], channels=64, num_classes=5)
        assert own["parameters"] == sum(each.numel() for each in build_aggregator(spec).parameters())
        assert own["gmacs"] == aggregator_macs(spec, shapes={"cheap": (1, 2, 2, 64)}, roles=("cheap",) * 4) / 1e9
        assert own["summary"] == AGGREGATORS[own["name"]].summary
    assert "fast-gru: --reduction must divide the width of 510" in invoke("aggregators", "--channels", "510")


@pytest.mark.parity("transformers")
def test_a_network_of_another_library_is_listed_where_its_name_is_given():
    brought("transformers")
    name = "hf:videomae_w32_d2_h2_m64_p8_f4_s32"
    (entry,) = list_backbones(BackbonesSettings(names=(name,), crop=32))
    assert (entry.name, entry.num_frames, entry.feature_shape) == (name, 4, (2, 4, 4, 32))
    assert name not in [own.name for own in list_backbones(BackbonesSettings(names=("r2d_26",)))]
