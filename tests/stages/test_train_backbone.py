"""`vidpipe train-backbone`: learns, resumes to the same weights, and says what it cannot do."""

import json
import signal
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from own_processes import kill, run_command, started_command

from vidpipe.cli.main import main
from vidpipe.pipeline.backbones.weights import load_backbone, load_weights
from vidpipe.pipeline.errors import VideoError
from vidpipe.pipeline.features.store import FeatureStore
from vidpipe.pipeline.manifests.manifest import read_manifest
from vidpipe.pipeline.training.batches import prefetched, shuffled_batches
from vidpipe.pipeline.training.clips import TrainingClips, VideoSource, collate, estimated_bytes
from vidpipe.pipeline.training.reduced import Reduction
from vidpipe.pipeline.videos.clips import ClipSampling
from vidpipe.pipeline.videos.preprocessing import Preprocessing
from vidpipe.pipeline.videos.reader import read_all


def command(world: Path, out: Path, *more: str) -> list[str]:
    fixed = ["--backbone=r2d_14_w16", "--size=32", "--epochs=6", "--batch=4", "--precision=float32", "--workers=2"]
    rates = ["--learning-rate=0.02", "--warmup-epochs=1", "--device=cpu"]
    return ["train-backbone", f"--manifest={world}/m.csv", f"--out={out}", *fixed, *rates, *more]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.mark.usefixtures("rendered_pictures")
def test_learns_and_leaves_weights_that_work(world: Path, tmp_path: Path):
    result = invoke(*command(world, tmp_path / "run", "--val-split=val", "--json"))
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["metrics"]["val_accuracy"] == 1.0
    weights = load_weights(tmp_path / "run" / "weights.safetensors")
    assert weights.digest == document["digest"]
    assert (weights.classes, weights.num_frames, weights.preprocessing.crop) == (("bright", "dark"), 8, 32)
    assert load_backbone(weights).name == "r2d_14_w16"
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(6))


def test_killed_and_resumed_ends_with_the_same_weights(world: Path, tmp_path: Path):
    invoke(*command(world, tmp_path / "whole"))
    arguments = command(world, tmp_path / "killed", "--checkpoint-seconds=0")
    for lines in (2, 4):
        own = started_command(*arguments)
        wait_for_lines(tmp_path / "killed" / "metrics.jsonl", lines, own)
        assert kill(own) == -signal.SIGKILL, "it ended before it could be killed"
        assert (tmp_path / "killed" / "checkpoint.pt").exists()
    said = tmp_path / "said.txt"
    assert run_command(*arguments, output=said) == 0, said.read_text()
    whole, killed = (load_weights(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    assert whole.digest == killed.digest


def wait_for_lines(path: Path, lines: int, process: BaseProcess, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < end:
        if path.exists() and path.read_text().count("\n") >= lines:
            return
        time.sleep(0.01)


def test_the_seed_decides(world: Path, tmp_path: Path):
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        invoke(*command(world, tmp_path / name, f"--seed={seed}", "--epochs=2"))
        digests.append(load_weights(tmp_path / name / "weights.safetensors").digest)
    assert digests[0] == digests[1] != digests[2]
    again = invoke(*(word for word in command(world, tmp_path / "a", "--seed=0", "--epochs=2") if word != "--json"))
    assert again.stdout.startswith("This run was done already. r2d_14_w16 on "), again.stderr
    assert "Trained" not in again.stdout


def test_an_unreadable_video_is_reported_and_left_out(world: Path, tmp_path: Path):
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    text = (world / "m.csv").read_text().replace("v", f"{world}/v").replace(f"{world}/val", "val")
    (tmp_path / "m.csv").write_text(text + "broken.mp4,dark,train\n")
    result = invoke(
        *[a.replace(f"{world}/m.csv", f"{tmp_path}/m.csv") for a in command(world, tmp_path / "run", "--epochs=2")]
    )
    assert result.exit_code == 3
    assert "failed: broken: is text, not a video" in result.stderr
    assert json.loads((tmp_path / "run" / "failures.json").read_text()).keys() == {"broken"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--backbone=r2d_27"], 2, "did you mean r2d_26? Of "),
        (["--frames=9"], 2, "multiple of 8"),
        (["--split=nothing"], 2, "nothing"),
        (["--device=tpu"], 2, "tpu"),
        (["--learning-rate=1e9", "--epochs=3"], 1, "--learning-rate"),
    ],
)
def test_bad_options_are_explained(world: Path, tmp_path: Path, arguments: list[str], code: int, said: str):
    result = invoke(*command(world, tmp_path / "run", *arguments))
    assert result.exit_code == code, result.output
    assert said in result.stderr


def test_a_finished_run_that_lost_its_weights_makes_them_again(world: Path, tmp_path: Path):
    own = command(world, tmp_path / "run", "--epochs=2")
    invoke(*own)
    path = tmp_path / "run" / "weights.safetensors"
    before = path.read_bytes()
    path.unlink()
    assert invoke(*own).exit_code == 0
    assert path.read_bytes() == before


def test_the_rate_trained_at_is_the_rate_extracted_at(world: Path, tmp_path: Path):
    assert invoke(*command(world, tmp_path / "run", "--epochs=2", "--fps=15")).exit_code == 0
    path = tmp_path / "run" / "weights.safetensors"
    assert load_weights(path).fps == 15
    words = [
        "extract",
        f"--manifest={world}/m.csv",
        f"--store={tmp_path}/s.zarr",
        f"--cheap=r2d_14_w16={path}",
        "--clips=2",
        "--threads=1",
    ]
    refused = invoke(*words, "--fps=10")
    assert refused.exit_code == 2
    assert "--fps 15" in refused.stderr
    assert invoke(*words).exit_code == 0
    assert FeatureStore.open(tmp_path / "s.zarr").sampling.fps == 15


def test_a_mistake_leaves_no_run_behind(world: Path, tmp_path: Path):
    assert invoke(*command(world, tmp_path / "run", "--backbone=r9")).exit_code == 2
    assert not (tmp_path / "run").exists()


def test_an_output_that_cannot_be_is_an_error_not_a_traceback(world: Path):
    result = invoke(*command(world, world / "m.csv" / "run"))
    assert result.exit_code == 1
    assert "m.csv" in result.stderr


def test_a_name_that_the_system_refuses_is_a_video_that_failed():
    with pytest.raises(VideoError, match="cannot be opened"):
        read_all(Path("/" + "x" * 300 + ".mp4"))


def test_a_run_of_other_settings_is_refused(world: Path, tmp_path: Path):
    invoke(*command(world, tmp_path / "run", "--epochs=2"))
    result = invoke(*command(world, tmp_path / "run", "--epochs=2", "--dropout=0.5"))
    assert result.exit_code == 1
    assert "dropout" in result.stderr


def clips_of(world: Path, *, cache: bool = False, **changes) -> TrainingClips:
    videos = read_manifest(world / "m.csv").videos
    own = {
        "labels": [0] * len(videos),
        "sampling": ClipSampling(num_frames=4),
        "preprocessing": Preprocessing(crop=32, short_side=36),
    }
    return TrainingClips(VideoSource(videos, crop=32, cache=cache), **(own | changes))


def test_a_clip_depends_on_seed_epoch_and_video_alone(world: Path):
    first, second = clips_of(world), clips_of(world)
    second.random_clip(3, epoch=7)
    one, other = first.random_clip(0, epoch=1), second.random_clip(0, epoch=1)
    assert one is not None and other is not None
    assert torch.equal(one[0], other[0])
    later = first.random_clip(0, epoch=2)
    assert later is not None and not torch.equal(one[0], later[0])


def test_the_cache_changes_nothing_where_frames_are_small(world: Path):
    read, cached = clips_of(world), clips_of(world, cache=True)
    for index in range(3):
        one, other = read.random_clip(index, epoch=0), cached.random_clip(index, epoch=0)
        assert one is not None and other is not None
        assert torch.equal(one[0], other[0])
        own, middle = read.central_clip(index), cached.central_clip(index)
        assert own is not None and middle is not None
        assert middle[0].shape == (4, 32, 32, 3)
        assert torch.equal(own[0], middle[0])


def test_the_cache_is_foreseen(world: Path):
    videos = read_manifest(world / "m.csv").videos
    assert estimated_bytes(videos, reduction=Reduction(short_side=1000)) == sum(
        read_all(video.path).nbytes for video in videos
    )


def test_batches_hold_every_index_once_and_none_is_alone():
    for count in (1, 2, 9, 16, 17):
        batches = shuffled_batches(count, batch_size=8, seed=3, epoch=5)
        assert sorted(index for batch in batches for index in batch) == list(range(count))
        assert count == 1 or min(map(len, batches)) > 1
    assert shuffled_batches(40, batch_size=8, seed=3, epoch=5) != shuffled_batches(40, batch_size=8, seed=3, epoch=6)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_prefetching_keeps_the_order(workers: int):
    batches = [[1, 2], [3], [4, 5, 6], [7], [8]]
    assert list(prefetched(lambda key: key * 10, batches, workers=workers)) == [[k * 10 for k in b] for b in batches]


def test_collating_leaves_out_what_could_not_be_read():
    clip = torch.zeros((2, 4, 4, 3), dtype=torch.uint8)
    made = collate([None, (clip, 5)])
    assert made is not None and made[0].shape == (1, 2, 4, 4, 3) and made[1].tolist() == [5]
    assert collate([None]) is None


def test_interrupting_leaves_no_threads_behind():
    batches = prefetched(lambda key: key, [[1]] * 10, workers=2)
    next(batches)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("clips")]
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clips")]
