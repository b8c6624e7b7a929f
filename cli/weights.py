"""`vidpipe weights`: published weights, and files of other programs."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.settings import build
from ..stages.weights.settings import ConvertSettings, FetchSettings, InspectSettings, ListSettings
from .groups import NearGroup
from .options import LocalPath, json_option, setting_options
from .progress import progress_shown
from .tables import format_table

if TYPE_CHECKING:
    from ..pipeline.checkpoints.published import Published
    from ..stages.weights.run import Inspection


@click.group("weights", cls=NearGroup)
def command() -> None:
    """List, inspect, fetch and convert published weights."""


@command.command("list")
@setting_options(ListSettings)
@json_option
def list_command(*, as_json: bool, **options: Any) -> None:
    """List published weights, with what their sources say of them; nothing of it was measured here."""
    from ..stages.weights.run import list_published

    found = list_published(build(ListSettings, options))
    click.echo(json.dumps([asdict(own) for own in found], indent=1) if as_json else _table(found))


def _table(found: "list[Published]") -> str:
    if not found:
        from ..pipeline.checkpoints.published import published

        return f"None of the {len(published())} published weights passes."
    header = ("name", "source", "frames", "stride", "GMACs a clip", "at", "top-1", "protocol", "licence")
    rows = [
        [own.name, own.dialect, str(own.frames), str(own.stride), _figure(own.gmacs), _figure(own.size),
         _figure(own.top1), own.protocol, own.licence] for own in found
    ]  # fmt: skip
    return format_table(header, rows, right=range(2, 7))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


@command.command("show")
@click.argument("name")
@json_option
def show_command(name: str, *, as_json: bool) -> None:
    """Show all that the registry has of the weights called NAME."""
    from ..stages.weights.run import show_published

    own = show_published(name)
    click.echo(json.dumps(own, indent=1) if as_json else _pairs(own))


def _pairs(own: dict[str, Any]) -> str:
    return "\n".join(f"{name:<10}  {value}" for name, value in own.items() if value not in (None, ""))


@command.command("inspect")
@click.argument("file", type=LocalPath(), metavar="WEIGHTS")
@click.option("--as", "read_as", default="", metavar="BACKBONE", help="Compare with this network.")
@json_option
def inspect_command(*, as_json: bool, **options: Any) -> None:
    """Say what WEIGHTS are, a file, run or folder of a model, of vidpipe's or of another program; nothing is run."""
    from ..stages.weights.run import inspect

    found = inspect(build(InspectSettings, options))
    click.echo(json.dumps(asdict(found), default=str, indent=1) if as_json else _inspection(found))


def _inspection(found: "Inspection") -> str:
    lines = [f"{found.path}: {found.container}, {found.num_tensors} tensors, sha256 {found.sha256}"]
    if found.published:
        lines.append(f"  published as {found.published}")
    for own in found.networks:
        recipe = f", recipe {own['recipe']}" if own["recipe"] else ""
        classes = "no classifier" if own["num_classes"] is None else f"{own['num_classes']} classes"
        lines.append(f"  {own['backbone']} as {own['dialect']} spells it, {classes}{recipe}")
    if found.stranger:
        lines.append(f"  {found.stranger}")
    elif len(found.nearest) == 1:
        lines.append(f"  does not hold {found.nearest[0]}")
    elif not found.networks:
        lines += ["  fits no network that vidpipe knows; the nearest:", *(f"  {words}" for words in found.nearest)]
    lines += (f"  {name}: {text}" for name, text in (found.origin or {}).items())
    if found.classes:
        more = ", …" if len(found.classes) > 5 else ""
        lines.append(f"  classes: {', '.join(found.classes[:5])}{more}")
    return "\n".join(lines)


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@setting_options(FetchSettings, leave_out={"names"})
def fetch_command(**options: Any) -> None:
    """Bring the published weights called NAME to this machine, unless they are here; what broke off goes on."""
    from ..stages.weights.run import fetch

    for own, path in fetch(build(FetchSettings, options), progress=progress_shown()):
        click.echo(f"{own.name}: {path}")


@command.command("convert")
@click.argument("file", type=LocalPath(), metavar="WEIGHTS")
@click.argument("out", type=LocalPath())
@click.option("--as", "read_as", default="", metavar="BACKBONE", help="The network, where several fit.")
@click.option("--class-list", "class_list", default="", metavar="LIST|FILE", help="Names of the scores.")
@setting_options(ConvertSettings, leave_out={"file", "out", "read_as", "class_list"})
def convert_command(**options: Any) -> None:
    """Write WEIGHTS of another program, a file, a folder of a model or a name, as a file of vidpipe's, OUT."""
    from ..stages.weights.run import convert_file

    settings = build(ConvertSettings, options)
    made = convert_file(settings, progress=progress_shown())
    click.echo(f"{settings.out}: {made.backbone}, {len(made.classes)} classes, as {made.origin['dialect']} spells it")
