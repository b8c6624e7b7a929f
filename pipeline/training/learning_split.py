"""Which videos train and which are held out, and whether every class has a video to learn from."""

from collections.abc import Iterable, Mapping, Sequence

from ..errors import ManifestError, SettingsError, named
from ..manifests.manifest import Manifest, Video
from ..manifests.splitting import both_sides_words, choose_grouped, choose_test, groups_on_both_sides

SHOWN_CLASSES = 8
_SHOWN_DIFFERENCES = 5


def check_labelled(videos: Sequence[Video]) -> None:
    """Refuse videos without a label: they can be extracted, but not used for training or scoring.

    Raises:
        ManifestError: naming the first of them.
    """
    bare = [video for video in videos if not video.labels]
    if bare:
        raise ManifestError(
            f"video {bare[0].video_id!r} has no label ({len(bare)} of {len(videos)} have none); training and scoring "
            "need one of each video. Make a manifest with the column 'label'"
        )


def check_some_labelled(manifest: Manifest) -> None:
    """Refuse a manifest in which no video has a label.

    Raises:
        ManifestError: naming its first video.
    """
    if not manifest.classes:
        check_labelled(manifest.videos)


def labelled(manifest: Manifest, places: Iterable[int], *, split: str) -> tuple[int, ...]:
    """Return those of ``places`` in the manifest whose videos have a label; the others cannot train or be scored.

    Raises:
        ManifestError: if none of them has one.
    """
    listed = tuple(places)
    found = tuple(place for place in listed if manifest.videos[place].labels)
    if listed and not found:
        check_some_labelled(manifest)
        raise ManifestError(
            f"none of the {len(listed):,} videos of the split {split!r} has a label; training and scoring need one of "
            "each video. Fill the column 'label', or name another split"
        )
    return found


def unlabelled_words(count: int) -> str:
    """Return a sentence about videos that a stage left out because they have no label."""
    what = "1 video without a label is" if count == 1 else f"{count:,} videos without a label are"
    return f"{what} left out: training and scoring need one of each video."


def check_classes(manifest: Manifest) -> None:
    """Refuse a manifest without at least two classes to tell apart.

    Raises:
        ManifestError: if no video has a label, or there are fewer than two classes in all.
    """
    check_some_labelled(manifest)
    if len(manifest.classes) < 2:
        raise ManifestError(f"training needs at least two classes; the manifest has {list(manifest.classes)}")


def class_differences(there: Sequence[str], here: Sequence[str]) -> list[str]:
    """Return a phrase that says how two lists of classes differ; none if they are the same."""
    if list(there) == list(here):
        return []
    only = {"there": [c for c in there if c not in set(here)], "here": [c for c in here if c not in set(there)]}
    phrases = [f"{_listing(names)} only {where}" for where, names in only.items() if names]
    return [f"classes: {', '.join(phrases)}" if phrases else "the classes stand in another order"]


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN_DIFFERENCES]))
    return shown + (f" and {len(names) - _SHOWN_DIFFERENCES} more" if len(names) > _SHOWN_DIFFERENCES else "")


def held_out_ids(
    ids: Mapping[str, Iterable[str]], *, fraction: float, key: str, groups: Mapping[str, str] | None = None
) -> frozenset[str]:
    """Return the videos to hold out, the same share of each class; a class's only video is never among them.

    Args:
        ids: class -> the ids of its videos, in any order.
        fraction: share to hold out; 0 for none.
        key: the choice depends on this, the class, the ids and the groups.
        groups: id -> what the video belongs to, "" for nothing; videos of one group stay together.
    """
    if groups and any(groups.values()):
        return choose_grouped(ids, groups=groups, test_fraction=fraction, key=key)
    chosen = (choose_test(sorted(own), test_fraction=fraction, key=f"{key} {name}") for name, own in ids.items())
    return frozenset[str]().union(*chosen)


def shared_groups_words(manifest: Manifest, *, split: str, splits: Mapping[str, str] | None = None) -> str:
    """Return a sentence about groups with videos in ``split`` and in others; "" if there is none.

    Args:
        manifest: the videos.
        split: that is trained on.
        splits: id -> split, in place of the manifest's own.
    """
    groups = manifest.videos.groups()
    if not any(groups):
        return ""
    own = manifest.videos.cells("split")
    of_videos = own if splits is None else [splits.get(name) for name in manifest.videos.cells("video_id")]
    shared = {name: of for name, of in groups_on_both_sides(groups, of_videos).items() if split in of}
    return f"{both_sides_words(shared)}." if shared else ""


def hold_out(
    manifest: Manifest, *, usable: Sequence[int], fraction: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the videos to train on and those held out: the same share of each class, chosen by seed and id.

    A class's only video is never held out, and videos of one group (the column `group`) stay together.

    Args:
        manifest: the videos.
        usable: indices of those that may be used.
        fraction: share to hold out; 0 for none.
        seed: of the choice.

    Raises:
        ManifestError: if there are fewer than two classes.
        SettingsError: if a class has no usable video, or no class has two and ``fraction`` asks for some.
    """
    check_classes(manifest)
    members: dict[str, dict[str, int]] = {name: {} for name in manifest.classes}  # class -> id -> place
    groups: dict[str, str] = {}
    for index in usable:
        video = manifest.videos[index]
        groups[video.video_id] = video.group
        for name in video.labels:
            members[name][video.video_id] = index
    unseen = [name for name, own in members.items() if not own]
    if unseen:
        raise SettingsError(
            f"the videos to train on show nothing of {len(unseen)} of the {len(manifest.classes)} classes: "
            f"{', '.join(map(repr, unseen[:SHOWN_CLASSES]))}{', …' if len(unseen) > SHOWN_CLASSES else ''}. "
            "Give training videos of them, or leave them out of the manifest"
        )
    # By id and not by place, so that adding a class or reordering the manifest does not move the other videos.
    chosen = held_out_ids(members, fraction=fraction, key=f"validation {seed}", groups=groups)
    held = {own[video_id] for own in members.values() for video_id in own if video_id in chosen}
    if fraction and not held and any(groups.values()):
        raise SettingsError(
            "no group of training videos can be held out, since a class would have none left; give each more groups, "
            f"or {named('val_fraction')} 0"
        )
    if fraction and not held:
        raise SettingsError(
            f"no class has two training videos, so none can be held out; give {named('val_fraction')} 0"
        )
    return tuple(i for i in usable if i not in held), tuple(sorted(held))
