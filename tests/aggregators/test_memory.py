"""The collaborative memory and what stands beside it: equations, order, cost, and what it takes to learn."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_aggregators import literal_context_scores, literal_gated_maps
from made_up_stores import MadeUp, make_store
from refusals import assert_refused
from torch import Tensor, nn

from vidpipe.cli.main import main
from vidpipe.pipeline.aggregators.base import Aggregator, AggregatorSpec
from vidpipe.pipeline.aggregators.memory import CollaborativeMemory, ContextAggregator, MultiClip
from vidpipe.pipeline.aggregators.registry import build_aggregator
from vidpipe.pipeline.aggregators.video_model import build_video_model
from vidpipe.pipeline.backbones.registry import feature_shape
from vidpipe.pipeline.costs.flops import aggregator_macs, backbone_macs, count_macs
from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.features.store import FeatureStore

IN_CONTEXT = ("memory", "memory-residual", "context-average", "context-max")
NAMES = (*IN_CONTEXT, "multi-clip")
SHAPES = {"expensive": (2, 2, 3, 12), "cheap": (1, 2, 2, 8)}
ROLES = ("expensive", "cheap", "cheap", "expensive", "cheap")


def spec(name: str, *, channels: int = 8, num_classes: int = 5) -> AggregatorSpec:
    return AggregatorSpec(name=name, channels=channels, num_classes=num_classes, dropout=0.0)


def lively(module: nn.Module) -> None:
    """Give weights larger than fresh ones, so that the gates leave the middle of the sigmoid."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)


def aggregator(name: str) -> ContextAggregator | MultiClip:
    torch.manual_seed(0)
    model = build_aggregator(spec(name)).double()
    lively(model)
    assert isinstance(model, ContextAggregator | MultiClip)
    return model


def maps(num_clips: int = 4, *, channels: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(num_clips)
    return torch.randn(2, num_clips, 2, 3, 2, channels, generator=generator, dtype=torch.float64)


def scored(model: Aggregator, features: Tensor) -> Tensor:
    return model(features, features.new_empty(*features.shape[:2], 0))


# Parity


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_clips", [1, 2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_scores_and_gradients_are_those_of_the_equations(name: str, num_clips: int, training: bool) -> None:
    model = aggregator(name).train(training)
    features = maps(num_clips).requires_grad_()
    scores, gradients = [], []
    for got in (scored(model, features), literal_context_scores(model, features)):
        weights = torch.linspace(-1, 1, got.numel(), dtype=got.dtype).view_as(got)
        scores.append(got)
        gradients.append(torch.autograd.grad((got * weights).sum(), [features, *model.parameters()]))
    torch.testing.assert_close(*scores, rtol=0, atol=1e-10)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
        assert ours.abs().sum() > 0


def literal_weights(memory: CollaborativeMemory, *, positions: int) -> list[Tensor]:
    """Return W_k, W_v, W_q and W_O as printed; the implementation's W_v has the number of a clip's positions in it."""
    context = memory.context
    layers = (context.key, context.value, context.query, memory.infusion.output)
    w_k, w_v, w_q, w_o = (layer.weight.T for layer in layers)
    return [w_k, w_v / positions, w_q, w_o]


def test_the_gated_maps_and_their_gradients_are_those_of_the_equations() -> None:
    torch.manual_seed(0)
    memory = CollaborativeMemory(8, reduction=2).double()
    lively(memory)
    features = maps().requires_grad_()
    both = memory(features), literal_gated_maps(features, *literal_weights(memory, positions=2 * 3 * 2))
    assert both[0].shape == features.shape
    torch.testing.assert_close(*both, rtol=0, atol=1e-10)
    weights = torch.linspace(-1, 1, features.numel(), dtype=torch.float64).view_as(features)
    gradients = [torch.autograd.grad((got * weights).sum(), [features, *memory.parameters()]) for got in both]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_the_aggregator_classifies_the_gated_maps_and_shares_their_weights() -> None:
    model = aggregator("memory")
    memory = CollaborativeMemory(8).double()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier.")}
    memory.load_state_dict(state)
    features = maps()
    expected = model.classifier(memory(features).mean(dim=(2, 3, 4))).mean(dim=1)
    torch.testing.assert_close(scored(model, features), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["memory", "memory-residual"])
def test_a_fresh_memory_is_told_apart_in_bfloat16_too(name: str) -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec(name, channels=256))
    assert isinstance(model, ContextAggregator)
    told = torch.randn(2, 4, 64).bfloat16()  # as bfloat16 leaves it, either way
    ones = torch.ones(2, 4, 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model.infusion(ones, told)
    exact = model.infusion(ones, told.float())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0, atol=1e-6)
    assert 1e-3 < exact.std() < 2 / 128  # bfloat16's step from 1 to 2 is 1/128


# Order, number and grid


@given(order=st.permutations(range(5)), name=st.sampled_from(NAMES), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_neither_the_order_of_clips_nor_of_positions_matters(order: Sequence[int], name: str, seed: int) -> None:
    model, features = aggregator(name), maps(5)
    positions = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    moved = features[:, list(order)].flatten(2, 4)[:, :, positions].view_as(features)
    torch.testing.assert_close(scored(model, moved), scored(model, features), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_video_twice_over_or_on_a_finer_grid_is_the_same_video(name: str) -> None:
    model, features = aggregator(name), maps()
    expected = scored(model, features)
    for same in (torch.cat([features, features], dim=1), features.repeat_interleave(3, dim=3)):
        torch.testing.assert_close(scored(model, same), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_a_clip_is_seen_in_the_light_of_the_others(name: str) -> None:
    model, features = aggregator(name), maps(2)
    apart = torch.stack([scored(model, features[:, [place]]) for place in range(2)]).mean(dim=0)
    assert (scored(model, features) - apart).abs().max() > 1e-3
    alone = aggregator("multi-clip")
    apart = torch.stack([scored(alone, features[:, [place]]) for place in range(2)]).mean(dim=0)
    torch.testing.assert_close(scored(alone, features), apart, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_expensive_and_cheap_clips_of_unequal_maps_mix_in_any_order(name: str) -> None:
    torch.manual_seed(0)
    model = build_video_model(spec(name, channels=12), shapes=SHAPES).double()
    lively(model)
    own = {role: torch.randn(2, ROLES.count(role), *shape, dtype=torch.float64) for role, shape in SHAPES.items()}
    none = torch.empty(2, 5, 0, dtype=torch.float64)
    got = model(own, none, ROLES)
    assert isinstance(model.aggregator, ContextAggregator | MultiClip)
    literal = literal_context_scores(model.aggregator, model.mixing(own, ROLES))
    torch.testing.assert_close(got, literal, rtol=0, atol=1e-10)
    turned = {role: features.flip(1) for role, features in own.items()}
    torch.testing.assert_close(model(turned, none, ROLES[::-1]), got, rtol=0, atol=1e-10)
    got.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_stream_keeps_the_memory_and_pooled_clips_alone() -> None:
    model, features = aggregator("memory"), maps(3)
    state = None
    for clip in features.unbind(dim=1):
        state, _ = model.step(state, clip, clip.new_empty(2, 0))
    assert state is not None
    assert [tuple(part.shape) for part in state] == [(2, 2, 2), (2, 3, 8)]


# Cost


def macs(name: str, shape: tuple[int, int, int, int], *, num_clips: int) -> int:
    """Return the multiply-accumulates of all but the classifier, which every network has."""
    counts = [
        aggregator_macs(spec(own, channels=shape[-1]), shapes={"expensive": shape}, roles=["expensive"] * num_clips)
        for own in (name, "multi-clip")
    ]
    return counts[0] - counts[1]


@pytest.mark.parametrize("num_clips", [1, 3])
@pytest.mark.parametrize("grid", [(1, 7, 7), (4, 8, 8), (8, 8, 8)])
def test_the_cost_is_two_small_products_and_linear_in_positions(grid: tuple[int, int, int], num_clips: int) -> None:
    c, p = 64, int(np.prod(grid))
    narrow = c // 4
    pushed = p * (2 * c * narrow + narrow**2)
    read = c * narrow + narrow**2 + narrow * c
    cost = {name: macs(name, (*grid, c), num_clips=num_clips) for name in NAMES}
    assert cost == {
        "memory": num_clips * (pushed + read),
        "memory-residual": num_clips * (pushed + read),
        "context-average": c * narrow + num_clips * narrow * c,
        "context-max": num_clips * (p * c * narrow + narrow * c),
        "multi-clip": 0,
    }


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """What the memory adds to a backbone at crop 256, in % of a clip's multiply-accumulates."""

    backbone: str
    num_frames: int
    poster: int  # it prints 1.03x, 1.02x, 1.01x: known to half a point either way
    as_written: float  # the equations, on maps of 2048 channels
    ships: float  # the aggregator, on vidpipe's maps: queries and gates of pooled clips


# A SlowFast network's slow path gives 2048 channels; vidpipe joins the fast path's 256 to them.
OVERHEADS = (
    Overhead(backbone="slow_only_50", num_frames=8, poster=3, as_written=3.45, ships=2.22),
    Overhead(backbone="i3d_50_nl", num_frames=32, poster=2, as_written=1.59, ships=1.03),
    Overhead(backbone="r2plus1d_50_ptv", num_frames=16, poster=1, as_written=1.25, ships=0.81),
    Overhead(backbone="slowfast_50_4x16", num_frames=32, poster=2, as_written=2.61, ships=2.13),
    Overhead(backbone="slowfast_50_8x8", num_frames=32, poster=3, as_written=2.86, ships=2.33),
)
SLOW_CHANNELS = feature_shape("slow_only_50", num_frames=8, size=256)[-1]


@pytest.mark.parametrize("known", OVERHEADS, ids=lambda known: known.backbone)
def test_the_overhead_is_the_posters(known: Overhead) -> None:
    clip = {"num_frames": known.num_frames, "size": 256}
    *grid, channels = shape = feature_shape(known.backbone, **clip)
    with torch.device("meta"):
        weights = literal_weights(CollaborativeMemory(SLOW_CHANNELS), positions=int(np.prod(grid)))
        written = count_macs(literal_gated_maps, torch.empty(1, 1, *grid, SLOW_CHANNELS), *weights)
    percent = backbone_macs(known.backbone, **clip) / 100
    as_written, ships = written / percent, macs("memory", shape, num_clips=1) / percent
    assert (SLOW_CHANNELS, channels) == (2048, 2304 if "slowfast" in known.backbone else 2048)
    assert (as_written, ships) == pytest.approx((known.as_written, known.ships), abs=0.01)
    assert abs(as_written - known.poster) <= 0.61  # the farthest: SlowFast 4x16
    assert known.poster - 1.0 <= ships <= known.poster + 0.25
    assert ships < as_written  # what pooled clips spare


# Learning


@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("name", IN_CONTEXT)
def test_no_gate_begins_saturated_and_gradients_reach_every_matrix(name: str, size: float) -> None:
    torch.manual_seed(0)
    model = build_aggregator(spec(name, channels=256))
    assert isinstance(model, ContextAggregator)
    features = torch.relu(torch.randn(2, 4, 1, 4, 4, 256) + torch.randn(256))  # alike at all positions, as real maps
    features *= size / features.square().mean().sqrt()
    told = model.context.pop(model.context.push(features.flatten(1, -2)), features.mean(dim=(2, 3, 4)))
    gates = torch.sigmoid(model.infusion.output(told))
    assert 0.3 < gates.min() < gates.max() < 0.7
    scored(model, features).square().sum().backward()
    reached = {key: parameter.grad.norm() / parameter.norm() for key, parameter in model.named_parameters()}
    assert min(reached.values()) > 1e-7, reached


def exclusive_store(path: Path) -> Path:
    """Write a store in which a class is told by how many of two events there are, one or not, and by nothing less.

    Event 0 may be in any clip of the first half, event 1 in the second; a video has both, or neither, or one alone, as
    often each. A sum over the clips gets three of these four right at best.
    """
    shapes = dict.fromkeys(("expensive", "cheap"), (1, 2, 2, 32))
    wanted = MadeUp(num_training=80, num_test=40, classes=("alike", "unlike"), num_clips=4, shapes=shapes)
    store = FeatureStore.open(make_store(path, wanted), mode="r+")
    for index, video in enumerate(store.manifest.videos):
        rng = np.random.default_rng(index)
        first = index // 2 % 2
        second = first ^ (video.labels[0] == "unlike")
        maps = np.abs(rng.normal(0, 0.15, (1, 4, 1, 2, 2, 32)))
        maps[:, :2, ..., 0] += 3 * first
        maps[:, 2:, ..., 1] += 3 * second
        for name in store.backbones():
            group = store.backbone(name)
            due = group.due[:, None, None, None, None]
            group.write(index, np.where(due, maps, np.nan).astype(np.float16), group.read_scores(index)[None])
    return path


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


LEARN = ("--epochs", 40, "--learning-rate", 0.02, "--dropout", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exclusive_store(tmp_path_factory.mktemp("store") / "s.zarr")


@pytest.mark.parametrize(("name", "low", "high"), [*((name, 0.9, 1) for name in IN_CONTEXT), ("multi-clip", 0, 0.8)])
def test_what_no_clip_shows_alone_takes_a_context(
    store: Path, tmp_path: Path, name: str, low: float, high: float
) -> None:
    trained = invoke("train-aggregator", "--store", store, "--out", tmp_path / "run", "--aggregator", name, *LEARN)
    assert trained.exit_code == 0, trained.output
    assert f"{name}, 1:3, 4 clips" in trained.stdout
    out = tmp_path / "results"
    result = invoke("evaluate", "--store", store, "--run", tmp_path / "run", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["runs"]
    assert (run["aggregator"], run["metrics"]["num_scored"]) == (name, 40)
    assert low <= run["metrics"]["top1"] <= high


def test_a_sweep_over_them_and_any_number_of_clips(store: Path, tmp_path: Path) -> None:
    words = ("--store", store, "--out", tmp_path / "sweep", "--pattern", "all-cheap", "--seeds", 1, "--epochs", 1)
    result = invoke("sweep", *words, "--aggregator", ",".join(NAMES), "--clips", "4,2")
    assert result.exit_code == 0, result.output
    with (tmp_path / "sweep" / "results.csv").open(newline="") as file:
        found = {(row["aggregator"], row["clips"]) for row in csv.DictReader(file)}
    assert found == {(name, clips) for name in NAMES for clips in "24"}


# Refusals


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_training_a_context_on_single_clips_is_refused(store: Path, tmp_path: Path, name: str) -> None:
    message = f"Error: {name} learns .* from 2 clips or more; got 1. Give --clips of 2 or more, .* multi-clip"
    words = ("--store", store, "--out", tmp_path / "out", "--clips")
    for result in (
        invoke("train-aggregator", *words, 1, "--aggregator", name),
        invoke("sweep", *words, "4,1", "--pattern", "all-cheap", "--aggregator", f"average,{name}"),
        invoke("sweep", *words, "1,4", "--pattern", "all-cheap", "--aggregator", name, "--dry-run"),
    ):
        assert result.exit_code == 2
        assert re.match(message, result.stderr.splitlines()[-1]), result.stderr
    assert not (tmp_path / "out").exists()
    single = invoke("train-aggregator", *words, 1, "--aggregator", "multi-clip", "--epochs", 1)
    assert single.exit_code == 0, single.output


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_a_width_that_the_reduction_does_not_divide_is_refused(name: str) -> None:
    with assert_refused(SettingsError, match="--reduction must divide the width of 6 channels; got 4"):
        build_aggregator(spec(name, channels=6))


def test_maps_of_another_width_than_the_memorys_are_refused() -> None:
    with pytest.raises(ValueError, match="the memory is of 12 channels; the maps have 8"):
        CollaborativeMemory(12)(maps().float())
