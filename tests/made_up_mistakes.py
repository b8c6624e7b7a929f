"""A folder that holds everything that can be wrong: manifests, official lists, weights, stores and runs."""

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from click.testing import CliRunner
from made_up_runs import make_run
from made_up_stores import MadeUp, make_store
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidpipe.cli.main import main

CLIPS = Path(__file__).parent / "goldens" / "clips"
CLASSES = ("fall", "jump", "run")
HEADER = "path,label,split"
SMALL = {"num_training": 6, "num_test": 4}
STORES = {
    "s": MadeUp(**SMALL),
    "cheap": MadeUp(**SMALL, pattern=None),
    "expensive": MadeUp(**SMALL, cheap=False),
    "empty": MadeUp(**SMALL, pattern=None, cheap=False),
    "damaged": MadeUp(num_training=4, num_test=1),
    "old": MadeUp(**SMALL),
    "twins": MadeUp(**SMALL),
    "untested": MadeUp(**SMALL, pending=(6, 7, 8, 9)),
    "untrained": MadeUp(**SMALL, pending=(0, 1, 2, 3, 4, 5)),
    "half_trained": MadeUp(**SMALL, failed=(0, 2, 4)),
    "two_trained": MadeUp(num_training=2, num_test=2),
    "one_class": MadeUp(**SMALL, classes=("walk",)),
    "several_labels": MadeUp(**SMALL, labels={1: ("low then high", "high then low")}),
    "one_position": MadeUp(**SMALL, pattern=None, shapes={"cheap": (1, 1, 1, 8)}),
    "other_classes": MadeUp(**SMALL, backbone_classes=("cat", "dog")),
}
MANIFESTS = {
    "no_videos.csv": [HEADER],
    "empty.csv": [],
    "columns.csv": ["file,label,split,fold", "a.mp4,x,train,1"],
    "column_twice.csv": ["path,label,label,split", "a.mp4,x,y,train"],
    "colons.csv": ["path:label:split", "a.mp4:x:train"],
    "fields.csv": [HEADER, "a.mp4,x,train", "b.mp4,x,train,0", "c.mp4,y"],
    "quotes.csv": [HEADER, "a.mp4,x,train", 'b.mp4,"x,train'],
    "cells.csv": [f"{HEADER},start,end", ",x,train,,", "b.mp4,x|x,train,,", "c.mp4,x,,,", "d.mp4,y,test,soon,",
                  "e.mp4,y,test,4,2", "f.mp4,y,test,-1,"],
    "one_mistake.csv": [f"{HEADER},start", "a.mp4,x,train,", "b.mp4,x,train,soon"],
    "many_mistakes.csv": [f"{HEADER},start", *(f"v{i}.mp4,x,train,soon" for i in range(40))],
    "urls.csv": [HEADER, "https://x.org/a.mp4,x,train", "s3://bucket/b.mp4,y,test"],
    "same_ids.csv": [f"video_id,{HEADER}", "a,a.mp4,fall,train", "b,b.mp4,jump,train", "a,c.mp4,run,test"],
    "same_paths.csv": [HEADER, "a.mp4,fall,train", "a.mp4,jump,test"],
    "no_label.csv": [HEADER, "a.mp4,fall,train", "b.mp4,,train", "c.mp4,fall|,test"],
    "one_class.csv": [HEADER, "a.mp4,walk,train", "b.mp4,walk,test"],
    "several_labels.csv": [HEADER, "a.mp4,fall,train", "b.mp4,fall|jump,train", "c.mp4,run,test"],
    "unseen.csv": [HEADER, "a.mp4,fall,train", "b.mp4,jump,train", "c.mp4,run,test"],
    "one_each.csv": [HEADER, "a.mp4,fall,train", "b.mp4,jump,train", "c.mp4,run,train"],
    "one_position.csv": [HEADER, *(f"videos/v{i}.mp4,{CLASSES[i]},train" for i in range(3))],
    "other_classes.csv": [HEADER, "a.mp4,cat,train", "b.mp4,dog,train", "c.mp4,cat,test"],
    "unknown_videos.csv": [HEADER, "v000.mp4,high then low,train", "w.mp4,low then high,train"],
    "moved_videos.csv": [f"video_id,{HEADER}", "v000,new/v000.mp4,high then low,train"],
    "stretches.csv": [f"video_id,{HEADER},start", "v000,v000.mp4,high then low,train,1.5"],
    "other_labels.csv": [HEADER, "v000.mp4,low then high,train", "v001.mp4,low then high,test"],
}  # fmt: skip
LISTS = {
    "ucf/classInd.txt": ["1 Fall", "2 Jump"],
    "ucf/trainlist01.txt": ["Fall/a.avi 1", "Jump/b.avi 2"],
    "ucf/testlist01.txt": ["Fall/c.avi"],
    "ucf_line/classInd.txt": ["1 Fall", "2 Jump"],
    "ucf_line/trainlist01.txt": ["Fall/a.avi 1", "b.avi"],
    "ucf_line/testlist01.txt": ["Fall/c.avi"],
    "ucf_class/classInd.txt": ["1 Fall", "2 Jump"],
    "ucf_class/trainlist01.txt": ["Fall/a.avi 1", "Run/b.avi 2"],
    "ucf_class/testlist01.txt": ["Fall/c.avi"],
    "ucf_index/classInd.txt": ["1 Fall", "2 Jump"],
    "ucf_index/trainlist01.txt": ["Fall/a.avi 2"],
    "ucf_index/testlist01.txt": ["Fall/c.avi"],
    "ucf_twice/classInd.txt": ["1 Fall", "1 Jump"],
    "ucf_twice/trainlist01.txt": ["Fall/a.avi 1"],
    "hmdb/fall_test_split1.txt": ["a.avi 1", "b.avi 3"],
    "kinetics/train.csv": ["a.mp4 0", "b.mp4 1"],
    "kinetics/val.csv": ["c.mp4 0"],
    "kinetics_line/train.csv": ["a.mp4 0", "b.mp4,1"],
    "kinetics_columns/train.csv": ["label,youtube_id,split", "fall,abc,train"],
    "kinetics_times/train.csv": ["label,youtube_id,time_start,time_end,split", "fall,abc,10,5,train"],
    "kinetics_split/all_train.csv": ["label,youtube_id,time_start,time_end,split", "fall,abc,1,5,holdout"],
    "kinetics_unlabelled/test.csv": ["youtube_id,time_start,time_end,split", "abc,1,5,test"],
    "kinetics_classes.csv": ["id,name", "0,fall"],
    "ssv1/something-something-v1-train.csv": ["1;Holding something", "2;Dropping something"],
    "ssv1_line/something-something-v1-train.csv": ["1;Holding something", "2,Dropping something"],
    "ssv2/something-something-v2-train.json": ["[{"],
    "ssv2_item/something-something-v2-train.json": ['[{"id": "1", "template": "Holding [it]"}, {"id": "2"}]'],
    "charades/Charades_v1_train.csv": ["id,actions", "ABC12,c092 11.90 21.20"],
    "charades_header/Charades_v1_train.csv": ["video,what", "ABC12,c092 11.90 21.20"],
    "charades_action/Charades_v1_train.csv": ["id,actions", "ABC12,walking"],
    "mmit/trainingSet.csv": ["a.mp4,1,2"],
    "mmit_line/trainingSet.csv": ["a.mp4,one"],
    "void/README": ["nothing"],
}
# Command line -> how it ends. Those that fail have begun a run, whose settings are what the next command finds there.
BEGUN = {
    "render rendered --videos 2 --size 32 --frames 47": 0,
    "train-backbone --manifest other_classes.csv --backbone r2d_14_w16 --size 32 --out begun_backbone --device cpu": 1,
    "probe --store s.zarr --out probed": 0,
    "train-aggregator --store s.zarr --out average --aggregator average --device cpu": 0,
    "train-aggregator --store untested.zarr --out average_untested --aggregator average --device cpu": 0,
    "sweep --store damaged.zarr --out failed_sweep --aggregator fast-gru --epochs 1 --seeds 1 --pattern first"
    " --clips 4 --no-copies --device cpu": 3,
    "finetune --manifest one_position.csv --out begun --expensive r2plus1d_14_w16 --size 32 --frames 8 --clips 1"
    " --aggregator average --batch 1 --val-fraction 0 --device cpu --precision float32 --memory-gb 8": 2,
}
FOLDERS = (
    "folders/fall/a.mp4", "folders/jump/b.mp4", "flat/a.mp4", "stray/fall/a.mp4", "stray/b.mp4", "splits/train/a.mp4",
    "splits/test/b.mp4", "class_without/fall/page.html", "class_without/jump/notes.txt", "frames/1/0001.jpg",
    "full/notes", "folder.csv/a.mp4",
)  # fmt: skip


def make_place(place: Path) -> Path:
    """Fill the folder and return it; its names are those that goldens/messages.json has on its command lines."""
    _write_texts(place)
    videos = [f"videos/v{index}.mp4" for index in range(12)]
    for name in videos:
        _parent(place / name).write_bytes((CLIPS / "b_frames.mp4").read_bytes())
    rows = [f"{name},{CLASSES[index % 3]},{'test' if index > 8 else 'train'}" for index, name in enumerate(videos)]
    _write(place / "m.csv", [HEADER, *rows])
    for name, wanted in STORES.items():
        make_store(place / f"{name}.zarr", wanted)
    _damage_stores(place)
    _make_runs(place)
    _make_weights(place)
    _begin_runs(place)
    return place


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a command line came to: its exit code, and what it said."""

    exit_code: int
    stdout: str
    stderr: str


def type_in(arguments: Sequence[str]) -> Said:
    """Run ``vidpipe`` with the arguments in this process and the current folder."""
    result = CliRunner().invoke(main, list(arguments), prog_name="vidpipe")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(path: Path, lines: Sequence[str]) -> None:
    _parent(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_texts(place: Path) -> None:
    for name, lines in {**MANIFESTS, **{f"lists/{name}": lines for name, lines in LISTS.items()}}.items():
        _write(place / name, lines)
    for name in FOLDERS:
        _write(place / name, [])
    rows = [f"v{i:03}.mp4,{'low then high' if i % 2 else 'high then low'},{'test' if i > 5 else 'train'}"
            for i in range(10)]  # fmt: skip
    _write(place / "s.csv", [HEADER, *rows])
    _write(place / "m.txt", [HEADER, "a.mp4,x,train"])
    _write(place / "file", [])
    (place / "latin.csv").write_bytes(b"path,label,split\na.mp4,caf\xe9,train\n")
    (place / "text.parquet").write_bytes(b"path,label,split\n")


def _damage_stores(place: Path) -> None:
    (shard,) = (place / "damaged.zarr" / "big" / "features").glob("c.0.*")
    shard.write_bytes(shard.read_bytes()[:-20])
    shutil.copytree(place / "twins.zarr" / "big", place / "twins.zarr" / "giant")
    shutil.copytree(place / "empty.zarr", place / "foreign_weights.zarr")
    shutil.copytree(place / "s.zarr" / "small", place / "foreign_weights.zarr" / "r2d_14_w16")
    _edit(place / "old.zarr" / "zarr.json", lambda own: own["attributes"].update(format_version=0))
    _write(place / "other.zarr" / "zarr.json", ['{"zarr_format": 3, "node_type": "group", "attributes": {}}'])
    _write(place / "torn.zarr" / "zarr.json", ['{"zarr_format": 3, "node_'])
    with h5py.File(place / "other.h5", "w") as file:
        file["numbers"] = [1, 2, 3]


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _make_runs(place: Path) -> None:
    """Make runs of every kind: `run` is end to end, `start` an aggregator's on the same backbones."""
    run = make_run(place / "run")
    copies = ("start", "unfinished", "other_sampling", "other_kind", "damaged_run", "torn", "swapped")
    for name in copies:
        shutil.copytree(run, place / name)
    trained = json.loads((run / "result.json").read_text(encoding="utf-8"))["backbones"]
    _edit(place / "start" / "settings.json", lambda own: own.update(kind="aggregator", backbones=trained))
    for name in ("unfinished_start", "start_elsewhere"):
        shutil.copytree(place / "start", place / name)
    for name in ("unfinished", "unfinished_start"):
        (place / name / "result.json").unlink()
    elsewhere = {"weights_sha256": 64 * "0"}
    _edit(place / "start_elsewhere" / "settings.json", lambda own: own["backbones"]["cheap"].update(elsewhere))
    sampling = {"num_frames": 4, "sampling_rate": 2, "fps": 15.0, "placement": "dense", "short": "loop"}
    _edit(place / "other_sampling" / "settings.json", lambda own: own["sampling"].update(sampling))
    _edit(place / "other_kind" / "settings.json", lambda own: own.update(kind="backbone"))
    (place / "damaged_run" / "weights.safetensors").write_bytes(b"weights")
    _write(place / "torn" / "settings.json", ['{"kind": '])
    shutil.copy(place / "swapped" / "cheap.safetensors", place / "swapped" / "expensive.safetensors")


def _begin_runs(place: Path) -> None:
    """Let every command that keeps what it was asked begin something that the same command could go on with."""
    with contextlib.chdir(place):
        for line, exit_code in BEGUN.items():
            said = type_in(line.split())
            assert said.exit_code == exit_code, f"{line}: {said}"
    odd = place / "odd_sweep" / "runs" / "average_first_4clips_seed0"
    shutil.copytree(place / "average", odd)
    shutil.copy(place / "failed_sweep" / "sweep.json", place / "odd_sweep")
    _edit(odd / "settings.json", lambda own: own.update(num_training=3))
    _write(odd / "score.json", ["{}"])
    _write(place / "torn_sweep" / "sweep.json", ["{"])


def _make_weights(place: Path) -> None:
    """Make weights files of which each is wrong in a way of its own."""
    good = place / "run" / "cheap.safetensors"
    state = load_file(good)
    with safe_open(str(good), framework="pt") as file:
        (key, text), *_ = file.metadata().items()
    metadata = json.loads(text)

    def save(name: str, own: Mapping[str, Any] | str, tensors: Mapping[str, Any] = state) -> None:
        raw = own if isinstance(own, str) else json.dumps({**metadata, **own})
        save_file(dict(tensors), place / name, metadata={key: raw})

    save("of_4_frames.safetensors", {"num_frames": 4})
    save("at_12_fps.safetensors", {"fps": 12.0})
    save("newer.safetensors", {"format_version": 99})
    save("edited.safetensors", {"classes": ["run", "jump", "fall"]})
    save("unknown.safetensors", {"backbone": "r2d_15_w16"})
    save("fewer_classes.safetensors", {"classes": ["run", "jump"]})
    save("torn_metadata.safetensors", "{")
    save("no_classes.safetensors", json.dumps({name: own for name, own in metadata.items() if name != "classes"}))
    save("no_classifier_bias.safetensors", {}, {name: own for name, own in state.items() if name != "fc.bias"})
    save_file(state, place / "bare.safetensors")
    (place / "text.safetensors").write_text("weights")
