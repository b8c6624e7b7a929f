"""Aggregators: parity with a literal transcription of the paper's equations, its counts, and the common interface."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vidpipe.pipeline.aggregators import AGGREGATORS, AggregatorSpec, AveragePooling, FastGRU, build_aggregator
from vidpipe.pipeline.errors import SettingsError

STATE_KEYS = {
    "average": [],
    "fast-gru": [
        "from_input.weight",
        "from_state.weight",
        "read.weight",
        "update.weight",
        "candidate.weight",
        "classifier.weight",
        "classifier.bias",
    ],
}


def spec(name: str = "fast-gru", *, channels: int = 8, num_classes: int = 5, dropout: float = 0.0) -> AggregatorSpec:
    return AggregatorSpec(name=name, channels=channels, num_classes=num_classes, dropout=dropout)


def inputs(*, num_clips: int = 6, channels: int = 8, num_classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_clips)
    features = torch.randn(2, num_clips, 2, 3, 4, channels, generator=generator, dtype=torch.float64)
    return features, torch.randn(2, num_clips, num_classes, generator=generator, dtype=torch.float64)


def literal_fast_gru(x: list[Tensor], model: FastGRU, r: int) -> Tensor:
    """Eq. 3 and 4 as printed, with 1x1x1 convolutions on (B, C, T', H', W') maps, one clip and one gate at a time."""
    c = x[0].shape[1]

    def kernel(weight: Tensor) -> Tensor:
        return weight[:, :, None, None, None]

    u_rx, u_zx, v_x = (kernel(w) for w in model.from_input.weight.split([c // r, c // r, c]))
    u_ro, u_zo = (kernel(w) for w in model.from_state.weight.split([c // r, c // r]))
    w_r, w_z, v_o = (kernel(m.weight) for m in (model.read, model.update, model.candidate))
    o = x[0]
    for x_t in x[1:]:
        r_prime = torch.relu(F.conv3d(x_t, u_rx) + F.conv3d(o, u_ro))
        z_prime = torch.relu(F.conv3d(x_t, u_zx) + F.conv3d(o, u_zo))
        r_t = torch.sigmoid(F.conv3d(r_prime, w_r))
        z_t = torch.sigmoid(F.conv3d(z_prime, w_z))
        o_bar = torch.tanh(F.conv3d(x_t, v_x) + F.conv3d(r_t * o, v_o))
        o = (1 - z_t) * o + z_t * o_bar
    return F.linear(o.mean(dim=(2, 3, 4)), model.classifier.weight, model.classifier.bias)


@pytest.mark.parametrize("num_clips", [1, 2, 6])
def test_fast_gru_equals_its_equations(num_clips: int) -> None:
    torch.manual_seed(0)
    model = FastGRU(spec()).double()
    for parameter in model.parameters():  # larger than fresh ones, so that the gates leave the middle of the sigmoid
        nn.init.normal_(parameter, std=0.7)
    features, scores = inputs(num_clips=num_clips)
    clips = [clip.permute(0, 4, 1, 2, 3) for clip in features.unbind(dim=1)]  # N times (B, C, T', H', W')
    expected, got = literal_fast_gru(clips, model, r=4), model(features, scores)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)

    weights = torch.linspace(-1, 1, got.numel(), dtype=got.dtype).view_as(got)
    gradients = torch.autograd.grad((got * weights).sum(), list(model.parameters()), allow_unused=True)
    literal = torch.autograd.grad((expected * weights).sum(), list(model.parameters()), allow_unused=True)
    for ours, theirs in zip(gradients, literal, strict=True):
        if num_clips > 1:
            assert ours is not None
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_fast_gru_has_the_papers_weights_and_macs() -> None:
    with torch.device("meta"):
        model = FastGRU(spec(channels=2048, num_classes=400))
        assert sum(p.numel() for name, p in model.named_parameters() if "classifier" not in name) == 14_680_064
        macs = {}
        for num_clips in (1, 8):
            with FlopCounterMode(display=False) as counter:
                model(torch.empty(1, num_clips, 1, 7, 7, 2048), torch.empty(1, num_clips, 400))
            macs[num_clips] = counter.get_total_flops() // 2
    assert macs[1] == 2048 * 400  # o_0 = x_0: a single clip takes no step
    assert (macs[8] - macs[1]) / 7 == 14_680_064 * 49  # 0.7193 GMAC a step


@pytest.mark.parametrize(("num_clips", "num_expensive", "gmacs"), [(32, 8, 338.1), (16, 2, 230.2), (8, 4, 550.5)])
def test_cells_of_the_papers_table_4(num_clips: int, num_expensive: int, gmacs: float) -> None:
    frames = 256 // num_clips
    backbones = (num_expensive * 29.9795 + (num_clips - num_expensive) * 3.1663) * frames / 8
    positions = frames // 8 * 7 * 7
    assert backbones + (num_clips - 1) * 14_680_064 * positions / 1e9 == pytest.approx(gmacs, abs=0.1)


def test_order_matters_to_fast_gru_and_not_to_averaging() -> None:
    features, scores = inputs()
    for name, changes in (("fast-gru", True), ("average", False)):
        torch.manual_seed(0)
        model = build_aggregator(spec(name)).double()
        difference = (model(features, scores) - model(features.flip(1), scores.flip(1))).abs().max()
        assert (difference.item() > 1e-3) is changes, name


def test_average_is_the_mean_of_probabilities() -> None:
    scores = torch.tensor([[[4.0, 0.0], [0.0, 0.0], [-100.0, 100.0]]])
    got = AveragePooling(spec("average"))(torch.empty(1, 3, 1, 1, 1, 0), scores).softmax(dim=-1)
    expected = (1 / (1 + torch.exp(torch.tensor(-4.0))) + 0.5 + 0.0) / 3
    torch.testing.assert_close(got, torch.tensor([[float(expected), 1 - float(expected)]]))


@pytest.mark.parametrize("name", AGGREGATORS.names())
def test_every_aggregator_steps_online_to_the_same_scores(name: str) -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec(name)).double().eval()
    features, scores = inputs()
    state = None
    for count in range(1, features.shape[1] + 1):
        state, got = model.step(state, features[:, count - 1], scores[:, count - 1])
        expected = model(features[:, :count], scores[:, :count])
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6 if name == "average" else 1e-12)


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
    with pytest.raises(SettingsError, match="no aggregator 'fastgru'; known: average, fast-gru"):
        build_aggregator(spec("fastgru"))
    with pytest.raises(SettingsError, match="reduction must divide the 6 channels; got 4"):
        build_aggregator(spec(channels=6))
    with pytest.raises(SettingsError, match=r"dropout must be in \[0, 1\); got 1"):
        spec(dropout=1.0)
