"""`vidpipe flops`."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..pipeline.errors import SettingsError
from ..pipeline.settings import build
from ..stages.flops.settings import FlopsSettings
from .options import json_option, setting_options
from .tables import format_table

if TYPE_CHECKING:
    from ..pipeline.costs.paper_tables import Comparison, PaperTable
    from ..stages.flops.count import FlopsReport

EPILOG = """\b
Examples:
  vidpipe flops --backbone r2plus1d_50 --frames 8 --size 224
  vidpipe flops --aggregator fast-gru --channels 2048 --grid 1x7x7 --clips 32
  vidpipe flops --expensive r2plus1d_50 --cheap r2d_26 --pattern 1:3 --frames 8 --clips 32
  vidpipe flops --preset faster32 --pattern 1:3
  vidpipe flops --paper-table 4
  vidpipe flops --paper-table peers
"""
GIGA = 10**9
F = TypeVar("F", bound=Callable[..., Any])


def grid_option(words: str) -> Callable[[F], F]:
    """Return a decorator that gives a command ``--grid``, whose text `parse_grid` reads; ``words`` are its help."""
    return click.option("--grid", metavar="TxHxW", help=words)


@click.command("flops", epilog=EPILOG)
@setting_options(FlopsSettings, leave_out={"grid"})
@grid_option("Of the maps, for an aggregator alone, as 1x7x7.")
@click.option(
    "--paper-table",
    metavar="2|4|5|6|peers",
    help="Print this table of the FASTER paper, or model zoos' figures, beside ours.",
)
@json_option
def command(*, as_json: bool, paper_table: str | None, grid: str | None, **options: Any) -> None:
    """Count what a backbone, an aggregator or a whole setting costs, per clip and per video.

    The count comes from running the networks' shapes, without computing anything. Convolutions and matrix products
    count.
    """
    from ..stages.flops.count import compare_with_paper, run

    if paper_table is not None:
        _refuse_beside_table({**options, "grid": grid})
        table, cells = compare_with_paper(paper_table)
        click.echo(json.dumps(_table_document(table, cells), indent=2) if as_json else _table_text(table, cells))
        return
    report = run(build(FlopsSettings, {**options, "grid": None if grid is None else parse_grid(grid)}))
    click.echo(json.dumps(_report_document(report), indent=2) if as_json else report_text(report))


def parse_grid(text: str) -> tuple[int, int, int]:
    """Return (T', H', W') from ``text``, such as 1x7x7.

    Raises:
        SettingsError: if it is not of that form.
    """
    match = re.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})[x×]([0-9]{1,6})", text)
    if match is None:
        raise SettingsError(f"--grid must be TxHxW with whole numbers, as 1x7x7; got {text!r}")
    time, height, width = map(int, match.groups())
    return time, height, width


def _refuse_beside_table(options: dict[str, Any]) -> None:
    """Raise SettingsError if anything is given that would change what the table counts."""
    # The convention has a default, so it is never missing; all other options are None unless given.
    changed = options.pop("convention") != "mac" or any(value is not None for value in options.values())
    if changed:
        raise SettingsError(
            "--paper-table stands alone, or with --json: its settings and its convention are those of the table"
        )


def report_text(report: "FlopsReport") -> str:
    """Return a count as a heading and a table."""
    from ..pipeline.costs.conventions import CONVENTIONS

    cost = report.cost
    rows = [
        [part.name, part.network, f"{part.num_clips:,}", _figure(part.per_clip), _figure(part.per_video)]
        for part in cost.parts
    ]
    if len(rows) > 1:
        rows.append(["sum", "", f"{cost.num_clips:,}", _figure(cost.per_clip), _figure(cost.per_video)])
    table = format_table(("part", "network", "clips", "a clip", "a video"), rows, right=range(2, 5))
    return f"{heading(report)}\n{CONVENTIONS[cost.convention].unit}:\n\n{table}"


def heading(report: "FlopsReport") -> str:
    """Return what was counted, in words."""
    own = report.counted
    clips = "1 clip" if own["num_clips"] == 1 else f"{own['num_clips']:,} clips"
    if report.kind == "aggregator":
        return f"{own['aggregator']} over {clips}, maps {_times([*own['grid'], own['channels']])}"
    clips += f" of {own['num_frames']} frames at {_times([own['crop']] * 2)}"
    if report.kind == "backbone":
        return f"{own['backbone']}, {clips}, maps {_times(own['feature_shape'])}"
    networks = [part.network for part in report.cost.parts]
    return f"{', '.join(networks)}; {clips}, {own['pattern']}"


def _report_document(report: "FlopsReport") -> dict[str, Any]:
    """Return a count as JSON values; costs are 10^9 operations."""
    from ..pipeline.costs.conventions import CONVENTIONS

    cost = report.cost
    parts = [{**dataclasses.asdict(part), "per_clip": part.per_clip} for part in cost.parts]
    for entry in parts:
        entry |= {name: entry[name] / GIGA for name in ("per_clip", "per_video")}
    return {
        "kind": report.kind,
        **report.counted,
        "convention": cost.convention,
        "unit": CONVENTIONS[cost.convention].unit,
        "parts": parts,
        "per_clip": cost.per_clip / GIGA,
        "per_video": cost.per_video / GIGA,
    }


def _table_text(table: "PaperTable", cells: "tuple[Comparison, ...]") -> str:
    """Return a published table beside ours, one line per figure."""
    rows = [
        [
            cell.row,
            cell.column,
            f"{cell.ours:.2f}",
            f"{cell.paper:.{table.decimals}f}",
            f"{100 * cell.difference:+.2f} %",
            cell.remark,
        ]
        for cell in cells
    ]
    header = ("row", "column", "ours", table.printed_by, "difference", "remark")
    close = sum(cell.agrees for cell in cells)
    return "\n".join(
        [
            f"{table.title}: {table.caption} (a multiply-accumulate is one FLOP)",
            "",
            format_table(header, rows, right=range(2, 5)),
            "",
            f"{close} of {len(cells)} figures within {_tolerance()} of the {table.printed_by}'s.",
        ]
    )


def _tolerance() -> str:
    from ..pipeline.costs.paper_tables import TOLERANCE

    return f"{100 * TOLERANCE:.1f} %"


def _table_document(table: "PaperTable", cells: "tuple[Comparison, ...]") -> dict[str, Any]:
    """Return a published table beside ours as JSON values; ``difference`` is a share of the published figure."""
    from ..pipeline.costs.paper_tables import TOLERANCE

    entries = [{**dataclasses.asdict(cell), "difference": cell.difference, "agrees": cell.agrees} for cell in cells]
    return {"table": table.name, "caption": table.caption, "tolerance": TOLERANCE, "cells": entries}


def _figure(operations: float) -> str:
    return f"{operations / GIGA:,.3f}"


def _times(sizes: list[int]) -> str:
    return "×".join(map(str, sizes))
