"""`vidpipe render`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Example, the set of the demo:
  vidpipe render demo/videos --size 64 --difficulty easy --host 1.5 --bar-life 2
"""


class Difficulty(click.ParamType):
    """easy, medium, hard, or a number from 0 to 1."""

    name = "easy|medium|hard|0..1"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        from ..pipeline.rendering import DIFFICULTIES

        try:
            return DIFFICULTIES[value] if value in DIFFICULTIES else float(value)
        except ValueError:
            self.fail(f"{value!r} is neither easy, medium or hard nor a number from 0 to 1.", param, ctx)


@click.command(epilog=EPILOG)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--videos", default=480, show_default=True, help="How many; more begin with the same ones.")
@click.option("--seed", default=0, show_default=True, help="Another seed gives another set.")
@click.option(
    "--difficulty", type=Difficulty(), default="medium", show_default=True, help="Noise, contrast, clutter, shake."
)
@click.option("--size", default=80, show_default=True, help="Height of the frames, pixels; widths vary.")
@click.option("--frames", default=64, show_default=True, help="Frames in a video.")
@click.option("--events", "num_events", default=3, show_default=True, help="E kinds of visitor: 2 E (E - 1) classes.")
@click.option("--clip-frames", default=8, show_default=True, help="Clips up to this long never see both acts.")
@click.option("--act-frames", type=int, help="Longest act, frames; rests take what is left.  [default: as fits]")
@click.option("--host", default=1.0, show_default=True, help="Size of the host, times the usual: more bars to see.")
@click.option("--bar-life", default=4, show_default=True, help="Frames from one leap of the bars to the next.")
@click.option("--test-fraction", default=0.25, show_default=True, help="Part of each class for the split 'test'.")
@click.option("--workers", type=click.IntRange(min=1), help="Videos rendered at a time. [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def command(out: Path, *, videos: int, test_fraction: float, workers: int | None, as_json: bool, **scene: Any) -> None:
    """Render a labelled set of real H.264 files into the folder OUT, with a manifest.

    A class is two visitors in their order, and the direction in which the bars across their host go. No single clip
    shows both visitors, and only a backbone that resolves fine motion sees which way the bars go. The same command
    completes a set that was interrupted.
    """
    from functools import partial

    from tqdm import tqdm

    from ..pipeline.rendering import SceneSettings
    from ..stages.render import RenderSettings, run

    settings = RenderSettings(
        out=out, videos=videos, test_fraction=test_fraction, workers=workers, scene=SceneSettings(**scene)
    )
    summary = run(settings, progress=partial(tqdm, unit="video", desc="rendering", disable=None))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
        return
    bounds = summary.bounds
    click.echo(
        f"Rendered {summary.rendered} of {summary.videos} videos in {summary.seconds:.1f} s: "
        f"{summary.num_classes} classes, {summary.train} to train and {summary.test} to test, "
        f"{summary.bytes / 1e6:.0f} MB."
    )
    click.echo(
        f"By construction one clip suffices for {bounds['one_clip']:.0%} at most, order-blind averaging for "
        f"{bounds['all_clips_without_order']:.0%}."
    )
    click.echo(f"Manifest: {summary.manifest}")
