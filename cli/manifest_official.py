"""`vidpipe manifest from-ucf101` and similar: manifests from the official lists of data sets."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import spelled
from ..pipeline.files import write_text
from ..pipeline.manifests.official.lists import (
    DATASETS,
    Imported,
    ImportSettings,
    OfficialDataset,
    import_official,
)
from ..pipeline.manifests.table import check_suffix
from ..pipeline.settings import build
from .main import SOME_FAILED
from .manifest_output import check_output, write, written_text
from .options import LocalPath, json_option, setting_options
from .progress import progress_shown
from .spelling import option_name
from .tables import counted

if TYPE_CHECKING:
    from ..pipeline.manifests.manifest import Manifest

_MAX_SHOWN = 5  # ids and classes named in the report; the list beside the manifest has all ids

_HELP = """Make a manifest from the official lists of {title}.

{remarks}Paths are written relative to the manifest. Videos that are not on disk are counted, and listed in
OUTPUT.missing.txt; their rows stay in the manifest unless --skip-missing is given.

\b
Lists:  {annotations}
Videos: {videos}

\b
Exit code: 0 if every video is there, or --skip-missing is given;
3 if some are missing, or a folder cannot be listed; 2 if a list is
wrong in itself.

\b
Example:
  vidpipe manifest from-{name} -o {name}.csv \\
    --annotations {example}
"""
_FRAMES_ADVICE = """\
{count} there as folders, of frames most likely. vidpipe reads videos. This makes some in OUT, to import instead:
  for d in {videos}/*/; do ffmpeg -loglevel error -framerate {rate} -pattern_type glob -i "$d*.jpg" \\
    -vf "crop=trunc(iw/2)*2:trunc(ih/2)*2" -c:v libx264 -crf 18 -pix_fmt yuv420p "OUT/$(basename "$d").mp4"; done"""


def official_commands() -> list[click.Command]:
    """Return a command for every data set with official lists."""
    return [_command(name, dataset) for name, dataset in DATASETS.items()]


def as_text(imported: Imported, manifest: "Manifest", *, dataset: OfficialDataset, videos: Path, output: Path) -> str:
    """Return what was written, what is missing, and the notes."""
    parts = [written_text(manifest, output)]
    if imported.missing:
        parts.append(_missing_text(imported, videos=videos, output=output))
    if imported.frame_folders:
        count = f"{imported.frame_folders:,} of them are"
        rate = dataset.frame_rate or "RATE"
        parts.append(_FRAMES_ADVICE.format(count=count, videos=shlex.quote(str(videos)), rate=rate))
    if imported.unlabelled:
        unlabelled = counted(len(imported.unlabelled), "video")
        parts.append(f"Left out: {unlabelled} without any class: {_some(imported.unlabelled)}.")
    if imported.unlisted:
        parts.append(_unlisted_text(imported.unlisted))
    return "\n".join([*parts, *(spelled(note, option_name) for note in imported.notes)])


def as_document(imported: Imported, manifest: "Manifest", *, name: str, output: Path) -> dict[str, Any]:
    """Return the whole report in JSON's types."""
    return {
        "dataset": name,
        "manifest": str(output),
        "num_listed": imported.num_listed,
        "num_videos": len(manifest),
        "num_classes": len(manifest.classes),
        "splits": {split: len(manifest.subset(split)) for split in manifest.splits},
        "num_missing": len(imported.missing),
        "first_missing": [video.video_id for video in imported.missing[:_MAX_SHOWN]],
        "missing_by_split": imported.missing_by_split,
        "missing_left_out": imported.left_out,
        "missing_list": str(_missing_list(output)) if imported.missing else None,
        "classes_without_videos": imported.classes_without_videos,
        "num_folders_of_frames": imported.frame_folders,
        "unlisted": imported.unlisted,
        "unlabelled": imported.unlabelled,
        "notes": [spelled(note, option_name) for note in imported.notes],
    }


def _command(name: str, dataset: OfficialDataset) -> click.Command:
    def run(*, output: Path, force: bool, as_json: bool, **options: Any) -> None:
        settings = build(ImportSettings, _read_tab(options))
        _check_outputs(output, force=force)
        imported = import_official(dataset, settings, base=output.parent, progress=progress_shown())
        manifest = imported.manifest()
        _write(imported, manifest, output)
        if as_json:
            click.echo(json.dumps(as_document(imported, manifest, name=name, output=output), indent=1))
        else:
            click.echo(as_text(imported, manifest, dataset=dataset, videos=settings.videos, output=output))
        # With --skip-missing the user knows that videos are missing: then it is no failure.
        lost = imported.unlisted or (imported.missing and not settings.skip_missing)
        click.get_current_context().exit(SOME_FAILED if lost else 0)

    for add in reversed(_options(dataset)):
        run = add(run)
    short = f"From the official lists of {dataset.title}."
    return click.command(f"from-{name}", help=_help(name, dataset), short_help=short)(run)


def _read_tab(options: dict[str, Any]) -> dict[str, Any]:
    r"""Return the options with a separator of ``\t`` as the tab that people mean."""
    separator = options.get("separator")
    return options if separator is None else {**options, "separator": separator.replace("\\t", "\t")}


def _options(dataset: OfficialDataset) -> list[Callable[[Any], Any]]:
    offered = {"split": dataset.num_splits > 1, "classes": dataset.class_list, "separator": dataset.separator}
    words = {"split": f"Which of them, 1 to {dataset.num_splits}.", "classes": f"The class list: {dataset.class_list}."}
    left_out = {field for field, there in offered.items() if not there}
    target = LocalPath(dir_okay=False)
    return [
        setting_options(ImportSettings, leave_out=left_out, words=words),
        click.option("-o", "--out", "output", type=target, required=True, help="The manifest: .csv or .parquet."),
        click.option("--force", is_flag=True, help="Replace the output if it exists."),
        json_option,
    ]


def _help(name: str, dataset: OfficialDataset) -> str:
    remarks = ""
    if dataset.num_splits > 1:
        remarks += f"There are {dataset.num_splits} splits; results are the mean over them. "
    if dataset.multi_label:
        remarks += "Its videos have several labels, which training and evaluation do not take yet. "
    return _HELP.format(
        name=name,
        title=dataset.title,
        remarks=remarks,
        annotations=dataset.annotations,
        videos=dataset.videos,
        example=spelled(dataset.example, option_name),
    )


def _missing_list(output: Path) -> Path:
    return output.with_name(f"{output.name}.missing.txt")


def _check_outputs(output: Path, *, force: bool) -> None:
    check_suffix(output)
    check_output(output, force=force)
    check_output(_missing_list(output), force=force)


def _write(imported: Imported, manifest: "Manifest", output: Path) -> None:
    """Write the manifest, and beside it the ids of the missing videos; an older list is removed."""
    write(manifest, output)
    if imported.missing:
        ids = "".join(f"{video.video_id}\n" for video in imported.missing)
        write_text(_missing_list(output), ids)
    else:
        _missing_list(output).unlink(missing_ok=True)


def _missing_text(imported: Imported, *, videos: Path, output: Path) -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in imported.missing_by_split.items())
    ids = [video.video_id for video in imported.missing]
    lines = [
        f"Missing in {videos}: {len(ids):,} of {counted(imported.num_listed, 'video')} ({splits}): {_some(ids)}.",
        "They were left out."
        if imported.left_out
        else "Their rows are in the manifest all the same; --skip-missing leaves them out.",
        f"All of them: {_missing_list(output)}. The first was sought at {imported.missing[0].path}.",
    ]
    for split, classes in imported.classes_without_videos.items():
        lines.append(f"Classes of {split} without a single video: {len(classes):,} ({_some(classes)}).")
    return "\n".join(lines)


def _unlisted_text(unlisted: Mapping[str, str]) -> str:
    named = [f"{name} ({reason})" for name, reason in unlisted.items()]
    return f"Cannot be listed: {counted(len(named), 'folder')}, whose videos count as missing: {_some(named)}."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN:,} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more
