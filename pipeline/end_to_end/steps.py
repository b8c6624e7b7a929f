"""The strategies at work: ways to take the gradients of the same loss in different amounts of memory.

All except multi-iteration, which optimises something else, leave the same gradients on the parameters; if batch norms
track, that holds as long as the backbone sees the same number of clips at once.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from ..backbones.interface import Backbone
from ..errors import SettingsError, named
from ..training.distributed import sum_over_processes, world_size
from ..training.loop import Figures, Gradients
from ..training.optimisation import mixed_precision
from ..training.tasks import SINGLE_LABEL, TASKS, Task
from .checkpointing import checkpointed, untracked_statistics
from .network import ClipsByRole, EndToEnd
from .strategies import BATCH_REDUCTION, CHECKPOINT, MULTI_ITERATION, PLAIN, TWO_PASS, StrategySettings

Maps = dict[str, Tensor]  # role -> (B, N_role, T', H', W', C)
Scores = dict[str, Tensor]  # role -> (B, N_role, K)
Take = Callable[["_Step", "ClipBatch"], Iterator[Figures]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipBatch:
    """Some videos' clips.

    Attributes:
        clips: role -> (B, N_role, L, S, S, 3) uint8.
        targets: (B, …) as the task encodes labels: of single-label (B,) class indices.
    """

    clips: ClipsByRole
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def on(self, device: torch.device, *, part: slice) -> "ClipBatch":
        """Return some of the videos, on ``device``."""
        clips = {role: own[part].to(device) for role, own in self.clips.items()}
        return ClipBatch(clips=clips, targets=self.targets[part].to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What is minimised: the video's loss, and with it the clips'.

    Source: Yang et al., Beyond Short Clips (CVPR 2021), video-level supervision, jointly with the clip level.
    Differs from the source: it does not say how the two are weighted, nor which clip scores are meant; here they are
    those of the backbone's own classifier, so that it stays a clip network that can be used alone.

    Attributes:
        clip_weight: of the mean of the clips' losses; the video's has weight 1.
        label_smoothing: share of the target spread evenly over all classes.
        precision: of the forward passes.
        task: of the targets.
    """

    clip_weight: float = 1.0
    label_smoothing: float = 0.0
    precision: str = "float32"
    task: Task = TASKS[SINGLE_LABEL]

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of the figures that `loss` returns."""
        return "loss", self.task.figure, "clip_loss", f"clip_{self.task.figure}"

    def loss(self, video: Tensor, clips: Tensor, *, targets: Tensor, total: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return these videos' share of the batch's loss, and figures.

        Args:
            video: (B, K) float scores of the videos.
            clips: (B, n, K) float scores of their clips.
            targets: (B, …) as the task encodes labels; class indices are (B,) int64.
            total: videos in the whole batch, of which these are a part.

        Returns:
            The loss, a float scalar, and name -> scalar for each of `figures`.
        """
        # Divided by the whole batch, so that sums over its parts, and over processes, are the batch's mean.
        repeated = targets[:, None].expand(*clips.shape[:2], *targets.shape[1:])
        of_videos = self._sum(video, targets) / total
        of_clips = self._sum(clips.flatten(0, 1), repeated.flatten(0, 1)) / (total * clips.shape[1])
        value = of_videos + self.clip_weight * of_clips
        good = self.task.goodness(video, targets=targets).sum() / total
        good_clips = self.task.goodness(clips, targets=repeated).sum() / (total * clips.shape[1])
        return value, dict(zip(self.figures, (value, good, of_clips, good_clips), strict=True))

    def _sum(self, scores: Tensor, targets: Tensor) -> Tensor:
        return self.task.loss(scores, targets=targets, label_smoothing=self.label_smoothing, reduction="sum")


def strategy_gradients(
    model: EndToEnd, *, strategy: StrategySettings, objective: Objective, accumulate: int = 1
) -> Gradients:
    """Return `Gradients` of a `ClipBatch`, taken by ``strategy``.

    Args:
        model: what is trained.
        strategy: how.
        objective: the loss.
        accumulate: into how many parts a batch's videos are divided, run one after the other for one step.
    """
    device = next(model.parameters()).device
    take = {
        PLAIN: _all_at_once,
        BATCH_REDUCTION: _all_at_once,
        MULTI_ITERATION: _clip_by_clip,
        CHECKPOINT: partial(_all_at_once, granularity=strategy.granularity),
        TWO_PASS: _in_two_passes,
    }[strategy.name]
    at_once = strategy.clips_per_call(len(model.roles))

    def gradients(batch: ClipBatch) -> Iterator[Figures]:
        total = len(batch)
        if world_size() > 1:
            total = int(sum_over_processes(torch.tensor(total, device=device)))
        if not total:
            return
        # If none of this process's videos could be read it still takes as many steps as the others, which wait for it.
        if not len(batch):
            nothing = dict.fromkeys(objective.figures, torch.zeros((), device=device))
            yield from [nothing] * (len(model.roles) if strategy.name == MULTI_ITERATION else 1)
            return
        size = -(-len(batch) // accumulate)
        parts = [slice(start, start + size) for start in range(0, len(batch), size)]
        step = _Step(model, objective, total, at_once)
        taken = [_part(take, step, batch, part) for part in parts]
        # In step with each other: with multi-iteration, all parts' n-th gradients are added before the n-th step.
        for figures in zip(*taken, strict=True):
            yield {name: torch.stack([own[name].detach() for own in figures]).sum() for name in objective.figures}

    return gradients


def predict(model: EndToEnd, batch: ClipBatch, *, strategy: StrategySettings, precision: str) -> tuple[Tensor, Tensor]:
    """Return (B, K) scores of the videos and (B, N, K) of their clips, as many clips at once as ``strategy`` takes.

    Call it in evaluation mode, without gradients.
    """
    step = _Step(model, Objective(precision=precision), len(batch), strategy.clips_per_call(len(model.roles)))
    maps, scores = step.extract_all(batch.clips)
    with step.autocast():
        return model.aggregate(maps, scores)


@dataclass(frozen=True, slots=True)
class _Step:
    """What the strategies share in one step.

    Attributes:
        total: videos in the whole batch.
        at_once: clips of a video that go through a backbone in one call.
    """

    model: EndToEnd
    objective: Objective
    total: int
    at_once: int

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a fresh context for a pass: one for several passes would reuse weights cast without a graph."""
        return mixed_precision(next(self.model.parameters()).device, precision=self.objective.precision)

    def groups(self, clips: ClipsByRole) -> Iterator[tuple[str, slice]]:
        """Yield, for each call, the role and which of its clips the call sees."""
        for role, own in clips.items():
            for start in range(0, own.shape[1], self.at_once):
                yield role, slice(start, start + self.at_once)

    def extract_all(self, clips: ClipsByRole) -> tuple[Maps, Scores]:
        """Return maps and scores of all clips; those of backbones that are not trained have no graph."""
        maps: dict[str, list[Tensor]] = {role: [] for role in clips}
        scores: dict[str, list[Tensor]] = {role: [] for role in clips}
        for role, places in self.groups(clips):
            seen = self.extract(role, clips[role][:, places])
            maps[role].append(seen[0])
            scores[role].append(seen[1])
        return {r: torch.cat(own, dim=1) for r, own in maps.items()}, {
            r: torch.cat(own, 1) for r, own in scores.items()
        }

    def extract(self, role: str, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps (B, n, T', H', W', C) and scores (B, n, K) of some clips (B, n, L, S, S, 3) of a role.

        Raises:
            SettingsError: if batch norms that track get a single value per channel, which has no variance.
        """
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled() and role in self.model.trained), self.autocast():
                return self.model.extract(role, clips)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise SettingsError(
                f"batch norms of the {role} backbone cannot take statistics of one clip whose map is one position. "
                f"Give {named('statistics')} frozen, or more clips in a call: a larger {named('batch_size')} or "
                f"{named('clips_at_once')}, or fewer "
                f"parts by {named('accumulate')}"
            ) from error

    def loss(self, maps: Maps, scores: Scores, targets: Tensor) -> dict[str, Tensor]:
        """Compute the loss of all clips, run its backward pass, and return the figures, name -> scalar.

        Args:
            maps: role -> (B, N_role, T', H', W', C) float.
            scores: role -> (B, N_role, K) float.
            targets: (B, …) as the task encodes labels.
        """
        with self.autocast():
            video, clips = self.model.aggregate(maps, scores)
        value, figures = self.objective.loss(video, clips, targets=targets, total=self.total)
        value.backward()
        return figures


def _part(take: Take, step: "_Step", batch: ClipBatch, part: slice) -> Iterator[Figures]:
    """Take some of a batch's videos, which are moved to the device only when it is their turn."""
    yield from take(step, batch.on(next(step.model.parameters()).device, part=part))


def _all_at_once(step: _Step, batch: ClipBatch, granularity: str | None = None) -> Iterator[Figures]:
    """Keep the graph of all N clips, or only the inputs of the network's parts."""
    with ExitStack() as parts:
        if granularity is not None:
            for backbone in step.model.backbones.values():
                parts.enter_context(checkpointed(cast(Backbone, backbone), granularity=granularity))
        maps, scores = step.extract_all(batch.clips)
        figures = step.loss(maps, scores, batch.targets)
        del maps, scores, batch  # while suspended at a yield, a part must not keep what it no longer needs
    yield figures


def _in_two_passes(step: _Step, batch: ClipBatch) -> Iterator[Figures]:
    """Keep the maps of all N clips without a graph, take the loss's gradient at them, and run each clip again.

    This gives the exact gradient of the loss of N clips, with the activations of one. Batch norms that track normalise
    by the same clips both times, and update their running statistics only in the second pass.
    """
    with torch.no_grad(), untracked_statistics(step.model.backbones):
        maps, scores = step.extract_all(batch.clips)
    trained = [role for role in maps if role in step.model.trained]
    for role in trained:
        maps[role].requires_grad_()
        scores[role].requires_grad_()
    figures = step.loss(maps, scores, batch.targets)
    for role, places in step.groups({role: batch.clips[role] for role in trained}):
        again = step.extract(role, batch.clips[role][:, places])
        wanted = [own[role].grad for own in (maps, scores)]
        pairs = [(seen, grad[:, places]) for seen, grad in zip(again, wanted, strict=True) if grad is not None]
        torch.autograd.backward([seen for seen, _ in pairs], [grad for _, grad in pairs])
        del again, wanted, pairs
    del maps, scores, batch
    yield figures


def _clip_by_clip(step: _Step, batch: ClipBatch) -> Iterator[Figures]:
    """Run N iterations, one more clip in each; of earlier clips only the maps remain.

    Source: Yang et al., Beyond Short Clips (CVPR 2021), multi-iteration: the training of N clips is unrolled into N
    consecutive iterations. We read that as one optimizer step each; the n-th has the video's loss on the first n clips
    and the clip's loss on the n-th.
    """
    maps: Maps = {}
    scores: Scores = {}
    for place, role in enumerate(step.model.roles):
        nth = maps[role].shape[1] if role in maps else 0
        seen, own = step.extract(role, batch.clips[role][:, nth : nth + 1])
        now = maps | {role: torch.cat([maps[role], seen], dim=1) if role in maps else seen}
        now_scores = scores | {role: torch.cat([scores[role], own], dim=1) if role in scores else own}
        with step.autocast():
            video, _ = step.model.aggregate(now, now_scores, num_clips=place + 1)
        value, figures = step.objective.loss(video, own, targets=batch.targets, total=step.total)
        value.backward()
        maps, scores = ({r: part.detach() for r, part in parts.items()} for parts in (now, now_scores))
        yield figures
