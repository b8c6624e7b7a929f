"""`vidpipe manifest schema` and `vidpipe manifest example`: what a manifest is, for whoever has no checkout."""

from pathlib import Path

import click

from ..pipeline.files import write_atomically
from ..pipeline.manifests.example import example_text, schema_text
from .manifest_output import check_output


@click.command(short_help="Print which columns a manifest has, and what is refused.")
def schema() -> None:
    """Print the page about manifests: columns, rules, an example, and the official lists that can be read."""
    click.echo(schema_text().rstrip())


@click.command(short_help="Print an example of a manifest, or write it to begin with.")
@click.option(
    "-o", "--out", "output", type=click.Path(path_type=Path), help="Write it to this .csv, instead of printing it."
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def example(output: Path | None, force: bool) -> None:
    """Print a manifest that shows all that one may hold; put your own videos into it.

    \b
    Example:
      vidpipe manifest example -o videos.csv
    """  # noqa: D301 - click reads the escape as "keep these lines"
    if output is None:
        click.echo(example_text().rstrip())
        return
    if output.suffix.lower() != ".csv":
        raise click.UsageError(f"the example is CSV, so --out must end in .csv; got '{output}'")
    check_output(output, force=force)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, lambda unfinished: unfinished.write_text(example_text(), encoding="utf-8"))
    click.echo(f"Wrote {output}. Its videos do not exist: put your own in their place, and check it.")
