"""Tasks: what labels become, and losses, probabilities and figures against torch's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vidpipe.pipeline.errors import ManifestError, SettingsError
from vidpipe.pipeline.evaluation.metrics import SCORERS, top_k_accuracy
from vidpipe.pipeline.manifests.manifest import Manifest, Video
from vidpipe.pipeline.training.tasks import SINGLE_LABEL, TASKS, Task, task_of, task_of_run, task_record

EVERY_TASK = pytest.mark.parametrize("task", [TASKS[name] for name in TASKS], ids=TASKS.names())


def manifest_of(*labels: tuple[str, ...]) -> Manifest:
    """Return a manifest of videos with these labels."""
    return Manifest(
        tuple(
            Video(
                video_id=f"v{place}",
                path=Path(f"v{place}.mp4"),
                labels=own,
                split="train",
                written_path=f"v{place}.mp4",
            )
            for place, own in enumerate(labels)
        )
    )


def made_up(task: Task, *, videos: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores (V, K) and targets of made-up videos."""
    manifest = manifest_of(*((name,) for name in "abcd" * (videos // 4)))
    scores = torch.randn(videos, 4, generator=torch.Generator().manual_seed(3)) * 3
    return scores, torch.from_numpy(task.targets(manifest))


def test_single_label_targets_are_places_among_the_classes_of_the_whole_manifest():
    manifest = manifest_of(("run",), ("hop",), ("swim",), ("hop",))
    assert task_of(manifest).targets(manifest).tolist() == [1, 0, 2, 0]
    assert task_of(manifest).targets(manifest, videos=manifest.videos[2:]).tolist() == [2, 0]
    assert task_of(manifest).targets(manifest).dtype == np.int64


def test_a_video_of_several_labels_is_refused_by_name():
    manifest = manifest_of(("run",), ("hop", "run"))
    with pytest.raises(ManifestError, match="video 'v1' has 2 labels; training and scoring take one a video"):
        task_of(manifest).targets(manifest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_single_label_is_cross_entropy_and_softmax_in_float32_at_least(dtype: torch.dtype, smoothing: float):
    task = TASKS[SINGLE_LABEL]
    scores, targets = made_up(task)
    scores = scores.to(dtype)
    wide = scores if dtype == torch.float64 else scores.float()
    for reduction in ("mean", "sum"):
        loss = task.loss(scores, targets=targets, label_smoothing=smoothing, reduction=reduction)
        torch.testing.assert_close(
            loss, F.cross_entropy(wide, targets, label_smoothing=smoothing, reduction=reduction), rtol=0, atol=0
        )
    torch.testing.assert_close(task.probabilities(scores), wide.softmax(dim=1), rtol=0, atol=0)


def test_single_label_goodness_is_top_1():
    task = TASKS[SINGLE_LABEL]
    scores, targets = made_up(task)
    right = task.goodness(scores, targets=targets)
    assert right.shape == (12,)
    assert float(right.mean()) == pytest.approx(top_k_accuracy(scores.numpy(), targets=targets.numpy(), k=1))
    of_clips = task.goodness(torch.stack([scores, -scores], dim=1), targets=targets[:, None].expand(-1, 2))
    assert torch.equal(of_clips[:, 0], right)


@EVERY_TASK
def test_scores_stand_for_their_probabilities(task: Task):
    scores, _ = made_up(task)
    probabilities = task.probabilities(scores)
    torch.testing.assert_close(task.probabilities(task.scores(probabilities)), probabilities)


@EVERY_TASK
def test_a_loss_of_parts_adds_up_and_its_mean_is_over_the_videos(task: Task):
    scores, targets = made_up(task)
    parts = [task.loss(scores[own], targets=targets[own], reduction="sum") for own in (slice(5), slice(5, 12))]
    whole = task.loss(scores, targets=targets, reduction="sum")
    torch.testing.assert_close(parts[0] + parts[1], whole)
    torch.testing.assert_close(task.loss(scores, targets=targets), whole / len(scores))


@EVERY_TASK
def test_every_task_has_metrics_and_is_found_again_in_a_run(task: Task):
    assert task.monitor == f"val_{task.figure}"
    assert task.name in SCORERS
    assert task_of_run(task_record(task)) is task


def test_a_run_without_a_word_of_its_task_is_single_label_and_an_unknown_one_is_refused():
    assert task_of_run({}).name == SINGLE_LABEL
    assert task_record(TASKS[SINGLE_LABEL]) == {}  # as in runs that were made before there were tasks
    with pytest.raises(SettingsError, match="there is no task 'captions'; known: single-label"):
        task_of_run({"task": "captions"})
