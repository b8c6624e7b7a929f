"""Weights of timm given by name, as timm itself keeps them in Hugging Face's cache, or as a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from foreign_packages import brought
from safetensors.torch import save_file

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones import timm_frames
from vidpipe.pipeline.backbones.weights import load_backbone, load_weights
from vidpipe.pipeline.checkpoints import sources
from vidpipe.pipeline.checkpoints.ready import Given, ready_file
from vidpipe.pipeline.errors import WeightsError

NAME, MODEL = "timm:test_vit.r160_in1k", "test_vit.r160_in1k"
pytestmark = pytest.mark.parity("timm", "torchvision", "huggingface_hub")


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that makes a network of timm, and keeps its weights as if timm had fetched them."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("VIDPIPE_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(brought("huggingface_hub.constants"), "HF_HUB_OFFLINE", True)

    def kept(model: str, **traits: Any) -> Any:
        torch.manual_seed(0)
        network = brought("timm").create_model(model, **traits).eval()
        place = tmp_path / "hub" / f"models--timm--{model}" / "snapshots" / "1f"
        place.mkdir(parents=True)
        save_file(network.state_dict(), place / "model.safetensors")
        return network

    return kept


def type_in(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def test_a_name_brings_weights_classes_preprocessing_and_licence(keep):
    network = keep(MODEL, num_classes=1000)
    said: list[str] = []
    file = ready_file(Given(place=Path(NAME)), say=said.append)
    assert said == [
        f"{MODEL} is {NAME} as timm spells it: 1000 classes, pictures of 160×160, clips of 8 frames at stride 4"
    ]
    weights = load_weights(file)
    assert (weights.classes[:2], weights.preprocessing.crop) == (("tench", "goldfish"), 160)
    known = {"dialect": "timm", "file": MODEL, "url": f"hf:timm/{MODEL}", "licence": "apache-2.0"}
    assert known.items() <= weights.origin.items()
    assert weights.origin["timm"] == brought("timm").__version__ and len(weights.origin["sha256"]) == 64
    clip = torch.randn(1, 3, 2, 160, 160)
    with torch.inference_mode():
        _, scores = load_backbone(weights)(clip)
        torch.testing.assert_close(scores[0], network(clip[0].transpose(0, 1)).mean(dim=0), rtol=0, atol=1e-4)


def test_it_is_converted_once(keep, monkeypatch):
    keep(MODEL, num_classes=1000)
    file = ready_file(Given(place=Path(NAME)))
    monkeypatch.setattr(sources, "timm_state", None)
    assert ready_file(Given(place=Path(NAME))) == file
    with pytest.raises(WeightsError, match=f"{NAME} is not timm:resnet18; give {NAME} alone"):
        ready_file(Given(backbone="timm:resnet18", place=Path(NAME)))


def test_weights_without_a_classifier_score_nothing_and_say_their_licence(keep):
    keep("convnextv2_atto.fcmae")
    said: list[str] = []
    weights = load_weights(ready_file(Given(place=Path("timm:convnextv2_atto.fcmae")), say=said.append))
    assert said[1] == "the licence of convnextv2_atto.fcmae, cc-by-nc-4.0, forbids commercial use"
    assert weights.classes == ("none",)
    with torch.inference_mode():
        features, scores = load_backbone(weights)(torch.randn(1, 3, 1, 32, 32))
    assert (scores == 0).all() and features.std() > 0


@pytest.mark.parametrize(
    ("record", "num_classes", "first"),
    [
        ({"tag": "a1_in1k"}, 1000, "tench"),
        ({"tag": "fb_dino"}, 1000, "class_000"),
        ({"tag": "a1_in1k"}, 5, "class_0"),
        ({"tag": "mine", "label_names": ["cat", "dog"]}, 2, "cat"),
    ],
)
def test_classes_are_those_that_timm_records(record, num_classes, first, keep, monkeypatch):
    keep(MODEL, num_classes=num_classes)
    true = sources.timm_record(NAME)
    monkeypatch.setattr(sources, "timm_record", lambda name: true | record)
    monkeypatch.setattr(timm_frames, "_record", lambda model: true | {"num_classes": num_classes})
    network = brought("timm").create_model(MODEL, num_classes=num_classes)
    monkeypatch.setattr(sources, "timm_state", lambda name, file: network.state_dict())
    classes = load_weights(ready_file(Given(place=Path(NAME)))).classes
    assert (len(classes), classes[0]) == (num_classes, first)


def test_extract_takes_names_and_files(keep, world, tmp_path):
    keep(MODEL, num_classes=1000)
    place = next((tmp_path / "hub").rglob("model.safetensors"))
    words = ("extract", "--manifest", world / "m.csv", "--store", tmp_path / "s.zarr", "--split", "val", "--clips", 1)
    words += ("--frames", 2, "--size", 32, "--device", "cpu", "--dry-run", "--cheap")
    for given in (NAME, f"{NAME}_t2={place.parent}"):
        planned = type_in(*words, given)
        assert planned.exit_code == 0, planned.output
        assert f"cheap     {given.split('=')[0]}" in planned.stdout
    assert "maps 1×2×2×64" in planned.stdout


def test_inspect_and_convert(keep, tmp_path):
    keep(MODEL, num_classes=1000)
    place = next((tmp_path / "hub").rglob("model.safetensors"))
    for given in (place, place.parent):
        shown = type_in("weights", "inspect", given, "--as", NAME)
        assert f"{NAME} as timm spells it, 1000 classes, recipe {NAME}" in shown.stdout
    assert "does not hold timm:resnet18: as timm spells it" in (
        type_in("weights", "inspect", place, "--as", "timm:resnet18").stdout
    )
    for index, words in enumerate([(NAME,), (place, "--as", NAME)]):
        out = tmp_path / f"{index}.safetensors"
        done = type_in("weights", "convert", *words[:1], out, *words[1:], "--pool-time", 2)
        assert done.exit_code == 0, done.output
        assert load_backbone(load_weights(out)).feature_shape(4, 160) == (2, 10, 10, 64)


def test_what_cannot_be_had_is_said_in_one_line(keep):
    with pytest.raises(WeightsError) as refused:
        ready_file(Given(place=Path("timm:resnet18")))
    assert str(refused.value).startswith("the weights of timm:resnet18 cannot be fetched: Cannot reach https://")
    assert str(refused.value).endswith(
        "Where there is a network, run hf download timm/resnet18.a1_in1k; bring its model.safetensors here, and give "
        "it as timm:resnet18=FILE"
    )
    with pytest.raises(WeightsError, match="timm publishes no weights of .*; give timm:.*=FILE"):
        ready_file(Given(place=Path(unpublished())))


def unpublished() -> str:
    """Return a network of which timm has no weights."""
    timm = brought("timm")
    with_weights = {own.split(".")[0] for own in timm.list_pretrained()}
    return "timm:" + next(own for own in timm.list_models() if own not in with_weights)


def test_a_file_that_timm_cannot_read_is_named(keep, tmp_path):
    keep(MODEL, num_classes=1000)
    place = next((tmp_path / "hub").rglob("model.safetensors"))
    place.write_bytes(place.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=f"timm cannot read the weights of {MODEL} in {place}: "):
        ready_file(Given(place=Path(NAME)))
