"""Where a path leads as people write it: `~/` is the home folder, and a `file://` URL is a file of this machine."""

import os
import re
from urllib.parse import unquote

MARKED = r"^~[^/]*/|^(?i:file:/)|^[A-Za-z][A-Za-z0-9+.-]+://"  # what `is_marked` says; also for RE2
_SCHEME = "file:"


def is_marked(text: str) -> bool:
    """Return whether a path begins with `~/` or `~name/`, or is a URL, so that `local_path` may change or refuse it."""
    return re.search(MARKED, text) is not None


def local_path(text: str) -> str:
    """Return the path that ``text`` stands for: with the home folder for `~` or `~name`, and decoded if it is a URL.

    A folder that is called `~` is written as ``./~``.

    Raises:
        ValueError: if it is a URL of another kind, such as ``https://…``, or of another machine's file, or holds
            control characters once decoded.
    """
    if not is_marked(text):
        return text
    if text.startswith("~"):
        return os.path.expanduser(text)  # noqa: PTH111 - pathlib's raises an error if there is no such user
    if not text.casefold().startswith(_SCHEME):
        raise ValueError(f"must be a file of this machine, since URLs are not read; fetch {text!r} first")
    rest = text[len(_SCHEME) :]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        rest = slash + rest
        if host.lower() not in ("", "localhost"):
            raise ValueError(f"must be a file of this machine (file:///folder/name.mp4), got {text!r}")
    path = unquote(rest, errors="surrogateescape")
    if any(character < " " for character in path) or not rest.strip("/"):
        raise ValueError(f"must be the URL of a file, as file:///folder/name.mp4, got {text!r}")
    return path


def located(text: str) -> str:
    """Return what `local_path` does, or the text itself if it refuses it: then its row is a mistake anyway."""
    try:
        return local_path(text)
    except ValueError:
        return text


def unmarked(path: str) -> str:
    """Return a relative path in a form that `local_path` leaves alone, for writing it down."""
    return f"./{path}" if is_marked(path) else path
