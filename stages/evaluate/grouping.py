"""Which runs differ only in their seed or their splits, and what they come to together."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...pipeline.evaluation.confidence import Interval, mean_interval
from ...pipeline.training.run_kinds import CLIPS_FIELD, COMMANDS, END_TO_END, ENGINES_FIELD, LABELS_FIELD
from .scores import RunScores
from .subjects import Subject

# Not compared when runs are grouped: fields that follow from seed and splits, or that runs of earlier versions lack.
_VARYING = (
    "splits_sha256",
    "videos_sha256",
    LABELS_FIELD,
    "num_training",
    "num_validation",
    ENGINES_FIELD,
    CLIPS_FIELD,
)
START, _DIGEST = "start", "weights_sha256"  # in an end-to-end run's settings: where aggregator and backbones began
SEEDS, SPLITS, VIDEOS = "seeds", "splits", "videos"  # what an interval is over


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs that differ only in their seed, or in which video is in which split.

    Attributes:
        label: what tells the group from the others.
        family: the aggregator, or what is in its place.
        members: places in the evaluation's list of runs.
        gmacs: 10^9 multiply-accumulates per video.
        top1_mean: over the members; with several splits, over the means of the splits.
        top1_deviation: the sample standard deviation of what the mean is over; None for a single run.
        top1_interval: Student's t for several runs, Wilson's for a single one, or if all are equally good.
        interval_over: `SEEDS`, `SPLITS` or, for Wilson's, `VIDEOS`.
        interval_count: how many of these.
    """

    label: str
    family: str
    members: tuple[int, ...]
    gmacs: float
    top1_mean: float
    top1_deviation: float | None
    top1_interval: Interval
    interval_over: str
    interval_count: int


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each path: its last part, and as many before it as are needed to tell all apart."""
    parts = [path.resolve().parts[1:] or ("root",) for path in paths]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["-".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{index}-{own[-1]}" for index, own in enumerate(parts)]


def group_runs(runs: Sequence[RunScores]) -> list[Group]:
    """Return the runs in groups that differ only in seed or splits, in the order of their first members."""
    members: dict[str, list[int]] = {}
    counts: dict[tuple[str, str], str] = {}
    subjects = [scores.subject for scores in runs]
    for index, (identity, own) in enumerate(zip(_identities(subjects), subjects, strict=True)):
        made = own.settings
        count = f"{made.get('num_training')} + {made.get('num_validation')}"
        same = counts.setdefault((identity, made.get("splits_sha256") or ""), count) == count
        # On the same split, runs of one group must have the same numbers of videos.
        members.setdefault(identity if same else identity + count, []).append(index)
    labels = _labels([subjects[own[0]] for own in members.values()])
    return [
        _group(label, [runs[i] for i in own], tuple(own)) for label, own in zip(labels, members.values(), strict=True)
    ]


def _identities(subjects: Sequence[Subject]) -> list[str]:
    """Return for each run, as text, what it has in common with its group.

    End-to-end runs of different seeds may have begun from weights of these seeds, so their beginnings differ as their
    seeds do. If neither all seeds began from the same weights nor each from its own, the beginnings are a difference of
    their own, and separate the groups.
    """
    identities = [_identity(own) for own in subjects]
    beginnings = [_beginning(own) for own in subjects]
    pairs: dict[str, set[tuple[Any, str]]] = {}
    for identity, beginning, own in zip(identities, beginnings, subjects, strict=True):
        pairs.setdefault(identity, set()).add(((own.settings.get("splits_sha256"), own.seed), beginning))
    apart = {identity for identity, own in pairs.items() if not _differ_as_seeds_do(own)}
    return [own + start if own in apart else own for own, start in zip(identities, beginnings, strict=True)]


def _differ_as_seeds_do(pairs: set[tuple[Any, str]]) -> bool:
    """Return whether, in pairs of seed and beginning, all beginnings are the same or each seed has its own."""
    seeds, beginnings = ({pair[part] for pair in pairs} for part in (0, 1))
    return len(beginnings) == 1 or len(pairs) == len(seeds) == len(beginnings)


def _group(label: str, runs: Sequence[RunScores], members: tuple[int, ...]) -> Group:
    by_split: dict[str | None, list[float]] = {}
    for scores in runs:
        by_split.setdefault(scores.subject.settings.get("splits_sha256"), []).append(scores.metrics.top1)
    # Benchmarks with several splits report the mean over splits, each counting once however many seeds it has.
    several = [float(np.mean(own)) for own in by_split.values()]
    # With one split the deviation is that of the seeds.
    top1 = mean_interval(several if len(several) > 1 else by_split.popitem()[1])
    # Where all seeds agree, they say nothing about other videos: then the interval of one of them is the honest one.
    over_runs = top1.share_interval if top1.deviation else None
    over = VIDEOS if over_runs is None else SPLITS if len(several) > 1 else SEEDS
    return Group(
        label=label,
        family=runs[0].subject.method,
        members=members,
        gmacs=runs[0].gmacs,
        top1_mean=top1.mean,
        top1_deviation=top1.deviation,
        top1_interval=over_runs or runs[0].metrics.top1_interval,
        interval_over=over,
        interval_count=top1.count if over_runs else runs[0].metrics.num_scored,
    )


def _identity(subject: Subject) -> str:
    """Return as text the settings without the seed, the splits and what follows from these.

    About the weights that an end-to-end run began from it says whether there were any, and everything but their
    digests. Probes and backbones have no seed, so each is a group of its own.
    """
    if subject.kind not in COMMANDS:
        return f"{subject.kind} {subject.path}"
    made = {name: value for name, value in subject.settings.items() if name not in _VARYING}
    made["optimisation"] = {name: value for name, value in made["optimisation"].items() if name != "seed"}
    if made["kind"] == END_TO_END:
        made["backbones"] = {role: own | {_DIGEST: own[_DIGEST] is not None} for role, own in made["backbones"].items()}
        made[START] = made.get(START) is not None
    return json.dumps(made, sort_keys=True)


def _beginning(subject: Subject) -> str:
    """Return what an end-to-end run began from, as text; nothing for other runs."""
    made = subject.settings
    return json.dumps([made["backbones"], made.get(START)], sort_keys=True) if subject.kind == END_TO_END else ""


def _labels(subjects: Sequence[Subject]) -> list[str]:
    """Return the shortest kind of label that tells all of ``subjects`` apart."""
    folders = unique_names([own.path for own in subjects])
    short = [_label(own, name) for own, name in zip(subjects, folders, strict=True)]
    longer = [f"{label}, {own.num_clips} clips" for label, own in zip(short, subjects, strict=True)]
    named = [f"{label} ({name})" for label, name in zip(short, folders, strict=True)]
    return next((labels for labels in (short, longer) if len(set(labels)) == len(labels)), named)


def _label(subject: Subject, name: str) -> str:
    if subject.pattern:
        return f"{subject.method} {subject.pattern}"
    return name if name.startswith(subject.method) else f"{subject.method} {name}"
