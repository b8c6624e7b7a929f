"""Looks: every aggregator has one, no two are alike, and none depends on what else is drawn."""

import numpy as np
from matplotlib.colors import to_rgb

from vidpipe.pipeline.aggregators.registry import AGGREGATORS
from vidpipe.pipeline.evaluation.looks import BACKBONE, LOOKS, PROBE, colours_in_order, look_of


def test_every_method_has_a_look_of_its_own() -> None:
    assert LOOKS.keys() == {*AGGREGATORS, BACKBONE, PROBE}
    assert len({(own.colour, own.is_hollow) for own in LOOKS.values()}) == len(LOOKS)


def test_a_backbone_and_a_probe_on_it_differ_in_colour_from_each_other_and_all_methods() -> None:
    others = {own.colour for name, own in LOOKS.items() if name not in (BACKBONE, PROBE)}
    assert len({LOOKS[BACKBONE].colour, LOOKS[PROBE].colour} - others) == 2


def test_methods_of_others_get_a_look_that_is_always_the_same() -> None:
    assert look_of("of somebody else") == look_of("of somebody else")
    assert len({look_of(f"method {i}").colour for i in range(50)}) > 4


def test_colours_in_order_run_from_dark_to_light_and_are_no_methods() -> None:
    colours = colours_in_order(8)
    brightness = [np.dot(to_rgb(own), (0.299, 0.587, 0.114)) for own in colours]
    assert brightness == sorted(brightness)
    assert not {own.lower() for own in colours} & {own.colour.lower() for own in LOOKS.values()}
    assert len(colours_in_order(1)) == 1
