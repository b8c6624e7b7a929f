"""`vidpipe render`."""

import dataclasses
import json
from typing import Any

import click

from ..pipeline.settings import build
from ..stages.render.settings import RenderSettings
from .options import LocalPath, json_option, setting_options
from .progress import progress_shown
from .tables import counted

EPILOG = """\b
Example, the set of the demo:
  vidpipe render demo/videos --size 64 --difficulty easy --host 1.5 --bar-life 2
"""


@click.command(epilog=EPILOG)
@click.argument("out", type=LocalPath(file_okay=False))
@setting_options(RenderSettings, leave_out={"out"})
@json_option
def command(*, as_json: bool, **options: Any) -> None:
    """Render a labelled set of real H.264 files into the folder OUT, with a manifest.

    A class is two visitors in order, and the direction in which the bars across their host move. No single clip shows
    both visitors, and only a backbone that resolves fine motion sees which way the bars move. The same command
    completes a set that was interrupted.
    """
    from ..stages.render.run import run

    summary = run(build(RenderSettings, options), progress=progress_shown())
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
        return
    bounds = summary.bounds
    click.echo(
        f"Rendered {summary.rendered} of {counted(summary.videos, 'video')} in {summary.seconds:.1f} s: "
        f"{counted(summary.num_classes, 'class')}, {summary.train} to train and {summary.test} to test, "
        f"{summary.bytes / 1e6:.0f} MB."
    )
    click.echo(
        f"By construction one clip suffices for {bounds['one_clip']:.0%} at most, order-blind averaging for "
        f"{bounds['all_clips_without_order']:.0%}."
    )
    click.echo(f"Manifest: {summary.manifest}")
