"""The `vidpipe` command: finds sub-commands by name, and turns errors into messages and exit codes."""

import importlib
import os
import sys
from typing import Any

import click

from ..pipeline.errors import ManifestError, SettingsError, VidpipeError
from .groups import NearGroup
from .spelling import known_otherwise, option_name

# Let torch's threads sleep while they wait for each other. If they spin instead, they slow each other down many times
# over as soon as anything else runs, such as our own decoders. This must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FAILED, _USAGE, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130

# Name -> (module of this folder that defines `command`, one line for the overview). Modules are imported only when they
# are needed, so that `vidpipe --help` loads neither torch nor zarr.
COMMANDS = {
    "manifest": ("manifest", "Make and check manifests: the lists of videos."),
    "render": ("render", "Render a labelled set of real video files to try vidpipe on."),
    "train-backbone": ("train_backbone", "Train a clip backbone from scratch."),
    "extract": ("extract", "Run an expensive and a cheap backbone over videos into a feature store."),
    "probe": ("probe", "Fit a linear classifier on pooled features: the quick baseline."),
    "store": ("store", "Inspect, relabel, verify, export and import feature stores."),
    "train-aggregator": ("train_aggregator", "Train an aggregator on a feature store."),
    "sweep": ("sweep", "Train many aggregators on one store, and compare accuracy and cost."),
    "finetune": ("finetune", "Train backbones and aggregator together, end to end."),
    "evaluate": ("evaluate", "Score runs: accuracy against cost, predictions and pictures."),
    "backbones": ("backbones", "List the clip backbones, with their costs."),
    "weights": ("weights", "List, inspect, fetch and convert published weights."),
    "aggregators": ("aggregators", "List the aggregators, with their costs."),
    "flops": ("flops", "Count what backbones, aggregators and whole settings cost."),
}


class LazyGroup(NearGroup):
    """A group whose commands are imported on use, and whose expected errors end in one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command called ``cmd_name``."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command, and explain the errors that vidpipe expects."""
        try:
            return super().invoke(ctx)
        except VidpipeError as error:
            click.echo(f"Error: {error.text(option_name)}", err=True)
            # Wrong settings and manifests can be corrected before a run starts, as wrong options can: the same code.
            ctx.exit(_USAGE if isinstance(error, SettingsError | ManifestError) else FAILED)
        except click.NoSuchOption as error:
            now = known_otherwise(error.ctx.command, error.option_name) if error.ctx else None
            if now is None:
                raise
            raise click.UsageError(now, error.ctx) from error
        except BrokenPipeError:
            raise  # click ends quietly if the reader of our output, such as head, goes away
        except OSError as error:
            click.echo(f"Error: {_reason(error)}", err=True)
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            click.echo("Stopped. What is done is kept; the same command goes on from there.", err=True)
            ctx.exit(INTERRUPTED)


def _reason(error: OSError) -> str:
    """Return what failed and what to do, about a file or folder that the system refuses."""
    reason = error.strerror or str(error)
    if not error.filename:
        return reason
    return f"{error.filename} cannot be read or written: {reason}. Choose another place, or see to its permissions"


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vidpipe")
def main() -> None:
    """Classify a lot of video without running a big network on every second of it.

    Clip backbones run once over the videos, into a feature store; aggregators train and are scored on that cache.
    """


if __name__ == "__main__":
    sys.exit(main())
