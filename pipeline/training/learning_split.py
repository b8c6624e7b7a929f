"""Who teaches and who is held out: class indices, classes that nobody shows, and the videos kept for validation."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ManifestError, SettingsError, named
from ..manifests.folders import choose_test
from ..manifests.manifest import Manifest, Video

SHOWN_CLASSES = 8
SHOWN_DIFFERENCES = 5


def class_indices(manifest: Manifest, *, videos: Sequence[Video] | None = None) -> npt.NDArray[np.int64]:
    """Return (V,) the index of each video's class among the manifest's; of ``videos`` alone where they are given.

    Raises:
        ManifestError: if a video has several labels.
    """
    videos = manifest.videos if videos is None else videos
    several = next((video for video in videos if len(video.labels) != 1), None)
    if several is not None:
        raise ManifestError(
            f"video {several.video_id!r} has {len(several.labels)} labels; training and scoring take one a video. "
            "Make a manifest with one"
        )
    place = {name: index for index, name in enumerate(manifest.classes)}
    return np.array([place[video.labels[0]] for video in videos])


def check_classes(manifest: Manifest) -> None:
    """Refuse a manifest that gives nothing to tell apart.

    Raises:
        ManifestError: if it has fewer than two classes.
    """
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


def hold_out(
    manifest: Manifest, *, usable: Sequence[int], targets: npt.NDArray[np.int64], fraction: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the videos to train on and those held out: of each class the same share, chosen by seed and id.

    A class's only video is never held out.

    Args:
        manifest: whose videos.
        usable: indices of those that may be used.
        targets: (V,) class indices of all.
        fraction: share to hold out; 0 for none.
        seed: of the choice.

    Raises:
        ManifestError: if there are fewer than two classes.
        SettingsError: if a class has no usable video, or no class has two and ``fraction`` asks for some.
    """
    check_classes(manifest)
    own = np.asarray(usable, dtype=np.int64)
    unseen = [name for index, name in enumerate(manifest.classes) if index not in targets[own]]
    if unseen:
        raise SettingsError(
            f"the videos to train on show nothing of {len(unseen)} of the {len(manifest.classes)} classes: "
            f"{', '.join(map(repr, unseen[:SHOWN_CLASSES]))}{', …' if len(unseen) > SHOWN_CLASSES else ''}. "
            "Give training videos of them, or leave them out of the manifest"
        )
    held: set[int] = set()
    for index, name in enumerate(manifest.classes):
        places = {manifest.videos[i].video_id: i for i in own.tolist() if targets[i] == index}
        chosen = choose_test(sorted(places), test_fraction=fraction, key=f"validation {seed} {name}")
        held |= {places[video_id] for video_id in chosen}
    if fraction and not held:
        raise SettingsError(
            f"no class has two training videos, so none can be held out; give {named('val_fraction')} 0"
        )
    return tuple(i for i in own.tolist() if i not in held), tuple(sorted(held))
