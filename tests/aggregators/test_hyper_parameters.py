"""Hyper-parameters of an aggregator's own: one that is added in this file alone goes through everything."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_stores import MadeUp, make_store
from torch import Tensor, nn

from vidpipe.pipeline.aggregators.base import Aggregator, AggregatorEntry, AggregatorSpec
from vidpipe.pipeline.aggregators.options import NamedValue, Option
from vidpipe.pipeline.aggregators.registry import AGGREGATORS, build_aggregator, complete_spec
from vidpipe.pipeline.aggregators.video_model import build_video_model
from vidpipe.pipeline.aggregators.weights import load_aggregator, save_aggregator
from vidpipe.pipeline.backbones.registry import BACKBONES
from vidpipe.pipeline.costs.flops import aggregator_macs
from vidpipe.pipeline.errors import RunError, SettingsError, WeightsError
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.stages.evaluate.run import run as evaluate
from vidpipe.stages.evaluate.settings import EvaluateSettings
from vidpipe.stages.train_aggregator.run import run
from vidpipe.stages.train_aggregator.settings import TrainAggregatorSettings

SHAPES = {"expensive": (1, 2, 2, 8), "cheap": (1, 2, 2, 8)}
SPEC = AggregatorSpec(name="made-up-heads", channels=8, num_classes=2)
OPTIONS = {
    "heads": Option(default=2, least=1, greatest=16, help="Classifiers whose logits are averaged."),
    "scale": Option(default=1.0, least=0.0, help="By which maps are multiplied."),
    "pool": Option(default="mean", choices=("mean", "max"), help="How positions and clips are joined."),
}


class Heads(Aggregator):
    """Several classifiers of the pooled clips: of no use, but with hyper-parameters of its own."""

    needs_features = True
    needs_scores = False

    def __init__(self, spec: AggregatorSpec) -> None:
        super().__init__()
        self.scale, self.pool = float(spec.options["scale"]), spec.options["pool"]
        self.heads = nn.ModuleList(
            nn.Linear(spec.channels, spec.num_classes) for _ in range(int(spec.options["heads"]))
        )

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        positions = self.scale * features.flatten(1, -2)
        pooled = positions.mean(dim=1) if self.pool == "mean" else positions.amax(dim=1)
        return torch.stack([head(pooled) for head in self.heads]).mean(dim=0)

    def step(self, state: Any, features: Tensor, scores: Tensor) -> tuple[Any, Tensor]:
        state = features[:, None] if state is None else torch.cat([state, features[:, None]], dim=1)
        return state, self(state, scores)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    entry = AggregatorEntry(build=Heads, title="Heads", summary="several classifiers", source="here", options=OPTIONS)
    AGGREGATORS.add(SPEC.name, entry)
    yield
    del AGGREGATORS._entries[SPEC.name]


def spec_on_disk(path: Path) -> dict[str, Any]:
    header = path.read_bytes()
    length = int.from_bytes(header[:8], "little")
    return json.loads(json.loads(header[8 : 8 + length])["__metadata__"]["vidpipe"])["spec"]


def test_options_have_their_defaults_and_take_what_is_given() -> None:
    assert complete_spec(SPEC).options == {"heads": 2, "scale": 1.0, "pool": "mean"}
    given = complete_spec(replace(SPEC, options={"heads": 3, "scale": 2}))
    assert given.options == {"heads": 3, "scale": 2.0, "pool": "mean"}
    assert complete_spec(given) == given != complete_spec(SPEC)
    assert hash(given) == hash(complete_spec(SPEC))  # specs are keys of caches
    built = build_aggregator(given)
    assert isinstance(built, Heads)
    assert (len(built.heads), built.scale) == (3, 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps": 1}, "made-up-heads has no option 'taps'; it has heads, scale, pool"),
        ({"heads": 0}, "heads must be a whole number of at least 1 and of at most 16; got 0"),
        ({"heads": 2.5}, "heads must be a whole number of at least 1 and of at most 16; got 2.5"),
        ({"heads": True}, "heads must be a whole number of at least 1 and of at most 16; got True"),
        ({"scale": float("nan")}, "scale must be a number of at least 0; got nan"),
        ({"scale": "2"}, "scale must be a number of at least 0; got '2'"),
        ({"pool": "sum"}, "pool must be one of mean, max; got 'sum'"),
        ({"reduction": 8}, "made-up-heads has no option 'reduction'; it has heads, scale, pool"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}$"):
        complete_spec(replace(SPEC, options=options))


def test_reduction_is_an_option_of_those_that_compress_and_stays_a_field() -> None:
    spec = AggregatorSpec(name="fast-gru", channels=8, num_classes=2)
    assert complete_spec(replace(spec, options={"reduction": 2})) == replace(spec, reduction=2)
    assert [name for name in AGGREGATORS.in_order() if "reduction" in AGGREGATORS[name].options] == [
        "fast-gru-pooled",
        "fast-gru",
        "context-average",
        "context-max",
        "memory-residual",
        "memory",
    ]
    with pytest.raises(SettingsError, match="average has no option 'reduction'; it has none"):
        complete_spec(replace(spec, name="average", options={"reduction": 2}))


def test_weights_files_keep_options_where_there_are_some_and_nowhere_else(tmp_path: Path) -> None:
    plain = AggregatorSpec(name="fast-gru", channels=8, num_classes=2)
    for spec in (plain, SPEC):
        torch.manual_seed(0)
        state = build_video_model(spec, shapes=SHAPES).state_dict()
        save_aggregator(tmp_path / spec.name, spec=spec, shapes=SHAPES, classes="ab", state=state)
    old = {"channels": 8, "dropout": 0.5, "name": "fast-gru", "num_classes": 2, "reduction": 4}
    assert spec_on_disk(tmp_path / "fast-gru") == old
    options = {"heads": 2, "scale": 1.0, "pool": "mean"}
    assert spec_on_disk(tmp_path / SPEC.name) == old | {"name": SPEC.name, "options": options}


def test_weights_come_back_with_their_options(tmp_path: Path) -> None:
    spec = replace(SPEC, options={"heads": 3, "pool": "max"})
    model = build_video_model(spec, shapes=SHAPES).eval()
    path = tmp_path / "w.safetensors"
    save_aggregator(path, spec=spec, shapes=SHAPES, classes="ab", state=model.state_dict())
    loaded, weights = load_aggregator(path)
    assert weights.spec == complete_spec(spec)
    maps = {role: torch.rand(2, 1, *shape) for role, shape in SHAPES.items()}
    inputs = maps, torch.empty(2, 2, 0), ("expensive", "cheap")
    assert torch.equal(loaded(*inputs), model(*inputs))


def test_weights_with_an_option_that_is_no_more_are_refused(tmp_path: Path) -> None:
    state = build_video_model(SPEC, shapes=SHAPES).state_dict()
    save_aggregator(tmp_path / "w", spec=SPEC, shapes=SHAPES, classes="ab", state=state)
    entry = AGGREGATORS._entries[SPEC.name]
    AGGREGATORS._entries[SPEC.name] = replace(entry, options={"heads": OPTIONS["heads"]})
    with pytest.raises(WeightsError, match="made-up-heads has no option 'pool'; it has heads"):
        load_aggregator(tmp_path / "w")


def test_options_change_what_is_counted() -> None:
    def macs(heads: int) -> int:
        return aggregator_macs(replace(SPEC, options={"heads": heads}), shapes=SHAPES, roles=("expensive", "cheap"))

    assert (macs(1), macs(3)) == (16, 48)


def test_a_run_trains_and_is_scored_with_its_options_and_goes_on_with_no_others(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=8, num_test=4))
    settings = TrainAggregatorSettings(
        store=store, out=tmp_path / "run", aggregator=SPEC.name, optimisation=OptimisationSettings(epochs=1)
    )
    summary = run(replace(settings, options=(NamedValue("heads", 3),)))
    assert summary.num_weights == 3 * (8 * 2 + 2)
    made = RunDirectory.open(settings.out).settings["aggregator"]
    assert made["options"] == {"heads": 3, "scale": 1.0, "pool": "mean"}
    assert run(replace(settings, options=(NamedValue("heads", 3),))).already_done
    with pytest.raises(RunError, match="heads"):
        run(replace(settings, options=(NamedValue("heads", 4),)))
    evaluate(EvaluateSettings(store=store, runs=(settings.out,), out=tmp_path / "report"))
    assert (tmp_path / "report" / "metrics.json").is_file()


def test_runs_of_the_others_keep_what_they_kept(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", MadeUp(num_training=8, num_test=4))
    run(TrainAggregatorSettings(store=store, out=tmp_path / "run", aggregator="average"))
    made = RunDirectory.open(tmp_path / "run").settings["aggregator"]
    assert made == {"name": "average", "channels": 8, "num_classes": 2, "dropout": 0.5, "reduction": 4}


@pytest.mark.parametrize("registry", [AGGREGATORS, BACKBONES], ids=["aggregators", "backbones"])
def test_everything_registered_says_what_it_is(registry: Any) -> None:
    lines = [registry[name].summary for name in registry]
    assert all(line and "\n" not in line and not line.endswith(".") for line in lines)


def test_the_page_of_aggregators_has_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs/aggregators.md").read_text(encoding="utf-8")
    assert [name for name in AGGREGATORS if name != SPEC.name and f"`{name}`" not in page] == []
