"""The errors that vidpipe raises on purpose; anything else that reaches a user is a bug."""

import re
from collections.abc import Callable

MARK = "\0"  # around the name of a setting in a message: no path, id or label can contain it
_MARKED = re.compile(f"{MARK}([A-Za-z_]+){MARK}")


def named(field: str) -> str:
    """Return ``field``, marked as the name of a setting, for a message.

    The library does not know how the command line spells its options: ``str(error)`` shows the bare name, the command
    line the option (`VidpipeError.text`).
    """
    return f"{MARK}{field}{MARK}"


def _in_python(field: str) -> str:
    return f"{field.removeprefix('no_')}=False" if field.startswith("no_") else field


def spelled(text: str, spell: Callable[[str], str] = _in_python) -> str:
    """Return ``text`` with each setting that `named` marked in it as ``spell`` writes it.

    By default that is Python's way: the bare name, and for the option that clears a flag (``no_copies``)
    ``copies=False``.
    """
    return _MARKED.sub(lambda found: spell(found[1]), text)


def renamed(text: str, field: str) -> str:
    """Return ``text`` with the first setting that is marked in it under another name, that of ``field``."""
    first = _MARKED.search(text)
    return text if first is None else text.replace(first[0], named(field))


class VidpipeError(Exception):
    """Base of every error that vidpipe explains to its user."""

    def __str__(self) -> str:
        return spelled(self.marked)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def marked(self) -> str:
        """The message with its marks, for code that keeps it to be `spelled` later."""
        return super().__str__()

    def text(self, spell: Callable[[str], str]) -> str:
        """Return the message with each named setting written by ``spell``."""
        return spelled(self.marked, spell)


class SettingsError(VidpipeError, ValueError):
    """A setting, or a combination of settings, that cannot be run."""


class ManifestError(VidpipeError, ValueError):
    """A manifest that is wrong in itself; the message names file, line and column."""


class VideoError(VidpipeError, ValueError):
    """A media file whose wanted frames cannot be decoded; the message is the reason to record."""


class WeightsError(VidpipeError, ValueError):
    """A weights file that does not fit what it is loaded into."""


class StoreError(VidpipeError, ValueError):
    """A feature store that is damaged, or does not match the request."""


class OtherVideosError(StoreError, ManifestError):
    """A manifest that lists other videos than the store has; the message says what sets them apart."""


class RunError(VidpipeError, RuntimeError):
    """A run directory that is damaged, or belongs to another command."""


class FileError(VidpipeError, OSError):
    """A file that cannot be written; what was there before is unharmed."""


class OutOfSpaceError(VidpipeError, OSError):
    """The disk is too full to go on, or to begin."""


class OutOfMemoryError(VidpipeError, MemoryError):
    """Training needs more memory than there is; the message names settings that would fit."""
