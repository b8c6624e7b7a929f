"""`vidpipe store`: inspect, relabel, verify, export and import feature stores."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.sizes import size_text
from ..stages.store.settings import ExportSettings, RelabelSettings, VerifySettings
from .groups import NearGroup
from .main import SOME_FAILED
from .options import LocalPath, json_option, setting_options
from .progress import progress_shown
from .spelling import reason_text
from .table_changes import changes_text
from .tables import counted, format_table

if TYPE_CHECKING:
    from ..pipeline.features.verify import Recompute
    from ..stages.store.commands import BackboneInfo, FileCheck, StoreInfo, VerifyReport

MAX_FAILURES = 20  # printed in full; --json lists all


@click.group(cls=NearGroup)
def command() -> None:
    """Inspect, relabel, verify, export and import feature stores."""


@command.command("info", short_help="Show what a store holds, where it comes from, and what failed.")
@click.argument("store", type=LocalPath())
@json_option
def info_command(store: Path, as_json: bool) -> None:
    """Show what STORE holds: provenance, videos by status, sizes, failures with their reasons.

    \b
    Example:
      vidpipe store info ucf101.zarr
    """  # noqa: D301 - click reads the escape as "keep these lines"
    from ..stages.store.commands import info

    found = info(store)
    click.echo(as_document(asdict(found)) if as_json else as_text(found))


@command.command("relabel", short_help="Give a store's videos the labels and splits of a manifest.")
@click.argument("store", type=LocalPath())
@click.argument("manifest", type=LocalPath())
@setting_options(RelabelSettings, leave_out={"store", "manifest"})
@json_option
def relabel_command(store: Path, manifest: Path, *, as_json: bool, **options: Any) -> None:
    """Give the videos of STORE the labels and splits of MANIFEST, and say what that changes. No video is read.

    Videos are matched by their ids, and must be the same files and intervals; or by file and interval alone, however
    paths are written, and then they keep their ids. Those that MANIFEST does not list stay as they are, and those that
    STORE does not have are named: vidpipe extract adds them. Exit code: 2 if no video is the store's, or one of the
    same id is another file or interval.

    \b
    Example:
      vidpipe store relabel ucf101.zarr corrected.csv
    """  # noqa: D301 - click reads the escape as "keep these lines"
    from ..stages.store.commands import relabel

    changes = relabel(RelabelSettings(store=store, manifest=manifest, **options))
    if as_json:
        click.echo(as_document(asdict(changes)))
        return
    click.echo("\n".join(changes_text(changes)) or "nothing changes: labels and splits are those of the manifest")


@command.command("verify", short_help="Read a whole store again, and list what is wrong with it.")
@click.argument("store", type=LocalPath())
@setting_options(VerifySettings, leave_out={"store", "tolerance"})
@click.option("--manifest", type=LocalPath(), help="A manifest of the store's videos: where they are.")
@click.option(
    "--weights",
    type=LocalPath(),
    multiple=True,
    help="Weights of a backbone of the store, a file or the run that left it; give all.",
)
@json_option
@click.pass_context
def verify_command(
    ctx: click.Context,
    store: Path,
    *,
    manifest: Path | None,
    weights: tuple[Path, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Read everything in STORE again: checksums, values, statuses. List every video with a problem.

    Exit code: 0 if all is well, 3 if there are problems.

    \b
    Example:
      vidpipe store verify ucf101.zarr
      vidpipe store verify ucf101.zarr --recompute 8 --manifest m.csv --weights runs/cheap
    """  # noqa: D301 - click reads the escape as "keep these lines"
    from ..stages.store.commands import verify

    recompute = _recompute(store, manifest, weights) if options["num_recomputed"] else None
    files = _file_check(manifest) if options["content"] else None
    settings = VerifySettings(store=store, **options)
    report = verify(settings, recompute=recompute, files=files, progress=progress_shown())
    click.echo(as_document(asdict(report)) if as_json else report_text(report))
    ctx.exit(SOME_FAILED if report.problems else 0)


def _recompute(store: Path, manifest: Path | None, weights: tuple[Path, ...]) -> "Recompute":
    from ..pipeline.features.store import FeatureStore
    from ..stages.store.recompute import recomputer

    if manifest is None or not weights:
        raise click.UsageError("--recompute needs --manifest and, for each backbone of the store, --weights")
    return recomputer(FeatureStore.open(store), manifest=manifest, weights=weights)


def _file_check(manifest: Path | None) -> "FileCheck":
    from ..stages.store.recompute import changed_files

    if manifest is None:
        raise click.UsageError("--content needs --manifest")
    return lambda store, progress: changed_files(store, manifest=manifest, progress=progress)


@command.command("export", short_help="Write a store for other programs: .h5, .parquet, or a folder of .npy.")
@click.argument("store", type=LocalPath())
@click.argument("output", type=LocalPath())
@setting_options(ExportSettings, leave_out={"store", "output"})
@json_option
def export_command(*, as_json: bool, **options: Any) -> None:
    """Write STORE for other programs; the suffix of OUTPUT says how.

    \b
    .h5       one HDF5 file, a group per video; vidpipe store import reads it
    .parquet  a row per clip and backbone: id, labels, split, start, and the
              map pooled over time and grid
    a folder  (no suffix) BACKBONE/features/ID.npy, .../scores/ID.npy,
              videos.jsonl and store.json

    A video without features has no row in a .parquet, and is listed without
    them in the others. OUTPUT appears whole or not at all.

    \b
    Example:
      vidpipe store export ucf101.zarr ucf101.h5
      vidpipe store export ucf101.zarr train.parquet --split train --backbone r2d_26
      python -c "import h5py; print(h5py.File('ucf101.h5')['jump/a/r2d_26/features'].shape)"
    """  # noqa: D301 - click reads the escape as "keep these lines"
    from ..stages.store.commands import export_store

    settings = ExportSettings(**options)
    summary = export_store(settings, progress=progress_shown())
    if as_json:
        click.echo(as_document({"output": settings.output, **asdict(summary)}))
        return
    of_each = [f"{count:,} of {summary.num_videos:,} videos of {name}" for name, count in summary.num_done.items()]
    size = size_text(summary.num_bytes)
    click.echo(f"Wrote {settings.output}: {size}; {', '.join(of_each) or 'there is no backbone'}.")


@command.command("import", short_help="Write an exported HDF5 file as a store again.")
@click.argument("file", type=LocalPath())
@click.argument("output", type=LocalPath())
def import_command(file: Path, output: Path) -> None:
    """Write the store that the HDF5 FILE was exported from to OUTPUT, equal to the original.

    \b
    Example:
      vidpipe store import ucf101.h5 copy.zarr
    """  # noqa: D301 - click reads the escape as "keep these lines"
    from ..stages.store.commands import import_store

    import_store(file, output, progress=progress_shown())
    click.echo(f"Wrote {output}.")


def as_document(report: dict[str, Any]) -> str:
    """Return a report as JSON."""
    return json.dumps(report, indent=1, default=str)


def as_text(info: "StoreInfo") -> str:
    """Return what a store holds as paragraphs."""
    splits = ", ".join(f"{split} {count:,}" for split, count in info.splits.items())
    sampling = ", ".join(f"{name} {value}" for name, value in info.sampling.items() if value is not None)
    unlisted = f"\nunlisted  {counted(info.num_unlisted, 'video')}, left out of use" if info.num_unlisted else ""
    parts = [
        f"{info.path}: {counted(info.num_videos, 'video')} of {counted(info.num_classes, 'class')} ({splits}), "
        f"{size_text(info.stored_bytes)} on disk\n"
        f"clips     {sampling}\n"
        f"manifest  {info.manifest_digest}{unlisted}"
    ]
    return "\n\n".join([*parts, *(_backbone_text(own) for own in info.backbones)])


def _backbone_text(own: "BackboneInfo") -> str:
    """Return one paragraph on a backbone, and a table of what failed."""
    ratio = f", {own.stored_bytes / own.raw_bytes:.0%} of raw" if own.raw_bytes else ""
    shape = "×".join(map(str, own.feature_shape))
    clips, scores = counted(own.clips_due, "clip"), counted(own.num_classes, "score")
    rows = [
        ("videos", ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in own.counts.items())),
        (
            "features",
            f"{shape} float16 for {clips} of each view; {scores}",
        ),
        ("size", f"{size_text(own.stored_bytes)} on disk ({own.compression}{ratio})"),
        *((name, _value_text(value)) for name, value in own.provenance.items()),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [own.name, *(f"  {name.ljust(width)}  {value}" for name, value in rows)]
    if own.failures:
        shown = [(name, reason_text(reason)) for name, reason in list(own.failures.items())[:MAX_FAILURES]]
        lines += ["", format_table(["failed", "reason"], shown)]
        if hidden := len(own.failures) - len(shown):
            lines.append(f"and {hidden:,} more; --json lists all.")
    return "\n".join(lines)


def _value_text(value: Any, longest: int = 100) -> str:
    """Return a value of the provenance on one line."""
    if isinstance(value, dict):
        text = ", ".join(f"{key} {item}" for key, item in value.items())
    elif isinstance(value, list):
        text = f"{len(value)}: {', '.join(map(str, value))}"
    else:
        text = str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def report_text(report: "VerifyReport") -> str:
    """Return the problems as a table, and a summary."""
    rows = [[each.video_id or "", each.backbone or "", each.message] for each in report.problems]
    lines = [format_table(["video", "backbone", "problem"], rows), ""] if rows else []
    if report.comparisons:
        identical = sum(each.identical for each in report.comparisons)
        worst = max(each.difference for each in report.comparisons)
        lines.append(
            f"{counted(len(report.comparisons), 'clip')} computed again: {identical} identical, largest difference "
            f"{worst:.2g}."
        )
    videos = len({each.video_id for each in report.problems if each.video_id})
    found = f"{counted(len(rows), 'problem')} in {counted(videos, 'video')}" if rows else "no problems"
    lines.append(f"{counted(report.num_done, 'video')} checked (counted once a backbone): {found}.")
    if report.num_reset:
        lines.append(f"{counted(report.num_reset, 'video')} pending again, for `vidpipe extract` to redo.")
    return "\n".join(lines)
