"""Tasks: how labels become targets, what is minimised, what scores mean, and which figure says how good they are.

A stage asks the manifest for its task, and a finished run for the task it was trained for; nothing else in the stage
depends on the kind of task. The metrics of scikit-learn are in `evaluation.metrics`, by the task's name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ManifestError
from ..manifests.manifest import Manifest, Video
from ..registry import Registry
from .learning_split import check_labelled

SINGLE_LABEL = "single-label"


class Task(Protocol):
    """What a network learns, and how its scores are read.

    Attributes:
        name: under which it is registered.
        figure: the name of what training reports beside the loss: the mean of `goodness` over the videos.
        monitor: the name of the validation's figure that chooses the best epoch; larger is better.
    """

    name: ClassVar[str]
    figure: ClassVar[str]
    monitor: ClassVar[str]

    def targets(self, manifest: Manifest, *, videos: Sequence[Video] | None = None) -> npt.NDArray[Any]:
        """Return (V, …), each video's labels as a target; only for ``videos`` if they are given.

        Raises:
            ManifestError: if a video's labels do not suit the task.
        """
        ...

    def loss(
        self,
        scores: Tensor,
        *,
        targets: Tensor,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> Tensor:
        """Return the scalar loss of ``scores`` (B, K) against ``targets`` (B, …); ``reduction`` is over the videos."""
        ...

    def goodness(self, scores: Tensor, *, targets: Tensor) -> Tensor:
        """Return (…) float32 in [0, 1], how good each row of ``scores`` (…, K) is; 1 is best."""
        ...

    def blind_loss(self, targets: npt.NDArray[Any], *, num_classes: int, label_smoothing: float = 0.0) -> float:
        """Return the least mean loss against ``targets`` (V, …) of an answer that is the same for every video."""
        ...

    def sameness(self, scores: Tensor) -> Tensor:
        """Return a float32 scalar in [0, 1]: of all pairs of rows of ``scores`` (B, K), the share with one answer."""
        ...

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return (…, K), the probabilities that ``scores`` (…, K) stand for, in float32 at least."""
        ...

    def scores(self, probabilities: Tensor) -> Tensor:
        """Return (…, K) scores that stand for ``probabilities`` (…, K): the inverse of `probabilities`."""
        ...


TASKS: Registry[Task] = Registry("task")


class SingleLabel:
    """Each video has one class: targets are class indices, scores are logits of a softmax."""

    name: ClassVar[str] = SINGLE_LABEL
    figure: ClassVar[str] = "accuracy"
    monitor: ClassVar[str] = "val_accuracy"

    def targets(self, manifest: Manifest, *, videos: Sequence[Video] | None = None) -> npt.NDArray[np.int64]:
        """Return (V,), the index of each video's class in the manifest; only for ``videos`` if they are given.

        Raises:
            ManifestError: if a video has several labels, or none.
        """
        videos = manifest.videos if videos is None else videos
        check_labelled(videos)
        several = next((video for video in videos if len(video.labels) != 1), None)
        if several is not None:
            raise ManifestError(
                f"video {several.video_id!r} has {len(several.labels)} labels; training and scoring take one a video. "
                "Make a manifest with one"
            )
        place = {name: index for index, name in enumerate(manifest.classes)}
        return np.array([place[video.labels[0]] for video in videos])

    def loss(
        self,
        scores: Tensor,
        *,
        targets: Tensor,
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> Tensor:
        """Return the cross-entropy of ``scores`` (B, K) against ``targets`` (B,) int64, in float32 at least.

        Args:
            scores: logits.
            targets: class indices.
            label_smoothing: share of each target that is spread evenly over all classes.
            reduction: "mean" or "sum" over the videos.
        """
        own = _at_least_float32(scores)
        return F.cross_entropy(own, targets, label_smoothing=label_smoothing, reduction=reduction)

    def goodness(self, scores: Tensor, *, targets: Tensor) -> Tensor:
        """Return (…) float32, 1 where the maximum of a row of ``scores`` (…, K) is at its target (…), else 0."""
        return (scores.argmax(dim=-1) == targets).float()

    def blind_loss(self, targets: npt.NDArray[Any], *, num_classes: int, label_smoothing: float = 0.0) -> float:
        """Return the entropy of the classes' shares in ``targets`` (V,), smoothed as the loss smooths them."""
        shares = np.bincount(targets, minlength=num_classes) / len(targets)
        shares = (1 - label_smoothing) * shares + label_smoothing / num_classes
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())

    def sameness(self, scores: Tensor) -> Tensor:
        """Return the share of pairs of rows of ``scores`` (B, K) with their maximum at the same class; 0 for one row.

        The mean over small batches estimates that of all videos, which the share of the commonest class would not.
        """
        rows = len(scores)
        counts = F.one_hot(scores.argmax(dim=-1), scores.shape[-1]).sum(dim=0).float()  # (K,)
        return (counts * (counts - 1)).sum() / max(1, rows * (rows - 1))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return (…, K), the softmax of ``scores`` (…, K)."""
        return _at_least_float32(scores).softmax(dim=-1)

    def scores(self, probabilities: Tensor) -> Tensor:
        """Return (…, K), the logarithms of ``probabilities`` (…, K); their softmax also brings the sum to 1."""
        # No logarithm of 0; far above float32's smallest normal number, 1.2e-38.
        return probabilities.clamp_min(1e-30).log()


TASKS.add(SINGLE_LABEL, SingleLabel())


def task_of(manifest: Manifest) -> Task:
    """Return the task of a manifest's labels: single-label, which refuses a video with several labels."""
    del manifest  # there is only one kind of task so far
    return TASKS[SINGLE_LABEL]


def targets_by_place(task: Task, manifest: Manifest) -> npt.NDArray[Any]:
    """Return (V, …), each video's target at its place in the manifest; -1 for a video without a label.

    Raises:
        ManifestError: if no video has a label, or a video's labels do not suit the task.
    """
    places = [place for place, video in enumerate(manifest.videos) if video.labels]
    if not places:
        return task.targets(manifest)  # says so
    found = task.targets(manifest, videos=[manifest.videos[place] for place in places])
    # No class has the index -1: a loss or a score refuses it, should such a video slip through.
    placed = np.full((len(manifest), *found.shape[1:]), -1, found.dtype)
    placed[places] = found
    return placed


def task_of_run(made: Mapping[str, Any]) -> Task:
    """Return the task of a run, from the settings in its directory; a run that names none is single-label."""
    return TASKS[made.get("task", SINGLE_LABEL)]


def task_record(task: Task) -> dict[str, str]:
    """Return what a run's settings say about its task, for `task_of_run`: nothing if it is single-label."""
    return {} if task.name == SINGLE_LABEL else {"task": task.name}


def _at_least_float32(scores: Tensor) -> Tensor:
    return scores if scores.dtype == torch.float64 else scores.float()
