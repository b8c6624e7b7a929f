"""Options that the commands which train have in common."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def optimisation_options(*, optimizer: str, weight_decay: float, warmup: str) -> Callable[[F], F]:
    """Return a decorator that adds what steers the optimizer, beside epochs, batch and rates.

    Args:
        optimizer: the default.
        weight_decay: the default.
        warmup: the default in words.
    """
    options = (
        click.option(
            "--optimizer",
            type=click.Choice(["sgd", "adamw"]),
            default=optimizer,
            show_default=True,
            help="Optimizer.",
        ),
        click.option("--weight-decay", default=weight_decay, show_default=True, help="Weight decay."),
        click.option(
            "--warmup-epochs", type=float, help=f"Linear rise of the rate over so many epochs.  [default: {warmup}]"
        ),
        click.option("--label-smoothing", default=0.0, show_default=True, help="Label smoothing."),
        click.option("--seed", default=0, show_default=True, help="Of initial weights and of every draw."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1."),
    )
    return lambda command: _with(options, command)


def live_options(command: F) -> F:
    """Add what steers training on videos: precision, threads, memory for videos, checkpoints."""
    options = (
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16"]),
            default="auto",
            show_default=True,
            help="Of the forward passes. auto: bfloat16 where the machine has it.",
        ),
        click.option(
            "--threads", type=int, help="Of the network, on a CPU; 1 is best for small ones.  [default: the cores]"
        ),
        click.option("--workers", type=int, help="Threads that read clips.  [default: the cores]"),
        click.option(
            "--cache-gib", default=2.0, show_default=True, help="Keep decoded videos in memory if they fit in this."
        ),
        click.option(
            "--checkpoint-seconds",
            default=5.0,
            show_default=True,
            help="Write a checkpoint after an epoch, at most this often; within one, twelve times as seldom.",
        ),
    )
    return _with(options, command)


def take_fields(options: dict[str, Any], kind: type) -> dict[str, Any]:
    """Take those options out that are fields of the dataclass ``kind``."""
    return {field.name: options.pop(field.name) for field in dataclasses.fields(kind) if field.name in options}


def trained_precision(name: str, device: str) -> str:
    """Return the precision to train in where ``name`` is asked for: "float32" or "bfloat16"."""
    from ..pipeline.backbones.devices import resolve_device, resolve_precision

    return "bfloat16" if resolve_precision(name, resolve_device(device)) == "bfloat16" else "float32"


def _with(options: tuple[Callable[[F], F], ...], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command
