"""What a linear probe will use: its settings, checked against the store, and the clips and videos they stand for."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...pipeline.errors import SettingsError, named
from ...pipeline.features.clip_choice import ClipChoice, candidate_clips, stretch_edges
from ...pipeline.features.clip_selection import NOT_EXTRACTED, choose_clips, select
from ...pipeline.features.patterns import ROLES
from ...pipeline.features.store import FeatureStore
from ...pipeline.training.learning_split import labelled, shared_groups_words
from ...pipeline.training.split_choice import Splits, read_splits, videos_of_split
from ...pipeline.training.tasks import Task, targets_by_place, task_of
from .settings import ProbeSettings

_SHOWN = 8  # classes named in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Clips of one backbone, whose maps are pooled into one vector per video."""

    backbone: str
    clips: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbePlan:
    """One probe to fit.

    Attributes:
        name: of its folder and its line in the table.
        sources: their pooled maps are concatenated.
        gmacs: 10^9 multiply-accumulates per video, of the backbones.
        training: indices into the store of the videos to fit on.
        scored: of the videos to score.
        missing: index -> reason, of the videos of either split without features.
    """

    name: str
    sources: tuple[Source, ...]
    gmacs: float
    training: tuple[int, ...]
    scored: tuple[int, ...]
    missing: dict[int, str]

    @property
    def num_clips(self) -> int:
        """Clips per video, of all backbones."""
        return sum(len(source.clips) for source in self.sources)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedProbes:
    """Probes that have been checked against their store.

    Attributes:
        targets: (V,) the class index of each of the store's videos.
        expected: indices into the store of the test split's videos that have a label.
        splits: id -> split, in place of the store's own; None: those.
        unlabelled: how many videos of the two splits have none, and are left out.
        shared_groups: a sentence about groups on both sides of the split; "" if there is none.
    """

    settings: ProbeSettings
    store: FeatureStore
    task: Task
    targets: npt.NDArray[np.int64]
    expected: tuple[int, ...]
    splits: Splits | None
    probes: tuple[ProbePlan, ...]
    unlabelled: int
    shared_groups: str


def prepare(settings: ProbeSettings) -> PreparedProbes:
    """Read the store and check that it holds what is needed. Writes nothing and reads no maps.

    Raises:
        SettingsError, ManifestError, StoreError: if it does not.
    """
    store = FeatureStore.open(settings.store)
    task = task_of(store.manifest)
    targets = targets_by_place(task, store.manifest)
    splits = None if settings.splits is None else read_splits(settings.splits, of=store.manifest)
    listed = {
        split: videos_of_split(store.manifest, split, splits=splits).tolist()
        for split in (settings.split, settings.test_split)
    }
    train, test = (labelled(store.manifest, places, split=split) for split, places in listed.items())
    sources = _mixed(settings, store) if settings.pattern else _each(settings, store)
    probes = tuple(_plan(store, name, own, train, test) for name, own in sources.items())
    for own in probes:
        _check_videos(
            store, own, split=settings.split, option=f"{named('split')}", extracted=own.training, listed=train
        )
        _check_videos(
            store, own, split=settings.test_split, option=f"{named('test_split')}", extracted=own.scored, listed=test
        )
        _check_classes(settings, store, targets, own, test)
    return PreparedProbes(
        settings=settings,
        store=store,
        task=task,
        targets=targets,
        expected=test,
        splits=splits,
        probes=probes,
        unlabelled=sum(map(len, listed.values())) - len(train) - len(test),
        shared_groups=shared_groups_words(store.manifest, split=settings.split, splits=splits),
    )


def _each(settings: ProbeSettings, store: FeatureStore) -> dict[str, tuple[Source, ...]]:
    """Return each backbone's clips: all that are due, or the requested number of them, evenly spread."""
    return {name: (Source(backbone=name, clips=_spread(settings, store, name)),) for name in _chosen(settings, store)}


def _chosen(settings: ProbeSettings, store: FeatureStore) -> tuple[str, ...]:
    """Return the names of the backbones to probe."""
    by_role = {name: store.backbone(name).provenance["role"] for name in store.backbones()}
    listing = ", ".join(f"{name} ({role})" for name, role in by_role.items())
    if not by_role:
        raise SettingsError(f"{store.path} has no backbone's features yet. Run vidpipe extract first")
    for name in settings.backbones:
        if name not in by_role:
            raise SettingsError(f"{named('backbones')} {name}: {store.path} has no such backbone; it has {listing}")
    chosen = settings.backbones or tuple(name for name in by_role if settings.role in (None, by_role[name]))
    if not chosen:
        raise SettingsError(f"{named('role')} {settings.role}: {store.path} has no such backbone; it has {listing}")
    return chosen


def _spread(settings: ProbeSettings, store: FeatureStore, name: str) -> tuple[int, ...]:
    due = np.flatnonzero(store.backbone(name).due_everywhere)
    wanted = len(due) if settings.num_clips is None else settings.num_clips
    if not 1 <= wanted <= len(due):
        raise SettingsError(
            f"{named('num_clips')} must be from 1 to {len(due)}, the clips of each video that {store.path} has of "
            f"{name}; "
            f"got {wanted}. For more, extract into a new store"
        )
    # The same choice as an aggregator's, over the clips that this backbone has.
    candidates = candidate_clips(np.ones((wanted, len(due)), bool))
    return tuple(due[ClipChoice(candidates, stretch_edges(wanted, num_stored=len(due))).spread()].tolist())


def _mixed(settings: ProbeSettings, store: FeatureStore) -> dict[str, tuple[Source, ...]]:
    """Return the one mixture of clips that the pattern asks for, the expensive ones first."""
    names: dict[str, str | None] = {}
    for name in _chosen(settings, store) if settings.backbones else ():
        role = store.backbone(name).provenance["role"]
        if role in names:
            raise SettingsError(
                f"{named('pattern')} {settings.pattern} takes one {role} backbone; got {names[role]} and {name}"
            )
        names[role] = name
    selection = select(store, pattern=settings.pattern, num_clips=settings.num_clips, names=names)
    idle = [name for name in settings.backbones if name not in selection.backbones.values()]
    if idle:
        raise SettingsError(
            f"{named('pattern')} {settings.pattern} leaves {named('backbones')} {idle[0]} nothing to do; leave it out"
        )
    spread = choose_clips(store, selection).spread()
    places = np.array(selection.roles)
    sources = tuple(
        Source(backbone=name, clips=tuple(spread[places == role].tolist()))
        for role, name in sorted(selection.backbones.items(), key=lambda item: ROLES.index(item[0]))
    )
    return {"+".join(source.backbone for source in sources): sources}


def _plan(
    store: FeatureStore, name: str, sources: tuple[Source, ...], train: tuple[int, ...], test: tuple[int, ...]
) -> ProbePlan:
    groups = [store.backbone(source.backbone) for source in sources]
    done = np.all([group.has(source.clips) for group, source in zip(groups, sources, strict=True)], axis=0)
    errors = {index: reason for group in groups for index, reason in group.errors().items()}
    return ProbePlan(
        name=name,
        sources=sources,
        gmacs=sum(g.provenance["gmacs_per_clip"] * len(s.clips) for g, s in zip(groups, sources, strict=True)),
        training=tuple(index for index in train if done[index]),
        scored=tuple(index for index in test if done[index]),
        missing={index: errors.get(index, NOT_EXTRACTED) for index in train + test if not done[index]},
    )


def _check_videos(
    store: FeatureStore,
    own: ProbePlan,
    *,
    split: str,
    option: str,
    extracted: tuple[int, ...],
    listed: tuple[int, ...],
) -> None:
    """Refuse a split with no extracted video."""
    if not extracted:
        raise SettingsError(
            f"{option} {split}: none of its {len(listed)} videos is extracted with {own.name} in {store.path}. "
            f"Run vidpipe extract with {named('split')} {split} first"
        )


def _check_classes(
    settings: ProbeSettings, store: FeatureStore, targets: npt.NDArray[np.int64], own: ProbePlan, test: tuple[int, ...]
) -> None:
    """Refuse training videos that lack a class of the test."""
    classes = store.manifest.classes
    seen = set(targets[list(own.training)].tolist())
    if len(seen) < 2:
        raise SettingsError(
            f"there must be two classes or more to tell apart; the extracted videos of the split {settings.split!r} in "
            f"{store.path} show only {classes[min(seen)]!r}"
        )
    unseen = [classes[index] for index in sorted(set(targets[list(test)].tolist()) - seen)]
    if unseen:
        raise SettingsError(
            f"the extracted videos of the split {settings.split!r} show nothing of {len(unseen)} of the classes of "
            f"{settings.test_split!r} in {store.path}: {', '.join(map(repr, unseen[:_SHOWN]))}"
            f"{', …' if len(unseen) > _SHOWN else ''}. Extract training videos of them, or leave them out of the "
            "manifest"
        )
