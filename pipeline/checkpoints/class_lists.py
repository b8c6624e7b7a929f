"""The class names of published heads, in the order of their scores.

The lists lie in ``data_manifests/class_lists``, a name a line. One list serves every Kinetics-400 file of torchvision,
pytorchvideo, PySlowFast, mmaction2, VMZ and ig65m: theirs are equal, and sorted.
Sources: torchvision 0.29.1 (kinetics400, imagenet1k), google-deepmind/kinetics-i3d (kinetics600), mmaction2 1.2.0
(kinetics700, kinetics710, something-v1, something-v2, moments, multi-moments), Charades' own list (charades).
"""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

from ..errors import SettingsError
from ..registry import did_you_mean

_FOLDER = "class_lists"
# The list of a head of so many classes, where a file says nothing more.
BY_SIZE = {
    400: "kinetics400",
    600: "kinetics600",
    700: "kinetics700",
    710: "kinetics710",
    1000: "imagenet1k",
    157: "charades",
    174: "something-v2",
    313: "multi-moments",
    339: "moments",
}
NO_CLASSES = ("none",)  # of a network without a classifier: its only score is 0


def class_list_names() -> tuple[str, ...]:
    """Return the names of the lists, sorted."""
    folder = resources.files("vidpipe.data_manifests") / _FOLDER
    return tuple(sorted(own.name.removesuffix(".txt") for own in folder.iterdir() if own.name.endswith(".txt")))


@cache
def class_list(name: str) -> tuple[str, ...]:
    """Return the class names of the list called ``name``, in the order of the scores.

    Raises:
        SettingsError: if there is no such list; the message has those there are.
    """
    if name not in class_list_names():
        known = class_list_names()
        raise SettingsError(f"there is no class list {name!r}; known: {', '.join(known)}{did_you_mean(name, known)}")
    text = (resources.files("vidpipe.data_manifests") / _FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


@cache
def class_lists_sha256() -> str:
    """Return the digest of all lists, for what is made with any of them."""
    names = ((name, *class_list(name)) for name in class_list_names())
    return hashlib.sha256("\0".join("\n".join(own) for own in names).encode()).hexdigest()


def read_class_list(path: Path) -> tuple[str, ...]:
    """Return the class names in a text file, a name a line, in the order of the scores.

    Raises:
        SettingsError: if the file cannot be read, is no UTF-8, or has no lines, an empty one or one twice.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise SettingsError(f"the class list {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"line {line} of the class list {path} is no UTF-8; save it as UTF-8 text") from error
    first: dict[str, int] = {}
    for number, name in enumerate(lines, start=1):
        if not name.strip():
            raise SettingsError(f"line {number} of the class list {path} is empty; it must have a class a line")
        if name in first:
            raise SettingsError(
                f"lines {first[name]} and {number} of the class list {path} are both {name!r}; classes must differ"
            )
        first[name] = number
    if not first:
        raise SettingsError(f"the class list {path} is empty; it must have a class a line")
    return tuple(first)


def unnamed_classes(num_classes: int) -> tuple[str, ...]:
    """Return names for the scores of a head whose classes nobody has named: ``class_000`` and so on."""
    width = len(str(max(num_classes - 1, 0)))
    return tuple(f"class_{index:0{width}d}" for index in range(num_classes))
