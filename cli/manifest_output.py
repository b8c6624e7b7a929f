"""What the commands that make manifests share: writing a manifest, and showing what is in it."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .tables import format_table

if TYPE_CHECKING:
    from ..pipeline.manifests.manifest import Manifest

MAX_ROWS = 50  # what one can still scroll through; longer tables are shortened


def check_output(output: Path, *, force: bool) -> None:
    """Refuse an output that already exists.

    Raises:
        click.UsageError: if it exists and ``force`` is not set.
    """
    if output.exists() and not force:
        raise click.UsageError(f"{output} is there already; --force replaces it")


def write(manifest: "Manifest", output: Path) -> None:
    """Write a manifest whose paths are relative to its folder, which is made if necessary."""
    from ..pipeline.manifests.manifest import write_manifest

    output.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(manifest, output)


def written_text(manifest: "Manifest", output: Path) -> str:
    """Return how many videos each class has in each split, and what was written."""
    wrote = f"Wrote {output}: {counted(len(manifest), 'video')} of {len(manifest.classes)} classes."
    return f"{_split_table(manifest)}\n\n{wrote}"


def _split_table(manifest: "Manifest") -> str:
    """Return classes × splits with the number of videos; only the totals if there are very many classes."""
    counts = Counter((label, video.split) for video in manifest.videos for label in video.labels)
    totals = Counter(video.split for video in manifest.videos)
    classes = manifest.classes if len(manifest.classes) <= MAX_ROWS else ()
    rows = [[label, *(str(counts[label, split]) for split in manifest.splits)] for label in classes]
    rows.append(["all", *(str(totals[split]) for split in manifest.splits)])
    return format_table(["class", *manifest.splits], rows, right=range(1, len(manifest.splits) + 1))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
