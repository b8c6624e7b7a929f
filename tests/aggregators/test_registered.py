"""Aggregators: parity with a literal transcription of the paper's equations, its counts, and the common interface."""

import copy

import pytest
import torch
from literal_aggregators import literal_scores
from refusals import assert_refused
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.recurrent import Recurrent
from vidpipe.pipeline.aggregators.registry import AGGREGATORS, build_aggregator
from vidpipe.pipeline.aggregators.video_model import VideoModel, build_video_model
from vidpipe.pipeline.errors import SettingsError

GATED = ["unit.from_input.weight", "unit.from_state.weight"]
BOTTLENECK = [*GATED, "unit.read.weight", "unit.update.weight", "unit.candidate.weight"]
NORM = [f"unit.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
CLASSIFIER = ["classifier.weight", "classifier.bias"]
MEMORY = [f"context.{name}.weight" for name in ("key", "value", "query")]
OUTPUT = ["infusion.output.weight"]
STATE_KEYS = {
    "average": [],
    "max": [],
    "concat": [*GATED, *NORM, *CLASSIFIER],
    "lstm": ["unit.from_input.weight", "unit.from_input.bias", "unit.from_state.weight", *CLASSIFIER],
    "gru": [*GATED, "unit.candidate.weight", *CLASSIFIER],
    "conv-gru": [*GATED, "unit.candidate.weight", *CLASSIFIER],
    "fast-gru": [*BOTTLENECK, *CLASSIFIER],
    "fast-gru-pooled": [*BOTTLENECK, *CLASSIFIER],
    "multi-clip": CLASSIFIER,
    "context-average": ["context.value.weight", *OUTPUT, *CLASSIFIER],
    "context-max": ["context.value.weight", *OUTPUT, *CLASSIFIER],
    "memory-residual": [*MEMORY, *OUTPUT, *CLASSIFIER],
    "memory": [*MEMORY, *OUTPUT, *CLASSIFIER],
}
UNITS = [name for name, keys in STATE_KEYS.items() if keys and keys[0].startswith("unit.")]


def spec(name: str = "fast-gru", *, channels: int = 8, num_classes: int = 5, dropout: float = 0.0) -> AggregatorSpec:
    return AggregatorSpec(name=name, channels=channels, num_classes=num_classes, dropout=dropout)


def inputs(*, num_clips: int = 6, channels: int = 8, num_classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_clips)
    features = torch.randn(2, num_clips, 2, 3, 4, channels, generator=generator, dtype=torch.float64)
    return features, torch.randn(2, num_clips, num_classes, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_clips", [1, 2, 6])
@pytest.mark.parametrize("name", UNITS)
def test_every_unit_equals_its_equations(name: str, num_clips: int, training: bool) -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec(name)).double().train(training)
    assert isinstance(model, Recurrent)
    for parameter in model.parameters():  # larger than fresh ones, so that the gates leave the middle of the sigmoid
        nn.init.normal_(parameter, std=0.7)
    features, scores = inputs(num_clips=num_clips)
    expected = literal_scores(copy.deepcopy(model), features)
    torch.testing.assert_close(model(features, scores), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", UNITS)
def test_every_unit_has_the_gradients_of_its_equations(name: str) -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec(name)).double()
    assert isinstance(model, Recurrent)
    features, scores = inputs()
    gradients = []
    for got in (model(features, scores), literal_scores(model, features)):
        weights = torch.linspace(-1, 1, got.numel(), dtype=got.dtype).view_as(got)
        gradients.append(torch.autograd.grad((got * weights).sum(), list(model.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
        assert ours.abs().sum() > 0


def test_concats_running_statistics_see_every_step() -> None:
    torch.manual_seed(0)
    model, literal = (build_aggregator(spec("concat")).double() for _ in range(2))
    literal.load_state_dict(model.state_dict())
    features, scores = inputs()
    model(features, scores)
    assert isinstance(literal, Recurrent)
    literal.unit.norm.momentum = 0.1 / 5  # a batch of six clips has five steps
    literal_scores(literal, features)
    torch.testing.assert_close(model.unit.norm.running_mean, literal.unit.norm.running_mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.unit.norm.running_var, literal.unit.norm.running_var, rtol=0, atol=1e-12)


def test_concats_running_statistics_are_those_of_all_steps_however_many() -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec("concat"))
    assert isinstance(model, Recurrent)
    features, scores = (value.float() + value.float().abs() for value in inputs(num_clips=32))
    features *= torch.linspace(0, 1, 32).view(1, 32, 1, 1, 1, 1)  # so that late steps are unlike early ones
    means: list[Tensor] = []
    model.unit.norm.register_forward_hook(lambda _module, given, _output: means.append(given[0].mean(dim=0)))
    with torch.no_grad():
        for _ in range(60):
            model(features, scores)
    steps = torch.stack(means[-31:])  # (N - 1, C) of the last batch
    error = (model.unit.norm.running_mean - steps.mean(dim=0)).abs().max()
    assert error < 0.1 * (steps[-1] - steps[0]).abs().max()


def test_concat_cannot_normalise_a_single_vector() -> None:
    with assert_refused(SettingsError, match="--batch 2 or more"):
        build_aggregator(spec("concat"))(torch.rand(1, 2, 1, 1, 1, 8), torch.empty(1, 2, 0))


def test_pooled_units_do_not_see_where_in_the_clip_something_is() -> None:
    features, scores = inputs()
    moved = features.flip(3)
    moved[:, 0] = features[:, 0]
    for name in UNITS:
        torch.manual_seed(0)
        model = build_aggregator(spec(name)).double()
        difference = (model(features, scores) - model(moved, scores)).abs().max().item()
        assert (difference < 1e-12) is (name in ("lstm", "gru", "fast-gru-pooled")), name


def test_fast_gru_has_the_papers_weights_and_macs() -> None:
    with torch.device("meta"):
        model = build_aggregator(spec(channels=2048, num_classes=400))
        assert sum(p.numel() for name, p in model.named_parameters() if "classifier" not in name) == 14_680_064
        macs = {}
        for num_clips in (1, 8):
            with FlopCounterMode(display=False) as counter:
                model(torch.empty(1, num_clips, 1, 7, 7, 2048), torch.empty(1, num_clips, 400))
            macs[num_clips] = counter.get_total_flops() // 2
    assert macs[1] == 2048 * 400  # o_0 = x_0: a single clip takes no step
    assert (macs[8] - macs[1]) / 7 == 14_680_064 * 49  # 0.7193 GMAC a step


def test_order_matters_to_units_and_to_nothing_else() -> None:
    features, scores = inputs()
    for name, changes in [(name, name in UNITS) for name in AGGREGATORS]:
        torch.manual_seed(0)
        model = build_aggregator(spec(name)).double()
        difference = (model(features, scores) - model(features.flip(1), scores.flip(1))).abs().max()
        assert (difference.item() > 1e-3) is changes, name


def test_average_is_the_mean_of_probabilities() -> None:
    scores = torch.tensor([[[4.0, 0.0], [0.0, 0.0], [-100.0, 100.0]]])
    got = build_aggregator(spec("average"))(torch.empty(1, 3, 1, 1, 1, 0), scores).softmax(dim=-1)
    expected = (1 / (1 + torch.exp(torch.tensor(-4.0))) + 0.5 + 0.0) / 3
    torch.testing.assert_close(got, torch.tensor([[float(expected), 1 - float(expected)]]))


def test_max_is_the_highest_probability_scaled_to_one() -> None:
    scores = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]])
    got = build_aggregator(spec("max"))(torch.empty(1, 3, 1, 1, 1, 0), scores).softmax(dim=-1)
    highest = scores.softmax(dim=-1).amax(dim=1)
    torch.testing.assert_close(got, highest / highest.sum())


@pytest.mark.parametrize("name", AGGREGATORS.names())
def test_every_aggregator_steps_online_to_the_same_scores(name: str) -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec(name)).double().eval()
    features, scores = inputs()
    state = None
    for count in range(1, features.shape[1] + 1):
        state, got = model.step(state, features[:, count - 1], scores[:, count - 1])
        expected = model(features[:, :count], scores[:, :count])
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12 if STATE_KEYS[name] else 1e-6)


@pytest.mark.parametrize("name", AGGREGATORS.names())
def test_every_aggregator_trains_and_keeps_its_state_keys(name: str) -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec(name, dropout=0.5))
    assert list(model.state_dict()) == STATE_KEYS[name]
    features, scores = (value.float().requires_grad_() for value in inputs())
    got = model(features, scores)
    assert got.shape == (2, 5)
    F.cross_entropy(got, torch.tensor([0, 1])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    read = [value for value, needed in ((features, model.needs_features), (scores, model.needs_scores)) if needed]
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in read)
    assert model.is_trained is bool(STATE_KEYS[name])


def test_unknown_names_and_impossible_specs_are_refused() -> None:
    with pytest.raises(SettingsError, match="no aggregator 'fastgru'; did you mean fast-gru. Known: average, concat, "):
        build_aggregator(spec("fastgru"))
    with pytest.raises(SettingsError, match="reduction must divide the width of 6 channels; got 4"):
        build_aggregator(spec(channels=6))
    with pytest.raises(SettingsError, match=r"dropout must be in \[0, 1\); got 1"):
        spec(dropout=1.0)


SHAPES = {"expensive": (2, 4, 4, 12), "cheap": (1, 2, 4, 8)}
ROLES = ("expensive", "cheap", "cheap", "expensive", "cheap")


def mixed_maps(shapes: dict[str, tuple[int, int, int, int]]) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(3)
    maps = {
        role: torch.randn(2, ROLES.count(role), *shape, generator=generator, dtype=torch.float64)
        for role, shape in shapes.items()
    }
    return maps, torch.randn(2, len(ROLES), 5, generator=generator, dtype=torch.float64)


def literal_mixing(model: VideoModel, maps: dict[str, Tensor]) -> Tensor:
    """Each clip by itself: resample with plain weights of linear interpolation, then project."""
    seen = dict.fromkeys(maps, 0)
    clips = []
    for role in ROLES:
        clip = maps[role][:, seen[role]]  # (B, T', H', W', C)
        seen[role] += 1
        for axis, size in enumerate((2, 4, 4), start=1):
            weights = interpolation(clip.shape[axis], size)
            clip = torch.tensordot(weights, clip.movedim(axis, 0), dims=1).movedim(0, axis)
        if role in model.mixing.projections:
            clip = clip @ model.mixing.projections[role].weight.T
        clips.append(clip)
    return torch.stack(clips, dim=1)


def interpolation(old: int, new: int) -> Tensor:
    """Return (new, old) weights of linear interpolation between the middles of equal cells, held at the ends."""
    places = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    return (1 - (places[:, None] - torch.arange(old)).abs()).clamp_min(0)


@pytest.mark.parametrize("width", [12, 8, 4])
def test_unequal_maps_meet_at_one_width_and_the_larger_grid(width: int) -> None:
    torch.manual_seed(0)
    model = build_video_model(spec("fast-gru", channels=width), shapes=SHAPES).double()
    assert set(model.mixing.projections) == {role for role, shape in SHAPES.items() if shape[-1] != width}
    maps, scores = mixed_maps(SHAPES)
    met = literal_mixing(model, maps)
    assert met.shape == (2, 5, 2, 4, 4, width)
    torch.testing.assert_close(model.mixing(maps, ROLES), met, rtol=0, atol=1e-10)
    torch.testing.assert_close(model(maps, scores, ROLES), model.aggregator(met, scores), rtol=0, atol=1e-10)


def test_equal_maps_pass_as_they_are_in_the_clips_order() -> None:
    maps, _ = mixed_maps(dict.fromkeys(SHAPES, (2, 3, 3, 8)))
    model = build_video_model(spec("gru"), shapes=dict.fromkeys(SHAPES, (2, 3, 3, 8)))
    met = model.mixing(maps, ROLES)
    assert not list(model.mixing.parameters())
    for place, (role, own) in enumerate([("expensive", 0), ("cheap", 0), ("cheap", 1), ("expensive", 1), ("cheap", 2)]):
        assert torch.equal(met[:, place], maps[role][:, own])


@pytest.mark.parametrize("name", AGGREGATORS.names())
def test_every_model_steps_online_over_both_roles(name: str) -> None:
    torch.manual_seed(0)
    model = build_video_model(spec(name), shapes=SHAPES).double().eval()
    maps, scores = mixed_maps(SHAPES)
    state, got, seen = None, torch.empty(0), dict.fromkeys(SHAPES, 0)
    for place, role in enumerate(ROLES):
        state, got = model.step(state, maps[role][:, seen[role]], scores[:, place], role)
        seen[role] += 1
    torch.testing.assert_close(got, model(maps, scores, ROLES), rtol=0, atol=1e-12 if STATE_KEYS[name] else 1e-6)


def test_projections_are_trained() -> None:
    torch.manual_seed(0)
    model = build_video_model(spec("fast-gru", channels=4), shapes=SHAPES).double()
    model(*mixed_maps(SHAPES), ROLES).square().sum().backward()
    for layer in model.mixing.projections.values():
        assert layer.weight.grad.abs().sum() > 0
