"""The strategies of end-to-end training: one gradient, other memory."""

import copy

import pytest
import torch
from refusals import assert_refused
from torch import Tensor

from vidpipe.pipeline.aggregators.base import AggregatorSpec
from vidpipe.pipeline.aggregators.video_model import build_video_model
from vidpipe.pipeline.backbones.registry import build_backbone, feature_shape
from vidpipe.pipeline.end_to_end.memory.tracking import tracked_memory
from vidpipe.pipeline.end_to_end.network import EndToEnd
from vidpipe.pipeline.end_to_end.steps import ClipBatch, Objective, strategy_gradients
from vidpipe.pipeline.end_to_end.strategies import FROZEN, TRACKED, StrategySettings
from vidpipe.pipeline.errors import SettingsError
from vidpipe.pipeline.features.patterns import Pattern
from vidpipe.pipeline.videos.preprocessing import Preprocessing

SIZE, CLASSES = 32, 3
BACKBONES = {"expensive": "r2plus1d_14_w16", "cheap": "r2d_14_w16"}
PREPROCESSING = Preprocessing(crop=SIZE, short_side=SIZE)


def make_model(
    *,
    aggregator: str = "memory",
    pattern: str = "1:1",
    num_clips: int = 4,
    statistics: str = FROZEN,
    trained: tuple[str, ...] = ("expensive", "cheap"),
    dtype: torch.dtype = torch.float64,
) -> EndToEnd:
    torch.manual_seed(0)
    roles = Pattern.parse(pattern).roles(num_clips)
    names = {role: BACKBONES[role] for role in dict.fromkeys(roles)}
    shapes = {role: feature_shape(name, num_frames=8, size=SIZE) for role, name in names.items()}
    spec = AggregatorSpec(name=aggregator, channels=512, num_classes=CLASSES, dropout=0.0)
    model = EndToEnd(
        {role: build_backbone(name, num_classes=CLASSES) for role, name in names.items()},
        build_video_model(spec, shapes=shapes),
        preprocessing=dict.fromkeys(names, PREPROCESSING),
        roles=roles,
        statistics=statistics,
        trained=frozenset(trained),
    )
    for buffer_name, buffer in model.named_buffers():  # as if trained: other than mean 0 and variance 1
        if buffer_name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif buffer_name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return model.to(dtype).train()


def make_batch(model: EndToEnd, *, videos: int = 2, seed: int = 1) -> ClipBatch:
    generator = torch.Generator().manual_seed(seed)
    clips = {
        role: torch.randint(
            0, 256, (videos, model.roles.count(role), 8, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator
        )
        for role in dict.fromkeys(model.roles)
    }
    return ClipBatch(clips=clips, targets=torch.arange(videos) % CLASSES)


def gradients_of(
    model: EndToEnd, batch: ClipBatch, *, objective: Objective | None = None, accumulate: int = 1, **strategy
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, float]]:
    """Return gradients by parameter, buffers and figures after one step's backward passes, leaving ``model`` alone."""
    model = copy.deepcopy(model)
    steps = strategy_gradients(
        model, strategy=StrategySettings(**strategy), objective=objective or Objective(), accumulate=accumulate
    )
    (figures,) = steps(batch)
    grads = {name: own.grad for name, own in model.named_parameters() if own.grad is not None}
    return grads, dict(model.named_buffers()), {name: float(value) for name, value in figures.items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor], *, tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        scale = float(value.double().abs().max()) or 1.0
        assert float((value.double() - other[name].double()).abs().max()) <= tolerance * scale, name


@pytest.mark.parametrize("aggregator", ["memory", "fast-gru", "multi-clip", "average"])
@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "two-pass"},
        {"name": "two-pass", "clips_at_once": 2},
        {"name": "checkpoint", "granularity": "backbone"},
        {"name": "checkpoint", "granularity": "stage"},
        {"name": "checkpoint", "granularity": "block", "clips_at_once": 1},
        {"name": "batch-reduction"},
        {"name": "plain", "clips_at_once": 1},
    ],
    ids=str,
)
def test_every_strategy_takes_plains_gradients(aggregator: str, strategy: dict) -> None:
    model = make_model(aggregator=aggregator)
    batch = make_batch(model)
    expected = gradients_of(model, batch)
    found = gradients_of(model, batch, **strategy)
    assert expected[0].keys() == {name for name, _ in model.named_parameters()}
    assert_equal(expected[0], found[0], tolerance=1e-8)
    assert_equal(expected[1], found[1], tolerance=0)  # frozen statistics
    assert found[2] == pytest.approx(expected[2], rel=1e-6)


@pytest.mark.parametrize("strategy", [{"name": "two-pass"}, {"name": "checkpoint", "granularity": "block"}], ids=str)
@pytest.mark.parametrize("at_once", [1, 2])
def test_with_tracked_statistics_too_where_as_many_clips_are_clips_per_call(strategy: dict, at_once: int) -> None:
    model = make_model(statistics=TRACKED, num_clips=6)
    batch = make_batch(model)
    expected = gradients_of(model, batch, clips_at_once=at_once)
    found = gradients_of(model, batch, clips_at_once=at_once, **strategy)
    assert_equal(expected[0], found[0], tolerance=1e-8)
    assert_equal(expected[1], found[1], tolerance=1e-12)
    assert not torch.equal(found[1]["backbones.cheap.conv1.0.norm.running_mean"],
                           dict(model.named_buffers())["backbones.cheap.conv1.0.norm.running_mean"])  # fmt: skip
    moved = found[1]["backbones.cheap.conv1.0.norm.num_batches_tracked"]
    assert int(moved) == -(-3 // at_once)  # once a call, not once a pass


@pytest.mark.parametrize("strategy", ["plain", "two-pass", "checkpoint"])
def test_accumulating_over_parts_of_a_batch_changes_nothing(strategy: str) -> None:
    model = make_model(pattern="all-cheap", num_clips=3)
    batch = make_batch(model, videos=5)
    expected = gradients_of(model, batch)
    found = gradients_of(model, batch, accumulate=2, name=strategy)
    assert_equal(expected[0], found[0], tolerance=1e-8)
    assert found[2] == pytest.approx(expected[2], rel=1e-6)


def test_in_bfloat16_two_passes_lose_no_gradient() -> None:
    """One autocast context over both passes would reuse weights cast without a graph, and lose their gradients."""
    model = make_model(dtype=torch.float32)
    batch = make_batch(model)
    exact, _, _ = gradients_of(model, batch)
    found, _, _ = gradients_of(model, batch, objective=Objective(precision="bfloat16"), name="two-pass")
    assert found.keys() == exact.keys()
    for name in ("backbones.cheap.fc.weight", "video_model.aggregator.classifier.weight"):
        assert float((found[name] - exact[name]).norm() / exact[name].norm()) < 0.1, name


@pytest.mark.parametrize("strategy", ["plain", "two-pass", "checkpoint", "multi-iteration"])
def test_a_backbone_that_is_not_trained_is_left_alone(strategy: str) -> None:
    model = make_model(statistics=TRACKED, trained=("expensive",))
    steps = strategy_gradients(model, strategy=StrategySettings(name=strategy), objective=Objective())
    before = {name: value.clone() for name, value in model.state_dict().items() if "backbones.cheap" in name}
    for _ in steps(make_batch(model)):
        pass
    grads = {name for name, own in model.named_parameters() if own.grad is not None}
    assert any("backbones.expensive" in name for name in grads)
    assert not any("backbones.cheap" in name for name in grads)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_multi_iteration_has_the_graph_of_one_clip_and_the_maps_of_the_clips_so_far() -> None:
    model = make_model(num_clips=4, aggregator="fast-gru")
    batch = make_batch(model)
    steps = strategy_gradients(model, strategy=StrategySettings(name="multi-iteration"), objective=Objective())
    for place, figures in enumerate(steps(batch)):
        expected = _nth_iteration(model, batch, place)
        assert float(figures["loss"]) == pytest.approx(expected[0], rel=1e-10)
        own = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert_equal(expected[1], own, tolerance=1e-8)
        model.zero_grad(set_to_none=True)
    assert place == 3


def _nth_iteration(model: EndToEnd, batch: ClipBatch, place: int) -> tuple[float, dict[str, Tensor]]:
    """Return loss and gradients by going through the places one by one, as the words say it."""
    model = copy.deepcopy(model)
    model.zero_grad(set_to_none=True)
    maps, own_scores = [], None
    counts = dict.fromkeys(model.roles, 0)
    for index, role in enumerate(model.roles[: place + 1]):
        clip = batch.clips[role][:, counts[role] : counts[role] + 1]
        counts[role] += 1
        seen, own_scores = model.extract(role, clip)
        maps.append(seen[:, 0] if index == place else seen[:, 0].detach())
    assert own_scores is not None
    video = model.video_model.aggregator(torch.stack(maps, dim=1), own_scores[..., :0])
    loss = torch.nn.functional.cross_entropy(video, batch.targets)
    loss = loss + torch.nn.functional.cross_entropy(own_scores[:, 0], batch.targets)
    loss.backward()
    return float(loss.detach()), {name: own.grad for name, own in model.named_parameters() if own.grad is not None}


def test_a_batch_of_no_readable_video_counts_for_nothing() -> None:
    model = make_model()
    for name in ("plain", "multi-iteration"):
        steps = strategy_gradients(model, strategy=StrategySettings(name=name), objective=Objective())
        assert list(steps(make_batch(model, videos=0))) == []
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_statistics_and_dropout_by_mode() -> None:
    model = make_model(trained=("expensive",), statistics=FROZEN)
    norms = [module for name, module in model.named_modules() if name.endswith("norm") and "backbones" in name]
    assert norms and not any(norm.training for norm in norms)
    assert model.backbones["expensive"].training and not model.backbones["cheap"].training
    tracked = make_model(trained=("expensive",), statistics=TRACKED)
    assert all(
        module.training is name.startswith("backbones.expensive")
        for name, module in tracked.named_modules()
        if name.endswith("norm") and "backbones" in name
    )
    assert not any(module.training for module in tracked.eval().modules())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "magic"}, "--strategy must be one of plain, batch-reduction"),
        ({"granularity": "layer"}, "--granularity must be one of backbone, stage, block; got 'layer'"),
        ({"clips_at_once": 0}, "--clips-at-once must be at least 1; got 0"),
        ({"name": "multi-iteration", "clips_at_once": 2}, "leave --clips-at-once out"),
    ],
)
def test_wrong_strategies_are_refused(wrong: dict, message: str) -> None:
    with assert_refused(SettingsError, match=message):
        StrategySettings(**wrong)


def peak_bytes(num_clips: int, strategy: str) -> int:
    """Return the most that the tensors of a step take, weights included, with one video of so many clips."""
    model = make_model(pattern="all-expensive", num_clips=num_clips, dtype=torch.float32)
    batch = make_batch(model, videos=1)
    steps = strategy_gradients(model, strategy=StrategySettings(name=strategy), objective=Objective())
    for parameter in model.parameters():  # there from the first step on
        parameter.grad = torch.zeros_like(parameter)
    held = [*model.parameters(), *(parameter.grad for parameter in model.parameters()), *model.buffers()]
    with tracked_memory(torch.device("cpu"), held=[tensor for tensor in held if tensor is not None]) as memory:
        for _ in steps(batch):
            pass
    return memory.peak_bytes


def test_two_passes_take_hardly_more_memory_for_eight_clips_than_for_one() -> None:
    assert peak_bytes(8, "two-pass") <= 1.25 * peak_bytes(1, "two-pass")
    assert peak_bytes(8, "plain") > 2 * peak_bytes(1, "plain")  # so that there is something to save
    assert peak_bytes(8, "checkpoint") < peak_bytes(8, "plain")
