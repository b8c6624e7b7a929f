"""Files of other programs: what is in them, what never runs, and what each kind of bad file gets."""

import dataclasses
import io
import json
import pickle
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from checkpoints.foreign_files import foreign_state
from checkpoints.peers import golden
from click.testing import CliRunner
from safetensors.torch import save_file

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.registry import usual_clip
from vidpipe.pipeline.backbones.weights import load_weights
from vidpipe.pipeline.checkpoints import fetch, ready
from vidpipe.pipeline.checkpoints.class_lists import class_list
from vidpipe.pipeline.checkpoints.containers import file_sha256, read_checkpoint
from vidpipe.pipeline.checkpoints.conversion import convert
from vidpipe.pipeline.checkpoints.dialects import SPELLINGS
from vidpipe.pipeline.checkpoints.published import find_published, published
from vidpipe.pipeline.checkpoints.ready import Given, ready_file
from vidpipe.pipeline.checkpoints.recipes import RECIPES
from vidpipe.pipeline.checkpoints.sources import FileSource
from vidpipe.pipeline.errors import SettingsError, WeightsError, named


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def as_tar(content: object, path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors"):
            data = pickle.dumps(content)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


CONTAINERS = {
    "torch": lambda own, path: torch.save(own, path),
    "old torch": lambda own, path: torch.save(own, path, _use_new_zipfile_serialization=False),
    "pickle": lambda own, path: path.write_bytes(pickle.dumps(own, protocol=2)),
    "protocol 0": lambda own, path: path.write_bytes(pickle.dumps(own, protocol=0)),
    "tar": as_tar,
    "npz": lambda own, path: path.write_bytes(npz(own)),
    "object array": lambda own, path: path.write_bytes(pickle.dumps({"blobs": {"a": np.array([own], dtype=object)}})),
}


def npz(own: object) -> bytes:
    made = io.BytesIO()
    np.savez(made, a=np.array([own], dtype=object))
    return made.getvalue()


@pytest.mark.parametrize("container", CONTAINERS)
def test_nothing_that_stands_in_a_file_runs(container: str, tmp_path: Path):
    proof, path = tmp_path / "proof", tmp_path / "weights.bin"
    CONTAINERS[container]({"state_dict": Harmful(proof)}, path)
    with pytest.raises(WeightsError):
        read_checkpoint(path)
    assert not proof.exists()
    if container in ("torch", "old torch", "pickle"):  # the file would indeed do harm
        if container == "pickle":
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
        assert proof.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html></html>", "a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"PK\x03\x04 and no more", "cut short"),
        (b"\x80\x02}q\x00", "damaged pickle"),
        (b"\x10\0\0\0\0\0\0\0{", "damaged safetensors"),
        (pickle.dumps([1, 2]), "no state dict"),
        (pickle.dumps({"a": 1}), "no tensors by name"),
    ],
)
def test_what_is_no_checkpoint_is_named(content: bytes, said: str, tmp_path: Path):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        read_checkpoint(path)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path):
    with pytest.raises(WeightsError, match="is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(WeightsError, match="there is no weights file"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return foreign_state("s3d", dialect="torchvision")


@pytest.fixture(scope="module")
def file(state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("s3d") / "s3d.pth"
    torch.save({"state_dict": {f"module.{key}": own for key, own in state.items()}, "arch": "s3d"}, path)
    return path


def test_a_truncated_file_of_torch_is_refused(file: Path, tmp_path: Path):
    path = tmp_path / "half.pth"
    path.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(WeightsError, match="cut short"):
        read_checkpoint(path)


def test_a_file_becomes_weights_once_and_says_what_it_is(file: Path, state, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VIDPIPE_CACHE", str(tmp_path))
    said: list[str] = []
    made = ready_file(Given(place=file), say=said.append)
    assert said == [
        f"{file.name} is s3d as torchvision spells it: 400 classes, pictures of 224×224, clips of "
        f"{load_weights(made).num_frames} frames at stride {load_weights(made).sampling_rate}",
        f"the classes of {file.name} are named as in kinetics400, by their number alone; vidpipe weights convert takes "
        f"{named('class_list')}",
    ]
    assert ready_file(Given(place=file), say=said.append) == made
    assert ready_file(Given(place=made)) == made  # vidpipe's own
    weights = load_weights(made)
    assert (weights.backbone, weights.classes[0], weights.fps) == ("s3d", "abseiling", 15.0)
    assert set(weights.state["fc.weight"].flatten().tolist()) == set(state["classifier.1.weight"].flatten().tolist())


def test_a_published_file_is_known_by_its_digest_wherever_it_lies(file: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VIDPIPE_CACHE", str(tmp_path))
    digest = file_sha256(file)
    row = dataclasses.replace(find_published("s3d.tv_k400"), frames=20, stride=3, recipe="tv112", sha256=digest[:8])
    monkeypatch.setattr(fetch, "published", lambda: {row.name: row})
    said: list[str] = []
    weights = load_weights(ready_file(Given(place=file), say=said.append))
    assert (weights.num_frames, weights.sampling_rate, weights.preprocessing.crop) == (20, 3, 112)
    assert len(said) == 1 and said[0].startswith(f"{file.name} is s3d.tv_k400, s3d as torchvision spells it")
    assert (weights.origin["name"], weights.origin["url"]) == (row.name, row.url)
    assert f"  published as {row.name}\n" in type_in("weights", "inspect", file).stdout
    with pytest.raises(WeightsError, match=r"is s3d\.tv_k400, which holds s3d, not r3d_18"):
        ready_file(Given(backbone="r3d_18", place=file))

    unknown = dataclasses.replace(row, sha256="")
    twin = dataclasses.replace(row, name="twin")
    for rows, is_known in (([row, twin], False), ([unknown], False), ([unknown, twin], True)):
        monkeypatch.setattr(fetch, "published", lambda rows=rows: {own.name: own for own in rows})
        assert (fetch.entry_of(digest) is not None) is is_known
    monkeypatch.setattr(fetch, "published", lambda: {unknown.name: unknown})
    fetch.downloads_folder().mkdir()
    (fetch.downloads_folder() / "known_digests.json").write_text(json.dumps({row.url: digest}))
    assert fetch.entry_of(digest) == unknown
    assert fetch.entry_of(digest[::-1]) is None


def test_published_files_of_other_pixels_or_clips_are_named_where_no_digest_tells(file: Path):
    weights = dataclasses.replace(convert(read_checkpoint(file)), num_frames=16)
    source = FileSource(path=file)
    *_, others = ready.told(weights, source)
    assert others == (
        f"{file.name} may as well be s3d.tv_k400, whose pixels or clips differ: then give that name; vidpipe weights "
        f"convert takes {named('recipe')}"
    )
    assert len(ready.told(weights, source, are_named=True, has_recipe=True)) == 1
    assert len(ready.told(weights, dataclasses.replace(source, entry=find_published("s3d.tv_k400")))) == 1


def test_every_row_that_a_path_alone_would_treat_otherwise_is_known_or_told():
    told = set()
    for row in published().values():
        spelt = next((own for own in SPELLINGS if own.dialect == row.dialect and row.backbone in own.backbones), None)
        if spelt is None:
            continue  # of the hub
        recipe, (frames, stride) = RECIPES[spelt.recipe], usual_clip(row.backbone)
        classes = class_list(row.classes) if row.classes else ("a", "b")
        taken = SimpleNamespace(
            backbone=row.backbone,
            origin={"dialect": row.dialect},
            classes=classes,
            preprocessing=recipe.preprocessing,
            fps=recipe.fps,
            num_frames=frames,
            sampling_rate=stride,
        )
        own = RECIPES[row.recipe]
        treatment = (own.preprocessing, own.fps, row.frames, row.stride)
        if treatment != (recipe.preprocessing, recipe.fps, frames, stride):
            others = [(RECIPES[other.recipe], other.frames, other.stride) for other in ready._others(taken)]
            assert treatment in [(how.preprocessing, how.fps, *clip) for how, *clip in others], row.name
            told.add(row.name)
    assert {"slow_only_50.mm_k400_4x16", "ipcsn_152.mm_k400", "tsm_resnet_50.mm_k400_dense_1x1x8"} <= told


def test_what_decides_the_converted_file_is_in_its_name(file: Path, monkeypatch):
    row = find_published("s3d.tv_k400")
    source = FileSource(path=file, entry=row, sha256="1f")
    others = [dataclasses.replace(source, entry=dataclasses.replace(row, **{name: value}))
              for name, value in {"classes": "", "recipe": "vmz", "frames": 9, "licence": "X"}.items()]  # fmt: skip
    names = {ready._key(own) for own in (source, *others, dataclasses.replace(source, sha256="2f"))}
    monkeypatch.setattr(ready, "version", lambda _: "9")
    names.add(ready._key(source))
    monkeypatch.setattr(ready, "class_lists_sha256", lambda: "3f")
    assert len({*names, ready._key(source)}) == 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, state, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_file({key: own.to(dtype) if own.is_floating_point() else own for key, own in state.items()}, path)
    weights = convert(read_checkpoint(path))
    assert {own.dtype for own in weights.state.values()} <= {torch.float32, torch.int64}


def test_what_does_not_fit_is_refused_with_both_lists(state, tmp_path: Path):
    path = tmp_path / "w.pth"
    keys = list(state)
    torch.save({key: state[key] for key in keys[: len(keys) // 2]} | {"extra.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"(?s)fits no network .* s3d: .* missing: .*1 left over: extra.weight"):
        convert(read_checkpoint(path))
    torch.save({key: own.roll(0) for key, own in state.items()}, path)
    with pytest.raises(WeightsError, match="does not hold r3d_18: .* It holds s3d"):
        convert(read_checkpoint(path), backbone="r3d_18")
    with pytest.raises(SettingsError, match="scores 400 classes, but 600 are named"):
        convert(read_checkpoint(path), classes="kinetics600")
    broken = {key: own.clone() for key, own in state.items()}
    broken[keys[0]].flatten()[0] = float("nan")
    torch.save(broken, path)
    with pytest.raises(WeightsError, match=f"not finite, in {keys[0]}"):
        convert(read_checkpoint(path))


def test_whole_numbers_stand_only_where_a_network_counts(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    own = foreign_state("resnet_18", dialect="torchvision", num_classes=10)
    counted = [key for key in own if key.endswith("num_batches_tracked")]
    save_file(own | {key: torch.tensor(7.0) for key in counted}, path)
    state = convert(read_checkpoint(path), backbone="resnet_18").state
    found = {(tensor.dtype, tensor.item()) for key, tensor in state.items() if key.endswith("num_batches_tracked")}
    assert found == {(torch.int64, 7)}
    save_file(own | {"conv1.weight": own["conv1.weight"].to(torch.int8)}, path)
    with pytest.raises(WeightsError, match=r"whole numbers \(int8\) where resnet_18 has floats, in conv1\.weight"):
        convert(read_checkpoint(path), backbone="resnet_18")
    shown = type_in("weights", "inspect", path)
    assert shown.exit_code == 1
    assert "whole numbers (int8)" in " ".join(shown.stderr.split())


@pytest.mark.parametrize(
    ("weight", "bias", "said"),
    [(10, 7, r"fc\.bias is \(7,\), not \(10,\)"), (0, 0, r"fc\.weight is \(0, 512\), not \(1, 512\)")],
)
def test_a_head_scores_as_many_classes_as_it_has_biases(weight: int, bias: int, said: str, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    own = foreign_state("resnet_18", dialect="torchvision", num_classes=1)
    save_file(own | {"fc.weight": torch.zeros(weight, 512), "fc.bias": torch.zeros(bias)}, path)
    with pytest.raises(WeightsError, match=said):
        convert(read_checkpoint(path), backbone="resnet_18")


def test_a_file_of_two_networks_is_refused_until_one_is_named(tmp_path: Path):
    path = tmp_path / "i3d.pyth"
    torch.save(foreign_state("i3d_50", dialect="pyslowfast", num_classes=2), path)
    checkpoint = read_checkpoint(path)
    with pytest.raises(SettingsError, match=r"fits i3d_50_8x8 and i3d_50: .* Say which, as i3d_50_8x8="):
        convert(checkpoint)
    assert [convert(checkpoint, backbone=name).backbone for name in ("i3d_50", "i3d_50_8x8")] == [
        "i3d_50",
        "i3d_50_8x8",
    ]


def type_in(*words: object):
    return CliRunner().invoke(main, list(map(str, words)))


def test_inspect_and_convert(file: Path, tmp_path: Path):
    shown = type_in("weights", "inspect", file)
    assert "s3d as torchvision spells it, 400 classes, recipe tvS3D" in shown.stdout
    out = tmp_path / "own.safetensors"
    made = type_in("weights", "convert", file, out)
    assert "s3d, 400 classes" in made.stdout
    assert "named as in kinetics400, by their number alone; vidpipe weights convert takes --class-list" in made.stderr
    assert "classes: abseiling" in type_in("weights", "inspect", out).stdout
    again = type_in("weights", "convert", file, out)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    unknown = type_in("weights", "convert", file, tmp_path / "b.safetensors", "--recipe", "tvs3d")
    assert unknown.exit_code == 2
    assert "--recipe must be one of" in unknown.stderr
    assert not (tmp_path / "b.safetensors").exists()


def test_a_file_of_vidpipes_own_is_not_converted(file: Path, tmp_path: Path):
    own = tmp_path / "own.safetensors"
    assert type_in("weights", "convert", file, own).exit_code == 0
    again = type_in("weights", "convert", own, tmp_path / "again.safetensors")
    assert again.exit_code == 1
    assert f"{own} is a weights file of vidpipe's already, of s3d: nothing is to be converted" in again.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\nb\xff\n", "line 2 of the class list {} is no UTF-8"),
        (b"a\n \nb\n", "line 2 of the class list {} is empty"),
        (b"a\nb\na\n", "lines 1 and 3 of the class list {} are both 'a'"),
        (b"", "the class list {} is empty"),
    ],
)
def test_a_class_list_says_which_line_is_wrong(content: bytes, said: str, tmp_path: Path):
    listed, out = tmp_path / "classes.txt", tmp_path / "own.safetensors"
    listed.write_bytes(content)
    refused = type_in("weights", "convert", tmp_path / "w.pth", out, "--class-list", listed)
    assert (refused.exit_code, out.exists()) == (2, False)
    assert said.format(listed) in refused.stderr


def test_a_network_that_is_known_and_left_out_is_told_with_the_reason(tmp_path: Path):
    path, out = tmp_path / "trn.safetensors", tmp_path / "own.safetensors"
    keys = golden("mm__trn_r50")["keys"]
    head = {key: torch.zeros(own[0]) for key, own in keys.items() if key.startswith("cls_head")}  # it alone tells
    save_file(head, path)
    shown = type_in("weights", "inspect", path)
    assert "  TRN, whose head judges relations among 8 segments" in shown.stdout
    assert "nearest" not in shown.stdout
    for words in ((), ("--as", "resnet_50")):
        refused = type_in("weights", "convert", path, out, *words)
        assert (refused.exit_code, out.exists()) == (1, False)
        assert f"{path} holds TRN, whose head judges relations among 8 segments" in " ".join(refused.stderr.split())


def test_extract_takes_a_file_of_another_program(world: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VIDPIPE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "mc3.pth"
    torch.save(foreign_state("mc3_18", dialect="torchvision"), path)
    made = type_in("extract", "--manifest", world / "m.csv", "--store", tmp_path / "s.zarr", "--cheap",
                   f"mc3_18={path}", "--clips", 1, "--size", 32, "--split", "val", "--device", "cpu")  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "mc3.pth is mc3_18 as torchvision spells it: 400 classes" in made.stderr
    # Scores of classes that are not the manifest's are not taken for them.
    refused = type_in("evaluate", "--store", tmp_path / "s.zarr", "--backbone", "mc3_18", "--out", tmp_path / "e")
    assert refused.exit_code != 0
    assert "was trained on other classes" in refused.stderr
