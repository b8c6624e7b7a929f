"""Whether a video's file is still the one that was extracted, by the sha256 of its bytes."""

import hashlib
from pathlib import Path

from ..errors import VideoError, named


def file_digest(path: Path, *, expected: str | None = None) -> str:
    """Return the sha256 (hex) of a file.

    Args:
        path: of the file.
        expected: what it was when the file was extracted; None if that is not known.

    Raises:
        VideoError: if the file cannot be read, or differs from what was extracted.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror or error}") from error
    if expected is not None and found != expected:
        raise VideoError(
            f"{path} has changed since it was extracted: its sha256 was {expected[:12]}… and is {found[:12]}…. Bring "
            f"the file back; or give the new one an id of its own, or another {named('store')}"
        )
    return found
