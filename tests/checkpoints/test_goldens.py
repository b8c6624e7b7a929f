"""Every dialect against what its source's own code computes: the same scores from the same tensors."""

import numpy as np
import pytest
import torch
from checkpoints.peers import clip, golden, state_of

from vidpipe.pipeline.backbones.interface import HeadRule
from vidpipe.pipeline.backbones.registry import build_backbone
from vidpipe.pipeline.backbones.weights import follow_recipe
from vidpipe.pipeline.checkpoints.dialects import read_as, recognised
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.checkpoints.spelling import translate

# golden -> our network. Whoever spells a network adds its lines here.
NETWORKS = {
    "ptv__slow_r50": "slow_only_50",
    "mm__tsn_r50": "resnet_50",
    "tsm__tsn_resnet50": "resnet_50",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_tensors_give_the_sources_scores(name):
    own, state = golden(name), state_of(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    assert NETWORKS[name] in [found.backbone for found in recognised(shapes)]

    found = read_as(shapes, NETWORKS[name])
    with torch.device("meta"):
        backbone = build_backbone(NETWORKS[name], num_classes=len(own["scores"]))
    backbone.load_state_dict(translate(found, state), strict=True, assign=True)
    assert sum(part.numel() for part in backbone.parameters()) == own["param_count"]

    follow_recipe(backbone, RECIPES[found.spelling.recipe].preprocessing)
    with torch.inference_mode():
        features = backbone.double().eval().features(clip(own["T"], own["S"]).double())
        as_the_source = backbone.scores(features)[0].numpy()
        backbone.head_rule = HeadRule()
        scores = backbone.scores(features)[0].numpy()
    tolerance = 1e-8 * np.std(own["scores"])
    np.testing.assert_allclose(scores, own["scores"], rtol=0, atol=tolerance)
    # Some sources return probabilities; the logarithms of theirs are our scores.
    after = np.array(own.get("scores_after", own["scores"]))
    if np.isclose(after.sum(), 1.0) and (after >= 0).all():
        np.testing.assert_allclose(np.exp(as_the_source - np.logaddexp.reduce(as_the_source)), after, rtol=0, atol=1e-8)
