"""`vidpipe train-backbone`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from .main import SOME_FAILED
from .presets import SETTING_NAMES, backbone_defaults, preset_option
from .training_options import live_options, optimisation_options, take_fields, trained_precision

EPILOG = """\b
Example, the small cheap backbone of the demo:
  vidpipe train-backbone --manifest demo/videos/manifest.csv --backbone r2d_14_w8 --size 40 --out demo/cheap
"""


@click.command("train-backbone", epilog=EPILOG)
@preset_option(backbone_defaults, names=("kinetics", *SETTING_NAMES))
@click.option("--manifest", type=click.Path(path_type=Path), required=True, help="CSV or Parquet list of videos.")
@click.option("--backbone", required=True, help="Registered name, such as r2d_26, r2plus1d_50, r2plus1d_14_w16.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run directory; an unfinished run goes on.")
@click.option("--split", default="train", show_default=True, help="The videos to train on.")
@click.option("--val-split", help="Score these each epoch and keep the best epoch (else the last, as in the paper).")
@click.option("--frames", "num_frames", type=int, show_default=True, help="Frames in a clip; see above.")
@click.option("--stride", "sampling_rate", type=int, show_default=True, help="Take every so many frames; see above.")
@click.option("--fps", type=float, help="Resample to this rate by time.  [default: the videos' own frames]")
@click.option("--size", "crop", default=224, show_default=True, help="Side of the square input, pixels.")
@click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror half of the clips.")
@click.option("--dropout", default=0.0, show_default=True, help="Before the classifier.")
@click.option("--epochs", default=45, show_default=True, help="Visits of each video, one random clip a visit.")
@click.option("--batch-size", default=32, show_default=True, help="Clips a step.")
@click.option("--learning-rate", default=0.01, show_default=True, help="Peak rate; a cosine takes it to 0.")
@optimisation_options(optimizer="sgd", weight_decay=1e-4, warmup="2, or less")
@live_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, **options: Any) -> None:
    """Train a clip backbone from scratch and write its weights.

    Clips are those that the backbone is known for, unless you or a preset say otherwise: 8 frames in a row; of
    slow_only 8 at stride 8, of r2plus1d_*_ptv 16 at stride 2, of i3d and slowfast 32 at stride 2.

    Writes weights.safetensors (with class list and preprocessing), metrics.jsonl, curves.png and failures.json into the
    run directory. Killed or stopped, the same command goes on and ends with the same weights.
    """
    from ..pipeline.optimisation import OptimisationSettings
    from ..stages.train_backbone import TrainBackboneSettings, run

    options |= unsaid_clip(options)
    options["precision"] = trained_precision(options["precision"], options["device"])
    if options["warmup_epochs"] is None:
        options["warmup_epochs"] = min(2.0, options["epochs"] / 10)
    optimisation = OptimisationSettings(**take_fields(options, OptimisationSettings))
    summary = run(TrainBackboneSettings(optimisation=optimisation, **options))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), default=str, indent=2))
    else:
        figures = ", ".join(
            f"{name} {summary.metrics[name]:.3g}"
            for name in ("loss", "accuracy", "val_accuracy")
            if name in summary.metrics
        )
        click.echo(
            f"Trained {options['backbone']} on {summary.num_videos} videos of {len(summary.classes)} classes in "
            f"{summary.seconds:.0f} s: {figures}."
        )
        click.echo(f"Weights: {summary.weights} (sha256 {summary.digest[:12]}…)")
    if summary.failures:
        for video_id, reason in summary.failures.items():
            click.echo(f"failed: {video_id}: {reason}", err=True)
        ctx.exit(SOME_FAILED)


def unsaid_clip(options: dict[str, Any]) -> dict[str, int]:
    """Return frames and stride of the clips that the backbone is known for, where ``options`` do not say them.

    Raises:
        SettingsError: if there is no such backbone.
    """
    from ..pipeline.backbones import usual_clip

    frames, stride = usual_clip(options["backbone"])
    usual = {"num_frames": frames, "sampling_rate": stride}
    return {name: value for name, value in usual.items() if options[name] is None}
