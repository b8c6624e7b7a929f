"""The house rules that a machine can check: arrows between the folders, one door a library, a quick --help."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANK = {"pipeline": 0, "stages": 1, "cli": 2}
# The packages of pipeline/, in the order in which arrows may run: each may use those before it, never those after.
ROOMS = (
    "manifests",
    "videos",
    "features",
    "backbones",
    "checkpoints",
    "training",
    "aggregators",
    "evaluation",
    "end_to_end",
    "costs",
    "inference",
)
ROOT_MODULES = {
    "available_memory",
    "errors",
    "registry",
    "seeds",
    "sizes",
    "files",
    "execution",
    "settings",
}  # what all rooms share, and nothing else
ALSO_ALLOWED = {"rendering": {"videos"}}  # a room apart
DOORS = {
    "click": ("cli/",),
    "zarr": ("pipeline/features/",),
    "h5py": ("pipeline/features/hdf5.py",),
    "dask": ("pipeline/execution.py", "pipeline/features/arrays.py"),
    "distributed": ("pipeline/execution.py",),
    "av": ("pipeline/videos/",),
    "sklearn": ("pipeline/evaluation/metrics.py", "pipeline/evaluation/linear_probe.py"),
    "matplotlib": ("pipeline/evaluation/",),
    "scipy": ("pipeline/evaluation/confidence.py", "pipeline/evaluation/comparison.py"),
    "pyarrow": ("pipeline/manifests/", "pipeline/features/parquet.py"),  # the form that manifests have in memory
    "transformers": ("pipeline/backbones/transformers_hub.py",),
    "huggingface_hub": ("pipeline/checkpoints/hub.py",),
    "tqdm": ("cli/progress.py",),
    "timm": ("pipeline/backbones/timm_frames.py",),
}
MODULES = sorted(path for folder in RANK for path in (ROOT / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """Return a module as a tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, *, at_once: bool = False) -> list[str]:
    """Return what a module imports, as absolute dotted names; ``at_once``: without what it imports when it is used."""
    package = ("vidpipe", *path.relative_to(ROOT).with_suffix("").parts)
    names, tree = [], parsed(path)
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level]) + "." if node.level else ""
            names.append(above + (node.module or ""))
    return names


def loaded_with(path: Path) -> set[str]:
    """Return the libraries that importing a module loads by our own import lines, directly or by way of others."""
    files, libraries, left = {path}, set(), [path]
    while left:
        for name in imports(left.pop(), at_once=True):
            first, *rest = name.split(".")
            file = ROOT.joinpath(*rest).with_suffix(".py") if rest else ROOT
            if first != "vidpipe":
                libraries.add(first)
            elif file.is_file() and file not in files:
                files.add(file)
                left.append(file)
    return libraries


def test_there_are_modules_to_check():
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_and_doors(path: Path):
    own = path.relative_to(ROOT).as_posix()
    rank = RANK[own.split("/")[0]]
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "vidpipe" and rest and rest[0] in RANK:
            assert RANK[rest[0]] <= rank, f"{own} imports upward: {name}"
        if first in DOORS:
            assert own.startswith(DOORS[first]), f"{own} imports {first}, whose door is {DOORS[first][0]}"


@pytest.mark.parametrize("path", [path for path in MODULES if "cli" not in path.parts], ids=lambda path: path.stem)
def test_options_are_spelled_in_cli_alone(path: Path):
    spelled = re.findall(r"(?<![\w-])--[A-Za-z][\w-]*", path.read_text(encoding="utf-8"))
    assert not spelled, f"{path.relative_to(ROOT)} spells {spelled}: mark the setting, by errors.named"


@pytest.mark.parametrize("path", [path for path in MODULES if "cli" not in path.relative_to(ROOT).parts])
def test_library_and_stages_print_nothing(path: Path):
    """Whoever calls them says what is shown: the command line by `cli/progress.py`."""
    calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
    written = [ast.unparse(call) for call in calls if isinstance(call, ast.Attribute) and call.attr == "write"]
    assert not [call for call in written if call.startswith(("sys.stdout", "sys.stderr"))]


@pytest.mark.parametrize("stage", ["train_backbone", "extract", "train_aggregator", "finetune"])
def test_what_may_have_nothing_to_do_loads_no_library_for_pictures_or_figures(stage: str):
    loaded = loaded_with(ROOT / "stages" / stage / "run.py")
    assert {"torch", "numpy"} <= loaded
    assert not loaded & {"matplotlib", "sklearn", "scipy", "dask", "distributed"}


def test_every_room_has_its_place():
    rooms = {path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {*ROOMS, *ALSO_ALLOWED}
    modules = {path.stem for path in (ROOT / "pipeline").glob("*.py")} - {"__init__"}
    assert modules == ROOT_MODULES


@pytest.mark.parametrize("room", [*ROOMS, *ALSO_ALLOWED])
def test_arrows_between_rooms_run_one_way(room: str):
    allowed = {room} | (ALSO_ALLOWED[room] if room in ALSO_ALLOWED else set(ROOMS[: ROOMS.index(room)]))
    for path in sorted((ROOT / "pipeline" / room).rglob("*.py")):
        for name in imports(path):
            first, *rest = name.split(".")
            if (first, *rest[:1]) == ("vidpipe", "pipeline") and len(rest) > 1 and rest[1] not in ROOT_MODULES:
                assert rest[1] in allowed, f"{path.relative_to(ROOT)} imports {name}, which comes after {room}"


def test_the_root_uses_nothing_but_itself():
    for name in ROOT_MODULES:
        for imported in imports(ROOT / "pipeline" / f"{name}.py"):
            first, *rest = imported.split(".")
            if first == "vidpipe" and len(rest) > 1:
                assert rest[1] in ROOT_MODULES, f"pipeline/{name}.py imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_name_repeats_its_folder(path: Path):
    assert not path.stem.startswith(path.parent.name + "_"), f"{path.stem} repeats the name of its folder"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['vidpipe', '--help']\n"
        "from vidpipe.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tqdm', 'torch', 'numpy', 'zarr', 'h5py', 'dask', 'av', 'sklearn', 'matplotlib', 'pyarrow'}\n"
        "heavy &= sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train-aggregator" in done.stdout
