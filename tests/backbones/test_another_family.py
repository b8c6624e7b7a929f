"""A family of another build than ours, added in this file alone, goes through everything.

Its grid is a 16th, its layers have no norms, and nothing in it is called stem, res2 or conv1.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidpipe.pipeline.backbones.engine import build_engine
from vidpipe.pipeline.backbones.engine_settings import EngineSettings
from vidpipe.pipeline.backbones.interface import Backbone
from vidpipe.pipeline.backbones.registry import BACKBONES, build_backbone, feature_shape
from vidpipe.pipeline.backbones.weights import collect_weights, load_weights, save_weights
from vidpipe.pipeline.costs.flops import backbone_macs
from vidpipe.pipeline.end_to_end.checkpointing import checkpointed_parts
from vidpipe.pipeline.end_to_end.strategies import StrategySettings
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.training.run_directory import RunDirectory
from vidpipe.pipeline.training.settings import OptimisationSettings
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.stages.evaluate.run import run as evaluate
from vidpipe.stages.evaluate.settings import EvaluateSettings
from vidpipe.stages.extract.run import run as extract
from vidpipe.stages.extract.settings import ExtractSettings, RoleWeights
from vidpipe.stages.finetune.run import run as finetune
from vidpipe.stages.finetune.settings import FinetuneSettings, RoleBackbone
from vidpipe.stages.train_backbone.run import run as train_backbone
from vidpipe.stages.train_backbone.settings import TrainBackboneSettings

NAME = "made_up_tokens"
PATCH, WIDTH, FRAMES, SIZE = (2, 16, 16), 12, 8, 48
SMALL = OptimisationSettings(epochs=1, batch_size=4)


class Tokens(Backbone):
    """Patches of a clip, each mapped by itself, twice."""

    def __init__(self, *, num_classes: int, dropout: float) -> None:
        super().__init__(name=NAME, num_classes=num_classes, channels=WIDTH, dropout=dropout, frames_multiple=PATCH[0])
        self.patches = nn.Conv3d(3, WIDTH, PATCH, PATCH)
        self.mix = nn.Sequential(nn.Conv3d(WIDTH, WIDTH, 1), nn.GELU())

    def features(self, clip: Tensor) -> Tensor:
        self.check_frames(clip.shape[2])
        return self.mix(self.patches(clip))

    def feature_shape(self, frames: int, size: int) -> tuple[int, int, int, int]:
        self.check_frames(frames)
        return frames // PATCH[0], size // PATCH[1], size // PATCH[2], WIDTH

    def stages(self) -> dict[str, nn.Module]:
        return {"mix": self.mix}


class Spec:
    """The entry of the registry."""

    name, summary, usual_clip = NAME, "patches, each mapped by itself", (FRAMES, 1)

    def build(self, *, num_classes: int, dropout: float) -> Tokens:
        return Tokens(num_classes=num_classes, dropout=dropout)


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    BACKBONES.add(NAME, Spec())
    yield
    del BACKBONES._entries[NAME]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path], registered: None) -> Path:
    """Return a folder with eight videos of two classes, a manifest, and the trained network."""
    folder = tmp_path_factory.mktemp("families")
    lines = ["path,label,split"]
    for index in range(8):
        make_video(folder / f"v{index}.mp4", num_frames=20, size=(64, 48), seed=index)
        lines.append(f"v{index}.mp4,{'ab'[index % 2]},{'test' if index > 5 else 'train'}")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    train_backbone(
        TrainBackboneSettings(
            manifest=folder / "m.csv",
            out=folder / "tokens",
            backbone=NAME,
            num_frames=FRAMES,
            crop=SIZE,
            optimisation=SMALL,
        )
    )
    return folder


def test_shapes_costs_and_parts_are_its_own() -> None:
    assert feature_shape(NAME, num_frames=FRAMES, size=SIZE) == (4, 3, 3, WIDTH)
    positions, patch = 4 * 3 * 3, 3 * 2 * 16 * 16
    assert backbone_macs(NAME, num_frames=FRAMES, size=SIZE, num_classes=5) == positions * WIDTH * (patch + WIDTH) + 60
    backbone = build_backbone(NAME, num_classes=2)
    for granularity in ("stage", "block"):
        assert checkpointed_parts(backbone, granularity=granularity) == {"mix": backbone.mix}
    backbone.begin_as_identity()  # has nothing of the kind


def test_an_engine_runs_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(NAME, num_classes=2).eval()
    own = collect_weights(
        backbone, classes="ab", preprocessing=Preprocessing(crop=SIZE, short_side=SIZE), num_frames=FRAMES
    )
    save_weights(tmp_path / "w.safetensors", own)
    engine = build_engine(load_weights(tmp_path / "w.safetensors"), EngineSettings(device="cpu", precision="float32"))
    features, scores = engine.run(torch.randint(0, 256, (3, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8))
    assert (features.shape, scores.shape) == ((3, 4, 3, 3, WIDTH), (3, 2))
    pooled = features.astype(np.float32).mean(axis=(1, 2, 3))
    state = own.state
    expected = pooled @ state["fc.weight"].numpy().T + state["fc.bias"].numpy()
    np.testing.assert_allclose(scores, expected, atol=2e-3)  # maps are float16


def test_it_is_extracted(world: Path, tmp_path: Path) -> None:
    extract(
        ExtractSettings(
            manifest=world / "m.csv",
            store=tmp_path / "s.zarr",
            cheap=RoleWeights(backbone=NAME, path=world / "tokens/weights.safetensors"),
            sampling=ClipSampling(num_frames=FRAMES, num_clips=2),
            engine=EngineSettings(device="cpu", precision="float32"),
        )
    )
    group = FeatureStore.open(tmp_path / "s.zarr").backbone(NAME)
    assert group.feature_shape == (4, 3, 3, WIDTH)
    assert (group.status() == 1).all()


@pytest.mark.parametrize("granularity", ["backbone", "stage"])
def test_it_is_trained_end_to_end_and_scored(world: Path, tmp_path: Path, granularity: str) -> None:
    finetune(
        FinetuneSettings(
            manifest=world / "m.csv",
            out=tmp_path / "run",
            cheap=RoleBackbone(backbone=NAME, weights=world / "tokens/weights.safetensors"),
            num_clips=2,
            strategy=StrategySettings(name="checkpoint", granularity=granularity),
            optimisation=SMALL,
        )
    )
    result = RunDirectory.open(tmp_path / "run").result
    assert result["backbones"]["cheap"]["name"] == NAME
    document = evaluate(EvaluateSettings(manifest=world / "m.csv", runs=(tmp_path / "run",), out=tmp_path / "report"))
    assert document["runs"][0]["metrics"]["num_scored"] == 2
