"""Let the site show files that live outside docs/, so that pages can link to them as they do in the repository."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "data_manifests/*", "benchmarks/RESULTS.md", "benchmarks/*.png")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the files outside docs/ under their paths in the repository."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern) if path.is_file()):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Point links out of docs/ at these files, and links into it at the pages."""
    inside = "/" not in page.file.src_uri
    markdown = re.sub(r"\]\((?:\.\./)?docs/", "](" if inside else "](../", markdown)
    return markdown.replace("](../", "](") if inside else markdown
