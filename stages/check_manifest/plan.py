"""Which files of a manifest to probe."""

from pathlib import Path

from ...pipeline.manifests.manifest import Draft


def plan(draft: Draft) -> list[Path]:
    """Return the files to probe, each once, in the manifest's order."""
    return list(dict.fromkeys(video.path for video in draft.videos))
