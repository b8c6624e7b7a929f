"""Read a whole feature store again, and say what is wrong with each video."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import StoreError
from ..execution import SILENT, Progress, under_way
from .backbone_group import BackboneGroup, UnreadableError
from .format import FAILURES, PARTIAL, Status
from .store import FeatureStore

Recompute = Callable[[str, int, int, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that is wrong with a store.

    Args:
        video_id: the video; None if the problem is not in a single one.
        backbone: whose features; None if the problem is not in a single one's.
        message: what is wrong.
    """

    video_id: str | None
    backbone: str | None
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A stored clip beside the same clip computed again.

    Args:
        video_id, backbone, view, clip: which clip.
        difference: norm of the difference of the maps, relative to the norm of the stored one.
        score_difference: the same for the clip's scores.
        identical: whether both are equal bit for bit.
    """

    video_id: str
    backbone: str
    view: int
    clip: int
    difference: float
    score_difference: float
    identical: bool


def find_problems(store: FeatureStore, *, progress: Progress = SILENT) -> Iterator[Problem]:
    """Read all that ``store`` holds, and yield what is wrong with it.

    Args:
        store: opened to read.
        progress: advanced by each video, once per backbone.
    """
    try:
        ids = [video.video_id for video in store.manifest.videos]  # those in use
        if store.manifest.digest != store.attributes["manifest_digest"]:
            yield Problem(video_id=None, backbone=None, message="the videos are not those of the manifest's digest")
        starts = store.clip_starts()
    except StoreError as error:
        yield Problem(video_id=None, backbone=None, message=str(error))
        return
    names = store.backbones()
    with under_way(progress, "verifying", total=len(names) * len(ids), unit="video"):
        for name in names:
            try:
                group = store.backbone(name)
                status, errors = group.status(), group.errors()
            except StoreError as error:
                yield Problem(video_id=None, backbone=name, message=str(error))
                progress.advance(len(ids))
                continue
            for index, video_id in enumerate(ids):
                for message in _video_problems(group, index, int(status[index]), errors, starts[index]):
                    yield Problem(video_id=video_id, backbone=name, message=message)
                progress.advance()


def _video_problems(
    group: BackboneGroup, index: int, status: int, errors: dict[int, str], starts: np.ndarray
) -> Iterator[str]:
    """Yield what is wrong with one video's part of a backbone; ``starts`` is (R, N)."""
    if status in FAILURES and not errors[index]:
        yield "failed without a reason"
    elif status in (Status.DONE, *PARTIAL):
        if not np.isfinite(starts).all():
            yield "done, but its clips have no starts"
        due = group.due if status == Status.DONE else group.due_everywhere
        found = (message for view in range(len(starts)) for message in _view_problems(group, index, view, due))
        yield from dict.fromkeys(found)  # each only once: a lost file is one problem, not one per view
    elif status not in (Status.PENDING, Status.FAILED):
        yield f"its status is {status}, which means nothing"


def _view_problems(group: BackboneGroup, index: int, view: int, due: np.ndarray) -> Iterator[str]:
    """Yield which clips of one view of a video are damaged, missing, not finite, or there without being due.

    ``due`` is (N,) bool: which clips the video must have; beyond them, it may have others that the group makes due.
    """
    clips = np.flatnonzero(due | ~group.due).tolist()
    try:
        yield from _value_problems(group, view, group.read(index, view=view, clips=clips), clips)
    except UnreadableError:
        # The first damaged clip ends a read; one by one, all of them are found.
        for clip in clips:
            try:
                group.read(index, view=view, clips=[clip])
            except UnreadableError as error:
                yield error.what
    try:
        scores = group.read_scores(index, view=view)
    except UnreadableError as error:
        yield error.what
    else:
        yield from _value_problems(group, view, scores[clips], clips, what="scores")


def _value_problems(
    group: BackboneGroup, view: int, values: np.ndarray, clips: Sequence[int], what: str = "features"
) -> Iterator[str]:
    """Yield for which ``clips`` their ``values`` (n, ...) are not finite though due, or there though not due."""
    for clip, finite in zip(clips, np.isfinite(values), strict=True):
        due = group.due[clip]
        if due and not finite.all():
            yield f"view {view}, clip {clip}: {what} that are not finite"
        elif not due and finite.any():
            yield f"view {view}, clip {clip}: {what}, though the pattern does not make it due"


def reset(store: FeatureStore, problems: Sequence[Problem]) -> int:
    """Mark the videos with problems as pending, so that the next extraction redoes them; return how many there are.

    Args:
        store: from `FeatureStore.open_to_coordinate`.
        problems: those that belong to no video are left to the user.
    """
    index_of = {video.video_id: index for index, video in enumerate(store.manifest.videos)}
    bad = {(problem.backbone, problem.video_id) for problem in problems if problem.backbone and problem.video_id}
    for name, video_id in sorted(bad):
        group, index = store.backbone(name), index_of[video_id]
        group.mark(index, Status.PENDING)
        group.forget(index)  # else an extension could take its clips for good ones
    return len({video_id for _, video_id in bad})


def compare_clips(store: FeatureStore, recompute: Recompute, *, num_clips: int, seed: int = 0) -> Iterator[Comparison]:
    """Compute some stored clips again, drawn uniformly from all that are there, and compare them.

    Args:
        store: opened to read.
        recompute: (backbone, video index, view, clip) -> (T', H', W', C) float16 map and (K,) float32 scores.
        num_clips: how many.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    groups = [store.backbone(name) for name in store.backbones()]
    done = [(group, int(index)) for group in groups for index in np.flatnonzero(group.status() == Status.DONE)]
    if not done:
        return
    # Without repetition as long as there are enough videos.
    for place in rng.choice(len(done), num_clips, replace=num_clips > len(done)):
        group, index = done[place]
        view, clip = rng.integers(store.sampling.views), rng.choice(np.flatnonzero(group.due))
        yield _compare(store, group, (index, int(view), int(clip)), recompute)


def _compare(
    store: FeatureStore, group: BackboneGroup, where: tuple[int, int, int], recompute: Recompute
) -> Comparison:
    """Compare one clip, at ``where`` = (video index, view, clip), with what ``recompute`` gives for it."""
    index, view, clip = where
    stored_map = group.read(index, view=view, clips=[clip])[0]
    stored_scores = group.read_scores(index, view=view)[clip]
    new_map, new_scores = recompute(group.name, index, view, clip)
    return Comparison(
        video_id=store.video_id(index),
        backbone=group.name,
        view=view,
        clip=clip,
        difference=_relative(stored_map, new_map),
        score_difference=_relative(stored_scores, new_scores),
        identical=np.array_equal(stored_map, new_map) and np.array_equal(stored_scores, new_scores),
    )


def _relative(stored: np.ndarray, new: np.ndarray) -> float:
    """Return the norm of the difference relative to the norm of ``stored``."""
    reference = np.linalg.norm(stored.astype(np.float64))
    difference = np.linalg.norm(new.astype(np.float64) - stored.astype(np.float64))
    return float(difference / reference) if reference else float(difference)
