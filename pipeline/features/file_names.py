"""Names of files for ids of videos: legible, different for different ids, and never outside of their folder."""

import hashlib
from pathlib import PurePosixPath

_AS_THEY_ARE = frozenset(" ._-+,=@()")  # beside letters and digits of any script
_MOST_BYTES, _KEPT_CHARACTERS = (
    200,
    40,
)  # of a name: file systems take 255 bytes with the suffix, and a letter has up to 4
SUFFIX = ".npy"


def file_name(video_id: str) -> PurePosixPath:
    """Return the relative path of a video's file: its id, in which a "/" separates folders, and ``.npy``.

    What a file's name should not hold stands as ``%`` and the hexadecimal digits of its UTF-8 bytes, as in URLs; so
    does a dot at the beginning or the end of a part, and that of a folder that would end as a file does. Very long
    parts are cut, and end in a ``~`` and a part of the sha256.
    """
    *folders, last = video_id.split("/")
    return PurePosixPath(*(_folder(part) for part in folders), f"{_part(last)}{SUFFIX}")


def _folder(part: str) -> str:
    name = _part(part)
    if name.lower().endswith(SUFFIX):  # else the folder a.npy and the file of the id "a" would be one
        return f"{name[: -len(SUFFIX)]}%2E{name[1 - len(SUFFIX) :]}"
    return name


def _part(part: str) -> str:
    """Return the name of one part of an id."""
    safe = "".join(letter if letter.isalnum() or letter in _AS_THEY_ARE else _escaped(letter) for letter in part)
    if safe.startswith("."):
        safe = f"{_escaped('.')}{safe[1:]}"
    if safe.endswith((".", " ")):
        safe = f"{safe[:-1]}{_escaped(safe[-1])}"
    if len(safe.encode()) > _MOST_BYTES:
        digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()
        safe = f"{safe[:_KEPT_CHARACTERS].rstrip('. ')}~{digest[:32]}"
    return safe or "%"


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogatepass"))
