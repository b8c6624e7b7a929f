"""The directory of one training run: what was asked, what happened, and how to go on after a crash.

Files: `settings.json` (what was asked, with digests of the inputs), `versions.json` (of the software that began the
run), `metrics.jsonl` (a line per epoch), `checkpoint.pt` (while the run is unfinished), and, written last,
`result.json`: a run is done when it is there. A stage adds its own files, such as weights and curves, before that.
Every file is written under another name and then renamed, so a kill leaves either the old one or the new one.
"""

import io
import json
import os
import pickle
import platform
import weakref
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ..errors import RunError, named
from ..files import (
    PARTIAL,
    disk_full_explained,
    lock_folder,
    remove_unfinished,
    write_atomically,
    write_json,
    write_text,
)
from ..settings import describe_differences
from .distributed import is_first

_MANIFEST = "manifest_digest"  # whose values alone say little
# Kind of run (what `kind` or `stage` of its settings says) -> the command that makes it.
RUN_COMMANDS = {
    "train-backbone": "vidpipe train-backbone",
    "linear probe": "vidpipe probe",
    "aggregator": "vidpipe train-aggregator",
    "end-to-end": "vidpipe finetune",
}
_SWEEP_FILE = "sweep.json"
_PACKAGES = ("vidpipe", "torch", "numpy", "zarr", "av", "safetensors", "scikit-learn")
Record = dict[str, Any]


class RunDirectory:
    """One run on disk; make it with `open_or_create` (to train) or `open` (to read).

    Attributes:
        path: the directory.
        settings: what was asked of the run, as in its settings.json.
    """

    def __init__(self, path: Path, settings: Record) -> None:
        self.path = path
        self.settings = settings
        self._unlock: weakref.finalize | None = None

    @classmethod
    def open(cls, path: Path | str) -> "RunDirectory":
        """Return the run at ``path``.

        Raises:
            RunError: if there is none, or its settings cannot be read.
        """
        path = Path(path)
        if not (path / "settings.json").is_file():
            if (path.parent / "settings.json").is_file():
                raise RunError(f"{path} is not a run directory, but lies in one; give {path.parent}")
            raise RunError(f"{path} is not a run directory: it has no settings.json; a training command makes one")
        return cls(path, _read_json(path / "settings.json"))

    @classmethod
    def open_or_create(
        cls,
        path: Path | str,
        *,
        settings: Mapping[str, Any],
        added: Collection[str] = (),
        superseded: Mapping[str, str] = MappingProxyType({}),
        following: Collection[str] = (),
        options: Mapping[str, str] | None = None,
    ) -> "RunDirectory":
        """Return the run at ``path``, begun if there is none, and locked for this process until it is closed.

        If several processes train together, the first one holds the lock for all.

        Args:
            path: the directory.
            settings: everything that the outcome depends on, as JSON values; a run goes on only with the same.
            added: names of fields that runs of earlier versions lack; in such a run they are not compared.
            superseded: name of a field -> of the one that is compared in its place, unless a run lacks that.
            following: names of fields that follow from others: that they differ is told only if nothing else does.
            options: dotted name in ``settings`` -> the field by which a user sets it, as messages should name it.

        Raises:
            RunError: if there is another run (the message names each field that differs), or there are other files, or
                another process is training it.
        """
        # Through JSON and back, as the file's are: a tuple would differ from the list that it was stored as.
        path, asked = Path(path), json.loads(json.dumps(settings))
        if not (path / "settings.json").is_file():
            _refuse_foreign_files(path)
            _make_directory(path)
        run = cls(path, asked)
        run._hold()
        try:
            run._begin(asked)
            run.check_settings(asked, added=added, superseded=superseded, following=following, options=options or {})
        except BaseException:
            run.close()  # a notebook keeps the traceback, and with it what it refers to
            raise
        return run

    def _begin(self, asked: Record) -> None:
        """Write the settings of a new run, or read those of an old one."""
        path = self.path
        if not (path / "settings.json").is_file():
            # Settings last: they are what makes the directory a run, and a kill before leaves none.
            write_json(path / "versions.json", _software_versions())
            write_json(path / "settings.json", asked)
        self.settings = _read_json(path / "settings.json")

    def check_settings(
        self,
        asked: Mapping[str, Any],
        *,
        added: Collection[str] = (),
        superseded: Mapping[str, str] = MappingProxyType({}),
        following: Collection[str] = (),
        options: Mapping[str, str],
    ) -> None:
        """Refuse other settings than the run's; arguments as for `open_or_create`.

        Raises:
            RunError: if it is a run of another command or of other settings; the message names each that differs.
        """
        path, asked = self.path, json.loads(json.dumps(asked))
        there, here = _command_of(self.settings), _command_of(asked)
        if there and here and there != here:
            raise RunError(f"{path} is a run of {there}, not of {here}. Choose another {named('out')}")
        unknown = {name for name in added if name not in self.settings}
        idle = {name for name, better in superseded.items() if better in self.settings}
        have, compared = (
            {name: value for name, value in record.items() if name not in unknown | idle}
            for record in (self.settings, asked)
        )
        differences = _told(have, compared, following, options)
        if _MANIFEST in have and have[_MANIFEST] != compared.get(_MANIFEST):
            differences.append("its videos, labels or splits have changed since")
        if differences:
            raise RunError(
                f"{path} holds a run with other settings: {'; '.join(differences)}. "
                f"Choose another {named('out')}, or ask for the run's own settings to go on with it"
            )

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others train here."""
        if self._unlock is not None:
            self._unlock()

    def _hold(self) -> None:
        """Lock the directory for this process, and remove half-written files of killed ones."""
        if is_first():
            self._unlock = weakref.finalize(self, os.close, lock_folder(self.path, error=RunError))
            remove_unfinished(self.path)

    @property
    def versions(self) -> dict[str, str]:
        """The software that began the run, by package name."""
        return _read_json(self.path / "versions.json")

    @property
    def is_done(self) -> bool:
        """Whether the run is finished."""
        return (self.path / "result.json").is_file()

    def reopen_without(self, name: str) -> None:
        """Make a finished run unfinished if its file ``name`` is gone, so that it gets written again."""
        if self.is_done and not (self.path / name).is_file():
            (self.path / "result.json").unlink()

    @property
    def result(self) -> Record:
        """The result of the finished run.

        Raises:
            RunError: if it is not finished.
        """
        if not self.is_done:
            raise RunError(f"the run in {self.path} is not finished; the command that began it goes on with it")
        return _read_json(self.path / "result.json")

    def finish(self, result: Mapping[str, Any]) -> None:
        """Declare the run done, with ``result`` as JSON values, and remove its checkpoint."""
        write_json(self.path / "result.json", result)
        (self.path / "checkpoint.pt").unlink(missing_ok=True)

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file of the directory.

        Raises:
            RunError: if it is gone or damaged.
        """
        return _read_json(self.path / name)

    def read_metrics(self) -> list[Record]:
        """Return the epochs' records, oldest first; a line that a kill cut short is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def write_metrics(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace all epochs' records by ``records``: a resumed run drops those beyond its checkpoint."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one epoch's record."""
        path = self.path / "metrics.jsonl"
        with disk_full_explained(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def save_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Replace the checkpoint by ``checkpoint``: tensors and plain values, nested in any way."""
        buffer = io.BytesIO()  # if torch itself writes, a full disk shows as a RuntimeError
        torch.save(dict(checkpoint), buffer)
        write_atomically(self.path / "checkpoint.pt", lambda path: path.write_bytes(buffer.getbuffer()))

    def load_checkpoint(self) -> Record | None:
        """Return the checkpoint, its tensors on the CPU, or None if there is none yet.

        Raises:
            RunError: if the file is damaged.
        """
        path = self.path / "checkpoint.pt"
        if not path.is_file():
            return None
        try:
            # Weights only: a pickle from elsewhere could run any code. On the CPU: the GPU may be another one now.
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
            raise RunError(f"{path} cannot be read: {error}. Remove {self.path} to begin the run anew") from error


def recorded_settings(out: Path) -> dict[str, Any]:
    """Return what the run in ``out`` was begun with; empty if there is none that can be read."""
    try:
        found = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _told(have: Record, asked: Record, following: Collection[str], options: Mapping[str, str]) -> list[str]:
    """Return a phrase for each difference; for one in a field of ``following`` only if there is no other."""
    leading = ({name: value for name, value in record.items() if name not in following} for record in (have, asked))
    return describe_differences(*leading, options=options) or describe_differences(have, asked, options=options)


def _software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages on which results depend."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _command_of(settings: Mapping[str, Any]) -> str | None:
    """Return the command that makes runs with such settings."""
    return RUN_COMMANDS.get(settings.get("kind") or settings.get("stage") or "")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}") from error


def _refuse_foreign_files(path: Path) -> None:
    ours = {"versions.json"}  # what a kill at the very start leaves
    if (path / _SWEEP_FILE).is_file():
        raise RunError(f"{path} holds a sweep of vidpipe sweep, not a run; choose an empty or new directory")
    if path.is_dir() and any(entry.name not in ours and not entry.name.endswith(PARTIAL) for entry in path.iterdir()):
        raise RunError(f"{path} has files in it but no run (no settings.json); choose an empty or new directory")


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be made a directory: {error.strerror}") from error
