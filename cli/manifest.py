"""`vidpipe manifest`: make manifests, and check the files that they list."""

import json
from collections import Counter
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.manifests.settings import FoldersSettings
from ..pipeline.settings import build
from ..stages.check_manifest.settings import CheckSettings
from .groups import NearGroup
from .main import SOME_FAILED
from .manifest_example import example, schema
from .manifest_official import official_commands
from .manifest_output import (
    MAX_ROWS,
    check_output,
    look_alike_lines,
    passed_over_lines,
    repeat_lines,
    split_table,
    write,
    written_text,
)
from .options import LocalPath, setting_options
from .progress import progress_shown
from .spelling import reason_text
from .tables import counted, format_table

if TYPE_CHECKING:
    from ..stages.check_manifest.run import CheckReport, VideoReport


_CLASSES_AT_ENDS = 10  # the largest and the smallest, where there are more than MAX_ROWS


@click.group(cls=NearGroup)
def command() -> None:
    """Make and check manifests: the lists of videos that everything else starts from.

    A manifest is a CSV or Parquet file with the columns path, label, split, and optionally video_id, start, end, group;
    other columns are kept as they are. 'vidpipe manifest schema' says what each means, and 'vidpipe manifest example'
    prints one.
    """


@command.command("from-folders", short_help="List the videos of a directory in which each folder is a class.")
@click.argument("directory", type=LocalPath(exists=True, file_okay=False))
@click.option("-o", "--out", "output", type=LocalPath(), required=True, help="The manifest: .csv or .parquet.")
@setting_options(FoldersSettings, leave_out={"directory"})
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.pass_context
def from_folders(ctx: click.Context, *, output: Path, force: bool, **options: Any) -> None:
    """List the videos of DIRECTORY, in which each folder is a class.

    Videos may lie deeper within the folder of their class. Links are followed, and a file that is reached twice is
    listed once. A file without a video's extension counts by its first bytes, unless its extension is one of text,
    pictures, sound, archives or unfinished downloads, such as .txt. What is passed over is counted and named; a file or
    folder that cannot be read is, with the reason.

    Every class is split separately, so adding a class does not change the others; each keeps at least one video to
    train on. With --group-by, videos that belong together (one recording, one person) stay in one split; those in whose
    path the pattern finds nothing are counted and named. Paths are written relative to the manifest.

    \b
    Exit code: 0 if all is well, 3 if files or folders were left out
    whose names no manifest can hold, or that could not be read.

    \b
    Example:
      videos/jump/a.mp4  videos/jump/b.mp4  videos/wave/c.mp4 …
      vidpipe manifest from-folders videos -o videos.csv --test-fraction 0.25
      vidpipe manifest from-folders videos -o videos.csv --group-by 'subject\\d+'
    """  # noqa: D301 - click reads the escape as "keep these lines"
    from ..pipeline.manifests.folders import list_folders

    check_output(output, force=force)
    found = list_folders(build(FoldersSettings, options), progress=progress_shown())
    write(found.manifest.relative_to(output.parent), output)
    click.echo("\n".join([written_text(found.manifest, output), *passed_over_lines(found)]))
    ctx.exit(SOME_FAILED if found.lost else 0)


@command.command(short_help="Probe every file of a manifest, and list what is wrong.")
@click.argument("manifest", type=LocalPath())
@setting_options(CheckSettings, leave_out={"manifest"})
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with every video, instead of tables.")
@click.option("--all", "show_all", is_flag=True, help=f"Show the good videos even if there are more than {MAX_ROWS}.")
@click.pass_context
def check(ctx: click.Context, *, as_json: bool, show_all: bool, **options: Any) -> None:
    """Probe every file of MANIFEST, and list what is in it and what is wrong; then the classes and splits.

    Problems: missing, empty, unreadable, no video stream, picture, no frames, encrypted, too
    large (for memory, or --max-pixels), truncated (less is there than
    the header announces), damaged (frames that decode wrongly, or not at all), duplicate id, empty label, and start or
    end beyond the duration. Notes, which keep no video from being used: gaps, rates and durations that cannot be right,
    timestamps that begin again, a second file behind the first, several video streams, pictures whose size, rotation,
    pixel format or dynamic range changes, and HDR (PQ or HLG). All are printed in full; the good videos only while the
    table is short, or with --all.

    The rate is that of the time in which there are frames: gaps do not count. "mean" stands beside it where some frames
    are shown longer than others.

    \b
    Exit code: 0 if all is well, 3 if some videos have problems,
    2 if the manifest is wrong in itself.

    \b
    Example:
      vidpipe manifest check videos.csv
      vidpipe manifest check videos.csv --json | jq '.videos[] | select(.problems != [])'
    """  # noqa: D301 - click reads the escape as "keep these lines"
    from ..stages.check_manifest.run import run

    report = run(build(CheckSettings, options), progress=progress_shown())
    click.echo(json.dumps(as_document(report), indent=1) if as_json else as_text(report, show_all=show_all))
    ctx.exit(SOME_FAILED if report.faulty else 0)


for further in (*official_commands(), schema, example):
    command.add_command(further)


def as_text(report: "CheckReport", *, show_all: bool = False) -> str:
    """Return the table of the videos, or of those with problems if there are many, and a summary."""
    shown = report.videos if show_all or len(report.videos) <= MAX_ROWS else report.remarkable
    header = ["line", "path", "codec", "size", "rate", "duration", "frames", "problem"]
    parts = [format_table(header, [_row(video) for video in shown], right=(0, 3, 4, 5, 6))] if shown else []
    if hidden := len(report.videos) - len(shown):
        parts.append(f"{counted(hidden, 'video')} without problems not shown; --all shows them.")
    made_of = report.composition
    most, ends = (len(made_of.classes), 0) if show_all else (MAX_ROWS, _CLASSES_AT_ENDS)
    return "\n\n".join([*parts, split_table(made_of, most=most, ends=ends), _summary(report)])


def as_document(report: "CheckReport") -> dict[str, Any]:
    """Return the whole report in JSON's types."""
    made_of = report.composition
    return {
        "manifest": str(report.settings.manifest),
        "decoded": report.settings.decode,
        "num_videos": len(report.videos),
        "num_files": len(report.files),
        "num_videos_with_problems": len(report.faulty),
        "problems": report.problem_counts,
        "classes": made_of.classes,
        "splits": made_of.splits,
        "num_videos_without_label": made_of.unlabelled,
        "look_alikes": [asdict(own) for own in made_of.look_alikes],
        "groups_in_several_splits": made_of.shared_groups,
        "files_in_several_splits": report.repeats.splits,
        "files_with_several_labels": report.repeats.labels,
        "columns": made_of.own_columns,
        "notes": report.note_counts,
        "videos": [_entry(video) for video in report.videos],
    }


def _row(report: "VideoReport") -> list[str]:
    told = [problem.message for problem in report.problems] + [f"note: {note.message}" for note in report.notes]
    problems = reason_text("; ".join(told))
    info = report.info
    if info is None:
        return [str(report.line), report.video.written_path, "", "", "", "", "", problems]
    return [
        str(report.line),
        report.video.written_path,
        info.codec,
        f"{info.width}×{info.height}",
        f"{info.shown_fps:.2f}/s" + (" mean" if info.variable_rate else ""),
        f"{info.duration_seconds:.2f} s",
        str(info.num_frames),
        problems,
    ]


def _entry(report: "VideoReport") -> dict[str, Any]:
    video, info = report.video, report.info
    entry: dict[str, Any] = {
        "line": report.line,
        "video_id": video.video_id,
        "path": video.written_path,
        "labels": list(video.labels),
        "split": video.split,
        "start": video.start,
        "end": video.end,
        "columns": dict(video.columns),
        "info": None,
        "problems": [{"kind": problem.kind, "message": problem.message} for problem in report.problems],
        "notes": [{"kind": note.kind, "message": note.message} for note in report.notes],
    }
    if info is not None:
        entry["info"] = {key: _plain(value) for key, value in asdict(info).items() if key != "path"}
    return entry


def _plain(value: Any) -> Any:
    """Return a fraction as a float, and any other value unchanged."""
    return float(value) if isinstance(value, Fraction) else value


def _summary(report: "CheckReport") -> str:
    from ..pipeline.manifests.splitting import both_sides_words

    infos = [info for info in report.files.values() if info is not None]
    codecs = Counter(info.codec for info in infos)
    seconds = sum(info.duration_seconds for info in infos)
    files = counted(len(report.files), "file") + ("" if report.settings.decode else ", headers only")
    lines = [f"{counted(len(report.videos), 'video')} in {files}: {_hours(seconds)} of video"]
    if codecs:
        lines[0] += f" ({', '.join(f'{codec} {count}' for codec, count in codecs.most_common())})"
    lines += look_alike_lines(report.composition)
    if shared := report.composition.shared_groups:
        lines.append(f"{both_sides_words(shared)}.")
    lines += repeat_lines(report.repeats)
    if own := report.composition.own_columns:
        lines.append(f"Columns of your own: {', '.join(map(repr, own))}.")
    counts = ", ".join(f"{count} {kind}" for kind, count in report.problem_counts.items())
    lines.append(f"{len(report.faulty)} with problems: {counts}" if counts else "No problems.")
    if report.note_counts:
        noted = ", ".join(f"{count} {kind}" for kind, count in report.note_counts.items())
        lines.append(f"{sum(1 for video in report.videos if video.notes)} with notes: {noted}")
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
