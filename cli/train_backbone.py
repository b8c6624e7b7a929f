"""`vidpipe train-backbone`."""

import dataclasses
import json
from typing import Any

import click

from ..pipeline.settings import build
from ..stages.presets import recipes_of
from ..stages.train_backbone.settings import TrainBackboneSettings
from .defaults import with_defaults
from .main import SOME_FAILED
from .options import json_option, setting_options
from .presets import preset_option
from .progress import progress_shown, show_warnings

EPILOG = """\b
Example, the small cheap backbone of the demo:
  vidpipe train-backbone --manifest demo/videos/manifest.csv --backbone r2d_14_w8 --size 40 --out demo/cheap
"""


@click.command("train-backbone", epilog=EPILOG)
@preset_option("train_backbone")
@setting_options(TrainBackboneSettings, leave_out={"zero_init_residual"}, recipes=recipes_of("train_backbone"))
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, **options: Any) -> None:
    """Train a clip backbone from scratch and write its weights.

    A clip has the backbone's usual frames, unless you or a preset say otherwise: 8; for r2plus1d_*_ptv 16, for i3d and
    slowfast 32. Its stride follows the videos: a clip spans half of a typical one, or two seconds of it. The recipe
    follows their number. What was chosen is said first, and recorded in the weights and the run.

    Writes weights.safetensors (with class list and preprocessing), metrics.jsonl, curves.png and failures.json into the
    run directory. After a stop or a kill, the same command goes on and ends with the same weights.
    """
    from ..stages.train_backbone.run import run

    options = with_defaults(ctx, "train_backbone", options)
    summary = run(build(TrainBackboneSettings, options), progress=progress_shown())
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
    else:
        figures = ", ".join(
            f"{name} {summary.metrics[name]:.3g}"
            for name in ("loss", "accuracy", "val_accuracy")
            if name in summary.metrics
        )
        what = f"{options['backbone']} on {summary.num_videos} videos of {len(summary.classes)} classes"
        if summary.already_done:
            click.echo(f"This run was done already. {what}: {figures}.")
        else:
            click.echo(f"Trained {what} in {summary.seconds:.0f} s: {figures}.")
        click.echo(f"Weights: {summary.weights} (sha256 {summary.digest[:12]}…)")
        show_warnings(summary.warnings)
    if summary.failures:
        for video_id, reason in summary.failures.items():
            click.echo(f"failed: {video_id}: {reason}", err=True)
        ctx.exit(SOME_FAILED)
