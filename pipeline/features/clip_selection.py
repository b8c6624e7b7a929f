"""Which clips of which backbones an aggregator reads, checked against what a feature store holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError, named
from .backbone_group import BackboneGroup
from .clip_choice import ClipChoice, candidate_clips, stretch_edges
from .patterns import CHEAP, EXPENSIVE, Pattern, joined_patterns
from .store import FeatureStore

NOT_EXTRACTED = "not extracted yet"

ClipsByRole = Mapping[str, Sequence[int]]  # role -> places of clips
ClipsByBackbone = Mapping[str, Sequence[int] | npt.NDArray[np.int64]]  # name of a backbone -> places of clips


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which clips of which backbones; make it with `select`.

    Attributes:
        pattern: which of the N places are expensive.
        num_clips: N.
        backbones: role -> backbone's name, for the roles that the pattern needs.
        among: role -> the stored clips to read and no others, as `keep_to` sets it; empty: those that the store has.
    """

    pattern: Pattern
    num_clips: int
    backbones: Mapping[str, str]
    among: ClipsByRole = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, ...]:
        """The role at each of the N places."""
        return self.pattern.roles(self.num_clips)

    def shapes(self, store: FeatureStore) -> dict[str, tuple[int, int, int, int]]:
        """Return role -> (T', H', W', C) of its maps."""
        return {role: store.backbone(name).feature_shape for role, name in self.backbones.items()}


def wanted_clips(selection: Selection, choice: ClipChoice) -> dict[str, npt.NDArray[np.int64]]:
    """Return role -> the stored clips that may stand at one of its places, ascending."""
    places = np.array(selection.roles)
    return {
        role: np.unique(np.concatenate([choice.candidates[place] for place in np.flatnonzero(places == role)]))
        for role in selection.backbones
    }


def clips_read(store: FeatureStore, selection: Selection) -> dict[str, list[int]]:
    """Return role -> the stored clips that an aggregator may read, for its run's record."""
    wanted = wanted_clips(selection, choose_clips(store, selection))
    return {role: own.tolist() for role, own in wanted.items()}


def keep_to(store: FeatureStore, selection: Selection, clips: ClipsByRole | None) -> Selection:
    """Return the selection that reads these clips and no others, though the store may have more by now.

    Args:
        store: that the selection is of, with its clips where they were when ``clips`` were recorded.
        selection: as `select` returns it.
        clips: role -> clips, as `clips_read` returned them; None: the selection stays as it is.

    Raises:
        SettingsError: if the store lacks one of them.
    """
    if clips is None:
        return selection
    for role, name in selection.backbones.items():
        due = set(np.flatnonzero(store.backbone(name).due).tolist())
        if lacking := [clip for clip in clips[role] if clip not in due]:
            raise SettingsError(
                f"the run reads the {role} clips {_numbers(clips[role])}, counted from 0, and no others; {store.path} "
                f"has {_numbers(sorted(due))} of {name} and lacks {_numbers(lacking)}. Extract these clips too, or "
                "take a store that has them"
            )
    return replace(selection, among={role: tuple(clips[role]) for role in selection.backbones})


def _numbers(clips: Sequence[int]) -> str:
    return ", ".join(map(str, clips)) or "none"


def usable_videos(store: FeatureStore, selection: Selection) -> npt.NDArray[np.bool_]:
    """Return (M,) bool: which videos of the store have all clips that a selection may read."""
    return _have(store, _clips_by_backbone(store, selection))


def missing_videos(store: FeatureStore, videos: Iterable[int], *, selection: Selection) -> dict[str, str]:
    """Return id -> reason for those ``videos`` (indices) that lack clips of a selection: failed, or not yet."""
    return lacking_videos(store, videos, clips=_clips_by_backbone(store, selection))


def lacking_videos(store: FeatureStore, videos: Iterable[int], *, clips: ClipsByBackbone) -> dict[str, str]:
    """Return id -> reason for those ``videos`` (indices) that lack any of a backbone's ``clips``, by its name."""
    done = _have(store, clips)
    errors = {index: reason for name in clips for index, reason in store.backbone(name).errors().items()}
    lacking = [index for index in videos if not done[index]]
    return {store.manifest.videos[index].video_id: errors.get(index, NOT_EXTRACTED) for index in lacking}


def _clips_by_backbone(store: FeatureStore, selection: Selection) -> ClipsByBackbone:
    wanted = wanted_clips(selection, choose_clips(store, selection))
    return {selection.backbones[role]: own for role, own in wanted.items()}


def _have(store: FeatureStore, clips: ClipsByBackbone) -> npt.NDArray[np.bool_]:
    return np.all([store.backbone(name).has(own) for name, own in clips.items()], axis=0)


def select(
    store: FeatureStore,
    *,
    pattern: Pattern | None = None,
    num_clips: int | None = None,
    names: Mapping[str, str | None] | None = None,
) -> Selection:
    """Return the selection asked for, checked against what ``store`` holds.

    Args:
        store: the feature store.
        pattern: None = the one with which the expensive backbone was extracted (all-cheap if there is none).
        num_clips: N; None = as many as are stored.
        names: role -> backbone's name; where it is None or missing, the one extracted in that role.

    Raises:
        SettingsError: if the store lacks something; the message says what there is and what to type.
    """
    stored = store.sampling.num_clips
    if num_clips is not None and not 1 <= num_clips <= stored:
        raise SettingsError(
            f"{named('num_clips')} must be from 1 to {stored}, the clips stored of each video in {store.path}; "
            f"got {num_clips}. "
            f"For more, extract into a new store with {named('num_clips')} {num_clips}"
        )
    by_role = {name: store.backbone(name).provenance["role"] for name in store.backbones()}
    chosen = pattern or _own_pattern(store, by_role, (names or {}).get(EXPENSIVE))
    num_clips = num_clips or stored
    mask = chosen.expensive(num_clips)
    roles = [role for role, needed in ((EXPENSIVE, mask.any()), (CHEAP, not mask.all())) if needed]
    backbones = {role: _backbone_of(store, by_role, role, (names or {}).get(role), chosen) for role in roles}
    selection = Selection(pattern=chosen, num_clips=num_clips, backbones=backbones)
    choose_clips(store, selection)  # refuses places without any clip
    return selection


def _own_pattern(store: FeatureStore, by_role: Mapping[str, str], given: str | None) -> Pattern:
    """Return the pattern that the store was extracted with."""
    if given is None and EXPENSIVE not in by_role.values():
        return Pattern.parse("all-cheap")
    own = store.backbone(_named(store, by_role, EXPENSIVE, given)).provenance
    if own["role"] != EXPENSIVE:
        return Pattern.parse("all-expensive")  # a cheap one saw all clips
    first, *others = patterns = joined_patterns(own["pattern"])
    if others:
        raise SettingsError(
            f"{store.path} was extracted with several patterns; say which: {named('pattern')} "
            f"{' | '.join(map(str, patterns))}"
        )
    return first


def _backbone_of(
    store: FeatureStore, by_role: Mapping[str, str], role: str, given: str | None, pattern: Pattern
) -> str:
    if given is None and role not in by_role.values():
        raise SettingsError(
            f"{named('pattern')} {pattern} needs {role} clips, but {store.path} has no {role} backbone; it has "
            f"{_listing(by_role)}. Type {named('pattern')} "
            f"{'all-cheap' if role == EXPENSIVE else 'all-expensive'}, or add one "
            f"with vidpipe extract {named(role)} WEIGHTS"
        )
    return _named(store, by_role, role, given)


def _named(store: FeatureStore, by_role: Mapping[str, str], role: str, given: str | None) -> str:
    """Return the backbone called ``given``, or the only one that was extracted in ``role``."""
    if given is not None:
        if given not in by_role:
            raise SettingsError(f"{named(role)} {given}: {store.path} has no such backbone; it has {_listing(by_role)}")
        return given
    found = [name for name, own in by_role.items() if own == role]
    if len(found) > 1:
        raise SettingsError(f"{store.path} has several {role} backbones; say which: {named(role)} {' | '.join(found)}")
    return found[0]


def _listing(by_role: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({role})" for name, role in by_role.items()) or "none yet"


def choose_clips(store: FeatureStore, selection: Selection) -> ClipChoice:
    """Return which stored clips may stand at which place.

    Raises:
        SettingsError: if no clip that could stand at some place was extracted.
    """
    candidates = _candidates(store, selection)
    for place, (found, role) in enumerate(zip(candidates, selection.roles, strict=True)):
        if not len(found):
            group = store.backbone(selection.backbones[role])
            own = group.provenance["pattern"]
            raise SettingsError(
                f"{named('pattern')} {selection.pattern} makes clip {place + 1} of {selection.num_clips} {role}, "
                "but no such "
                f"clip there was extracted with {group.name} ({named('pattern')} {own}, {int(group.due.sum())} of "
                f"{len(group.due)} clips). Type a pattern that needs fewer {role} clips, such as {own}, or extract "
                f"the missing clips with {named('pattern')} {selection.pattern}"
            )
    return ClipChoice(candidates, stretch_edges(selection.num_clips, num_stored=store.sampling.num_clips))


def _candidates(store: FeatureStore, selection: Selection) -> tuple[npt.NDArray[np.int64], ...]:
    """Return, for each place, the stored clips that may stand there.

    While some videos lack the clips of a further pattern, these are left alone if the others suffice, so that all
    videos can be used.
    """
    groups = {role: store.backbone(name) for role, name in selection.backbones.items()}
    if selection.among:
        return candidate_clips(np.array([_flags(selection.among[role], groups[role]) for role in selection.roles]))
    everywhere = candidate_clips(np.array([groups[role].due_everywhere for role in selection.roles]))
    if all(map(len, everywhere)):
        return everywhere
    return candidate_clips(np.array([groups[role].due for role in selection.roles]))


def _flags(clips: Sequence[int], group: BackboneGroup) -> npt.NDArray[np.bool_]:
    """Return (N,) bool: which of a backbone's stored clips are among ``clips``."""
    return np.isin(np.arange(len(group.due)), clips)
