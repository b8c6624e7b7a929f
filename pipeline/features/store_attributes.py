"""The attributes of a feature store and of its backbones: what they say, and which differences are refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreError, named
from ..videos.clips import ClipSampling
from .columns import VideoTable
from .format import FORMAT_VERSION, READABLE_FORMATS, canonical

KIND = "vidpipe feature store"
_ADVICE = f"Use the same settings, or another {named('store')}; features of two kinds are never mixed."


def store_attributes(table: VideoTable, *, digest: str, sampling: ClipSampling) -> dict[str, Any]:
    """Return the attributes of the root of a store; ``digest`` is that of the manifest of the videos in use."""
    extras = {"columns": list(table.extras)} if table.extras else {}
    return canonical(
        {
            **extras,
            "format_version": FORMAT_VERSION,
            "kind": KIND,
            "manifest_digest": digest,
            "num_videos": len(table),
            "sampling": sampling.record(),
        }
    )


def check_readable(path: Path, attributes: Mapping[str, Any]) -> None:
    """Refuse what is no store, or one of a format that this version cannot read."""
    if attributes.get("kind") != KIND:
        raise StoreError(f"{path} is a Zarr group but no feature store of vidpipe.")
    version = attributes.get("format_version")
    if version not in READABLE_FORMATS:
        raise StoreError(
            f"{path} has format {version}; this vidpipe reads formats {READABLE_FORMATS[0]} to {FORMAT_VERSION}. "
            "Extract it again."
        )


def without_pattern(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a backbone's attributes without those that say which clips are due."""
    kept = {name: value for name, value in attributes.items() if name not in ("due", "due_before")}
    provenance = {name: value for name, value in kept["provenance"].items() if name != "pattern"}
    return kept | {"provenance": provenance}


def sampling_advice(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return why clips of another sampling cannot be added to a store."""
    if stored["num_clips"] != wanted["num_clips"]:
        return (
            "Another number of clips lies at other places of each video, so that no stored clip could be kept; a "
            f"store of many clips serves fewer as well. Give {named('num_clips')} {stored['num_clips']}, or another "
            f"{named('store')}."
        )
    if stored["views"] != wanted["views"]:
        return (
            "All views of a video are one file, so that more of them would mean to write every file anew. Give "
            f"{named('views')} {stored['views']}, or another {named('store')}."
        )
    if stored.get("crops", 1) != wanted.get("crops", 1):
        return (
            "All crops of a video are one file, so that another number of them would mean to write every file anew. "
            f"Give {named('crops')} {stored.get('crops', 1)}, or another {named('store')}."
        )
    if stored["hdr"] != wanted["hdr"]:
        return (
            "HDR gives other pictures by the one than by the other; a store that does not say is as-is. Give "
            f"{named('hdr')} {stored['hdr']}, or another {named('store')}."
        )
    return _ADVICE


def refuse_differences(path: Path, different: list[str], *, advice: str = "") -> None:
    """Raise StoreError if there is any difference."""
    if different:
        listed = "".join(f"\n  {difference}" for difference in different)
        raise StoreError(f"{path} was made from something else than what is asked of it:{listed}\n{advice or _ADVICE}")


def refuse_other_content(path: Path) -> None:
    """Refuse a place for a new store where there is something else; an empty folder will do.

    Raises:
        StoreError: if there is.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise StoreError(
            f"{path} exists already, and is no feature store. Choose another {named('store')}, or remove it"
        )
