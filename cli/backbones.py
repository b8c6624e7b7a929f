"""`vidpipe backbones`."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import spelled
from ..pipeline.settings import build
from ..stages.listing.settings import BackbonesSettings
from .options import json_option, setting_options
from .progress import progress_shown
from .spelling import option_name
from .tables import format_table

if TYPE_CHECKING:
    from ..stages.listing.run import BackboneEntry

EPILOG = """\b
Examples, all families, and all variants of two networks:
  vidpipe backbones
  vidpipe backbones r2d_14 r2plus1d_14 --narrow --size 112
"""


@click.command("backbones", epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@setting_options(BackbonesSettings, leave_out={"names"})
@json_option
def command(*, as_json: bool, **options: Any) -> None:
    """List the clip backbones, with their weights and what a clip costs; with NAME those that have it in their name.

    The counts are those of vidpipe flops. Widths below the full one are named by their ending: r2d_14_w16.
    """
    from ..stages.listing.run import list_backbones

    settings = build(BackbonesSettings, options)
    found = list_backbones(settings, progress=progress_shown())
    click.echo(json.dumps([_document(own) for own in found], indent=1) if as_json else as_text(found, settings))


def _document(own: "BackboneEntry") -> dict[str, Any]:
    return dataclasses.asdict(own) | {"refused": spelled(own.refused, option_name) or None}


def as_text(found: "list[BackboneEntry]", settings: BackbonesSettings) -> str:
    """Return a table, and why costs are missing in it."""
    header = ("backbone", "frames", "stride", "weights", "GMACs", "map", "narrower")
    rows = [
        [
            own.name,
            str(own.num_frames),
            str(own.sampling_rate),
            f"{own.parameters / 1e6:.2f} M",
            "" if own.gmacs is None else f"{own.gmacs:.3f}",
            "" if own.feature_shape is None else "×".join(map(str, own.feature_shape)),
            " ".join(name.removeprefix(own.name) for name in own.narrower),
        ]
        for own in found
    ]
    size = f"{settings.crop}×{settings.crop}"
    told = f"Weights with {settings.num_classes:,} classes, GMACs a clip of {size} pixels."
    refused = [f"{own.name}: {spelled(own.refused, option_name)}" for own in found if own.refused]
    return "\n".join([format_table(header, rows, right=range(1, 5)), "", *refused, told])
