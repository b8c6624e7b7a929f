"""Models of transformers given for weights: folders, hf:ORG/NAME, and rows of the registry."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkpoints.hub_server import COMMIT, Hub, serving
from checkpoints.made_up_models import FRAMES, JEPA_ENCODER, MAE, NAMES, SIDE, made
from click.testing import CliRunner, Result
from foreign_packages import brought

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones import timm_frames
from vidpipe.pipeline.backbones.weights import load_weights
from vidpipe.pipeline.checkpoints import ready
from vidpipe.pipeline.checkpoints.fetch import fetched
from vidpipe.pipeline.checkpoints.published import Published, find_published, licence_words
from vidpipe.pipeline.checkpoints.ready import Given, means_weights, ready_file
from vidpipe.pipeline.checkpoints.transformers_models import weight_files
from vidpipe.pipeline.errors import SettingsError, WeightsError

ROW = "videomae_base.hf_k400"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield Hugging Face's cache, empty, in which its own library looks too; it may not use the network."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("VIDPIPE_CACHE", str(tmp_path / "own"))
    yield tmp_path / "hub"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "clips"
    made(MAE).save_pretrained(place)
    return place


@pytest.fixture
def cached(caches: Path, folder: Path) -> Path:
    """Return the snapshot of org/clips in the cache."""
    place = caches / "models--org--clips" / "snapshots" / COMMIT
    shutil.copytree(folder, place)
    return place


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Published:
    """Return a row of the registry whose network is small."""
    own = dataclasses.replace(
        find_published(ROW), name="small.hf", backbone=NAMES[MAE], url="hf:org/clips", frames=FRAMES, stride=2
    )
    for name, made_up in {
        "is_published": lambda name: name == own.name,
        "find_published": lambda _: own,
        "published_in": lambda repository: own if repository == own.repository else None,
    }.items():
        monkeypatch.setattr(ready, name, made_up)
    return own


def type_in(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.mark.parity("transformers")
def test_a_folder_and_its_name_become_the_same_weights_once(folder, cached):
    said: list[str] = []
    files = [
        ready_file(given, say=said.append)
        for given in (
            Given(place=folder),
            Given(backbone=NAMES[MAE], place=folder),
            Given(place=Path("hf:org/clips")),
            Given(place=Path(f"hf:{folder}")),
        )
    ]
    assert files[0] == files[2] == files[3] and len(set(files)) == 2  # a network that is asked for is a part of the key
    assert said[0] == (
        f"clips is {NAMES[MAE]} as transformers spells it: 5 classes, pictures of {SIDE}×{SIDE}, clips of {FRAMES} "
        "frames at stride 4"
    )
    assert len(said) == 2
    weights = load_weights(files[0])
    assert weights.digest == load_weights(files[1]).digest
    assert (weights.origin["dialect"], weights.origin["file"]) == ("transformers", "clips")
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3}))
    changed = ready_file(Given(place=folder))
    (folder / "preprocessor_config.json").unlink()
    assert changed not in files and load_weights(changed).preprocessing.mean == (0.5,) * 3


@pytest.mark.parity("transformers")
@pytest.mark.parametrize("given", ["hf:org/clips", f"{NAMES[MAE]}=clips", "clips"])
def test_extract_takes_names_and_folders(given, world, cached, tmp_path, monkeypatch):
    (tmp_path / "clips").symlink_to(cached)
    monkeypatch.chdir(tmp_path)
    words = ("extract", "--manifest", world / "m.csv", "--clips", 1, "--device", "cpu", "--split", "val")
    planned = type_in(*words, "--store", tmp_path / "s.zarr", "--expensive", given, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert f"is {NAMES[MAE]} as transformers spells it" in planned.stderr
    assert f"1 clip of {FRAMES} frames at stride 4" in planned.stdout
    refused = type_in(*words, "--store", tmp_path / "s.zarr", "--expensive", f"hf:videomae_base={cached}")
    assert f"holds {NAMES[MAE]}, not hf:videomae_base" in refused.stderr


@pytest.mark.parity("transformers")
def test_inspect_and_convert_take_folders(folder, tmp_path):
    shown = type_in("weights", "inspect", folder)
    assert f"{NAMES[MAE]} as transformers spells it, 5 classes, recipe vmae" in shown.stdout
    made(JEPA_ENCODER).save_pretrained(tmp_path / "encoder")
    assert "no classifier, recipe vj2" in type_in("weights", "inspect", tmp_path / "encoder").stdout
    other = type_in("weights", "inspect", folder, "--as", "hf:videomae_base")
    assert (other.exit_code, f"holds {NAMES[MAE]}, not hf:videomae_base" in other.stderr) == (1, True)
    out, names = tmp_path / "w.safetensors", tmp_path / "names.txt"
    names.write_text("\n".join("abcde"))
    done = type_in("weights", "convert", folder, out, "--class-list", names, "--recipe", "vj2")
    assert done.exit_code == 0, done.output
    weights = load_weights(out)
    assert (weights.classes, weights.preprocessing.crop) == (tuple("abcde"), 256)
    pooled = type_in("weights", "convert", folder, tmp_path / "b.safetensors", "--pool-time", 2)
    assert (pooled.exit_code, "it mixes frames itself" in pooled.stderr) == (2, True)


@pytest.mark.parity("transformers")
def test_a_row_of_the_registry_has_its_clips_and_licence(row, cached):
    said: list[str] = []
    weights = load_weights(ready_file(Given(place=Path(row.name)), say=said.append))
    assert (weights.num_frames, weights.sampling_rate) == (FRAMES, 2)
    assert weights.origin["url"] == "hf:org/clips" and weights.origin["licence"] == "CC-BY-NC-4.0"
    assert said[1:] == ["the licence of small.hf, CC-BY-NC-4.0, forbids commercial use"]
    assert load_weights(ready_file(Given(place=Path("hf:org/clips")))).origin["name"] == row.name
    with pytest.raises(WeightsError, match="small.hf holds .*, not hf:videomae_base"):
        ready_file(Given(backbone="hf:videomae_base", place=Path(row.name)))
    shutil.rmtree(cached)
    made(JEPA_ENCODER).save_pretrained(cached)
    with pytest.raises(WeightsError, match=f"holds {NAMES[JEPA_ENCODER]}, not {NAMES[MAE]}"):
        ready_file(Given(place=Path(row.name)))


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = brought("huggingface_hub.constants")
    shutil.copytree(folder, tmp_path / "served")
    for name in ("pytorch_model.bin", "preprocessor_config.json"):
        (tmp_path / "served" / name).write_text("{}")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    with serving(tmp_path / "served") as own:
        monkeypatch.setattr(constants, "ENDPOINT", own.url)
        template = f"{own.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield own


@pytest.mark.parity("transformers", "huggingface_hub")
def test_what_is_needed_is_fetched_once_into_the_libraries_own_cache(hub, caches, row):
    found = fetched(row)
    assert found == caches / "models--org--clips" / "snapshots" / COMMIT
    needed = {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert {name for name, _ in hub.asked} == {own.name for own in found.iterdir()} == needed
    hub.asked.clear()
    assert fetched(row) == found and not hub.asked
    (found / "model.safetensors").unlink()
    assert fetched(row) == found and (found / "model.safetensors").is_file()


@pytest.mark.parity("transformers", "huggingface_hub")
def test_without_a_network_one_line_says_what_to_do(hub, caches, row, monkeypatch):
    constants = brought("huggingface_hub.constants")
    (hub.folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="it holds no model.safetensors with its config.json. Where there is"):
        fetched(row)
    shutil.rmtree(caches)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="small.hf cannot be fetched: .*offline mode .* run hf download org/clips; "):
        fetched(row)


@pytest.fixture
def without_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setitem(sys.modules, "huggingface_hub", None)


def test_without_its_library_a_model_is_not_fetched(without_hub):
    without_hub()
    said = type_in("weights", "fetch", ROW)
    assert said.exit_code == 1
    assert said.stderr == (
        f"the licence of {ROW}, CC-BY-NC-4.0, forbids commercial use\n"
        f"Error: {ROW} cannot be fetched: huggingface_hub is not installed here: pip install 'vidpipe[transformers]'. "
        "Where there is a network, run hf download MCG-NJU/videomae-base-finetuned-kinetics; bring the folder that it "
        "names here, and give it as hf:videomae_base=FOLDER\n"
    )


def test_without_timm_it_says_what_to_install(monkeypatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(timm_frames, "import_module", missing)
    with pytest.raises(SettingsError, match=r"needs the package timm .*pip install 'vidpipe\[timm\]'"):
        ready_file(Given(place=Path("timm:resnet18")))


def test_names_without_weights_are_explained(tmp_path):
    with pytest.raises(SettingsError, match=f"hf:videomae_base is a network, .* published are {ROW}, "):
        ready_file(Given(place=Path("hf:videomae_base")))
    with pytest.raises(SettingsError, match=r"hf:org/none is neither a folder here nor in .*hf download org/none"):
        ready_file(Given(place=Path("hf:org/none")))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(SettingsError, match="is of the family 'vit'"):
        ready_file(Given(backbone="hf:org/none", place=tmp_path))
    config = {"model_type": "videomae", "architectures": ["VideoMAEForVideoClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SettingsError, match="hf:org/none names a model; before =FOLDER .* here hf:videomae_base"):
        ready_file(Given(backbone="hf:org/none", place=tmp_path))
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        ready_file(Given(place=tmp_path))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}))
    with pytest.raises(WeightsError, match=r"lacks model-1\.safetensors, model-2\.safetensors, which its index names"):
        ready_file(Given(place=tmp_path))


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["model.safetensors"], "has no mapping of tensors to files called weight_map"),
        ({}, "has no mapping of tensors to files called weight_map"),
        ({"a": 1}, "places a in 1, which is no file of its folder"),
        ({"a": ["b"]}, r"places a in \['b'\], which is no file"),
        ({"a": "../x.safetensors"}, r"places a in '\.\./x\.safetensors', which is no file"),
        ({"a": "/x.safetensors"}, "which is no file of its folder"),
    ],
)
def test_an_index_names_files_of_its_folder_alone(places: object, said: str, tmp_path: Path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(WeightsError, match=said):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    ("word", "is_meant"),
    [(ROW, True), ("timm:resnet18.a1_in1k", True), ("r2d_26", False), ("hf:videomae_base", False), ("nothing", False)],
)
def test_words_that_mean_weights(word, is_meant):
    assert means_weights(word) == is_meant


@pytest.mark.parametrize(
    ("licence", "is_forbidden"),
    [
        ("CC-BY-NC-4.0", True),
        ("cc-by-nc-4.0", True),
        ("fair-noncommercial-research-license", True),
        ("apache-2.0", False),
        ("BSD-3-Clause", False),
        ("", False),
    ],
)
def test_licences_that_forbid_commercial_use(licence, is_forbidden):
    assert bool(licence_words("w", licence)) == is_forbidden
