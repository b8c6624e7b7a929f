"""`vidpipe aggregators`."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import spelled
from ..pipeline.settings import build
from ..stages.listing.settings import AggregatorsSettings
from .flops import grid_option, parse_grid
from .options import json_option, setting_options
from .spelling import option_name
from .tables import format_table

if TYPE_CHECKING:
    from ..stages.listing.run import AggregatorEntry

EPILOG = """\b
Example, for the maps of r2plus1d_14_w16 at 112 pixels:
  vidpipe aggregators --channels 512 --grid 1x4x4 --clips 8
"""


@click.command("aggregators", epilog=EPILOG)
@setting_options(AggregatorsSettings, leave_out={"grid"})
@grid_option("Of the maps.  [default: 1x7x7]")
@json_option
def command(*, as_json: bool, grid: str | None, **options: Any) -> None:
    """List the aggregators, with their weights and what a video costs beside its backbones.

    The counts are those of vidpipe flops.
    """
    from ..stages.listing.run import list_aggregators

    settings = build(AggregatorsSettings, {**options, "grid": None if grid is None else parse_grid(grid)})
    found = list_aggregators(settings)
    click.echo(json.dumps([_document(own) for own in found], indent=1) if as_json else as_text(found, settings))


def _document(own: "AggregatorEntry") -> dict[str, Any]:
    return dataclasses.asdict(own) | {"refused": spelled(own.refused, option_name) or None}


def as_text(found: "list[AggregatorEntry]", settings: AggregatorsSettings) -> str:
    """Return a table, and why costs are missing in it."""
    header = ("aggregator", "weights", "GMACs", "what it does")
    rows = [
        [
            own.name,
            "" if own.parameters is None else f"{own.parameters:,}",
            "" if own.gmacs is None else f"{own.gmacs:.3f}",
            own.summary,
        ]
        for own in found
    ]
    shape = "×".join(map(str, settings.shape))
    told = (
        f"For maps of {shape} and {settings.num_classes:,} classes; GMACs a video of {settings.num_clips:,} clips. "
        "--json has their sources and options."
    )
    refused = [f"{own.name}: {spelled(own.refused, option_name)}" for own in found if own.refused]
    return "\n".join([format_table(header, rows, right=(1, 2)), "", *refused, told])
