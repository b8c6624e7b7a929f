"""What installs along with vidpipe about manifests: the schema in words, and an example."""

from importlib.resources import files

_FOLDER = "vidpipe.data_manifests"


def schema_text() -> str:
    """Return the page that says which columns a manifest has, and what is refused; Markdown."""
    return files(_FOLDER).joinpath("README.md").read_text(encoding="utf-8")


def example_text() -> str:
    """Return a manifest, CSV, that shows all that one may hold; its videos do not exist."""
    return files(_FOLDER).joinpath("example.csv").read_text(encoding="utf-8")
