"""What is given for a role's weights becomes a file of vidpipe's before anything looks into it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...pipeline.checkpoints.fetch import fetched
from ...pipeline.checkpoints.published import Published
from ...pipeline.checkpoints.ready import Given, means_weights, ready_file
from ...pipeline.execution import SILENT, Progress
from ..defaults import Chosen
from ..extract.settings import RoleWeights
from ..finetune.settings import RoleBackbone

_MEGA = 10**6


def ready_roles(given: Mapping[str, RoleWeights | RoleBackbone], *, progress: Progress = SILENT) -> Chosen:
    """Return role -> weights that are a file of vidpipe's now and were not before, and what they were taken for.

    Args:
        given: role -> what was typed.
        progress: of what has to be fetched.

    Raises:
        WeightsError: if a file cannot be had, or holds no network that vidpipe knows.
        SettingsError: if it may be of several networks.
    """
    values, said = {}, []
    for role, own in given.items():
        asked = _asked(own)
        if asked is None:
            continue
        file = ready_file(asked, role=role, say=said.append, fetch=lambda entry: fetch_shown(entry, progress=progress))
        if asked.place not in (file, file.parent):  # else a file of vidpipe's, or the run that left it
            values[role] = _with_file(own, file)
    return Chosen(values=values, said=tuple(said))


def _asked(own: RoleWeights | RoleBackbone) -> Given | None:
    """Return the weights that are meant; None for a network from scratch."""
    if isinstance(own, RoleWeights):
        return Given(backbone=own.backbone, place=own.path)
    if own.weights is not None:
        return Given(backbone=own.backbone, place=own.weights)
    return Given(place=Path(own.backbone)) if means_weights(own.backbone) else None


def _with_file(own: RoleWeights | RoleBackbone, file: Path) -> RoleWeights | RoleBackbone:
    if isinstance(own, RoleWeights):
        return replace(own, path=file)
    return RoleBackbone(backbone=own.backbone if own.weights is not None else "", weights=file)


def fetch_shown(entry: Published, *, progress: Progress = SILENT, timeout: float | None = None) -> Path:
    """Return the file of published weights, as `fetched` does, and show how it comes.

    Args:
        entry: which one.
        progress: in megabytes; nothing is shown if the file is here, or its size is unknown.
        timeout: seconds without a byte after which to give up; None: half a minute.
    """
    shown = _Shown(entry.name, progress)
    try:
        return fetched(entry, advance=shown.advance, **({} if timeout is None else {"timeout": timeout}))
    finally:
        shown.end()


class _Shown:
    """Bytes as they come, in whole megabytes."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress
        self._came, self._begun = 0, False

    def advance(self, came: int, total: int | None) -> None:
        before, self._came = self._came // _MEGA, self._came + came
        if total is None:
            return
        if not self._begun:
            self._begun = True
            done = self._came // _MEGA
            self._progress.begin(f"fetching {self._name}", total=max(1, total // _MEGA), unit="MB", done=done)
        elif self._came // _MEGA > before:
            self._progress.advance(self._came // _MEGA - before)

    def end(self) -> None:
        if self._begun:
            self._progress.end()
