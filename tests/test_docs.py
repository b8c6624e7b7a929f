"""README and docs: every command runs, or its options exist; every link leads somewhere; the site builds.

A block of commands is fenced as ``bash`` (all of it commands), ``console`` (commands after ``$``, and what they print)
or ``python``. It runs, page by page and in order, in a folder with the small set of `world`; unless a comment right
before it says why not: ``<!-- too long: … -->`` or ``<!-- needs: … -->``. Then the commands are parsed alone.
"""

import csv
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

from vidpipe.cli.main import main
from vidpipe.pipeline.aggregators.registry import AGGREGATORS
from vidpipe.pipeline.backbones.registry import BACKBONES
from vidpipe.pipeline.features.patterns import Pattern

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "data_manifests" / "README.md", ROOT / "benchmarks" / "RESULTS.md"]
BLOCK = re.compile(r"(?:<!-- (?P<mark>.*?) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"(too long|needs): \w.+")
KINDS = {"bash", "console", "python", "text", "csv"}  # the last two hold no commands
NOT_OURS = {"dask", "pip", "torchrun"}  # commands of others, which are never run
FOREIGN_OPTIONS = {"--index-url"}  # of pip
TINY = "--size 32 --epochs 1 --batch 12 --precision float32"
WEIGHTS = (
    "--expensive r2plus1d_14_w16=runs/expensive/weights.safetensors --cheap r2d_14_w16=runs/cheap/weights.safetensors"
)
WORLD = (
    "vidpipe manifest from-folders videos -o m.csv",
    f"vidpipe train-backbone --manifest m.csv --backbone r2d_14_w16 --out runs/cheap {TINY}",
    f"vidpipe train-backbone --manifest m.csv --backbone r2plus1d_14_w16 --out runs/expensive {TINY}",
    f"vidpipe extract --manifest m.csv --store s.zarr --clips 8 --pattern 1:3 {WEIGHTS}",
    "vidpipe train-aggregator --store s.zarr --aggregator fast-gru --epochs 2 --out runs/faster",
    "vidpipe train-aggregator --store s.zarr --aggregator average --pattern all-cheap --out runs/average",
    f"vidpipe finetune --manifest m.csv --from runs/faster --out runs/end_to_end --epochs 1 {WEIGHTS} "
    "--precision float32",
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: why it does not run (empty if it does), its kind, and its lines."""

    page: Path
    line: int
    mark: str
    kind: str
    body: str

    def commands(self) -> list[tuple[list[str], str]]:
        """Return the words of each command, and what it is said to print."""
        if self.kind == "console":
            parts = re.split(r"^\$ ", self.body, flags=re.MULTILINE)[1:]
            pairs = [part.split("\n", 1) for part in parts]
        else:
            pairs = [[line, ""] for line in self.body.replace("\\\n", " ").splitlines()]
        split = [(shlex.split(line, comments=True), printed) for line, printed in pairs]
        return [(words, printed) for words, printed in split if words]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return a page's fenced blocks."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, 1 + text.count("\n", 0, match.start("kind")), match["mark"] or "", match["kind"], match["body"])
        for match in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in [*PAGES, *OTHERS] for block in blocks_of(page)]
COMMANDS = [block for block in BLOCKS if block.kind in ("bash", "console")]


def name_of(page: Path) -> str:
    """Return a page's name for a test's id."""
    return page.relative_to(ROOT).as_posix()


def invoke(words: list[str]) -> str:
    """Run a command of vidpipe in this process, and return what it prints."""
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}\n{result.exception!r}"
    return result.stdout


def find_command(words: list[str], context: click.Context | None = None) -> tuple[click.Command, list[str]]:
    """Return the command that ``words`` (after "vidpipe") lead to, and the words that are left."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words


def parse(words: list[str]) -> tuple[click.Command, dict[str, Any]]:
    """Return a command and its options as click understands them; raises where it does not."""
    command, rest = find_command(words)
    return command, command.make_context("vidpipe", list(rest)).params


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Let commands that take a thread a core take one: on a busy machine, threads that wait for each other are slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the pages call videos/, m.csv, s.zarr and runs/…, small enough to be made at once."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        invoke(shlex.split("vidpipe render rendered --videos 16 --events 2 --size 40 --frames 48"))
        rows = Path("rendered/manifest.csv").read_text(encoding="utf-8").splitlines()
        for row in csv.DictReader(rows):
            class_folder = Path("videos", row["label"])
            class_folder.mkdir(parents=True, exist_ok=True)
            shutil.move(Path("rendered", row["path"]), class_folder)
        shutil.rmtree("rendered")
        for command in WORLD:
            invoke(shlex.split(command))
    return folder


def output_of(words: list[str]) -> Path | None:
    """Return what a command of vidpipe makes, so that it can be made anew."""
    command, options = parse(words[1:])
    made = options.get("output") or options.get("out") or (options.get("store") if command.name == "extract" else None)
    return None if made is None or options.get("dry_run") else made


def matches(printed: str, expected: str) -> bool:
    """Say whether a command printed what its page says, in which "…" alone on a line stands for anything."""
    pattern = "".join(".*" if line == "…" else re.escape(line) + r"\s*\n" for line in expected.strip().splitlines())
    return re.fullmatch(pattern, printed.strip() + "\n", re.DOTALL) is not None


RUNNING = [
    page for page in PAGES if any(b.kind in ("bash", "console", "python") and not b.mark for b in blocks_of(page))
]


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_the_commands_of_a_page_run_in_order(
    page: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    running = [block for block in blocks_of(page) if not block.mark]
    commands = [pair for block in running if block.kind in ("bash", "console") for pair in block.commands()]
    for made in filter(None, (output_of(words) for words, _ in commands)):
        if made.is_dir():
            shutil.rmtree(made)
        made.unlink(missing_ok=True)
    names: dict[str, Any] = {}
    for block in running:
        if block.kind == "python":
            exec(compile(block.body, str(block), "exec"), names)
        elif block.kind in ("bash", "console"):
            for words, expected in block.commands():
                printed = invoke(words)
                assert not expected or matches(printed, expected), f"{block} prints now:\n{printed}"


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_every_command_is_one_that_there_is(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))  # whether it exists or not
    for words, _ in block.commands():
        words = words[words.index("vidpipe") if words[0] == "torchrun" else 0 :]
        if words[0] == "vidpipe":
            check_names(parse(words[1:])[1])
            continue
        assert block.mark, f"{block}: {words[0]} is not run; say why in a comment before the block"
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif words[0] == "python":
            check_script(words[1:])
        else:
            assert words[0] in NOT_OURS


def check_names(options: dict[str, Any]) -> None:
    """Fail unless backbones, aggregators and patterns that a command names are known."""
    for role in ("backbone", "expensive", "cheap"):
        given = options.get(role) or ()
        for one in given if isinstance(given, tuple) else (given,):
            name = one if isinstance(one, str) else one.backbone or "r2d_26"  # weights alone do not say it
            assert name in BACKBONES, name
    for name in (options.get("aggregator") or "average", *options.get("aggregators", ())):
        assert name in AGGREGATORS, name
    for pattern in (options.get("pattern") or "first", *(options.get("patterns") or ())):
        assert isinstance(pattern, Pattern) or Pattern.parse(pattern)


def check_script(words: list[str]) -> None:
    """Fail unless a Python script of ours is there and has the options that are named."""
    source = (ROOT / words[0]).read_text(encoding="utf-8")
    missing = [word for word in words if word.startswith("--") and f'"{word}"' not in source]
    assert not missing, f"{words[0]} has no {missing}"


def test_every_block_says_what_it_is_and_every_mark_why() -> None:
    for block in BLOCKS:
        assert block.kind in KINDS, f"{block}: fence it as one of {KINDS}"
        if block.kind in ("text", "csv"):
            assert not re.search(r"^(\$ |vidpipe |python )", block.body, re.MULTILINE), f"{block} holds commands"
        elif block.mark:
            assert MARK.fullmatch(block.mark), f"{block}: {block.mark!r} must be 'too long: why' or 'needs: what'"


def prose_of(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def options_of(command: click.Command) -> set[str]:
    """Return all names of a command's options, and of those of its sub-commands."""
    own = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            own |= options_of(found)
    return own


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_in_the_text_are_ones_that_there_are(page: Path) -> None:
    known = options_of(main) | FOREIGN_OPTIONS
    for code in re.findall(r"`([^`\n]+)`", prose_of(page)):
        code = re.sub(r"^python -m vidpipe\b", "vidpipe", code)  # the same command
        words = shlex.split(code) if code.startswith(("vidpipe ", "python ")) else code.split()
        if words[0] == "vidpipe":
            command, rest = find_command(words[1:])
            assert {word for word in rest if word.startswith("--")} <= options_of(command), code
        elif words[0] == "python":
            check_script(words[1:])
        elif words[0] != "make":
            assert {word for word in words if re.match(r"--\w", word)} <= known, code


def slugs(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and as the site make them, where both agree."""
    headings = re.findall(r"^#+ (.+?)\s*$", prose_of(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain} & {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", prose_of(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{page}: {target}"
        assert not anchor or anchor in slugs(file), f"{page}: {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_site_builds_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    (ROOT / "data_manifests" / "__pycache__").mkdir(exist_ok=True)  # as whatever imports that package leaves it
    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site")))
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {p.stem for p in (tmp_path / "site").glob("*.html")}
