"""Who teaches and who is held out: classes that nobody shows, and the videos kept for validation."""

from collections.abc import Iterable, Mapping, Sequence

from ..errors import ManifestError, SettingsError, named
from ..manifests.folders import choose_test
from ..manifests.manifest import Manifest, Video

SHOWN_CLASSES = 8
SHOWN_DIFFERENCES = 5


def check_labelled(videos: Sequence[Video]) -> None:
    """Refuse videos whose class nobody has named: they can be extracted, but neither taught nor scored.

    Raises:
        ManifestError: naming the first of them.
    """
    bare = [video for video in videos if not video.labels]
    if bare:
        raise ManifestError(
            f"video {bare[0].video_id!r} has no label ({len(bare)} of {len(videos)} have none); training and scoring "
            "need one of each video. Make a manifest with the column 'label'"
        )


def check_classes(manifest: Manifest) -> None:
    """Refuse a manifest that gives nothing to tell apart.

    Raises:
        ManifestError: if a video has no label, or all have fewer than two classes together.
    """
    check_labelled(manifest.videos)
    if len(manifest.classes) < 2:
        raise ManifestError(f"training needs at least two classes; the manifest has {list(manifest.classes)}")


def class_differences(there: Sequence[str], here: Sequence[str]) -> list[str]:
    """Return a phrase for what tells two lists of classes apart; none where they are the same."""
    if list(there) == list(here):
        return []
    only = {"there": [c for c in there if c not in set(here)], "here": [c for c in here if c not in set(there)]}
    phrases = [f"{_listing(names)} only {where}" for where, names in only.items() if names]
    return [f"classes: {', '.join(phrases)}" if phrases else "the classes stand in another order"]


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN_DIFFERENCES]))
    return shown + (f" and {len(names) - SHOWN_DIFFERENCES} more" if len(names) > SHOWN_DIFFERENCES else "")


def held_out_ids(ids: Mapping[str, Iterable[str]], *, fraction: float, key: str) -> frozenset[str]:
    """Return, of each class the same share, the videos to hold out; a class's only video is never among them.

    Args:
        ids: class -> the ids of its videos, in any order.
        fraction: share to hold out; 0 for none.
        key: with class and ids, what the choice depends on.
    """
    chosen = (choose_test(sorted(own), test_fraction=fraction, key=f"{key} {name}") for name, own in ids.items())
    return frozenset[str]().union(*chosen)


def hold_out(
    manifest: Manifest, *, usable: Sequence[int], fraction: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the videos to train on and those held out: of each class the same share, chosen by seed and id.

    A class's only video is never held out.

    Args:
        manifest: whose videos.
        usable: indices of those that may be used.
        fraction: share to hold out; 0 for none.
        seed: of the choice.

    Raises:
        ManifestError: if there are fewer than two classes.
        SettingsError: if a class has no usable video, or no class has two and ``fraction`` asks for some.
    """
    check_classes(manifest)
    members: dict[str, dict[str, int]] = {name: {} for name in manifest.classes}  # class -> id -> place
    for index in usable:
        video = manifest.videos[index]
        for name in video.labels:
            members[name][video.video_id] = index
    unseen = [name for name, own in members.items() if not own]
    if unseen:
        raise SettingsError(
            f"the videos to train on show nothing of {len(unseen)} of the {len(manifest.classes)} classes: "
            f"{', '.join(map(repr, unseen[:SHOWN_CLASSES]))}{', …' if len(unseen) > SHOWN_CLASSES else ''}. "
            "Give training videos of them, or leave them out of the manifest"
        )
    chosen = held_out_ids(members, fraction=fraction, key=f"validation {seed}")
    held = {own[video_id] for own in members.values() for video_id in own if video_id in chosen}
    if fraction and not held:
        raise SettingsError(
            f"no class has two training videos, so none can be held out; give {named('val_fraction')} 0"
        )
    return tuple(i for i in usable if i not in held), tuple(sorted(held))
