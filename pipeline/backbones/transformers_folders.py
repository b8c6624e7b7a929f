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
    kept = hub_cache() / f"models--{place.replace('/', '--')}"
    if (kept / "snapshots").is_dir() and place.count("/") <= 1:
        return _snapshot(kept, name=name)
    raise SettingsError(
        f"{name} is neither a folder here nor in {hub_cache()}, and vidpipe downloads no transformers: fetch it where "
        f"there is a network (hf download {place}), or give the folder that holds {CONFIG} and model.safetensors"
    )


def _snapshot(kept: Path, *, name: str) -> Path:
    """Return the snapshot of a cached model that its branch ``main`` is at, or the only one."""
    main = kept / "refs" / "main"
    commits = sorted(own for own in (kept / "snapshots").iterdir() if (own / CONFIG).is_file())
    if main.is_file():
        commits = [own for own in commits if own.name == main.read_text().strip()] or commits
    if len(commits) == 1:
        return commits[0]
    found = f"several snapshots ({', '.join(own.name[:8] for own in commits)})" if commits else f"no {CONFIG}"
    raise SettingsError(f"{kept} holds {found} of {name}; give the folder of one of its snapshots")


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
