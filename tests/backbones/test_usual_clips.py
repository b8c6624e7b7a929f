"""The clips that backbones are known for, and that `vidpipe train-backbone` takes them where nothing else is said."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.registry import BACKBONES, feature_shape, usual_clip
from vidpipe.pipeline.errors import SettingsError
from vidpipe.stages.train_backbone import run as train_backbone
from vidpipe.stages.train_backbone.plan import resolve, sampling_of

# Frames and stride of the rows of collaborative memory's table, and FASTER's clips; a SlowFast's are the fast path's.
USUAL = {
    "r2d_26": (8, 1),
    "r2plus1d_50": (8, 1),
    "r3d_50": (8, 1),
    "slow_only_50": (8, 8),
    "i3d_50": (32, 2),
    "i3d_50_nl": (32, 2),
    "r2plus1d_50_ptv": (16, 2),
    "slowfast_50_4x16": (32, 2),
    "slowfast_101_8x8_w16": (32, 2),
}


@pytest.mark.parametrize(("name", "clip"), USUAL.items())
def test_the_usual_clips(name, clip):
    assert usual_clip(name) == clip


@pytest.mark.parametrize("name", [name for name in BACKBONES if "_14_" in name and name.endswith("_w16")])
def test_every_family_takes_its_usual_clip(name):
    assert feature_shape(name, num_frames=usual_clip(name)[0], size=224)[:3] in [(1, 7, 7), (4, 7, 7), (8, 7, 7)]


def test_the_names_of_slowfasts_say_frames_and_stride_of_the_slow_path():
    frames, stride = usual_clip("slowfast_50_4x16")
    for rates in ("4x16", "8x8"):
        slow_frames = feature_shape(f"slowfast_50_{rates}", num_frames=frames, size=224)[0]
        assert f"{slow_frames}x{frames * stride // slow_frames}" == rates


def test_an_unknown_backbone_has_none():
    with pytest.raises(SettingsError, match="there is no backbone 'x'"):
        usual_clip("x")


class StoppedError(Exception):
    """Raised in place of training."""


def trained_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str) -> tuple[int, int]:
    found = []

    def run(settings: train_backbone.TrainBackboneSettings, **_: object) -> None:
        own = sampling_of(resolve(settings))
        found.append((own.num_frames, own.sampling_rate))
        raise StoppedError

    monkeypatch.setattr(train_backbone, "run", run)
    places = ["--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, ["train-backbone", *places, *typed.split()])
    assert isinstance(result.exception, StoppedError), result.output
    return found[0]


@pytest.mark.parametrize(
    ("typed", "clip"),
    [
        ("--backbone r2d_14_w16", (8, 1)),
        ("--backbone slowfast_50_4x16", (32, 2)),
        ("--backbone slowfast_50_4x16 --frames 8", (8, 2)),
        ("--backbone slowfast_50_4x16 --stride 1", (32, 1)),
        ("--backbone i3d_50 --frames 16 --stride 4", (16, 4)),
        ("--backbone i3d_50 --preset kinetics", (8, 1)),
        ("--backbone i3d_50 --preset faster16 --stride 4", (16, 4)),
    ],
)
def test_train_backbone_takes_what_is_typed_then_the_preset_then_the_usual(tmp_path, monkeypatch, typed, clip):
    assert trained_clip(tmp_path, monkeypatch, typed) == clip
