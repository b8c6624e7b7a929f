"""Folders of published transformers on this machine: given, or in the cache of Hugging Face's programs.

Nothing is ever downloaded from here.
"""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .transformers_names import PREFIX, Architecture, read_config

CONFIG = "config.json"


def hub_cache() -> Path:
    """Return where Hugging Face's programs keep what they download."""
    own = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if own:
        return Path(own).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def find_folder(name: str) -> Path:
    """Return the folder with config.json of what ``hf:NAME`` names: a folder here, or ORG/NAME in the cache.

    Raises:
        SettingsError: if there is none; the message says where it was looked for.
    """
    place = name.removeprefix(PREFIX)
    if not place:
        raise SettingsError(f"{name} names nothing; after it stands a folder, ORG/NAME, or an architecture")
    folder = Path(place).expanduser()
    if (folder / CONFIG).is_file():
        return folder
    if folder.is_dir():
        raise SettingsError(f"{folder} holds no {CONFIG}, so that it is no folder of a model of transformers")
    kept = cached_snapshot(place, holding=CONFIG) if place.count("/") <= 1 else None
    if kept is not None:
        return kept
    raise SettingsError(
        f"{name} is neither a folder here nor in {hub_cache()}, and vidpipe fetches none but the published weights "
        f"that it lists: bring it there (hf download {place}), or give the folder that holds {CONFIG} and "
        "model.safetensors"
    )


def cache_place(repository: str) -> Path:
    """Return the folder in which Hugging Face's programs keep ORG/NAME."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def cached_snapshot(repository: str, *, holding: str) -> Path | None:
    """Return the folder of ORG/NAME in Hugging Face's cache that its branch ``main`` is at, or the only one.

    Args:
        repository: ORG/NAME.
        holding: a file that must be in it.

    Returns:
        The folder; None if there is none with that file.

    Raises:
        SettingsError: if there are several, and the cache does not say which one is at ``main``.
    """
    kept = cache_place(repository)
    main = kept / "refs" / "main"
    commits = sorted(own.parent for own in kept.glob(f"snapshots/*/{holding}"))
    if main.is_file():
        commits = [own for own in commits if own.name == main.read_text().strip()] or commits
    if len(commits) > 1:
        found = ", ".join(own.name[:8] for own in commits)
        raise SettingsError(f"{kept} holds several snapshots ({found}); give the folder of one of them")
    return commits[0] if commits else None


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file.

    Raises:
        SettingsError: if it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no mapping, so that it is no configuration")
    return content


def read_architecture(folder: Path) -> Architecture:
    """Return the network that a folder's configuration describes.

    Raises:
        SettingsError: if vidpipe does not take it.
    """
    return read_config(read_json(folder / CONFIG), origin=str(folder / CONFIG))
