"""The errors that vidpipe raises on purpose; anything else that reaches a user is a bug."""


class VidpipeError(Exception):
    """Base of every error that vidpipe explains to its user."""


class SettingsError(VidpipeError, ValueError):
    """A setting, or a combination of settings, that cannot be run."""


class ManifestError(VidpipeError, ValueError):
    """A manifest that is wrong in itself; the message names file, line and column."""


class VideoError(VidpipeError, ValueError):
    """A media file from which the wanted frames cannot be had; the message is the reason to record."""


class WeightsError(VidpipeError, ValueError):
    """A weights file that does not fit what it is loaded into."""


class StoreError(VidpipeError, ValueError):
    """A feature store that is damaged, or does not match what is asked of it."""


class RunError(VidpipeError, RuntimeError):
    """A run directory that is damaged, or belongs to another command."""


class FileError(VidpipeError, OSError):
    """A file that cannot be written; what was there before is unharmed."""


class OutOfSpaceError(VidpipeError, OSError):
    """The disk is too full to go on, or to begin."""


class OutOfMemoryError(VidpipeError, MemoryError):
    """Training needs more memory than there is; the message names settings that would fit."""
