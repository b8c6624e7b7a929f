"""What the commands that make manifests share: writing a manifest, and showing what is in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .tables import counted, format_table

if TYPE_CHECKING:
    from ..pipeline.manifests.composition import Composition
    from ..pipeline.manifests.folders import FolderList
    from ..pipeline.manifests.manifest import Manifest
    from ..stages.check_manifest.repeats import Repeats

MAX_LOOK_ALIKES = 10
_NAMES_SHOWN = 5
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
    from ..pipeline.manifests.composition import composition

    made_of = composition(manifest.videos)
    wrote = f"Wrote {output}: {counted(len(manifest), 'video')} of {counted(len(manifest.classes), 'class')}."
    return "\n".join([split_table(made_of), "", *look_alike_lines(made_of), wrote])


def split_table(made_of: "Composition", *, most: int = MAX_ROWS, ends: int = 0) -> str:
    """Return classes × splits with the number of videos.

    Args:
        made_of: the manifest.
        most: how many classes are shown.
        ends: how many of the largest and of the smallest classes are shown if there are more; the totals are always.
    """
    classes, splits = made_of.classes, made_of.splits
    rows = [[label, *map(str, own.values())] for label, own in classes.items()]
    if len(rows) > most:
        order = sorted(classes, key=lambda label: (-made_of.totals[label], label))
        rows = [[label, *map(str, classes[label].values())] for label in (*order[:ends], *order[len(order) - ends :])]
        if ends:
            rows.insert(ends, [f"… {len(classes) - 2 * ends:,} more", *("…" for _ in splits)])
    if made_of.unlabelled:
        rows.append([f"(no label: {made_of.unlabelled:,})", *("" for _ in splits)])
    rows.append(["all", *map(str, splits.values())])
    return format_table(["class", *splits], rows, right=range(1, len(splits) + 1))


def look_alike_lines(made_of: "Composition", *, most: int = MAX_LOOK_ALIKES) -> list[str]:
    """Return a line for each set of names that look alike, with escapes for what does not show."""
    from ..pipeline.manifests.composition import shown

    lines = []
    for own in made_of.look_alikes[:most]:
        names = ", ".join(f"{shown(name)} ({counted(count, 'video')})" for name, count in own.names.items())
        lines.append(f"{own.column}s that look alike: {names}; they differ in {', '.join(own.differ_in)}.")
    if (hidden := len(made_of.look_alikes) - most) > 0:
        lines.append(f"… and {hidden:,} more that look alike; --json lists all.")
    return [line[0].upper() + line[1:] for line in lines]


def repeat_lines(found: "Repeats") -> list[str]:
    """Return a line about files of which the same seconds are in several splits, and one about several labels."""
    lines = []
    if found.splits:
        splits = ", ".join(sorted({split for own in found.splits.values() for split in own}))
        what = counted(len(found.splits), "file") + (" has" if len(found.splits) == 1 else " have")
        lines.append(
            f"{what} rows in more than one split ({splits}): {_some(found.splits)}. Such a video is trained on and "
            "scored, so scores on such a split promise too much."
        )
    if found.labels:
        what = counted(len(found.labels), "file") + (" has" if len(found.labels) == 1 else " have")
        labels = next(iter(found.labels.values()))
        lines.append(
            f"{what} rows with different labels at the same time: {_some(found.labels)}. The first has "
            f"{', '.join(map(repr, labels[:_NAMES_SHOWN]))}{', …' if len(labels) > _NAMES_SHOWN else ''}; a video with "
            "several labels is one row, as a|b."
        )
    return lines


def _some(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    from ..pipeline.manifests.found_files import visible

    names = list(names)
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(map(visible, names[:_NAMES_SHOWN])) + more


def passed_over_lines(found: "FolderList") -> list[str]:
    """Return what of a directory is not in its manifest, and what is although its name does not say so."""
    lines = []
    if found.by_content:
        what = counted(len(found.by_content), "video")
        lines.append(f"{what} without a video's extension, known by the first bytes: {_some(found.by_content)}")
    if found.alone:
        what = counted(len(found.alone), "video")
        is_or_are = "is a group of its own" if len(found.alone) == 1 else "are groups of their own"
        lines.append(f"{what} {is_or_are}, since the pattern finds none: {_some(found.alone)}")
    if found.passed_over:
        lines.append(f"Passed over: {sum(map(len, found.passed_over.values())):,}")
        lines += [f"  {len(names):,} {reason}: {_some(names)}" for reason, names in sorted(found.passed_over.items())]
    return lines
