"""Where weights are: in a file, or in the run that left it, with or without the backbone's name before it."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import WeightsError
from ..features.patterns import ROLES
from ..manifests.locations import local_path
from ..registry import nearest

SUFFIX = ".safetensors"
MODEL_OF_HUB = ("hf:", "timm:")
WEIGHTS_FILE = f"weights{SUFFIX}"  # of a run of train-backbone, and of an aggregator's
HOW = f"the {SUFFIX} file that vidpipe train-backbone wrote, or the folder of that run"
# The first bytes of files that people give for weights -> what these files are.
_BEGINNINGS = {
    b"\x80": "a Python pickle, as torch.save once wrote",
    b"\x89HDF": "an HDF5 file, such as vidpipe store export writes",
    b"version https://git-lfs": "a Git LFS pointer: the file itself has not been fetched (git lfs pull)",
    b"GGUF": "a GGUF file of a language model",
    b"<": "a page of HTML or XML: perhaps the answer of a web site in place of the file",
}
# Pickles before protocol 2 have no mark of their own. Weights are mappings, and these begin so, by protocol.
_OLD_PICKLES = {
    0: re.compile(rb"\(d(p\d+)?\n|ccollections\nOrderedDict\n"),
    1: re.compile(rb"[}](q.|r....)\(", re.DOTALL),
}
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without
DAMAGED_ZIP = "a damaged zip archive"
_ENOUGH = 64  # bytes, to tell
_TEXT = frozenset(b"\t\n\r") | frozenset(
    range(32, 127)
)  # a safetensors file begins with a length, whose zeros are none
_FILES_ALIKE = 0.75  # names of files are anything, so they must be more alike than names of commands


def read_place(text: str) -> tuple[str, Path]:
    """Return (name, place) that NAME=PLACE says, or (empty, place) for a place alone.

    Raises:
        ValueError: if the name or the place is missing.
    """
    name, equals, place = text.partition("=")
    # A path may hold an equals sign itself: then it exists as a whole, or a folder stands before the sign.
    is_model = name.startswith(MODEL_OF_HUB)  # whose names have slashes
    if text and (not equals or ("/" in name and not is_model) or Path(text).exists()):
        return "", Path(local_path(text))
    if not (name and place):
        raise ValueError(f"must be a weights file, a run, or NAME= before either; got {text!r}")
    return name, Path(local_path(place))


def is_word(place: Path) -> bool:
    """Return whether nothing about ``place`` shows that it is one: it may be the name of a backbone."""
    return len(place.parts) == 1 and place.suffix != SUFFIX


def weights_file(place: Path, *, role: str | None = None) -> Path:
    """Return the file of a backbone's weights: ``place`` itself, or the one that the run in this folder has left.

    Args:
        place: a file, or the folder of a run of train-backbone or finetune.
        role: "expensive" or "cheap": which of its two backbones a run of finetune is to give.

    Raises:
        WeightsError: if the folder holds none, or several.
    """
    if not place.is_dir():
        return place
    tuned = {own: place / f"{own}{SUFFIX}" for own in ROLES if (place / f"{own}{SUFFIX}").is_file()}
    if role in tuned or len(tuned) == 1:
        return tuned.get(str(role)) or next(iter(tuned.values()))
    if tuned:
        raise WeightsError(f"{place} holds weights of several backbones; give one: {_listed(tuned.values())}")
    if (place / WEIGHTS_FILE).is_file():
        return place / WEIGHTS_FILE
    raise WeightsError(f"{place} holds no weights of a backbone{_instead(place)}. Give {HOW}")


def _instead(place: Path) -> str:
    """Return what is there in place of weights."""
    if (place / "zarr.json").exists():
        return ": it is a feature store"
    if (place / "probe.npz").exists() or any(place.glob("*/probe.npz")):
        return ": it is a run of vidpipe probe"
    if (place / "settings.json").exists():
        return ": the run is not finished; the command that began it goes on"
    below = sorted([*place.glob(f"*{SUFFIX}"), *(own.parent for own in place.glob(f"*/{WEIGHTS_FILE}"))])
    return f", but there is {_listed(below)}" if below else ""


def near_by(path: Path) -> str:
    """Return a question that names what lies beside the missing ``path`` and is called almost so; mostly nothing."""
    here = path
    while not here.parent.exists():
        here = here.parent  # what is missing may be a folder above
    try:
        beside = {own.stem if here.suffix else own.name: str(own) for own in sorted(here.parent.iterdir())}
        found = nearest(
            here.stem if here.suffix else here.name, beside, least=_FILES_ALIKE
        )  # all of them may end alike
        return f"; did you mean {' or '.join(beside[name] for name in found)}?" if found else ""
    except OSError:
        return ""


def _listed(paths: Iterable[Path], *, most: int = 4) -> str:
    own = list(paths)
    return ", ".join(map(str, own[:most])) + (f" and {len(own) - most} more" if len(own) > most else "")


def what_it_is(path: Path) -> str:
    """Return what a file is that is no safetensors file, in words that follow "is"; empty if that is unknown."""
    try:
        with path.open("rb") as file:
            begins = file.read(_ENOUGH)
        if not begins:
            return "empty"
    except OSError:
        return ""
    if begins.startswith(_ZIPS):
        return _what_archive(path)
    old = old_protocol(begins)
    if old is not None:
        return f"a Python pickle of protocol {old}"
    found = (words for beginning, words in _BEGINNINGS.items() if begins.lstrip().startswith(beginning))
    return next(found, "a text file" if all(byte in _TEXT for byte in begins) else "")


def old_protocol(begins: bytes) -> int | None:
    """Return 0 or 1 where a file begins as a mapping that was pickled by that protocol; None if it does not."""
    return next((protocol for protocol, pattern in _OLD_PICKLES.items() if pattern.match(begins)), None)


def _what_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # noqa: BLE001 (whatever damaged bytes make of the reader)
        return DAMAGED_ZIP
    if "coefficients.npy" in names:
        return "a linear probe of vidpipe probe: a classifier of stored features, without a network"
    if any(name.endswith(".npy") for name in names):
        return "a NumPy archive"
    if any(name.endswith("data.pkl") for name in names):
        return (
            "a TorchScript program" if any(name.endswith("constants.pkl") for name in names) else "a PyTorch checkpoint"
        )
    return "a zip archive"
